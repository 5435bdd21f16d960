import java.util.Set;
import javax.jms.DeliveryMode;
import javax.jms.InvalidDestinationException;
import javax.jms.Message;
import javax.jms.MessageConsumer;
import javax.jms.MessageProducer;
import javax.jms.Queue;
import javax.jms.Session;
import javax.jms.Topic;
import javax.jms.XASession;
import javax.transaction.xa.XAResource;
import org.apache.activemq.ActiveMQConnection;
import org.apache.activemq.ScheduledMessage;
import org.apache.activemq.command.ActiveMQQueue;

/** A broker that begins with nothing, has little memory and no virtual topics. */
final class Fresh extends XaRules {
    /** With deleteAllMessagesOnStartup="true". */
    @Rule
    void nothingOutlivesTheBroker() throws Exception {
        Queue queue = queue();
        Topic topic = topic();
        String id = unique("durable");
        ActiveMQConnection connection = connectAs(id);
        Session session = auto(connection);
        session.createDurableSubscriber(topic, "s").close();
        send(session, queue, 0, 3);
        send(session, topic, 0, 3);
        XASession branches = xaSession();
        Branch branch = sent(branches, queue, 3, 5);
        equal(XAResource.XA_OK, branches.getXAResource().prepare(branch), "vote");
        restart.run();
        Session again = auto(connectAs(id));
        fails(InvalidDestinationException.class, () -> again.unsubscribe("s"));
        check(!branch.isAmong(xaSession().getXAResource().recover(XAResource.TMSTARTRSCAN)),
                "the prepared branch is recovered");
        Queue later = queue();
        send(session(), later, 0, 1);
        var source = connect().getDestinationSource();
        eventually("a new queue is announced", () -> source.getQueues().contains(later));
        Set<ActiveMQQueue> queues = source.getQueues();
        check(!queues.contains(queue), "the queue is announced");
        isEmpty(queue);
        MessageConsumer consumer = again.createDurableSubscriber(topic, "s");
        send(session(), queue, 5, 6);
        send(session(), topic, 5, 6);
        takes(session().createConsumer(queue), 5, 6);
        takes(consumer, 5, 6);
    }

    /** With useVirtualTopics="false". */
    @Rule
    void namesOfVirtualTopicsAreOrdinaryOnes() throws Exception {
        Topic topic = topic("VirtualTopic");
        Queue queue = new ActiveMQQueue("Consumer.A." + nameOf(topic));
        Session session = session();
        MessageConsumer subscriber = session.createConsumer(topic);
        session.createConsumer(queue).close();
        send(session, topic, 0, 3);
        takes(subscriber, 0, 3);
        isEmpty(queue);
        send(session, queue, 3, 4);
        takes(session.createConsumer(queue), 3, 4);
    }

    @Rule(seconds = 60)
    void jobsOutliveTheBroker() throws Exception {
        Queue queue = queue();
        Session session = session();
        Message message = session.createTextMessage("again");
        message.setLongProperty(ScheduledMessage.AMQ_SCHEDULED_PERIOD, 500);
        message.setIntProperty(ScheduledMessage.AMQ_SCHEDULED_REPEAT, 500);
        session.createProducer(queue).send(message);
        restart.run();
        equal("again", nextText(session().createConsumer(queue)), "what comes");
    }

    /** Eight megabytes are all of the broker's memory. */
    @Rule(seconds = 60)
    void transientMessagesOfASubscriptionThatIsAwayNeedNoMemory() throws Exception {
        Topic topic = topic();
        Session session = auto(connectAs(unique("durable"), "jms.prefetchPolicy.all=10"));
        session.createDurableSubscriber(topic, "s").close();
        Session sending = auto(connect("jms.alwaysSyncSend=true"));
        MessageProducer producer = sending.createProducer(topic);
        producer.setDeliveryMode(DeliveryMode.NON_PERSISTENT);
        String padding = "x".repeat(20_000);
        for (int i = 0; i < 1000; i++) {
            Message message = sending.createTextMessage(Integer.toString(i));
            message.setStringProperty("padding", padding);
            producer.send(message);
        }
        MessageConsumer consumer = session.createDurableSubscriber(topic, "s");
        takes(consumer, 0, 500);
        consumer.close();
        producer.send(sending.createTextMessage("1000"));
        takes(session.createDurableSubscriber(topic, "s"), 500, 1001);
    }
}

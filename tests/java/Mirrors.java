import javax.jms.InvalidDestinationException;
import javax.jms.Message;
import javax.jms.MessageConsumer;
import javax.jms.Queue;
import javax.jms.Session;
import javax.jms.TemporaryQueue;
import javax.jms.Topic;
import org.apache.activemq.ActiveMQConnection;
import org.apache.activemq.command.ActiveMQDestination;
import org.apache.activemq.command.ActiveMQMessage;
import org.apache.activemq.command.ActiveMQQueue;
import org.apache.activemq.command.ActiveMQTopic;
import org.apache.activemq.command.ConsumerId;
import org.apache.activemq.command.ConsumerInfo;
import org.apache.activemq.command.RemoveInfo;

/** Mirrored queues, and what else comes and goes by itself with a broker as mirrors.xml has it. */
final class Mirrors extends Rules {
    private static Topic mirrorOf(Queue queue) {
        return new ActiveMQTopic("VirtualTopic.Mirror." + nameOf(queue));
    }

    private static ActiveMQDestination original(Message message) {
        return ((ActiveMQMessage) message).getOriginalDestination();
    }

    @Rule
    void mirrorGetsACopyOfWhatAQueueGets() throws Exception {
        Queue queue = queue();
        Topic mirror = mirrorOf(queue);
        Session session = session();
        MessageConsumer watch = session.createConsumer(mirror);
        send(session, queue, 0, 10);
        Message copy = takes(watch, 0, 10);
        equal(mirror, copy.getJMSDestination(), "JMSDestination of the copy");
        equal(null, original(copy), "original destination of the copy");
        Message own = takes(session.createConsumer(queue), 0, 10);
        equal(queue, own.getJMSDestination(), "JMSDestination in the queue");
        equal(null, original(own), "original destination in the queue");
        equal(own.getJMSMessageID(), copy.getJMSMessageID(), "message id");
        equal(own.getJMSDeliveryMode(), copy.getJMSDeliveryMode(), "delivery mode");
    }

    @Rule
    void mirrorFeedsVirtualTopicsAndTheirQueuesAreMirroredToo() throws Exception {
        Queue queue = queue();
        Queue fed = new ActiveMQQueue("Consumer.A." + nameOf(mirrorOf(queue)));
        Session session = session();
        MessageConsumer end = session.createConsumer(fed);
        MessageConsumer watch = session.createConsumer(mirrorOf(fed));
        send(session, queue, 0, 3);
        Message copy = takes(end, 0, 3);
        equal(fed, copy.getJMSDestination(), "JMSDestination");
        equal(mirrorOf(queue), original(copy), "original destination");
        takes(watch, 0, 3);
        takes(session.createConsumer(queue), 0, 3);
    }

    @Rule
    void mirrorOfATransactedSendComesWithItsCommit() throws Exception {
        Queue queue = queue();
        MessageConsumer watch = session().createConsumer(mirrorOf(queue));
        Session session = transacted(connect());
        send(session, queue, 0, 3);
        session.rollback();
        send(session, queue, 3, 6);
        equal(null, watch.receive(200), "before the commit");
        session.commit();
        takes(watch, 3, 6);
        takes(session().createConsumer(queue), 3, 6);
    }

    @Rule
    void temporaryQueuesAreMirrored() throws Exception {
        Session session = session();
        TemporaryQueue queue = session.createTemporaryQueue();
        MessageConsumer watch = session().createConsumer(mirrorOf(queue));
        MessageConsumer own = session.createConsumer(queue);
        send(session, queue, 0, 3);
        takes(watch, 0, 3);
        takes(own, 0, 3);
    }

    @Rule
    void mirrorOfADurableSubscriberOutlivesItsConnection() throws Exception {
        Queue queue = queue();
        String id = unique("durable");
        ActiveMQConnection connection = connectAs(id);
        auto(connection).createDurableSubscriber(mirrorOf(queue), "s");
        connection.close();
        send(session(), queue, 0, 3);
        takes(auto(connectAs(id)).createDurableSubscriber(mirrorOf(queue), "s"), 0, 3);
    }

    @Rule
    void durableSubscriptionThatNobodyComesBackForEnds() throws Exception {
        Topic topic = topic();
        String id = unique("durable");
        ActiveMQConnection connection = connectAs(id);
        auto(connection).createDurableSubscriber(topic, "s");
        Session other = auto(connectAs(unique("durable")));
        MessageConsumer stays = other.createDurableSubscriber(topic, "s");
        connection.close();
        send(session(), topic, 0, 3);
        // Nothing tells of the end, and who looks takes it for another while.
        Thread.sleep(6000);
        Session again = auto(connectAs(id));
        fails(InvalidDestinationException.class, () -> again.unsubscribe("s"));
        takes(stays, 0, 3);
    }

    private static Topic watched(String name) {
        return new ActiveMQTopic("ActiveMQ.Advisory.VirtualDestination.Consumer.Topic." + name);
    }

    private static ConsumerId added(MessageConsumer watch, Topic topic) throws Exception {
        ConsumerInfo info =
                (ConsumerInfo) ((ActiveMQMessage) next(watch)).getDataStructure();
        equal(topic, info.getDestination(), "destination of the consumer");
        return info.getConsumerId();
    }

    private static void removed(MessageConsumer ends, ConsumerId id) throws Exception {
        Object ended;
        do {
            ended = ((ActiveMQMessage) next(ends)).getDataStructure();
        } while (!(ended instanceof RemoveInfo info && info.getObjectId().equals(id)));
    }

    /**
     * The original announces ends on the topic of the pattern, "VirtualTopic.>": all see both. It does not
     * announce that of a queue that a client deletes.
     */
    @Rule
    void queueThatAVirtualTopicFeedsCountsAsItsConsumer() throws Exception {
        Topic topic = topic("VirtualTopic");
        Queue queue = new ActiveMQQueue("Consumer.IDLE." + nameOf(topic));
        Session session = session();
        MessageConsumer watch = session().createConsumer(watched(nameOf(topic)));
        MessageConsumer ends = session().createConsumer(watched("VirtualTopic.>"));
        session.createProducer(queue).close();
        ConsumerId id = added(watch, topic);
        MessageConsumer late = session().createConsumer(watched(nameOf(topic)));
        equal(id, added(late, topic), "consumer that a late watcher is told of");
        MessageConsumer consumer = session.createConsumer(queue);
        ConsumerId real = added(watch, topic);
        check(!real.equals(id), "the queue and its consumer are the same");
        consumer.close();
        removed(ends, real);
        // Nobody uses the queue any more, so it goes.
        removed(ends, id);
    }
}

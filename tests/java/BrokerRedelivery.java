import java.util.Enumeration;
import javax.jms.DeliveryMode;
import javax.jms.Message;
import javax.jms.MessageConsumer;
import javax.jms.MessageProducer;
import javax.jms.Queue;
import javax.jms.Session;
import org.apache.activemq.command.ActiveMQQueue;

/** What the redeliveryPlugin does with messages that clients give up (peer.xml: AGAIN.>). */
final class BrokerRedelivery extends Rules {
    private static final Queue DLQ = new ActiveMQQueue("ActiveMQ.DLQ");

    /** A session whose client gives a message up as soon as it is rolled back. */
    private Session impatient() throws Exception {
        return transacted(connect("jms.redeliveryPolicy.maximumRedeliveries=0"));
    }

    private static Message rejected(Session session, Queue queue) throws Exception {
        MessageConsumer consumer = session.createConsumer(queue);
        Message message = next(consumer);
        session.rollback();
        // The client gives it up when it would deliver it again.
        consumer.close();
        return message;
    }

    private boolean isDead(String id) throws Exception {
        Session session = session();
        Enumeration<?> messages = session.createBrowser(DLQ).getEnumeration();
        boolean found = false;
        while (messages.hasMoreElements()) {
            found |= id.equals(((Message) messages.nextElement()).getJMSMessageID());
        }
        session.close();
        return found;
    }

    @Rule
    void whatIsGivenUpComesAgainLaterAndIsDeadInTheEnd() throws Exception {
        Queue queue = queue("AGAIN");
        sendText(session(), queue, "x");
        Session session = impatient();
        Message first = rejected(session, queue);
        flags(first, false, 1);
        long given = System.currentTimeMillis();
        isEmpty(queue);
        Message second = rejected(session, queue);
        check(System.currentTimeMillis() - given >= 900, "it came too early");
        flags(second, true, 2);
        equal(1_000L, second.getLongProperty("redeliveryDelay"), "the first delay");
        check(second.propertyExists("scheduledJobId"), "no job brought it");
        equal(first.getJMSMessageID(), second.getJMSMessageID(), "its id");
        equal(first.getJMSDestination(), second.getJMSDestination(), "its destination");
        Message third = rejected(session, queue);
        flags(third, true, 3);
        equal(1_500L, third.getLongProperty("redeliveryDelay"), "the second delay");
        eventually("it is dead", () -> isDead(first.getJMSMessageID()));
        isEmpty(queue);
    }

    @Rule
    void whatIsNotPersistentComesAgainToo() throws Exception {
        Queue queue = queue("AGAIN");
        Session sender = session();
        sender.createProducer(queue)
                .send(sender.createTextMessage("x"), DeliveryMode.NON_PERSISTENT, 4, 0);
        Session session = impatient();
        rejected(session, queue);
        Message second = next(session.createConsumer(queue));
        equal(DeliveryMode.NON_PERSISTENT, second.getJMSDeliveryMode(), "its delivery mode");
        flags(second, true, 2);
        session.commit();
        isEmpty(queue);
    }

    @Rule
    void whatExpiresIsDeadAtOnce() throws Exception {
        Queue queue = queue("AGAIN");
        Session session = session();
        MessageProducer producer = session.createProducer(queue);
        producer.setTimeToLive(1);
        producer.send(session.createTextMessage("expired"));
        long sent = System.currentTimeMillis();
        eventually("clock moves", () -> System.currentTimeMillis() > sent + 2);
        isEmpty(queue);
        equal("expired", text(DeadLetters.next(this, queue)), "text");
    }

    @Rule
    void whatHasNoPolicyIsDeadAtOnce() throws Exception {
        Queue queue = queue();
        sendText(session(), queue, "x");
        Message message = rejected(impatient(), queue);
        eventually("it is dead", () -> isDead(message.getJMSMessageID()));
        isEmpty(queue);
    }
}

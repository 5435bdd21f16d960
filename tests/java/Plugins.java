import javax.jms.DeliveryMode;
import javax.jms.Message;
import javax.jms.MessageConsumer;
import javax.jms.MessageProducer;
import javax.jms.Queue;
import javax.jms.Session;
import org.apache.activemq.ActiveMQConnection;
import org.apache.activemq.command.ActiveMQQueue;
import org.apache.activemq.command.ActiveMQTextMessage;
import org.apache.activemq.command.BrokerId;

/** Plugins that change messages or drop them. */
final class Plugins extends Rules {
    private static final long OVERRIDE_MS = 600_000;
    private static final long CEILING_MS = 1_200_000;

    private Message sent(long timeToLive) throws Exception {
        Queue queue = queue();
        Session session = session();
        MessageProducer producer = session.createProducer(queue);
        producer.setTimeToLive(timeToLive);
        producer.send(session.createTextMessage("x"));
        return next(session.createConsumer(queue));
    }

    private static void lives(Message message, long expected) throws Exception {
        equal(expected, message.getJMSExpiration() - message.getJMSTimestamp(), "time to live");
    }

    @Rule
    void messagesWithoutEndGetOne() throws Exception {
        lives(sent(0), OVERRIDE_MS);
    }

    @Rule
    void timesToLiveAreCapped() throws Exception {
        lives(sent(CEILING_MS * 2), CEILING_MS);
        lives(sent(CEILING_MS - 1), CEILING_MS - 1);
    }

    @Rule
    void theBrokerStampsTheTime() throws Exception {
        Queue queue = queue();
        Session session = session();
        org.apache.activemq.ActiveMQMessageProducer producer =
                (org.apache.activemq.ActiveMQMessageProducer) session.createProducer(queue);
        long before = System.currentTimeMillis();
        producer.setDisableMessageTimestamp(true);
        producer.send(session.createTextMessage("x"));
        Message none = next(session.createConsumer(queue));
        equal(0L, none.getJMSTimestamp(), "JMSTimestamp that was not wanted");
        equal(0L, none.getJMSExpiration(), "expiration without time stamp");
        check(sent(0).getJMSTimestamp() >= before, "stamped in the past");
    }

    /** A message with a broker's id in its path came over a network. */
    @Rule
    void messagesOfOtherBrokersKeepTheirTime() throws Exception {
        Queue queue = queue();
        RawClient client = new RawClient(connect());
        ActiveMQTextMessage message = RawClient.message(client.produce(queue, 0), queue, 0);
        message.setTimestamp(1000);
        message.setBrokerPath(new BrokerId[] {new BrokerId("other")});
        client.connection.syncSendPacket(message);
        Message got = next(session().createConsumer(queue));
        equal(1000L, got.getJMSTimestamp(), "JMSTimestamp");
        equal(0L, got.getJMSExpiration(), "JMSExpiration");
    }

    @Rule
    void deadLettersKeepTheirTime() throws Exception {
        Queue queue = queue("KEEP");
        poison(queue);
        MessageConsumer dead = session().createConsumer(new ActiveMQQueue("ActiveMQ.DLQ"));
        Message letter = next(dead);
        while (!nameOf(queue).equals(text(letter))) {
            letter = next(dead);
        }
        long stamped = letter.getLongProperty("originalExpiration") - OVERRIDE_MS;
        equal(stamped, letter.getJMSTimestamp(), "JMSTimestamp");
        equal(0L, letter.getJMSExpiration(), "JMSExpiration");
    }

    @Rule
    void messagesListTheBrokersTheyCameThrough() throws Exception {
        equal("judged", sent(0).getStringProperty("BrokerPath"), "BrokerPath");
    }

    @Rule
    void allMessagesBecomePersistent() throws Exception {
        Queue queue = queue();
        Session session = session();
        MessageProducer producer = session.createProducer(queue);
        producer.setDeliveryMode(DeliveryMode.NON_PERSISTENT);
        producer.send(session.createTextMessage("x"));
        Message message = next(session.createConsumer(queue));
        equal(DeliveryMode.PERSISTENT, message.getJMSDeliveryMode(), "delivery mode");
    }

    /** Gives up a message of the queue. */
    private void poison(Queue queue) throws Exception {
        ActiveMQConnection connection = connect("jms.redeliveryPolicy.maximumRedeliveries=0");
        Session session = transacted(connection);
        sendText(session, queue, nameOf(queue));
        session.commit();
        MessageConsumer consumer = session.createConsumer(queue);
        next(consumer);
        session.rollback();
        // The client gives the message up before it takes the next one.
        sendText(session, queue, "after");
        session.commit();
        equal("after", nextText(consumer), "the message behind it");
        session.commit();
        consumer.close();
    }

    @Rule
    void deadLettersOfNamedDestinationsAreDropped() throws Exception {
        Queue dropped = queue("DROP");
        Queue kept = queue("KEEP.DROP");
        poison(dropped);
        poison(kept);
        MessageConsumer dead =
                session().createConsumer(new ActiveMQQueue("ActiveMQ.DLQ"));
        String name;
        do {
            name = nextText(dead);
            check(!name.equals(nameOf(dropped)), "a dead letter was not dropped");
        } while (!name.equals(nameOf(kept)));
    }

    /** The last one configured is asked first. What it sends again passes all of them once more. */
    @Rule
    void thePluginConfiguredLastDecidesAboutADeadMessage() throws Exception {
        Queue dropped = queue("DROP.INNER");
        Queue again = queue("DROP.OUTER");
        poison(dropped);
        poison(again);
        Message message = next(session().createConsumer(again));
        flags(message, true, 2);
        equal(nameOf(again), text(message), "text");
        equal("judged,judged", message.getStringProperty("BrokerPath"), "BrokerPath");
        isEmpty(dropped);
    }
}

import javax.jms.DeliveryMode;
import javax.jms.Destination;
import javax.jms.JMSException;
import javax.jms.Message;
import javax.jms.MessageConsumer;
import javax.jms.MessageProducer;
import javax.jms.Queue;
import javax.jms.Session;
import javax.jms.Topic;
import org.apache.activemq.ActiveMQConnection;
import org.apache.activemq.command.ActiveMQMessage;
import org.apache.activemq.command.ActiveMQQueue;

final class DeadLetters extends Rules {
    private static final Queue SHARED = new ActiveMQQueue("ActiveMQ.DLQ");

    /** The next dead letter of the destination; those that other scenarios left are dropped. */
    static Message next(Rules rules, Destination from) throws JMSException {
        MessageConsumer consumer = rules.session().createConsumer(SHARED);
        Message message = Rules.next(consumer);
        while (!from.equals(((ActiveMQMessage) message).getOriginalDestination())) {
            message = Rules.next(consumer);
        }
        consumer.close();
        return message;
    }

    private static void sendShortLived(
            Session session, Destination to, int mode, String text) throws JMSException {
        MessageProducer producer = session.createProducer(to);
        producer.setDeliveryMode(mode);
        producer.setTimeToLive(1);
        producer.send(session.createTextMessage(text));
    }

    /** Waits until the clock has passed the time to live of what was just sent. */
    private static void untilExpired() throws Exception {
        long sent = System.currentTimeMillis();
        eventually("clock moves", () -> System.currentTimeMillis() > sent + 2);
    }

    @Rule
    void expiredMessageIsNotDelivered() throws Exception {
        Queue queue = queue();
        Session session = session();
        sendShortLived(session, queue, DeliveryMode.PERSISTENT, "expired");
        sendText(session, queue, "fresh");
        untilExpired();
        MessageConsumer consumer = session.createConsumer(queue);
        equal("fresh", nextText(consumer), "first message");
    }

    @Rule
    void expiredPersistentMessageGoesToDeadLetterQueue() throws Exception {
        Queue queue = queue();
        Session session = session();
        long before = System.currentTimeMillis();
        sendShortLived(session, queue, DeliveryMode.PERSISTENT, "expired");
        untilExpired();
        isEmpty(queue);
        Message dead = next(this, queue);
        equal("expired", text(dead), "text");
        equal(0L, dead.getJMSExpiration(), "JMSExpiration");
        check(dead.getLongProperty("originalExpiration") > before, "originalExpiration");
        contains(dead.getStringProperty("dlqDeliveryFailureCause"),
                "java.lang.Throwable: Message Expired. Expiration:");
        equal(queue, ((ActiveMQMessage) dead).getOriginalDestination(), "original destination");
    }

    @Rule
    void expiredTransientMessageVanishes() throws Exception {
        Queue queue = queue();
        Session session = session();
        sendShortLived(session, queue, DeliveryMode.NON_PERSISTENT, "vanishes");
        untilExpired();
        isEmpty(queue);
        sendShortLived(session, queue, DeliveryMode.PERSISTENT, "stays");
        untilExpired();
        isEmpty(queue);
        equal("stays", text(next(this, queue)), "text");
    }

    @Rule
    void expiryIsFoundWithoutAnyConsumer() throws Exception {
        Queue queue = queue("EXPIRE");
        sendShortLived(session(), queue, DeliveryMode.PERSISTENT, "expired");
        equal("expired", text(next(this, queue)), "text");
    }

    @Rule
    void expiryIsFoundByABrowser() throws Exception {
        Queue queue = queue();
        Session session = session();
        sendShortLived(session, queue, DeliveryMode.PERSISTENT, "expired");
        untilExpired();
        check(!session.createBrowser(queue).getEnumeration().hasMoreElements(), "it is shown");
        equal("expired", text(next(this, queue)), "text");
    }

    @Rule
    void expiryIsFoundInASubscriptionThatIsAway() throws Exception {
        Topic topic = topic("EXPIRE");
        ActiveMQConnection connection = connectAs(unique("durable"));
        auto(connection).createDurableSubscriber(topic, "s");
        connection.close();
        sendShortLived(session(), topic, DeliveryMode.PERSISTENT, "expired");
        equal("expired", text(next(this, topic)), "text");
    }

    @Rule
    void expirationIsSentTimePlusTimeToLive() throws Exception {
        Queue queue = queue();
        Session session = session();
        MessageProducer producer = session.createProducer(queue);
        producer.setTimeToLive(60_000);
        producer.send(session.createTextMessage("0"));
        Message message = Rules.next(session.createConsumer(queue));
        equal(message.getJMSTimestamp() + 60_000, message.getJMSExpiration(), "JMSExpiration");
    }

    @Rule
    void messageThatExpiresInThePrefetchIsSkipped() throws Exception {
        Queue queue = queue();
        ActiveMQConnection connection = connect();
        Session session = auto(connection);
        MessageConsumer consumer = session.createConsumer(queue);
        MessageProducer producer = session.createProducer(queue);
        producer.setTimeToLive(200);
        producer.send(session.createTextMessage("expires with the client"));
        sendText(session, queue, "fresh");
        long sent = System.currentTimeMillis();
        eventually("clock moves", () -> System.currentTimeMillis() > sent + 250);
        equal("fresh", nextText(consumer), "text");
        equal("expires with the client", text(next(this, queue)), "text");
    }

    @Rule
    void individualStrategyNamesItsOwnQueue() throws Exception {
        Queue queue = queue("DEAD");
        Session session = transacted(connect("jms.redeliveryPolicy.maximumRedeliveries=0"));
        MessageProducer producer = session.createProducer(queue);
        producer.setDeliveryMode(DeliveryMode.NON_PERSISTENT);
        producer.send(session.createTextMessage("poison"));
        session.commit();
        Rules.next(session.createConsumer(queue));
        session.rollback();
        Message dead =
                Rules.next(session().createConsumer(new ActiveMQQueue("DLQ." + nameOf(queue))));
        equal("poison", text(dead), "text");
        equal("NON_PERSISTENT", dead.getStringProperty("originalDeliveryMode"),
                "originalDeliveryMode");
        equal(DeliveryMode.PERSISTENT, dead.getJMSDeliveryMode(), "delivery mode");
    }

    @Rule
    void transientPoisonVanishesByDefault() throws Exception {
        Queue queue = queue();
        Session session = transacted(connect("jms.redeliveryPolicy.maximumRedeliveries=0"));
        MessageProducer producer = session.createProducer(queue);
        producer.setDeliveryMode(DeliveryMode.NON_PERSISTENT);
        producer.send(session.createTextMessage("vanishes"));
        producer.setDeliveryMode(DeliveryMode.PERSISTENT);
        producer.send(session.createTextMessage("stays"));
        session.commit();
        MessageConsumer consumer = session.createConsumer(queue);
        for (int i = 0; i < 2; i++) {
            Rules.next(consumer);
            session.rollback();
        }
        equal("stays", text(next(this, queue)), "text");
    }

    @Rule
    void deadLetterKeepsPropertiesAndHeaders() throws Exception {
        Queue queue = queue();
        Session session = transacted(connect("jms.redeliveryPolicy.maximumRedeliveries=0"));
        Message sent = session.createTextMessage("t\u00e4xt \ud83d\ude00");
        sent.setJMSCorrelationID("correlation");
        sent.setJMSType("type");
        sent.setIntProperty("n", 42);
        sent.setStringProperty("s", "\u00fcber");
        session.createProducer(queue).send(sent);
        session.commit();
        Rules.next(session.createConsumer(queue));
        session.rollback();
        Message dead = next(this, queue);
        equal("t\u00e4xt \ud83d\ude00", text(dead), "text");
        equal("correlation", dead.getJMSCorrelationID(), "correlation id");
        equal("type", dead.getJMSType(), "type");
        equal(42, dead.getIntProperty("n"), "property n");
        equal("\u00fcber", dead.getStringProperty("s"), "property s");
        equal(sent.getJMSTimestamp(), dead.getJMSTimestamp(), "timestamp");
    }

    @Rule
    void messageExpiredInTheDeadLetterQueueItselfIsNotMovedAgain() throws Exception {
        drained(SHARED);
        Session session = session();
        sendShortLived(session, SHARED, DeliveryMode.PERSISTENT, "gone");
        untilExpired();
        isEmpty(SHARED);
    }
}

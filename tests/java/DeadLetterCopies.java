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
import org.apache.activemq.command.ActiveMQTopic;

/** Which messages become dead letters, where these go, and what is written on them. */
final class DeadLetterCopies extends Rules {
    private static final String AT_ONCE = "jms.redeliveryPolicy.maximumRedeliveries=0";

    /** The consumers of a session give up the next message of each. */
    private void poisons(Session transacted, Destination destination) throws JMSException {
        MessageConsumer consumer = transacted.createConsumer(destination);
        next(consumer);
        transacted.rollback();
        consumer.close();
    }

    private void poisons(Destination destination) throws JMSException {
        poisons(transacted(connect(AT_ONCE)), destination);
    }

    private static Queue deadOf(Destination destination) {
        return new ActiveMQQueue("DLQ." + nameOf(destination));
    }

    private void sendBrief(Destination destination, String text) throws Exception {
        Session session = session();
        MessageProducer producer = session.createProducer(destination);
        producer.setTimeToLive(1);
        producer.send(session.createTextMessage(text));
        long sent = System.currentTimeMillis();
        eventually("clock moves", () -> System.currentTimeMillis() > sent + 2);
    }

    @Rule
    void deadLetterIsAsIfNew() throws Exception {
        Queue queue = queue("DEAD");
        Session session = session();
        Message sent = session.createTextMessage("poison");
        session.createProducer(queue).send(sent);
        Session consuming = transacted(connect("jms.redeliveryPolicy.maximumRedeliveries=2"));
        MessageConsumer consumer = consuming.createConsumer(queue);
        for (int i = 0; i < 3; i++) {
            next(consumer);
            consuming.rollback();
        }
        Message dead = next(session.createConsumer(deadOf(queue)));
        flags(dead, false, 1);
        equal(sent.getJMSMessageID(), dead.getJMSMessageID(), "message id");
        equal(deadOf(queue), dead.getJMSDestination(), "destination");
        equal(queue, ((ActiveMQMessage) dead).getOriginalDestination(), "original destination");
        equal(0L, dead.getJMSExpiration(), "JMSExpiration");
        equal(0L, dead.getObjectProperty("originalExpiration"), "originalExpiration");
        equal(null, ((ActiveMQMessage) dead).getTransactionId(), "transaction");
        contains(dead.getStringProperty("dlqDeliveryFailureCause"), "java.lang.Throwable: "
                + "Delivery[3] exceeds redelivery policy limit:RedeliveryPolicy {");
    }

    /** The original forgets the first one if it has looked at properties, as with a scheduler. */
    @Rule(beyondOriginal = true)
    void originalExpirationIsTheFirstOne() throws Exception {
        Queue queue = queue("DEAD");
        RawClient client = new RawClient(connect());
        var message = RawClient.message(client.produce(queue, 0), queue, 0);
        message.setLongProperty("originalExpiration", 42);
        client.connection.syncSendPacket(message);
        poisons(queue);
        Message dead = next(session().createConsumer(deadOf(queue)));
        equal(42L, dead.getObjectProperty("originalExpiration"), "originalExpiration");
    }

    @Rule
    void copiesOfOneMessageAreOneDeadLetter() throws Exception {
        Queue one = queue();
        Queue two = queue();
        Session session = session();
        sendText(session, new ActiveMQQueue(nameOf(one) + "," + nameOf(two)), "poison");
        poisons(one);
        poisons(two);
        sendText(session, two, "another");
        poisons(two);
        int letters = 0;
        for (Message dead : drained(new ActiveMQQueue("ActiveMQ.DLQ"))) {
            Destination from = ((ActiveMQMessage) dead).getOriginalDestination();
            if (from.equals(one) || from.equals(two)) {
                equal(letters == 0 ? "poison" : "another", text(dead), "dead letter");
                letters++;
            }
        }
        equal(2, letters, "dead letters");
    }

    @Rule
    void poisonOfTheDeadLetterQueueItselfVanishes() throws Exception {
        Queue shared = new ActiveMQQueue("ActiveMQ.DLQ");
        drained(shared);
        sendText(session(), shared, "poison");
        poisons(shared);
        isEmpty(shared);
    }

    @Rule
    void deadLetterOfASubscriptionLeavesTheOthers() throws Exception {
        Topic topic = topic();
        ActiveMQConnection connection = connectAs(unique("durable"), AT_ONCE);
        Session session = transacted(connection);
        MessageConsumer consumer = session.createDurableSubscriber(topic, "first");
        MessageConsumer other = auto(connection).createDurableSubscriber(topic, "second");
        sendText(session(), topic, "poison");
        next(consumer);
        session.rollback();
        equal("poison", nextText(other), "text of the other subscription");
        Message dead = null;
        MessageConsumer letters = session().createConsumer(new ActiveMQQueue("ActiveMQ.DLQ"));
        while (dead == null
                || !topic.equals(((ActiveMQMessage) dead).getOriginalDestination())) {
            dead = next(letters);
        }
        equal("poison", text(dead), "text");
    }

    @Rule
    void subscriptionsHaveDeadLetterQueuesOfTheirOwnIfThePolicySaysSo() throws Exception {
        Topic topic = topic("DEAD");
        String id = unique("durable");
        Session session = transacted(connectAs(id, AT_ONCE));
        MessageConsumer consumer = session.createDurableSubscriber(topic, "s");
        sendText(session(), topic, "poison");
        next(consumer);
        session.rollback();
        Queue own = new ActiveMQQueue("DLT." + nameOf(topic) + "." + id + ":s.end");
        equal("poison", nextText(session().createConsumer(own)), "text");
    }

    @Rule
    void expiredMessagesVanishIfThePolicySaysSo() throws Exception {
        Queue queue = queue("FORGET");
        sendBrief(queue, "expired");
        isEmpty(queue);
        sendText(session(), queue, "poison");
        poisons(queue);
        MessageConsumer dead = session().createConsumer(new ActiveMQQueue("DEADFORGET"));
        equal("poison", nextText(dead), "text");
    }

    @Rule
    void deadLettersExpireIfThePolicySaysSo() throws Exception {
        Queue queue = queue("FORGET");
        Session session = session();
        MessageProducer producer = session.createProducer(queue);
        producer.setTimeToLive(1_000_000);
        producer.send(session.createTextMessage("poison"));
        long before = System.currentTimeMillis();
        poisons(queue);
        Message dead = next(session.createConsumer(new ActiveMQQueue("DEADFORGET")));
        long after = System.currentTimeMillis();
        check(dead.getJMSExpiration() >= before + 60_000
                && dead.getJMSExpiration() <= after + 60_000, "JMSExpiration");
        equal(null, dead.getObjectProperty("originalExpiration"), "originalExpiration");
    }

    /** DLQ.DEAD.FULL.> has 20 KiB and refuses what clients send beyond. */
    @Rule
    void deadLettersAreTakenThoughTheirQueueIsFull() throws Exception {
        Queue queue = queue("DEAD.FULL");
        Session session = session();
        MessageProducer producer = session.createProducer(queue);
        String padding = "x".repeat(10_000);
        for (int i = 0; i < 10; i++) {
            Message message = session.createTextMessage(Integer.toString(i));
            message.setStringProperty("padding", padding);
            producer.send(message);
        }
        Session consuming = transacted(connect(AT_ONCE));
        MessageConsumer consumer = consuming.createConsumer(queue);
        for (int i = 0; i < 10; i++) {
            takes(consumer, i, i + 1);
            consuming.rollback();
        }
        consumer.close();
        takes(session.createConsumer(deadOf(queue)), 0, 10);
    }

    @Rule
    void poisonVanishesIfThePolicySaysSo() throws Exception {
        Queue queue = queue("DISCARD");
        sendText(session(), queue, "poison");
        poisons(queue);
        isEmpty(queue);
        for (Message dead : drained(new ActiveMQQueue("ActiveMQ.DLQ"))) {
            check(!queue.equals(((ActiveMQMessage) dead).getOriginalDestination()),
                    "the message is a dead letter");
        }
    }

    @Rule
    void expiredTransactedTopicMessageIsNotDelivered() throws Exception {
        Topic topic = topic();
        MessageConsumer consumer = session().createConsumer(topic);
        Session session = transacted(connect());
        MessageProducer producer = session.createProducer(topic);
        producer.setTimeToLive(1);
        producer.setDeliveryMode(DeliveryMode.NON_PERSISTENT);
        producer.send(session.createTextMessage("expired"));
        long sent = System.currentTimeMillis();
        eventually("clock moves", () -> System.currentTimeMillis() > sent + 2);
        session.commit();
        sendText(session(), topic, "fresh");
        equal("fresh", nextText(consumer), "text");
    }

    @Rule
    void messageThatIsExpiredOnArrivalIsADeadLetter() throws Exception {
        Queue queue = queue("DEAD");
        RawClient client = new RawClient(connect());
        var message = RawClient.message(client.produce(queue, 0), queue, 0);
        message.setTimestamp(1);
        message.setExpiration(1_700_000_000_000L);
        client.connection.syncSendPacket(message);
        Message dead = next(session().createConsumer(deadOf(queue)));
        equal("java.lang.Throwable: Message Expired. Expiration:1700000000000",
                dead.getStringProperty("dlqDeliveryFailureCause"), "cause");
        equal(1_700_000_000_000L, dead.getObjectProperty("originalExpiration"),
                "originalExpiration");
        isEmpty(queue);
    }

    @Rule
    void deadLettersMayGoToTopics() throws Exception {
        Queue queue = queue("ASIDE");
        MessageConsumer ofQueue =
                session().createConsumer(new ActiveMQTopic("A." + nameOf(queue) + ".dead"));
        sendText(session(), queue, "poison");
        poisons(queue);
        equal("poison", nextText(ofQueue), "text");
        Topic topic = topic("ASIDE");
        MessageConsumer ofTopic = session()
                .createConsumer(new ActiveMQTopic("ActiveMQ.DLQ.Topic." + nameOf(topic)));
        poisonsDurable(topic);
        equal("poison", nextText(ofTopic), "text");
    }

    /** A durable subscriber gives up a message. */
    private void poisonsDurable(Topic topic) throws JMSException {
        Session session = transacted(connectAs(unique("durable"), AT_ONCE));
        MessageConsumer consumer = session.createDurableSubscriber(topic, "s");
        sendText(session(), topic, "poison");
        next(consumer);
        session.rollback();
    }

    @Rule
    void individualDeadLetterQueuesHaveNamesByDefault() throws Exception {
        Queue queue = queue("PLAIN");
        sendText(session(), queue, "poison");
        poisons(queue);
        equal("poison", nextText(session().createConsumer(
                new ActiveMQQueue("ActiveMQ.DLQ.Queue." + nameOf(queue)))), "text");
        Topic topic = topic("PLAIN");
        poisonsDurable(topic);
        equal("poison", nextText(session().createConsumer(
                new ActiveMQQueue("ActiveMQ.DLQ.Topic." + nameOf(topic)))), "text");
    }

    /** One message in two queues, given up in both. */
    private void poisonsCopies(Queue one, Queue two) throws JMSException {
        sendText(session(), new ActiveMQQueue(nameOf(one) + "," + nameOf(two)), "poison");
        poisons(one);
        poisons(two);
    }

    @Rule
    void copiesAreDeadLettersEachIfThePolicySaysSo() throws Exception {
        MessageConsumer dead = session().createConsumer(new ActiveMQTopic("DEADALOUD"));
        Queue one = queue("ALOUD");
        Queue two = queue("ALOUD");
        poisonsCopies(one, two);
        equal(one, ((ActiveMQMessage) next(dead)).getOriginalDestination(), "origin");
        equal(two, ((ActiveMQMessage) next(dead)).getOriginalDestination(), "origin");
    }

    /** The original knows only that it has sent the message, not where. */
    @Rule(beyondOriginal = true)
    void deadLettersOfDifferentQueuesAreAllKept() throws Exception {
        Queue one = queue("DEAD");
        Queue two = queue("DEAD");
        poisonsCopies(one, two);
        equal("poison", nextText(session().createConsumer(deadOf(one))), "text");
        equal("poison", nextText(session().createConsumer(deadOf(two))), "text");
    }

    @Rule
    void deadLetterThatIsGivenUpGoesOnToTheNextDeadLetterQueue() throws Exception {
        Queue queue = queue("DEAD");
        sendText(session(), queue, "poison");
        poisons(queue);
        poisons(deadOf(queue));
        equal("poison", text(DeadLetters.next(this, deadOf(queue))), "text");
        isEmpty(deadOf(queue));
    }

    @Rule
    void whatExpiredBeforeItWasGivenUpVanishesAsExpired() throws Exception {
        Queue queue = queue("FORGET");
        Session session = transacted(connect(AT_ONCE));
        MessageProducer producer = session.createProducer(queue);
        producer.setTimeToLive(500);
        producer.send(session.createTextMessage("expires"));
        session.commit();
        MessageConsumer consumer = session.createConsumer(queue);
        long expiration = next(consumer).getJMSExpiration();
        eventually("clock moves", () -> System.currentTimeMillis() > expiration + 2);
        session.rollback();
        consumer.close();
        isEmpty(queue);
        sendText(session(), queue, "poison");
        poisons(queue);
        MessageConsumer dead = session().createConsumer(new ActiveMQQueue("DEADFORGET"));
        equal("poison", nextText(dead), "text");
    }
}

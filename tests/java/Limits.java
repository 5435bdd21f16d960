import java.util.concurrent.CompletableFuture;
import java.util.concurrent.atomic.AtomicInteger;
import javax.jms.BytesMessage;
import javax.jms.DeliveryMode;
import javax.jms.Destination;
import javax.jms.JMSException;
import javax.jms.Message;
import javax.jms.MessageConsumer;
import javax.jms.MessageProducer;
import javax.jms.Queue;
import javax.jms.ResourceAllocationException;
import javax.jms.Session;
import javax.jms.Topic;
import org.apache.activemq.ActiveMQConnection;
import org.apache.activemq.command.ActiveMQQueue;
import org.apache.activemq.command.ActiveMQTopic;

/**
 * Limits of systemUsage: 4 MiB of memory, 8 MiB of store, 8 MiB of temporary store. A block is a message of
 * 100 KiB.
 */
final class Limits extends Rules {
    private static final int BLOCK_BYTES = 100 * 1024;
    /** More than fits anywhere. */
    private static final int MANY = 300;
    private static final String MIB_8 = Integer.toString(8 << 20);

    private static void sendBlocks(
            Session session, MessageProducer producer, int count, AtomicInteger sent)
            throws JMSException {
        for (int i = 0; i < count; i++) {
            BytesMessage message = session.createBytesMessage();
            message.writeBytes(new byte[BLOCK_BYTES]);
            message.setIntProperty("i", i);
            producer.send(message);
            sent.incrementAndGet();
        }
    }

    private static MessageProducer producer(Session session, Destination to, int mode)
            throws JMSException {
        MessageProducer producer = session.createProducer(to);
        producer.setDeliveryMode(mode);
        return producer;
    }

    private static void takesBlocks(MessageConsumer consumer, int count) throws JMSException {
        for (int i = 0; i < count; i++) {
            equal(i, next(consumer).getIntProperty("i"), "number of a block");
        }
    }

    /** Returns when nothing more is sent; that it waits cannot be seen otherwise. */
    private static void stalls(AtomicInteger sent) throws Exception {
        int before = -1;
        while (sent.get() != before || before == 0) {
            before = sent.get();
            Thread.sleep(700);
        }
        check(before < MANY, "nothing is held back");
    }

    /** Sends blocks until that is refused; the text of the refusal is about the destination. */
    private String refused(Session session, Destination to, int mode, AtomicInteger sent)
            throws Exception {
        // The files of what other rules have sent and received go at the next cleanups, five a second.
        Thread.sleep(1500);
        MessageProducer producer = producer(session, to, mode);
        ResourceAllocationException thrown = fails(ResourceAllocationException.class,
                () -> sendBlocks(session, producer, MANY, sent));
        String text = thrown.getMessage();
        String kind = to instanceof Topic ? "topic" : "queue";
        contains(text, "to prevent flooding " + kind + "://" + nameOf(to)
                + ". See http://activemq.apache.org/producer-flow-control.html for more info");
        return text;
    }

    /** Persistent messages are taken again. */
    private void storeHasRoom() throws Exception {
        Queue queue = queue("FAIL");
        Session session = session();
        eventually("the store has room", () -> {
            try {
                sendText(session, queue, "x");
                return true;
            } catch (ResourceAllocationException e) {
                return false;
            }
        });
        drained(queue);
    }

    /** Messages that are not persistent still come through. */
    private void othersGoOn() throws Exception {
        Queue queue = queue();
        Session session = session();
        MessageProducer producer = producer(session, queue, DeliveryMode.NON_PERSISTENT);
        producer.send(session.createTextMessage("x"));
        equal("x", nextText(session.createConsumer(queue)), "text");
    }

    @Rule
    void fullStoreRefusesPersistentMessages() throws Exception {
        Queue queue = queue("FAIL");
        AtomicInteger sent = new AtomicInteger();
        String text = refused(session(), queue, DeliveryMode.PERSISTENT, sent);
        contains(text, "Persistent store is Full, 100% of " + MIB_8 + ". Stopping producer (");
        check(sent.get() >= 60 && sent.get() <= 100, sent.get() + " blocks were taken");
        othersGoOn();
        takesBlocks(session().createConsumer(queue), sent.get());
        isEmpty(queue);
        storeHasRoom();
    }

    @Rule
    void highWaterMarkOfTheStoreIsThatOfTheDestination() throws Exception {
        Queue queue = queue("HALF");
        AtomicInteger sent = new AtomicInteger();
        String text = refused(session(), queue, DeliveryMode.PERSISTENT, sent);
        contains(text, "Persistent store is Full, 50% of " + MIB_8 + ". Stopping producer (");
        check(sent.get() >= 20 && sent.get() <= 60, sent.get() + " blocks were taken");
        Queue other = queue("FAIL");
        sendText(session(), other, "x");
        drained(other);
        takesBlocks(session().createConsumer(queue), sent.get());
        storeHasRoom();
    }

    @Rule
    void fullStoreRefusesPersistentMessagesAfterAWhile() throws Exception {
        Queue queue = queue("LATE");
        AtomicInteger sent = new AtomicInteger();
        String text = refused(session(), queue, DeliveryMode.PERSISTENT, sent);
        contains(text, "Persistent store is Full, 100% of " + MIB_8 + ". Stopping producer (");
        takesBlocks(session().createConsumer(queue), sent.get());
        storeHasRoom();
    }

    @Rule
    void fullStoreHoldsPersistentMessagesBack() throws Exception {
        Queue queue = queue();
        AtomicInteger sent = new AtomicInteger();
        Session session = session();
        MessageProducer producer = producer(session, queue, DeliveryMode.PERSISTENT);
        CompletableFuture<Void> sender = meanwhile(() -> sendBlocks(session, producer, MANY, sent));
        stalls(sent);
        othersGoOn();
        takesBlocks(session().createConsumer(queue), MANY);
        finishes(sender);
        isEmpty(queue);
        storeHasRoom();
    }

    @Rule
    void fullStoreRefusesAtCommitOrSend() throws Exception {
        Queue full = queue("FAIL");
        AtomicInteger sent = new AtomicInteger();
        refused(session(), full, DeliveryMode.PERSISTENT, sent);
        Queue queue = queue("FAIL");
        Session session = transacted(connect());
        JMSException thrown = null;
        try {
            sendText(session, queue, "x");
            session.commit();
        } catch (JMSException e) {
            thrown = e;
        }
        check(thrown != null, "it was committed");
        session.rollback();
        takesBlocks(session().createConsumer(full), sent.get());
        isEmpty(queue);
        storeHasRoom();
    }

    @Rule
    void topicsNeedTheStoreForDurableSubscriptionsOnly() throws Exception {
        Queue full = queue("FAIL");
        AtomicInteger sent = new AtomicInteger();
        refused(session(), full, DeliveryMode.PERSISTENT, sent);

        Topic free = topic("FAIL");
        Session session = session();
        MessageConsumer consumer = session.createConsumer(free);
        sendText(session, free, "x");
        equal("x", nextText(consumer), "text without durable subscriptions");

        Topic kept = topic("FAIL");
        ActiveMQConnection connection = connectAs(unique("client"));
        Session durable = auto(connection);
        durable.createDurableSubscriber(kept, "d");
        String text = refused(session, kept, DeliveryMode.PERSISTENT, new AtomicInteger());
        contains(text, "Persistent store is Full, 100% of " + MIB_8 + ". Stopping producer (");
        takesBlocks(session().createConsumer(full), sent.get());
        storeHasRoom();
    }

    private void tempIsFull(String text) {
        check(text.matches("(?s).*Temp Store is Full \\(1\\d\\d% of " + MIB_8 + "\\)\\. Stopping producer \\(.*"),
                text);
    }

    @Rule
    void fullTempStoreRefusesMessages() throws Exception {
        Queue queue = queue("FAILSPILL");
        AtomicInteger sent = new AtomicInteger();
        Session session = auto(connect("jms.alwaysSyncSend=true"));
        tempIsFull(refused(session, queue, DeliveryMode.NON_PERSISTENT, sent));
        check(sent.get() >= 60 && sent.get() <= 140, sent.get() + " blocks were taken");
        Queue other = queue();
        sendText(session(), other, "x");
        equal(1, drained(other).size(), "persistent messages elsewhere");
        takesBlocks(session().createConsumer(queue), sent.get());
        isEmpty(queue);
    }

    @Rule
    void fullTempStoreRefusesMessagesAfterAWhile() throws Exception {
        Queue queue = queue("LATESPILL");
        AtomicInteger sent = new AtomicInteger();
        Session session = auto(connect("jms.alwaysSyncSend=true"));
        tempIsFull(refused(session, queue, DeliveryMode.NON_PERSISTENT, sent));
        check(sent.get() >= 60 && sent.get() <= 140, sent.get() + " blocks were taken");
        takesBlocks(session().createConsumer(queue), sent.get());
        isEmpty(queue);
    }

    @Rule
    void fullTempStoreHoldsMessagesBack() throws Exception {
        Queue queue = queue("SPILL");
        AtomicInteger sent = new AtomicInteger();
        Session session = auto(connect("jms.alwaysSyncSend=true"));
        MessageProducer producer = producer(session, queue, DeliveryMode.NON_PERSISTENT);
        CompletableFuture<Void> sender = meanwhile(() -> sendBlocks(session, producer, MANY, sent));
        stalls(sent);
        takesBlocks(session().createConsumer(queue), MANY);
        finishes(sender);
        isEmpty(queue);
    }

    @Rule
    void memoryOfTheBrokerHoldsMessagesBack() throws Exception {
        Queue queue = queue("HELD");
        AtomicInteger sent = new AtomicInteger();
        Session session = auto(connect("jms.alwaysSyncSend=true"));
        MessageProducer producer = producer(session, queue, DeliveryMode.NON_PERSISTENT);
        CompletableFuture<Void> sender = meanwhile(() -> sendBlocks(session, producer, MANY, sent));
        stalls(sent);
        check(sent.get() >= 30 && sent.get() <= 45, sent.get() + " blocks were taken");
        // What fills the memory of one destination fills that of all.
        Queue other = queue("FAIL");
        ResourceAllocationException thrown = fails(ResourceAllocationException.class,
                () -> sendText(session(), other, "x"));
        contains(thrown.getMessage(), "Usage Manager Memory Limit reached on queue://" + nameOf(other));
        takesBlocks(session().createConsumer(queue), MANY);
        finishes(sender);
        isEmpty(queue);
    }

    @Rule
    void fullStoreHoldsNetworksBackWhereOthersAreRefused() throws Exception {
        Queue queue = queue("FAIL");
        AtomicInteger sent = new AtomicInteger();
        Session session = FlowControl.bridged(connect());
        MessageProducer producer = producer(session, queue, DeliveryMode.PERSISTENT);
        CompletableFuture<Void> sender = meanwhile(() -> sendBlocks(session, producer, MANY, sent));
        stalls(sent);
        takesBlocks(session().createConsumer(queue), MANY);
        finishes(sender);
        isEmpty(queue);
        storeHasRoom();
    }

    /** With advisorySupport="false". */
    @Rule
    void nothingIsAnnounced() throws Exception {
        Queue queue = queue();
        Session session = session();
        MessageConsumer watch = session.createConsumer(new ActiveMQTopic("ActiveMQ.Advisory.>"));
        send(session, queue, 0, 1);
        takes(session.createConsumer(queue), 0, 1);
        settled();
        equal(null, watch.receiveNoWait(), "advisory");
    }

    /** With keepDurableSubsActive="false". */
    @Rule
    void subscriptionThatIsAwayKeepsPersistentMessagesOnly() throws Exception {
        Topic topic = topic();
        String id = unique("durable");
        ActiveMQConnection connection = connectAs(id);
        auto(connection).createDurableSubscriber(topic, "s");
        connection.close();
        Session session = session();
        MessageProducer producer = session.createProducer(topic);
        for (int mode : new int[] {DeliveryMode.NON_PERSISTENT, DeliveryMode.PERSISTENT}) {
            producer.setDeliveryMode(mode);
            producer.send(session.createTextMessage(Integer.toString(mode)));
        }
        MessageConsumer back = auto(connectAs(id)).createDurableSubscriber(topic, "s");
        equal(Integer.toString(DeliveryMode.PERSISTENT), nextText(back), "text");
        sendText(session, topic, "last");
        equal("last", nextText(back), "text");
    }

    /** With enableMessageExpirationOnActiveDurableSubs="true". */
    @Rule
    void pendingMessagesOfSubscriptionsThatAreThereExpire() throws Exception {
        Topic topic = topic("EXPIRE");
        ActiveMQConnection connection =
                connectAs(unique("durable"), "jms.prefetchPolicy.durableTopicPrefetch=1");
        MessageConsumer durable = client(connection).createDurableSubscriber(topic, "s");
        Session session = session();
        send(session, topic, 0, 1);
        MessageProducer producer = session.createProducer(topic);
        producer.setTimeToLive(100);
        producer.send(session.createTextMessage("expired"));
        // The subscriber's window is full: nobody but the broker can find it.
        MessageConsumer dead = session().createConsumer(new ActiveMQQueue("ActiveMQ.DLQ"));
        equal("expired", nextText(dead), "dead letter");
        send(session, topic, 1, 2);
        takes(durable, 0, 1).acknowledge();
        takes(durable, 1, 2);
    }

    /** A subscriber that takes nothing fills memory, then the temporary store; then senders wait. */
    @Rule
    void slowTopicConsumerHoldsMessagesBackWhenTheTempStoreIsFull() throws Exception {
        Topic topic = topic("SPILL");
        AtomicInteger sent = new AtomicInteger();
        ActiveMQConnection slow = connect("jms.prefetchPolicy.topicPrefetch=1");
        MessageConsumer consumer = client(slow).createConsumer(topic);
        Session session = auto(connect("jms.alwaysSyncSend=true"));
        MessageProducer producer = producer(session, topic, DeliveryMode.NON_PERSISTENT);
        CompletableFuture<Void> sender = meanwhile(() -> sendBlocks(session, producer, MANY, sent));
        stalls(sent);
        for (int i = 0; i < MANY; i++) {
            Message message = next(consumer);
            equal(i, message.getIntProperty("i"), "number of a block");
            message.acknowledge();
        }
        finishes(sender);
    }

    /** With destinationInterceptors that has none. */
    @Rule
    void withoutInterceptorsThereAreNoVirtualTopics() throws Exception {
        Topic topic = topic("VirtualTopic");
        Queue queue = new ActiveMQQueue("Consumer.A." + nameOf(topic));
        Session session = session();
        MessageConsumer subscriber = session.createConsumer(topic);
        session.createConsumer(queue).close();
        sendText(session, topic, "0");
        takes(subscriber, 0, 1);
        isEmpty(queue);
    }
}

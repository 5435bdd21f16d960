import java.util.HashSet;
import java.util.Set;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicReference;
import javax.jms.BytesMessage;
import javax.jms.DeliveryMode;
import javax.jms.JMSException;
import javax.jms.Message;
import javax.jms.MessageConsumer;
import javax.jms.MessageProducer;
import javax.jms.Queue;
import javax.jms.ResourceAllocationException;
import javax.jms.Session;
import org.apache.activemq.ActiveMQConnection;
import org.apache.activemq.advisory.AdvisorySupport;
import org.apache.activemq.command.BrokerInfo;
import org.apache.activemq.transport.RequestTimedOutIOException;

/** Queues under BLOCK and REFUSE have 100 KiB of memory; a block is a message of 10 KiB. */
final class FlowControl extends Rules {
    private static final int BLOCK_BYTES = 10 * 1024;

    static void sendBlocks(Session session, Queue queue, int from, int to) throws JMSException {
        sendBlocks(session, session.createProducer(queue), from, to, new AtomicInteger());
    }

    private static void sendBlocks(
            Session session, MessageProducer producer, int from, int to, AtomicInteger sent)
            throws JMSException {
        for (int i = from; i < to; i++) {
            BytesMessage message = session.createBytesMessage();
            message.writeBytes(new byte[BLOCK_BYTES]);
            message.setIntProperty("i", i);
            producer.send(message);
            sent.incrementAndGet();
        }
    }

    static void takesBlocks(MessageConsumer consumer, int from, int to) throws JMSException {
        for (int i = from; i < to; i++) {
            equal(i, next(consumer).getIntProperty("i"), "number of a block");
        }
    }

    /** Completes when the queue has announced that it is full. */
    private MessageConsumer watchFull(Queue queue) throws JMSException {
        return session().createConsumer(AdvisorySupport.getFullAdvisoryTopic(queue));
    }

    @Rule
    void synchronousSenderWaitsForSpaceAndOthersDoNot() throws Exception {
        Queue queue = queue("BLOCK");
        MessageConsumer full = watchFull(queue);
        ActiveMQConnection connection = connect();
        Session sending = auto(connection);
        AtomicInteger sent = new AtomicInteger();
        CompletableFuture<Void> sender =
                meanwhile(() -> sendBlocks(sending, sending.createProducer(queue), 0, 30, sent));
        next(full);
        check(sent.get() < 30, "nothing is blocked");
        Queue other = queue();
        Session elsewhere = session();
        send(elsewhere, other, 0, 100);
        takes(elsewhere.createConsumer(other), 0, 100);
        // A synchronous send does not stop its connection either.
        Session sibling = auto(connection);
        send(sibling, other, 0, 10);
        check(!sender.isDone(), "the sender is not blocked");
        takesBlocks(sibling.createConsumer(queue), 0, 30);
        finishes(sender);
        isEmpty(queue);
    }

    @Rule
    void memoryLimitBoundsWhatIsAccepted() throws Exception {
        Queue queue = queue("BLOCK");
        MessageConsumer full = watchFull(queue);
        AtomicInteger sent = new AtomicInteger();
        Session session = session();
        CompletableFuture<Void> sender =
                meanwhile(() -> sendBlocks(session, session.createProducer(queue), 0, 12, sent));
        next(full);
        check(sent.get() >= 8 && sent.get() <= 10, sent.get() + " blocks were accepted");
        takesBlocks(session().createConsumer(queue), 0, 12);
        finishes(sender);
    }

    @Rule
    void transactionEndsWhileItsSenderWaitsForSpace() throws Exception {
        Queue queue = queue("BLOCK");
        ActiveMQConnection connection = connect();
        connection.setSendTimeout(500);
        Session session = transacted(connection);
        JMSException thrown = fails(JMSException.class, () -> sendBlocks(session, queue, 0, 30));
        check(thrown.getCause() instanceof RequestTimedOutIOException, "cause: " + thrown.getCause());
        session.rollback();
        isEmpty(queue);
        sendBlocks(session, queue, 100, 102);
        session.commit();
        takesBlocks(session().createConsumer(queue), 100, 102);
    }

    @Rule
    void transactionTakesWhatHasWaitedForSpace() throws Exception {
        Queue queue = queue("BLOCK");
        MessageConsumer full = watchFull(queue);
        Session filling = session();
        CompletableFuture<Void> filler = meanwhile(() -> sendBlocks(filling, queue, 0, 12));
        next(full);
        ActiveMQConnection connection = connect();
        connection.setAlwaysSyncSend(true);
        Session session = transacted(connection);
        CompletableFuture<Void> sender = meanwhile(() -> sendBlocks(session, queue, 100, 105));
        MessageConsumer consumer = auto(connection).createConsumer(queue);
        takesBlocks(consumer, 0, 12);
        finishes(filler);
        finishes(sender);
        session.commit();
        takesBlocks(consumer, 100, 105);
    }

    @Rule
    void refusingQueueFailsTheSend() throws Exception {
        Queue queue = queue("REFUSE");
        Session session = session();
        ResourceAllocationException thrown =
                fails(ResourceAllocationException.class, () -> sendBlocks(session, queue, 0, 30));
        contains(thrown.getMessage(),
                "Usage Manager Memory Limit reached on queue://" + nameOf(queue)
                + ". See http://activemq.apache.org/producer-flow-control.html for more info");
        MessageConsumer consumer = session().createConsumer(queue);
        takesBlocks(consumer, 0, 8);
        sendBlocks(session, queue, 100, 101);
    }

    @Rule
    void refusingQueueRefusesAtCommitOrSend() throws Exception {
        Queue queue = queue("REFUSE");
        Session session = transacted(connect());
        JMSException thrown = null;
        try {
            sendBlocks(session, queue, 0, 40);
            session.commit();
        } catch (JMSException e) {
            thrown = e;
        }
        // Transacted sends are one-way: the transaction is rollback-only once one of them failed.
        check(thrown != null, "more than the limit was committed");
        session.rollback();
        isEmpty(queue);
    }

    @Rule
    void producerWindowHoldsAsynchronousSends() throws Exception {
        Queue queue = queue("BLOCK");
        MessageConsumer full = watchFull(queue);
        ActiveMQConnection connection =
                connect("jms.useAsyncSend=true&jms.producerWindowSize=30000");
        Session session = auto(connection);
        AtomicInteger sent = new AtomicInteger();
        CompletableFuture<Void> sender =
                meanwhile(() -> sendBlocks(session, session.createProducer(queue), 0, 50, sent));
        next(full);
        check(!sender.isDone(), "the sender is not blocked");
        // The window leaves the connection usable, unlike a send without it.
        Queue other = queue();
        Session sibling = auto(connection);
        send(sibling, other, 0, 10);
        takes(sibling.createConsumer(other), 0, 10);
        check(sent.get() < 20, sent.get() + " blocks were sent");
        // The original lets new messages overtake parked ones, so only the numbers count.
        MessageConsumer consumer = sibling.createConsumer(queue);
        Set<Integer> numbers = new HashSet<>();
        for (int i = 0; i < 50; i++) {
            check(numbers.add(next(consumer).getIntProperty("i")), "a block came twice");
        }
        finishes(sender);
        isEmpty(queue);
    }

    @Rule
    void producerWindowIsAcknowledgedWhenThereIsSpace() throws Exception {
        Queue queue = queue();
        Session session = auto(connect("jms.useAsyncSend=true&jms.producerWindowSize=20000"));
        CompletableFuture<Void> sender = meanwhile(() -> sendBlocks(session, queue, 0, 500));
        takesBlocks(session().createConsumer(queue), 0, 500);
        finishes(sender);
    }

    @Rule
    void blockedAsynchronousSenderKeepsItsConnection() throws Exception {
        Queue queue = queue("BLOCK");
        MessageConsumer full = watchFull(queue);
        ActiveMQConnection connection = connect(
                "jms.useAsyncSend=true&wireFormat.maxInactivityDuration=1000"
                        + "&wireFormat.maxInactivityDurationInitalDelay=500");
        AtomicReference<JMSException> broken = new AtomicReference<>();
        connection.setExceptionListener(broken::set);
        Session session = auto(connection);
        MessageProducer producer = session.createProducer(queue);
        producer.setDeliveryMode(DeliveryMode.NON_PERSISTENT);
        CompletableFuture<Void> sender =
                meanwhile(() -> sendBlocks(session, producer, 0, 3000, new AtomicInteger()));
        next(full);
        // Three times the time after which a silent connection is dropped.
        Thread.sleep(3000);
        equal(null, broken.get(), "failure of the blocked connection");
        takesBlocks(session().createConsumer(queue), 0, 3000);
        finishes(sender);
        equal(null, broken.get(), "failure of the blocked connection");
    }

    @Rule
    void sendTimeoutEndsTheWait() throws Exception {
        Queue queue = queue("BLOCK");
        Session session = auto(connect("jms.sendTimeout=300"));
        fails(JMSException.class, "org.apache.activemq.transport.RequestTimedOutIOException",
                () -> sendBlocks(session, queue, 0, 30));
    }

    @Rule
    void closingTheConnectionEndsItsBlockedSend() throws Exception {
        Queue queue = queue("BLOCK");
        MessageConsumer full = watchFull(queue);
        ActiveMQConnection connection = connect();
        Session session = auto(connection);
        AtomicInteger sent = new AtomicInteger();
        CompletableFuture<Void> sender =
                meanwhile(() -> sendBlocks(session, session.createProducer(queue), 0, 30, sent));
        next(full);
        connection.close();
        eventually("sender has ended", sender::isDone);
        check(sender.isCompletedExceptionally(), "the blocked send succeeded");
        // The original lets the parked message in when there is space again, although
        // its sender is gone.
        int left = drained(queue).size();
        check(left == sent.get() || left == sent.get() + 1,
                left + " messages left of " + sent.get() + " sent");
    }

    @Rule
    void withoutFlowControlMessagesSpillToDisk() throws Exception {
        Queue queue = queue("SPILL");
        Session session = auto(connect("jms.useAsyncSend=true"));
        MessageProducer producer = session.createProducer(queue);
        producer.setDeliveryMode(DeliveryMode.NON_PERSISTENT);
        sendBlocks(session, producer, 0, 200, new AtomicInteger());
        takesBlocks(session().createConsumer(queue), 0, 200);
    }

    @Rule
    void persistentMessagesOfAStoreQueueNeedNoMemory() throws Exception {
        Queue queue = queue("SPILL");
        Session session = auto(connect("jms.useAsyncSend=true"));
        sendBlocks(session, queue, 0, 300);
        Message last = null;
        MessageConsumer consumer = session().createConsumer(queue);
        for (int i = 0; i < 300; i++) {
            last = next(consumer);
            equal(i, last.getIntProperty("i"), "number of a block");
        }
    }

    /** A session of a connection whose peer has said that it is a broker, and so sends for others. */
    static Session bridged(ActiveMQConnection connection) throws JMSException {
        connection.syncSendPacket(new BrokerInfo());
        return auto(connection);
    }

    /** What a broker sends beyond the room in the queue waits until somebody takes it. */
    private void isHeldBack(Queue queue, boolean oneWay) throws Exception {
        ActiveMQConnection connection =
                connect(oneWay ? "jms.useAsyncSend=true" : "jms.alwaysSyncSend=true");
        Session session = bridged(connection);
        Session sibling = auto(connection);
        AtomicInteger sent = new AtomicInteger();
        CompletableFuture<Void> sender = meanwhile(
                () -> sendBlocks(session, session.createProducer(queue), 0, 40, sent));
        int before = -1;
        while (sent.get() != before || before == 0) {
            before = sent.get();
            Thread.sleep(500);
        }
        // One-way sends are on their way, but their connection is not read.
        CompletableFuture<Void> waits =
                oneWay ? meanwhile(() -> sibling.createProducer(queue())) : sender;
        Thread.sleep(300);
        if (waits.isDone()) {
            finishes(waits);
            throw new AssertionError("more than the limit was taken");
        }
        takesBlocks(session().createConsumer(queue), 0, 40);
        finishes(sender);
        finishes(waits);
        isEmpty(queue);
    }

    @Rule
    void networksAreHeldBackWhereOthersAreRefused() throws Exception {
        isHeldBack(queue("REFUSE"), false);
        isHeldBack(queue("REFUSE"), true);
    }

    @Rule
    void networksWaitLongerThanOthersMay() throws Exception {
        isHeldBack(queue("IMPATIENT"), false);
        isHeldBack(queue("IMPATIENT"), true);
    }

    @Rule
    void whatExpiresWhileItWaitsForSpaceIsADeadLetter() throws Exception {
        Queue queue = queue("BLOCK");
        MessageConsumer full = watchFull(queue);
        Session filling = session();
        CompletableFuture<Void> filler = meanwhile(() -> sendBlocks(filling, queue, 0, 12));
        next(full);
        Session session = session();
        MessageProducer producer = session.createProducer(queue);
        producer.setTimeToLive(100);
        CompletableFuture<Void> sender =
                meanwhile(() -> producer.send(session.createTextMessage("expired")));
        Thread.sleep(500);
        check(!sender.isDone(), "the message is not held back");
        takesBlocks(session().createConsumer(queue), 0, 12);
        finishes(filler);
        finishes(sender);
        equal("expired", text(DeadLetters.next(this, queue)), "text");
        isEmpty(queue);
    }

    @Rule
    void oneWaySendWithoutWindowStopsItsConnection() throws Exception {
        Queue queue = queue("BLOCK");
        MessageConsumer full = watchFull(queue);
        ActiveMQConnection connection = connect("jms.useAsyncSend=true");
        Session session = auto(connection);
        CompletableFuture<Void> sender = meanwhile(() -> sendBlocks(session, queue, 0, 30));
        next(full);
        Session sibling = auto(connection);
        CompletableFuture<Void> behind = meanwhile(() -> sibling.createProducer(queue()));
        Thread.sleep(500);
        check(!behind.isDone(), "the connection was read on");
        takesBlocks(session().createConsumer(queue), 0, 30);
        finishes(sender);
        finishes(behind);
    }
}

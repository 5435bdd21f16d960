import java.io.IOException;
import java.net.URI;
import java.util.ArrayList;
import java.util.Deque;
import java.util.List;
import java.util.Objects;
import java.util.concurrent.Callable;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentLinkedDeque;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import javax.jms.Destination;
import javax.jms.JMSException;
import javax.jms.Message;
import javax.jms.MessageConsumer;
import javax.jms.MessageProducer;
import javax.jms.Queue;
import javax.jms.Session;
import javax.jms.TextMessage;
import javax.jms.Topic;
import org.apache.activemq.ActiveMQConnection;
import org.apache.activemq.ActiveMQConnectionFactory;
import org.apache.activemq.command.ActiveMQDestination;
import org.apache.activemq.command.ActiveMQQueue;
import org.apache.activemq.command.ActiveMQTopic;
import org.apache.activemq.transport.TransportListener;

/**
 * What every scenario has at hand: connections that are closed afterwards, unique names, checks.
 */
abstract class Rules implements AutoCloseable {
    /** How long a scenario waits for something that must happen. */
    static final long WAIT_MS = 15_000;
    /** Names of this run are unlike those of every other run. */
    static final String RUN = Long.toString(System.currentTimeMillis(), 36);

    private static final AtomicInteger NAMES = new AtomicInteger();

    String url;
    /** Returns when the broker has been ended, however that was done, and started again. */
    Action restart;
    private final Deque<AutoCloseable> opened = new ConcurrentLinkedDeque<>();
    private final Deque<ActiveMQConnection> connections = new ConcurrentLinkedDeque<>();

    interface Action {
        void run() throws Exception;
    }

    // Connections

    /**
     * Options as in a broker URL, joined by "&". Redelivery is immediate unless they say otherwise.
     */
    private static ActiveMQConnectionFactory factory(String url, String options) {
        String quick = "jms.redeliveryPolicy.initialRedeliveryDelay=0"
                + "&jms.redeliveryPolicy.redeliveryDelay=0";
        String query = options.isEmpty() ? quick : quick + "&" + options;
        return new ActiveMQConnectionFactory(url + (url.contains("?") ? "&" : "?") + query);
    }

    ActiveMQConnection connect() throws JMSException {
        return connect("");
    }

    /** A started connection. */
    ActiveMQConnection connect(String options) throws JMSException {
        ActiveMQConnection connection = prepared(options);
        connection.start();
        return connection;
    }

    /** A connection that is not started, so that it can still get a client id. */
    ActiveMQConnection prepared(String options) throws JMSException {
        return preparedAt(url, options);
    }

    /** The same at another URL, such as a proxy's. */
    ActiveMQConnection preparedAt(String otherUrl, String options) throws JMSException {
        ActiveMQConnection connection =
                (ActiveMQConnection) factory(otherUrl, options).createConnection();
        closeLater(connection);
        return connection;
    }

    ActiveMQConnection connectAt(String otherUrl, String options) throws JMSException {
        ActiveMQConnection connection = preparedAt(otherUrl, options);
        connection.start();
        return connection;
    }

    ActiveMQConnection connectAs(String clientId) throws JMSException {
        return connectAs(clientId, "");
    }

    ActiveMQConnection connectAs(String clientId, String options) throws JMSException {
        ActiveMQConnection connection = prepared(options);
        connection.setClientID(clientId);
        connection.start();
        return connection;
    }

    Session session() throws JMSException {
        return auto(connect());
    }

    static Session auto(ActiveMQConnection connection) throws JMSException {
        return connection.createSession(false, Session.AUTO_ACKNOWLEDGE);
    }

    static Session client(ActiveMQConnection connection) throws JMSException {
        return connection.createSession(false, Session.CLIENT_ACKNOWLEDGE);
    }

    static Session transacted(ActiveMQConnection connection) throws JMSException {
        return connection.createSession(true, Session.SESSION_TRANSACTED);
    }

    /** A proxy in front of the broker, to cut or silence connections. */
    Proxy proxy() throws Exception {
        URI broker = new URI(url);
        Proxy proxy = new Proxy(broker.getHost(), broker.getPort());
        opened.push(proxy);
        return proxy;
    }

    /** Opens when the client has reconnected the next time. */
    static CountDownLatch resumption(ActiveMQConnection connection) {
        CountDownLatch resumed = new CountDownLatch(1);
        connection.addTransportListener(new TransportListener() {
            @Override
            public void onCommand(Object command) {}

            @Override
            public void onException(IOException error) {}

            @Override
            public void transportInterupted() {}

            @Override
            public void transportResumed() {
                resumed.countDown();
            }
        });
        return resumed;
    }

    void closeLater(ActiveMQConnection connection) {
        opened.push(connection::close);
        connections.push(connection);
    }

    /** Acks and closes are one-way: returns when the broker has seen those of all connections. */
    void settled() {
        for (ActiveMQConnection connection : connections) {
            try {
                if (connection.isStarted() && !connection.isTransportFailed()) {
                    Session session = auto(connection);
                    session.createProducer(null);
                    session.close();
                }
            } catch (JMSException e) {
                // It is closed or cut.
            }
        }
    }

    @Override
    public void close() {
        while (!opened.isEmpty()) {
            try {
                opened.pop().close();
            } catch (Exception ignored) {
                // Scenarios cut connections; what they check of closing they check themselves.
            }
        }
    }

    // Names

    static String unique(String prefix) {
        return prefix + "." + RUN + "." + NAMES.incrementAndGet();
    }

    static Queue queue() {
        return queue("TEST");
    }

    /** A new name under the given first level, which picks the policy (peer.xml). */
    static Queue queue(String prefix) {
        return new ActiveMQQueue(unique(prefix));
    }

    static Topic topic() {
        return topic("TEST");
    }

    static Topic topic(String prefix) {
        return new ActiveMQTopic(unique(prefix));
    }

    static Queue withOptions(Queue queue, String options) throws JMSException {
        return new ActiveMQQueue(queue.getQueueName() + "?" + options);
    }

    static Topic withOptions(Topic topic, String options) throws JMSException {
        return new ActiveMQTopic(topic.getTopicName() + "?" + options);
    }

    static String nameOf(Destination destination) {
        return ((ActiveMQDestination) destination).getPhysicalName();
    }

    // Messages

    /** Sends the texts "from" to "to - 1". */
    static void send(
            Session session, Destination destination, int from, int to) throws JMSException {
        MessageProducer producer = session.createProducer(destination);
        for (int i = from; i < to; i++) {
            producer.send(session.createTextMessage(Integer.toString(i)));
        }
        producer.close();
    }

    static void sendText(
            Session session, Destination destination, String text) throws JMSException {
        MessageProducer producer = session.createProducer(destination);
        producer.send(session.createTextMessage(text));
        producer.close();
    }

    static Message next(MessageConsumer consumer) throws JMSException {
        Message message = consumer.receive(WAIT_MS);
        check(message != null, "no message within " + WAIT_MS + " ms");
        return message;
    }

    static String nextText(MessageConsumer consumer) throws JMSException {
        return text(next(consumer));
    }

    static String text(Message message) throws JMSException {
        return ((TextMessage) message).getText();
    }

    /** The next messages are the texts "from" to "to - 1", in this order. Returns the last one. */
    static Message takes(MessageConsumer consumer, int from, int to) throws JMSException {
        Message last = null;
        for (int i = from; i < to; i++) {
            last = consumer.receive(WAIT_MS);
            check(last != null, "message " + i + " did not come within " + WAIT_MS + " ms");
            equal(Integer.toString(i), text(last), "text of a message");
        }
        return last;
    }

    static List<String> take(MessageConsumer consumer, int count) throws JMSException {
        List<String> texts = new ArrayList<>();
        for (int i = 0; i < count; i++) {
            texts.add(nextText(consumer));
        }
        return texts;
    }

    /**
     * Everything the broker would give to a new consumer of the queue now. A pull without time-out
     * is answered at once, so this needs no waiting.
     */
    List<Message> drained(Queue queue) throws JMSException {
        settled();
        ActiveMQConnection connection = connect("jms.prefetchPolicy.queuePrefetch=0");
        MessageConsumer consumer = auto(connection).createConsumer(queue);
        List<Message> messages = new ArrayList<>();
        for (Message m = consumer.receiveNoWait(); m != null; m = consumer.receiveNoWait()) {
            messages.add(m);
        }
        connection.close();
        return messages;
    }

    void isEmpty(Queue queue) throws JMSException {
        equal(0, drained(queue).size(), "messages left in " + queue);
    }

    static void flags(Message message, boolean redelivered, int deliveryCount) throws JMSException {
        String which = message instanceof TextMessage t ? "message " + t.getText() : "the message";
        equal(redelivered, message.getJMSRedelivered(), "JMSRedelivered of " + which);
        equal(deliveryCount, message.getIntProperty("JMSXDeliveryCount"),
                "JMSXDeliveryCount of " + which);
    }

    /** Takes the texts "from" to "to - 1" and checks the flags of each. */
    static Message takesFlagged(
            MessageConsumer consumer, int from, int to, boolean redelivered, int count)
            throws JMSException {
        Message last = null;
        for (int i = from; i < to; i++) {
            last = takes(consumer, i, i + 1);
            flags(last, redelivered, count);
        }
        return last;
    }

    // Checks

    static void check(boolean holds, String what) {
        if (!holds) {
            throw new AssertionError(what);
        }
    }

    static void equal(Object expected, Object actual, String what) {
        if (!Objects.equals(expected, actual)) {
            throw new AssertionError(what + " is " + actual + ", expected " + expected);
        }
    }

    static void contains(String text, String part) {
        check(text != null && text.contains(part),
                "\"" + text + "\" does not contain \"" + part + "\"");
    }

    /** The action throws exactly this class; returns the exception. */
    static <E extends Throwable> E fails(Class<E> type, Action action) throws Exception {
        try {
            action.run();
        } catch (Throwable e) {
            if (e.getClass() == type) {
                return type.cast(e);
            }
            throw new AssertionError("expected " + type.getName() + ", got " + e, e);
        }
        throw new AssertionError("expected " + type.getName() + ", but nothing was thrown");
    }

    static <E extends Throwable> E fails(
            Class<E> type, String messagePart, Action action) throws Exception {
        E thrown = fails(type, action);
        contains(thrown.getMessage(), messagePart);
        return thrown;
    }

    /** Waits until the condition holds; only for states that no message announces. */
    static void eventually(String what, Callable<Boolean> condition) throws Exception {
        long end = System.nanoTime() + TimeUnit.MILLISECONDS.toNanos(WAIT_MS);
        while (!condition.call()) {
            check(System.nanoTime() < end, "not within " + WAIT_MS + " ms: " + what);
            Thread.sleep(2);
        }
    }

    /** Runs the action on a thread of its own. */
    static CompletableFuture<Void> meanwhile(Action action) {
        CompletableFuture<Void> result = new CompletableFuture<>();
        Thread thread = new Thread(() -> {
            try {
                action.run();
                result.complete(null);
            } catch (Throwable e) {
                result.completeExceptionally(e);
            }
        }, "meanwhile");
        thread.setDaemon(true);
        thread.start();
        return result;
    }

    static void finishes(CompletableFuture<Void> action) throws Exception {
        try {
            action.get(WAIT_MS, TimeUnit.MILLISECONDS);
        } catch (ExecutionException e) {
            throw e.getCause() instanceof Exception cause ? cause : e;
        }
    }
}

import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicInteger;
import javax.jms.JMSException;
import javax.jms.Message;
import javax.jms.MessageConsumer;
import javax.jms.MessageProducer;
import javax.jms.Queue;
import javax.jms.Session;
import javax.jms.TemporaryQueue;
import javax.jms.Topic;
import javax.jms.TransactionRolledBackException;
import org.apache.activemq.ActiveMQConnection;

/** What clients see that are connected while the broker is ended and started again. */
final class RestartClients extends Rules {
    private String failoverUrl() {
        return "failover:(" + url + ")?initialReconnectDelay=50&maxReconnectDelay=200"
                + "&useExponentialBackOff=false";
    }

    private ActiveMQConnection failover(String options) throws JMSException {
        return connectAt(failoverUrl(), options);
    }

    private ActiveMQConnection failoverAs(String clientId) throws JMSException {
        ActiveMQConnection connection = preparedAt(failoverUrl(), "");
        connection.setClientID(clientId);
        connection.start();
        return connection;
    }

    private void restarted(ActiveMQConnection connection) throws Exception {
        CountDownLatch resumed = resumption(connection);
        restart.run();
        check(resumed.await(WAIT_MS, TimeUnit.MILLISECONDS), "the client did not reconnect");
    }

    @Rule
    void whatAClientHasOpenWorksOn() throws Exception {
        ActiveMQConnection connection = failoverAs(unique("client"));
        Queue queue = queue();
        Topic topic = topic();
        Session session = auto(connection);
        TemporaryQueue inbox = session.createTemporaryQueue();
        MessageConsumer fromQueue = session.createConsumer(queue);
        MessageConsumer fromTopic = auto(connection).createConsumer(topic);
        MessageConsumer fromInbox = auto(connection).createConsumer(inbox);
        MessageConsumer durable = auto(connection).createDurableSubscriber(topic, "s");
        send(session, queue, 0, 10);
        takes(fromQueue, 0, 10);
        restarted(connection);
        send(session, queue, 10, 20);
        takes(fromQueue, 10, 20);
        send(session, topic, 0, 5);
        takes(fromTopic, 0, 5);
        takes(durable, 0, 5);
        send(session, inbox, 0, 5);
        takes(fromInbox, 0, 5);
    }

    @Rule
    void openTransactionOfSendsGoesOn() throws Exception {
        ActiveMQConnection connection = failover("");
        Queue queue = queue();
        Session session = transacted(connection);
        send(session, queue, 0, 5);
        restarted(connection);
        send(session, queue, 5, 10);
        session.commit();
        takes(session().createConsumer(queue), 0, 10);
        isEmpty(queue);
    }

    @Rule
    void unacknowledgedMessagesComeAgain() throws Exception {
        ActiveMQConnection connection = failover("");
        Queue queue = queue();
        Session session = client(connection);
        send(session, queue, 0, 10);
        MessageConsumer consumer = session.createConsumer(queue);
        takes(consumer, 0, 5);
        restarted(connection);
        takes(consumer, 0, 10).acknowledge();
        session.close();
        isEmpty(queue);
    }

    @Rule
    void durableSubscriberResumes() throws Exception {
        ActiveMQConnection connection = failoverAs(unique("client"));
        Topic topic = topic();
        Session session = client(connection);
        MessageConsumer consumer = session.createDurableSubscriber(topic, "s");
        send(session(), topic, 0, 10);
        takes(consumer, 0, 5).acknowledge();
        restarted(connection);
        send(session(), topic, 10, 15);
        takes(consumer, 5, 15).acknowledge();
    }

    /** Sends 0, 1, ... until it is told to stop or fails. */
    private static final class Sender {
        final AtomicInteger confirmed = new AtomicInteger();
        final AtomicBoolean stop = new AtomicBoolean();
        final CompletableFuture<Void> done;

        Sender(Session session, Queue queue) throws JMSException {
            MessageProducer producer = session.createProducer(queue);
            done = meanwhile(() -> {
                for (int i = 0; !stop.get(); i++) {
                    producer.send(session.createTextMessage(Integer.toString(i)));
                    confirmed.set(i + 1);
                }
            });
        }
    }

    @Rule
    void sendsThroughTheRestartAreNeitherLostNorDoubled() throws Exception {
        List<Queue> queues = new ArrayList<>();
        List<Sender> senders = new ArrayList<>();
        for (int i = 0; i < 4; i++) {
            Queue queue = queue();
            Sender sender = new Sender(auto(failover("")), queue);
            queues.add(queue);
            senders.add(sender);
            eventually("sends are under way", () -> sender.confirmed.get() > 50);
        }
        restart.run();
        for (int i = 0; i < 4; i++) {
            Sender sender = senders.get(i);
            int before = sender.confirmed.get();
            eventually("sends go on", () -> sender.confirmed.get() > before + 10);
            sender.stop.set(true);
            finishes(sender.done);
            takes(session().createConsumer(queues.get(i)), 0, sender.confirmed.get());
            isEmpty(queues.get(i));
        }
    }

    @Rule
    void confirmedSendsAreThere() throws Exception {
        List<Queue> queues = new ArrayList<>();
        List<Sender> senders = new ArrayList<>();
        for (int i = 0; i < 4; i++) {
            Queue queue = queue();
            Sender sender = new Sender(session(), queue);
            queues.add(queue);
            senders.add(sender);
            eventually("sends are under way", () -> sender.confirmed.get() > 50);
        }
        restart.run();
        for (int i = 0; i < 4; i++) {
            Sender sender = senders.get(i);
            fails(JMSException.class, () -> finishes(sender.done));
            int confirmed = sender.confirmed.get();
            takes(session().createConsumer(queues.get(i)), 0, confirmed);
            // The one whose answer was under way may be there or not.
            List<Message> more = drained(queues.get(i));
            check(more.size() <= 1, more.size() + " more than were sent");
            if (!more.isEmpty()) {
                equal(Integer.toString(confirmed), text(more.get(0)), "text");
            }
        }
    }

    @Rule
    void confirmedReceivesDoNotComeAgain() throws Exception {
        Queue queue = queue();
        Session sender = transacted(connect());
        send(sender, queue, 0, 20_000);
        sender.commit();
        MessageConsumer consumer = auto(connect("jms.sendAcksAsync=false")).createConsumer(queue);
        AtomicInteger received = new AtomicInteger();
        CompletableFuture<Void> receiver = meanwhile(() -> {
            for (int i = 0; i < 20_000; i++) {
                takes(consumer, i, i + 1);
                received.set(i + 1);
            }
        });
        eventually("receives are under way", () -> received.get() > 100);
        restart.run();
        try {
            finishes(receiver);
        } catch (JMSException | AssertionError expected) {
            // The connection is gone.
        }
        // The acknowledgement of the last one may have got through unanswered.
        MessageConsumer again = session().createConsumer(queue);
        int first = Integer.parseInt(nextText(again));
        check(first == received.get() || first == received.get() + 1,
                "goes on at " + first + " after " + received.get());
        takes(again, first + 1, 20_000);
        isEmpty(queue);
    }

    @Rule
    void receiverThroughTheRestartMissesNothing() throws Exception {
        Queue queue = queue();
        Session sender = transacted(connect());
        send(sender, queue, 0, 20_000);
        sender.commit();
        ActiveMQConnection connection = failover("jms.sendAcksAsync=false");
        MessageConsumer consumer = auto(connection).createConsumer(queue);
        AtomicInteger received = new AtomicInteger();
        AtomicBoolean stop = new AtomicBoolean();
        Set<String> texts = new HashSet<>();
        CompletableFuture<Void> receiver = meanwhile(() -> {
            // Other scenarios take their time until this one goes on: it may get them all.
            while (!stop.get() && texts.size() < 20_000) {
                texts.add(nextText(consumer));
                received.incrementAndGet();
            }
        });
        eventually("receives are under way", () -> received.get() > 100);
        restart.run();
        int before = received.get();
        eventually("receives go on", () -> received.get() > before + 200 || receiver.isDone());
        stop.set(true);
        finishes(receiver);
        check(received.get() <= texts.size() + 1, received.get() - texts.size() + " came twice");
        connection.close();
        MessageConsumer rest = session().createConsumer(queue);
        while (texts.size() < 20_000) {
            check(texts.add(nextText(rest)), "a message came again");
        }
        isEmpty(queue);
    }

    @Rule
    void transactionsThroughTheRestartAreWhole() throws Exception {
        Queue queue = queue();
        Session session = transacted(failover(""));
        MessageProducer producer = session.createProducer(queue);
        AtomicBoolean stop = new AtomicBoolean();
        AtomicInteger committed = new AtomicInteger();
        Set<String> confirmed = new HashSet<>();
        CompletableFuture<Void> sender = meanwhile(() -> {
            for (int batch = 0; !stop.get(); batch++) {
                try {
                    for (int i = 0; i < 10; i++) {
                        producer.send(session.createTextMessage("batch " + batch));
                    }
                    session.commit();
                    confirmed.add("batch " + batch);
                    committed.incrementAndGet();
                } catch (TransactionRolledBackException e) {
                    // Whether it was committed cannot be known.
                }
            }
        });
        eventually("commits are under way", () -> committed.get() > 20);
        restart.run();
        int before = committed.get();
        eventually("commits go on", () -> committed.get() > before + 10);
        stop.set(true);
        finishes(sender);
        Map<String, Integer> found = new TreeMap<>();
        // Other scenarios take their time until this one goes on: there may be very many.
        MessageConsumer consumer = session().createConsumer(queue);
        for (String text : take(consumer, 10 * confirmed.size())) {
            found.merge(text, 1, Integer::sum);
        }
        consumer.close();
        for (Message message : drained(queue)) {
            found.merge(text(message), 1, Integer::sum);
        }
        found.forEach((batch, count) -> equal(10, count, "messages of " + batch));
        for (String batch : confirmed) {
            check(found.containsKey(batch), "lost: " + batch);
        }
    }
}

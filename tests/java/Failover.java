import java.util.HashSet;
import java.util.Set;
import java.util.TreeSet;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import javax.jms.IllegalStateException;
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

final class Failover extends Rules {
    private ActiveMQConnection through(Proxy proxy) throws JMSException {
        return through(proxy, "");
    }

    private ActiveMQConnection through(Proxy proxy, String options) throws JMSException {
        ActiveMQConnection connection = connectAt(proxy.failoverUrl(), options);
        auto(connection);
        return connection;
    }

    private static void cutAndResume(Proxy proxy, ActiveMQConnection connection) throws Exception {
        CountDownLatch resumed = resumption(connection);
        proxy.cut();
        check(resumed.await(WAIT_MS, TimeUnit.MILLISECONDS), "the client did not reconnect");
    }

    @Rule
    void unackedMessagesComeAgainFlagged() throws Exception {
        Queue queue = queue();
        Proxy proxy = proxy();
        ActiveMQConnection connection = through(proxy);
        send(session(), queue, 0, 10);
        Session session = client(connection);
        MessageConsumer consumer = session.createConsumer(queue);
        takesFlagged(consumer, 0, 3, false, 1);
        cutAndResume(proxy, connection);
        takesFlagged(consumer, 0, 10, true, 2).acknowledge();
        session.close();
        isEmpty(queue);
    }

    @Rule
    void autoAcknowledgedMessagesDoNotComeAgain() throws Exception {
        Queue queue = queue();
        Proxy proxy = proxy();
        ActiveMQConnection connection = through(proxy, "jms.sendAcksAsync=false");
        send(session(), queue, 0, 100);
        MessageConsumer consumer = auto(connection).createConsumer(queue);
        for (int i = 0; i < 100; i += 25) {
            takes(consumer, i, i + 25);
            cutAndResume(proxy, connection);
        }
        isEmpty(queue);
    }

    @Rule
    void blockedReceiverGetsMessagesAfterReconnect() throws Exception {
        Queue queue = queue();
        Proxy proxy = proxy();
        ActiveMQConnection connection = through(proxy);
        MessageConsumer consumer = auto(connection).createConsumer(queue);
        CompletableFuture<Void> receiver = meanwhile(() -> takes(consumer, 0, 3));
        cutAndResume(proxy, connection);
        send(session(), queue, 0, 3);
        finishes(receiver);
    }

    @Rule
    void zeroPrefetchReceiverGetsMessagesAfterReconnect() throws Exception {
        Queue queue = queue();
        Proxy proxy = proxy();
        ActiveMQConnection connection = through(proxy, "jms.prefetchPolicy.queuePrefetch=0");
        MessageConsumer consumer = auto(connection).createConsumer(queue);
        send(session(), queue, 0, 1);
        takes(consumer, 0, 1);
        cutAndResume(proxy, connection);
        send(session(), queue, 1, 3);
        takes(consumer, 1, 3);
    }

    @Rule
    void sendsAreNeitherLostNorDoubled() throws Exception {
        Queue queue = queue();
        Proxy proxy = proxy();
        Session session = auto(through(proxy));
        AtomicInteger sent = new AtomicInteger();
        CompletableFuture<Void> sender = meanwhile(() -> {
            MessageProducer producer = session.createProducer(queue);
            for (int i = 0; i < 600; i++) {
                producer.send(session.createTextMessage(Integer.toString(i)));
                sent.set(i + 1);
            }
        });
        for (int at = 100; at <= 500; at += 100) {
            int when = at;
            eventually(when + " sent", () -> sent.get() >= when || sender.isDone());
            proxy.cut();
        }
        finishes(sender);
        takes(session().createConsumer(queue), 0, 600);
        isEmpty(queue);
    }

    @Rule
    void sendWhoseReplyWasLostIsNotDoubled() throws Exception {
        Queue queue = queue();
        Proxy proxy = proxy();
        Session session = auto(through(proxy));
        send(session, queue, 0, 1);
        MessageProducer producer = session.createProducer(queue);
        producer.send(session.createTextMessage("1"));
        proxy.muteBroker();
        CompletableFuture<Void> sender =
                meanwhile(() -> producer.send(session.createTextMessage("2")));
        MessageConsumer consumer = session().createConsumer(queue);
        // The broker has the message, its client does not know.
        takes(consumer, 0, 3);
        proxy.cut();
        finishes(sender);
        producer.send(session.createTextMessage("3"));
        takes(consumer, 3, 4);
        isEmpty(queue);
    }

    @Rule
    void openTransactionSurvives() throws Exception {
        Queue queue = queue();
        Proxy proxy = proxy();
        ActiveMQConnection connection = through(proxy);
        Session session = transacted(connection);
        send(session, queue, 0, 5);
        cutAndResume(proxy, connection);
        send(session, queue, 5, 10);
        session.commit();
        takes(session().createConsumer(queue), 0, 10);
        isEmpty(queue);
    }

    @Rule
    void openTransactionCanRollBack() throws Exception {
        Queue queue = queue();
        Proxy proxy = proxy();
        ActiveMQConnection connection = through(proxy);
        Session session = transacted(connection);
        send(session, queue, 0, 5);
        cutAndResume(proxy, connection);
        session.rollback();
        isEmpty(queue);
        send(session, queue, 5, 6);
        session.commit();
        takes(session().createConsumer(queue), 5, 6);
    }

    @Rule
    void receivesInATransactionCommitOnce() throws Exception {
        Queue in = queue();
        Queue out = queue();
        Proxy proxy = proxy();
        ActiveMQConnection connection = through(proxy);
        send(session(), in, 0, 20);
        Session session = transacted(connection);
        MessageConsumer consumer = session.createConsumer(in);
        MessageProducer producer = session.createProducer(out);
        int done = 0;
        boolean cut = false;
        while (done < 20) {
            try {
                for (int i = 0; i < 10; i++) {
                    producer.send(session.createTextMessage(nextText(consumer)));
                    if (i == 5 && !cut) {
                        cut = true;
                        cutAndResume(proxy, connection);
                    }
                }
                session.commit();
                done += 10;
            } catch (TransactionRolledBackException e) {
                // The client could not see all of its messages again, and starts over.
            } catch (IllegalStateException e) {
                contains(e.getMessage(), "transaction marked rollback only");
                session.rollback();
            }
        }
        session.close();
        isEmpty(in);
        Set<String> texts = new TreeSet<>();
        for (Message message : drained(out)) {
            check(texts.add(text(message)), "twice: " + text(message));
        }
        equal(20, texts.size(), "messages forwarded");
    }

    @Rule
    void commitWhoseReplyWasLostFailsOrIsDone() throws Exception {
        Queue queue = queue();
        Proxy proxy = proxy();
        ActiveMQConnection connection = through(proxy);
        Session session = transacted(connection);
        send(session, queue, 0, 3);
        proxy.muteBroker();
        CompletableFuture<Void> commit = meanwhile(session::commit);
        takes(session().createConsumer(queue), 0, 3);
        proxy.cut();
        // The commit was done, but its client cannot know.
        fails(TransactionRolledBackException.class, () -> finishes(commit));
        isEmpty(queue);
    }

    @Rule
    void topicSubscriberResumes() throws Exception {
        Topic topic = topic();
        Proxy proxy = proxy();
        ActiveMQConnection connection = through(proxy);
        MessageConsumer consumer = auto(connection).createConsumer(topic);
        send(session(), topic, 0, 3);
        takes(consumer, 0, 3);
        cutAndResume(proxy, connection);
        // An answer on the same connection: the broker has the subscription back.
        auto(connection).createProducer(topic).close();
        send(session(), topic, 3, 6);
        takes(consumer, 3, 6);
    }

    @Rule
    void durableSubscriberResumesWithoutLoss() throws Exception {
        Topic topic = topic();
        Proxy proxy = proxy();
        ActiveMQConnection connection = preparedAt(proxy.failoverUrl(), "");
        connection.setClientID(unique("durable"));
        connection.start();
        Session session = client(connection);
        MessageConsumer consumer = session.createDurableSubscriber(topic, "s");
        send(session(), topic, 0, 10);
        takes(consumer, 0, 5).acknowledge();
        proxy.refuse(true);
        proxy.cut();
        send(session(), topic, 10, 20);
        proxy.refuse(false);
        Set<String> got = new HashSet<>();
        Message last = null;
        while (got.size() < 15) {
            last = next(consumer);
            got.add(text(last));
        }
        last.acknowledge();
        for (int i = 5; i < 20; i++) {
            check(got.contains(Integer.toString(i)), "lost: " + i);
        }
    }

    @Rule
    void clientIdFollowsItsConnection() throws Exception {
        Proxy proxy = proxy();
        ActiveMQConnection connection = preparedAt(proxy.failoverUrl(), "");
        connection.setClientID(unique("client"));
        connection.start();
        auto(connection);
        for (int i = 0; i < 5; i++) {
            cutAndResume(proxy, connection);
        }
        Queue queue = queue();
        send(auto(connection), queue, 0, 1);
        takes(auto(connection).createConsumer(queue), 0, 1);
    }

    @Rule
    void temporaryQueueIsRestored() throws Exception {
        Proxy proxy = proxy();
        ActiveMQConnection connection = through(proxy);
        Session session = auto(connection);
        TemporaryQueue queue = session.createTemporaryQueue();
        MessageConsumer consumer = session.createConsumer(queue);
        cutAndResume(proxy, connection);
        eventually("temporary queue is back", () -> {
            try {
                send(auto(connect("jms.watchTopicAdvisories=false")), queue, 0, 1);
                return true;
            } catch (JMSException e) {
                return false;
            }
        });
        takes(consumer, 0, 1);
    }

    @Rule
    void consumersCreatedWhileAwayAreReplayed() throws Exception {
        Queue queue = queue();
        Proxy proxy = proxy();
        ActiveMQConnection connection = through(proxy);
        Session session = auto(connection);
        proxy.refuse(true);
        proxy.cut();
        CompletableFuture<Void> user = meanwhile(() -> {
            MessageConsumer consumer = session.createConsumer(queue);
            send(session, queue, 0, 5);
            takes(consumer, 0, 5);
        });
        proxy.refuse(false);
        finishes(user);
    }

    @Rule
    void listOfBrokersIsTriedInTurn() throws Exception {
        Proxy dead = proxy();
        String deadUrl = dead.url();
        dead.close();
        String list = "failover:(" + deadUrl + "," + url
                + ")?randomize=false&initialReconnectDelay=10";
        ActiveMQConnection connection = connectAt(list, "");
        Queue queue = queue();
        send(auto(connection), queue, 0, 1);
        takes(auto(connection).createConsumer(queue), 0, 1);
    }
}

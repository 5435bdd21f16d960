import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import javax.jms.JMSException;
import javax.jms.Message;
import javax.jms.MessageConsumer;
import javax.jms.Queue;
import javax.jms.Session;
import org.apache.activemq.ActiveMQConnection;
import org.apache.activemq.ActiveMQSession;

final class Acks extends Rules {
    @Rule
    void autoAcknowledgeRemovesWhatWasReceived() throws Exception {
        Queue queue = queue();
        ActiveMQConnection connection = connect();
        Session session = auto(connection);
        send(session, queue, 0, 10);
        takes(session.createConsumer(queue), 0, 4);
        session.close();
        takesFlagged(auto(connection).createConsumer(queue), 4, 10, false, 1);
        isEmpty(queue);
    }

    @Rule
    void autoAcknowledgeSurvivesACut() throws Exception {
        Queue queue = queue();
        Proxy proxy = proxy();
        ActiveMQConnection connection = connectAt(proxy.url(), "jms.sendAcksAsync=false");
        Session session = auto(connection);
        send(session, queue, 0, 10);
        takes(session.createConsumer(queue), 0, 4);
        MessageConsumer waiting = session().createConsumer(queue);
        proxy.cut();
        takesFlagged(waiting, 4, 10, true, 2);
        isEmpty(queue);
    }

    @Rule
    void clientAcknowledgeCoversAllOfTheSession() throws Exception {
        Queue one = queue();
        Queue two = queue();
        ActiveMQConnection connection = connect();
        Session session = client(connection);
        send(session, one, 0, 6);
        send(session, two, 0, 3);
        MessageConsumer first = session.createConsumer(one);
        takes(first, 0, 2);
        takes(session.createConsumer(two), 0, 3).acknowledge();
        takes(first, 2, 4);
        session.close();
        takes(auto(connection).createConsumer(one), 2, 4);
        isEmpty(two);
    }

    @Rule
    void closedSessionFlagsOnlyUpToItsLastMessage() throws Exception {
        Queue one = queue();
        Queue two = queue();
        ActiveMQConnection connection = connect();
        Session session = client(connection);
        send(session, one, 0, 2);
        send(session, two, 0, 2);
        takes(session.createConsumer(one), 0, 2);
        takes(session.createConsumer(two), 0, 1);
        session.close();
        // The client names one message, the newest it delivered in the session. A queue flags what
        // it
        // dispatched up to exactly this message; where it is not found, nothing is flagged.
        takesFlagged(auto(connection).createConsumer(one), 0, 2, false, 1);
        MessageConsumer again = auto(connection).createConsumer(two);
        takesFlagged(again, 0, 1, true, 2);
        takesFlagged(again, 1, 2, false, 1);
    }

    @Rule
    void clientAcknowledgeMayWaitBeyondThePrefetch() throws Exception {
        Queue queue = queue();
        ActiveMQConnection connection = connect("jms.prefetchPolicy.queuePrefetch=10");
        Session session = client(connection);
        send(session, queue, 0, 100);
        MessageConsumer consumer = session.createConsumer(queue);
        Message last = takes(consumer, 0, 100);
        last.acknowledge();
        session.close();
        isEmpty(queue);
    }

    @Rule
    void clientAcknowledgeBeyondThePrefetchComesBackWhenClosed() throws Exception {
        Queue queue = queue();
        ActiveMQConnection connection = connect("jms.prefetchPolicy.queuePrefetch=10");
        Session session = client(connection);
        send(session, queue, 0, 60);
        takes(session.createConsumer(queue), 0, 50);
        session.close();
        MessageConsumer again = auto(connection).createConsumer(queue);
        takesFlagged(again, 0, 50, true, 2);
        takesFlagged(again, 50, 60, false, 1);
    }

    @Rule
    void dupsOkAcknowledgesInTheEnd() throws Exception {
        Queue queue = queue();
        ActiveMQConnection connection = connect();
        Session session = connection.createSession(false, Session.DUPS_OK_ACKNOWLEDGE);
        send(session, queue, 0, 800);
        MessageConsumer consumer = session.createConsumer(queue);
        takes(consumer, 0, 790);
        consumer.close();
        takesFlagged(auto(connection).createConsumer(queue), 790, 800, false, 1);
        isEmpty(queue);
    }

    @Rule
    void optimizedAcknowledgeAcknowledgesInTheEnd() throws Exception {
        Queue queue = queue();
        ActiveMQConnection connection = connect("jms.optimizeAcknowledge=true");
        Session session = auto(connection);
        // No more than a page: for such a consumer the original may wait for an ack before it reads
        // the next.
        send(session, queue, 0, 150);
        MessageConsumer consumer = session.createConsumer(queue);
        takes(consumer, 0, 140);
        consumer.close();
        takesFlagged(auto(connect()).createConsumer(queue), 140, 150, false, 1);
        isEmpty(queue);
    }

    @Rule
    void optimizedAcknowledgeIsSentAfterItsInterval() throws Exception {
        Queue queue = queue();
        ActiveMQConnection connection =
                connect("jms.optimizeAcknowledge=true&jms.optimizedAckScheduledAckInterval=100");
        Session session = auto(connection);
        send(session, queue, 0, 3);
        takes(session.createConsumer(queue), 0, 3);
        eventually("acks have arrived", () -> {
            var browser = session().createBrowser(queue);
            return !browser.getEnumeration().hasMoreElements();
        });
    }

    @Rule
    void individualAcknowledgeTakesOneMessageOnly() throws Exception {
        Queue queue = queue();
        ActiveMQConnection connection = connect();
        Session session = connection.createSession(false, ActiveMQSession.INDIVIDUAL_ACKNOWLEDGE);
        send(session, queue, 0, 10);
        MessageConsumer consumer = session.createConsumer(queue);
        List<Message> messages = new ArrayList<>();
        for (int i = 0; i < 10; i++) {
            messages.add(takes(consumer, i, i + 1));
        }
        for (int i : new int[] {7, 3, 8, 1, 5}) {
            messages.get(i).acknowledge();
        }
        session.close();
        MessageConsumer again = auto(connection).createConsumer(queue);
        for (int i : new int[] {0, 2, 4, 6, 9}) {
            takesFlagged(again, i, i + 1, true, 2);
        }
        isEmpty(queue);
    }

    @Rule
    void individualAcknowledgeFreesTheWindow() throws Exception {
        Queue queue = queue();
        ActiveMQConnection connection = connect("jms.prefetchPolicy.queuePrefetch=3");
        Session session = connection.createSession(false, ActiveMQSession.INDIVIDUAL_ACKNOWLEDGE);
        send(session, queue, 0, 10);
        MessageConsumer consumer = session.createConsumer(queue);
        Message first = takes(consumer, 0, 1);
        takes(consumer, 1, 2).acknowledge();
        takes(consumer, 2, 4);
        first.acknowledge();
        takes(consumer, 4, 5);
    }

    @Rule
    void recoverDeliversAgainInOrder() throws Exception {
        Queue queue = queue();
        ActiveMQConnection connection = connect();
        Session session = client(connection);
        send(session, queue, 0, 10);
        MessageConsumer consumer = session.createConsumer(queue);
        takesFlagged(consumer, 0, 5, false, 1);
        session.recover();
        takesFlagged(consumer, 0, 5, true, 2);
        session.recover();
        takesFlagged(consumer, 0, 5, true, 3);
        takesFlagged(consumer, 5, 10, false, 1).acknowledge();
        session.close();
        isEmpty(queue);
    }

    @Rule
    void recoverLeavesAcknowledgedOnesAlone() throws Exception {
        Queue queue = queue();
        Session session = client(connect());
        send(session, queue, 0, 6);
        MessageConsumer consumer = session.createConsumer(queue);
        takes(consumer, 0, 3).acknowledge();
        takes(consumer, 3, 5);
        session.recover();
        takesFlagged(consumer, 3, 5, true, 2);
        takesFlagged(consumer, 5, 6, false, 1);
    }

    @Rule
    void recoveredThenClosedCountsTheClientsDeliveries() throws Exception {
        Queue queue = queue();
        ActiveMQConnection connection = connect();
        Session session = client(connection);
        send(session, queue, 0, 4);
        MessageConsumer consumer = session.createConsumer(queue);
        takes(consumer, 0, 2);
        session.recover();
        takes(consumer, 0, 2);
        session.close();
        // The broker never learns of deliveries after a recover, it adds one of its own.
        MessageConsumer again = auto(connection).createConsumer(queue);
        takesFlagged(again, 0, 2, true, 2);
        takesFlagged(again, 2, 4, false, 1);
    }

    @Rule
    void listenerGetsAllInOrder() throws Exception {
        Queue queue = queue();
        Session session = session();
        List<String> texts = new ArrayList<>();
        CountDownLatch done = new CountDownLatch(500);
        session.createConsumer(queue).setMessageListener(message -> {
            try {
                texts.add(text(message));
            } catch (JMSException e) {
                texts.add(e.toString());
            }
            done.countDown();
        });
        send(session(), queue, 0, 500);
        check(done.await(WAIT_MS, TimeUnit.MILLISECONDS), "only " + texts.size() + " of 500");
        for (int i = 0; i < 500; i++) {
            equal(Integer.toString(i), texts.get(i), "text");
        }
    }

    @Rule
    void listenerThatThrowsGetsTheMessageAgain() throws Exception {
        Queue queue = queue();
        Session session = session();
        List<String> seen = new ArrayList<>();
        CountDownLatch done = new CountDownLatch(4);
        session.createConsumer(queue).setMessageListener(message -> {
            try {
                int count = message.getIntProperty("JMSXDeliveryCount");
                seen.add(text(message) + ":" + count + ":" + message.getJMSRedelivered());
                done.countDown();
                if (text(message).equals("0") && count < 3) {
                    throw new IllegalArgumentException("not yet");
                }
            } catch (JMSException e) {
                seen.add(e.toString());
            }
        });
        send(session(), queue, 0, 2);
        check(done.await(WAIT_MS, TimeUnit.MILLISECONDS), "only " + seen);
        equal(List.of("0:1:false", "0:2:true", "0:3:true", "1:1:false"), seen, "seen");
        session.close();
        isEmpty(queue);
    }

    @Rule
    void asynchronousAndSynchronousAcksRemoveAlike() throws Exception {
        for (String sync : new String[] {"true", "false"}) {
            Queue queue = queue();
            Session session = auto(connect("jms.sendAcksAsync=" + sync));
            send(session, queue, 0, 20);
            takes(session.createConsumer(queue), 0, 20);
            session.close();
            isEmpty(queue);
        }
    }
}

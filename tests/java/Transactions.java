import java.util.ArrayList;
import java.util.List;
import javax.jms.IllegalStateException;
import javax.jms.JMSException;
import javax.jms.Message;
import javax.jms.MessageConsumer;
import javax.jms.MessageProducer;
import javax.jms.Queue;
import javax.jms.Session;
import javax.jms.Topic;
import org.apache.activemq.ActiveMQConnection;

final class Transactions extends Rules {
    @Rule
    void sentMessagesAppearAtCommit() throws Exception {
        Queue queue = queue();
        Session session = transacted(connect());
        MessageConsumer consumer = session().createConsumer(queue);
        send(session, queue, 0, 10);
        isEmpty(queue);
        session.commit();
        takesFlagged(consumer, 0, 10, false, 1);
    }

    @Rule
    void rolledBackSendsNeverAppear() throws Exception {
        Queue queue = queue();
        Session session = transacted(connect());
        send(session, queue, 0, 10);
        session.rollback();
        send(session, queue, 10, 12);
        session.commit();
        takes(session().createConsumer(queue), 10, 12);
        isEmpty(queue);
    }

    @Rule
    void commitOrderDecidesQueueOrder() throws Exception {
        Queue queue = queue();
        Session first = transacted(connect());
        Session second = transacted(connect());
        send(first, queue, 3, 6);
        send(second, queue, 0, 3);
        second.commit();
        first.commit();
        takes(session().createConsumer(queue), 0, 6);
    }

    @Rule
    void committedReceivesAreGone() throws Exception {
        Queue queue = queue();
        Session session = transacted(connect());
        send(session, queue, 0, 10);
        session.commit();
        MessageConsumer consumer = session.createConsumer(queue);
        takes(consumer, 0, 4);
        session.commit();
        takes(consumer, 4, 10);
        session.commit();
        session.close();
        isEmpty(queue);
    }

    @Rule
    void rolledBackReceivesComeFirstAndInOrder() throws Exception {
        Queue queue = queue();
        Session session = transacted(connect("jms.prefetchPolicy.queuePrefetch=20"));
        send(session, queue, 0, 40);
        session.commit();
        MessageConsumer consumer = session.createConsumer(queue);
        takesFlagged(consumer, 0, 10, false, 1);
        session.rollback();
        takesFlagged(consumer, 0, 10, true, 2);
        takesFlagged(consumer, 10, 15, false, 1);
        session.rollback();
        takesFlagged(consumer, 0, 10, true, 3);
        takesFlagged(consumer, 10, 15, true, 2);
        // Going on here would stall: after a rollback the client does not extend its window.
        session.commit();
        takesFlagged(consumer, 15, 40, false, 1);
        session.commit();
        session.close();
        isEmpty(queue);
    }

    @Rule
    void sendsAndReceivesAreOneUnit() throws Exception {
        Queue in = queue();
        Queue out = queue();
        send(session(), in, 0, 3);
        Session session = transacted(connect());
        MessageConsumer consumer = session.createConsumer(in);
        takes(consumer, 0, 3);
        send(session, out, 0, 3);
        session.rollback();
        isEmpty(out);
        takesFlagged(consumer, 0, 3, true, 2);
        send(session, out, 3, 6);
        session.commit();
        session.close();
        isEmpty(in);
        takes(session().createConsumer(out), 3, 6);
    }

    @Rule
    void sessionCloseRollsBack() throws Exception {
        Queue queue = queue();
        ActiveMQConnection connection = connect();
        Session session = transacted(connection);
        send(session, queue, 0, 4);
        session.commit();
        takes(session.createConsumer(queue), 0, 2);
        send(session, queue, 4, 8);
        session.close();
        MessageConsumer again = auto(connection).createConsumer(queue);
        // The client rolls back before it closes, and forgets how far it had delivered.
        takesFlagged(again, 0, 2, true, 2);
        takesFlagged(again, 2, 4, false, 1);
        isEmpty(queue);
    }

    @Rule
    void connectionCloseRollsBack() throws Exception {
        Queue queue = queue();
        ActiveMQConnection connection = connect();
        Session session = transacted(connection);
        send(session, queue, 0, 4);
        session.commit();
        takes(session.createConsumer(queue), 0, 2);
        send(session, queue, 4, 8);
        connection.close();
        takes(session().createConsumer(queue), 0, 4);
        isEmpty(queue);
    }

    @Rule
    void cutConnectionRollsBack() throws Exception {
        Queue queue = queue();
        Proxy proxy = proxy();
        ActiveMQConnection connection = connectAt(proxy.url(), "");
        Session session = transacted(connection);
        send(session, queue, 0, 4);
        session.commit();
        takes(session.createConsumer(queue), 0, 2);
        send(session, queue, 4, 8);
        MessageConsumer waiting = session().createConsumer(queue);
        proxy.cut();
        takesFlagged(waiting, 0, 4, true, 2);
        isEmpty(queue);
        try {
            session.commit();
        } catch (JMSException expected) {
            return;
        }
        throw new AssertionError("a transaction survived the loss of its connection");
    }

    @Rule
    void receivesMayExceedThePrefetch() throws Exception {
        Queue queue = queue();
        Session session = transacted(connect("jms.prefetchPolicy.queuePrefetch=10"));
        send(session, queue, 0, 300);
        session.commit();
        MessageConsumer consumer = session.createConsumer(queue);
        takes(consumer, 0, 300);
        session.rollback();
        takesFlagged(consumer, 0, 300, true, 2);
        session.commit();
        session.close();
        isEmpty(queue);
    }

    @Rule
    void prefetch1ReceivesManyInOneTransaction() throws Exception {
        Queue queue = queue();
        Session session = transacted(connect("jms.prefetchPolicy.queuePrefetch=1"));
        send(session, queue, 0, 50);
        session.commit();
        takes(session.createConsumer(queue), 0, 50);
        session.commit();
        session.close();
        isEmpty(queue);
    }

    @Rule
    void sessionsOfOneConnectionAreIndependent() throws Exception {
        ActiveMQConnection connection = connect();
        List<Queue> queues = new ArrayList<>();
        List<Session> sessions = new ArrayList<>();
        for (int i = 0; i < 20; i++) {
            queues.add(queue());
            sessions.add(transacted(connection));
            send(sessions.get(i), queues.get(i), 0, 3);
        }
        for (int i = 0; i < 20; i++) {
            if (i % 2 == 0) {
                sessions.get(i).commit();
            } else {
                sessions.get(i).rollback();
            }
        }
        for (int i = 0; i < 20; i++) {
            equal(i % 2 == 0 ? 3 : 0, drained(queues.get(i)).size(), "messages in queue " + i);
        }
    }

    @Rule
    void oneTransactionSpansManyDestinations() throws Exception {
        Session session = transacted(connect());
        Topic topic = topic();
        MessageConsumer subscriber = session().createConsumer(topic);
        List<Queue> queues = new ArrayList<>();
        for (int i = 0; i < 20; i++) {
            queues.add(queue());
            send(session, queues.get(i), i, i + 1);
        }
        send(session, topic, 0, 5);
        session.commit();
        takes(subscriber, 0, 5);
        for (int i = 0; i < 20; i++) {
            equal(Integer.toString(i), text(drained(queues.get(i)).get(0)), "text");
        }
    }

    @Rule
    void topicMessagesAppearAtCommit() throws Exception {
        Topic topic = topic();
        MessageConsumer subscriber = session().createConsumer(topic);
        Session session = transacted(connect());
        send(session, topic, 0, 5);
        session.rollback();
        send(session, topic, 5, 10);
        session.commit();
        takes(subscriber, 5, 10);
    }

    @Rule
    void durableSubscriberRollsBackAndCommits() throws Exception {
        Topic topic = topic();
        String id = unique("durable");
        ActiveMQConnection connection = connectAs(id);
        Session session = transacted(connection);
        MessageConsumer consumer = session.createDurableSubscriber(topic, "s");
        send(session(), topic, 0, 10);
        takes(consumer, 0, 5);
        session.rollback();
        takesFlagged(consumer, 0, 5, true, 2);
        session.commit();
        takes(consumer, 5, 7);
        connection.close();
        takes(auto(connectAs(id)).createDurableSubscriber(topic, "s"), 5, 10);
    }

    @Rule
    void receiverSeesTheSendersTransaction() throws Exception {
        Queue queue = queue();
        Session session = transacted(connect());
        send(session, queue, 0, 1);
        session.commit();
        Message message = next(session().createConsumer(queue));
        contains(message.getStringProperty("JMSXProducerTXID"), "TX:");
    }

    @Rule
    void largeTransactionIsAtomic() throws Exception {
        Queue queue = queue();
        Session session = transacted(connect());
        MessageProducer producer = session.createProducer(queue);
        for (int i = 0; i < 5000; i++) {
            producer.send(session.createTextMessage(Integer.toString(i)));
        }
        isEmpty(queue);
        session.commit();
        takes(session().createConsumer(queue), 0, 5000);
    }

    @Rule
    void emptyTransactionsCommitAndRollBack() throws Exception {
        Session session = transacted(connect());
        session.commit();
        session.rollback();
        session.commit();
        Session plain = session();
        fails(IllegalStateException.class, plain::commit);
        fails(IllegalStateException.class, plain::rollback);
    }

    @Rule
    void consumerClosedInsideTransactionStillCommits() throws Exception {
        Queue queue = queue();
        Session session = transacted(connect());
        send(session, queue, 0, 4);
        session.commit();
        MessageConsumer consumer = session.createConsumer(queue);
        takes(consumer, 0, 2);
        consumer.close();
        session.commit();
        session.close();
        equal(2, drained(queue).size(), "messages left");
    }

    @Rule
    void consumerClosedInsideTransactionStillRollsBack() throws Exception {
        Queue queue = queue();
        ActiveMQConnection connection = connect();
        Session session = transacted(connection);
        send(session, queue, 0, 4);
        session.commit();
        MessageConsumer consumer = session.createConsumer(queue);
        takes(consumer, 0, 2);
        consumer.close();
        session.rollback();
        takes(auto(connection).createConsumer(queue), 0, 4);
    }
}

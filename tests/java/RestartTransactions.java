import java.util.List;
import javax.jms.MessageConsumer;
import javax.jms.MessageProducer;
import javax.jms.Queue;
import javax.jms.Session;
import javax.jms.Topic;
import org.apache.activemq.ActiveMQConnection;

/** What the broker's end leaves of the transactions of sessions. */
final class RestartTransactions extends Rules {
    @Rule
    void committedSendsAreAllThereAndOpenOnesNone() throws Exception {
        Queue one = queue();
        Queue two = queue();
        Topic topic = topic();
        String id = unique("durable");
        ActiveMQConnection connection = connectAs(id);
        auto(connection).createDurableSubscriber(topic, "s");
        connection.close();
        Session committed = transacted(connect());
        Session open = transacted(connect());
        for (int i = 0; i < 10; i++) {
            send(open, one, 100 + i, 101 + i);
            send(committed, one, i, i + 1);
            send(committed, two, i, i + 1);
            send(open, two, 100 + i, 101 + i);
            send(committed, topic, i, i + 1);
            send(open, topic, 100 + i, 101 + i);
        }
        committed.commit();
        restart.run();
        takes(session().createConsumer(one), 0, 10);
        takes(session().createConsumer(two), 0, 10);
        MessageConsumer durable = auto(connectAs(id)).createDurableSubscriber(topic, "s");
        takes(durable, 0, 10);
        send(session(), topic, 10, 11);
        takes(durable, 10, 11);
        isEmpty(one);
        isEmpty(two);
    }

    @Rule
    void rolledBackSendsStayAway() throws Exception {
        Queue queue = queue();
        Session session = transacted(connect());
        send(session, queue, 100, 110);
        session.rollback();
        send(session, queue, 0, 5);
        session.commit();
        restart.run();
        takes(session().createConsumer(queue), 0, 5);
        isEmpty(queue);
    }

    @Rule
    void committedReceivesAreGoneAndOpenOnesComeAgain() throws Exception {
        Queue queue = queue();
        Session session = transacted(connect());
        send(session, queue, 0, 20);
        session.commit();
        MessageConsumer consumer = session.createConsumer(queue);
        takes(consumer, 0, 8);
        session.commit();
        takes(consumer, 8, 12);
        restart.run();
        takes(session().createConsumer(queue), 8, 20);
        isEmpty(queue);
    }

    @Rule
    void forwardedMessagesAreInOnePlace() throws Exception {
        Queue in = queue();
        Queue out = queue();
        Session session = transacted(connect());
        send(session, in, 0, 20);
        session.commit();
        MessageConsumer consumer = session.createConsumer(in);
        MessageProducer producer = session.createProducer(out);
        for (int i = 0; i < 15; i++) {
            producer.send(takes(consumer, i, i + 1));
            if (i == 9) {
                session.commit();
            }
        }
        restart.run();
        takes(session().createConsumer(out), 0, 10);
        takes(session().createConsumer(in), 10, 20);
        isEmpty(out);
        isEmpty(in);
    }

    @Rule(seconds = 60)
    void largeTransactionsAreAllOrNothing() throws Exception {
        Queue committed = queue();
        Queue open = queue();
        for (Queue queue : List.of(committed, open)) {
            Session session = transacted(connect());
            MessageProducer producer = session.createProducer(queue);
            for (int i = 0; i < 5000; i++) {
                producer.send(session.createTextMessage(Integer.toString(i)));
            }
            if (queue == committed) {
                session.commit();
            }
        }
        restart.run();
        takes(session().createConsumer(committed), 0, 5000);
        isEmpty(committed);
        isEmpty(open);
    }

    @Rule
    void commitOrderDecidesStoredOrder() throws Exception {
        Queue queue = queue();
        Session first = transacted(connect());
        Session second = transacted(connect());
        send(first, queue, 3, 6);
        send(second, queue, 0, 3);
        second.commit();
        first.commit();
        restart.run();
        takes(session().createConsumer(queue), 0, 6);
    }
}

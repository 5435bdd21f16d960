import java.util.Collections;
import java.util.Enumeration;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import javax.jms.Destination;
import javax.jms.Message;
import javax.jms.MessageConsumer;
import javax.jms.MessageProducer;
import javax.jms.Queue;
import javax.jms.Session;
import javax.jms.Topic;
import org.apache.activemq.ActiveMQConnection;

/** Backlogs that are larger than the memory of their destinations (1 MB, peer.xml). */
final class RestartBacklogs extends Rules {
    private static final int BACKLOG = 20_000;
    private static final String PADDING = "x".repeat(1_000);

    /** Sends the texts 0 to 19,999 with a kilobyte and the property n each. */
    private void fill(Destination destination) throws Exception {
        ActiveMQConnection connection = connect();
        Session session = transacted(connection);
        MessageProducer producer = session.createProducer(destination);
        for (int i = 0; i < BACKLOG; i++) {
            Message message = session.createTextMessage(Integer.toString(i));
            message.setIntProperty("n", i);
            message.setStringProperty("padding", PADDING);
            producer.send(message);
            if (i % 500 == 499) {
                session.commit();
            }
        }
        connection.close();
    }

    @Rule(seconds = 90)
    void backlogDrainsInOrder() throws Exception {
        Queue queue = queue("SMALL");
        fill(queue);
        restart.run();
        takes(session().createConsumer(queue), 0, BACKLOG);
        isEmpty(queue);
    }

    @Rule(seconds = 90)
    void backlogKeepsItsOrderAcrossRestartsWhileItDrains() throws Exception {
        Queue queue = queue("SMALL");
        fill(queue);
        takes(auto(connect("jms.sendAcksAsync=false")).createConsumer(queue), 0, 3_000);
        restart.run();
        send(session(), queue, BACKLOG, BACKLOG + 10);
        takes(auto(connect("jms.sendAcksAsync=false")).createConsumer(queue), 3_000, 6_000);
        restart.run();
        send(session(), queue, BACKLOG + 10, BACKLOG + 20);
        takes(session().createConsumer(queue), 6_000, BACKLOG + 20);
        isEmpty(queue);
    }

    /** Those whose messages wait in memory (VM), or there and in the temporary store (FILE). */
    @Rule(seconds = 60)
    void eachCursorHasItsBacklogAgain() throws Exception {
        List<Destination> destinations =
                List.of(queue("VM"), queue("FILE"), topic("VM"), topic("FILE"));
        String id = unique("durable");
        ActiveMQConnection connection = connectAs(id);
        for (int i = 2; i < 4; i++) {
            auto(connection).createDurableSubscriber((Topic) destinations.get(i), "s" + i);
        }
        connection.close();
        for (Destination destination : destinations) {
            Session session = transacted(connect());
            send(session, destination, 0, 2_000);
            session.commit();
        }
        restart.run();
        for (Destination destination : destinations) {
            send(session(), destination, 2_000, 2_005);
        }
        Session session = auto(connectAs(id, "jms.prefetchPolicy.all=10"));
        for (int i = 0; i < 4; i++) {
            MessageConsumer consumer = i < 2
                    ? session.createConsumer(destinations.get(i))
                    : session.createDurableSubscriber((Topic) destinations.get(i), "s" + i);
            takes(consumer, 0, 2_005);
            consumer.close();
        }
    }

    /** The original looks no further than the first messages that fill its memory. */
    @Rule(seconds = 90, beyondOriginal = true)
    void selectorFindsTheLastOfABacklog() throws Exception {
        Queue queue = queue("SMALL");
        fill(queue);
        restart.run();
        MessageConsumer consumer = session().createConsumer(queue, "n >= " + (BACKLOG - 10));
        takes(consumer, BACKLOG - 10, BACKLOG);
        takes(session().createConsumer(queue), 0, 1_000);
    }

    @Rule(seconds = 90)
    void consumersOfTwoPrioritiesShareABacklog() throws Exception {
        Queue queue = queue("SMALL");
        fill(queue);
        restart.run();
        ActiveMQConnection connection = connect("jms.prefetchPolicy.queuePrefetch=100");
        MessageConsumer high =
                auto(connection).createConsumer(withOptions(queue, "consumer.priority=10"));
        takes(high, 0, 1);
        MessageConsumer low =
                auto(connection).createConsumer(withOptions(queue, "consumer.priority=1"));
        // As long as the first takes what it gets, the other gets what is over.
        Set<Integer> got = new HashSet<>();
        int highLast = 0;
        int lowLast = 0;
        while (got.size() < BACKLOG - 1) {
            Message message = high.receive(500);
            if (message != null) {
                int n = Integer.parseInt(text(message));
                check(n > highLast && got.add(n), n + " after " + highLast);
                highLast = n;
            }
            for (message = low.receiveNoWait(); message != null; message = low.receiveNoWait()) {
                int n = Integer.parseInt(text(message));
                check(n > lowLast && got.add(n), n + " after " + lowLast);
                lowLast = n;
            }
        }
        isEmpty(queue);
    }

    @Rule(seconds = 90)
    void browserShowsTheStartOfABacklog() throws Exception {
        Queue queue = queue("SMALL");
        fill(queue);
        restart.run();
        Session session = session();
        Enumeration<?> all = session.createBrowser(queue).getEnumeration();
        List<?> seen = Collections.list(all);
        // How much a browser gets is limited by maxBrowsePageSize, 400.
        check(seen.size() >= 400, "only " + seen.size() + " of " + BACKLOG + " browsed");
        for (int i = 0; i < seen.size(); i++) {
            equal(Integer.toString(i), text((Message) seen.get(i)), "message browsed");
        }
        takes(session.createConsumer(queue), 0, 1_000);
    }

    @Rule(seconds = 90)
    void durableSubscriptionDrainsItsBacklog() throws Exception {
        Topic topic = topic("SMALL");
        String id = unique("durable");
        ActiveMQConnection connection = connectAs(id);
        auto(connection).createDurableSubscriber(topic, "all");
        auto(connection).createDurableSubscriber(topic, "last", "n >= " + (BACKLOG - 10), false);
        connection.close();
        fill(topic);
        restart.run();
        ActiveMQConnection again = connectAs(id);
        takes(auto(again).createDurableSubscriber(
                topic, "last", "n >= " + (BACKLOG - 10), false), BACKLOG - 10, BACKLOG);
        takes(auto(again).createDurableSubscriber(topic, "all"), 0, BACKLOG);
    }
}

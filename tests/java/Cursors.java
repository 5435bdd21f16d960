import java.util.List;
import javax.jms.DeliveryMode;
import javax.jms.Destination;
import javax.jms.JMSException;
import javax.jms.MessageConsumer;
import javax.jms.MessageProducer;
import javax.jms.Queue;
import javax.jms.Session;
import javax.jms.TextMessage;
import javax.jms.Topic;

/**
 * Where messages wait does not show: memory alone (VM), memory and then the temporary store (FILE). The limit is a
 * megabyte, of which a backlog needs three.
 */
final class Cursors extends Rules {
    private static final List<String> POLICIES = List.of("VM", "FILE");
    private static final int BACKLOG = 600;
    private static final String PADDING = "x".repeat(5_000);

    /** Sends the texts "from" to "to - 1" with five kilobytes each, in these modes by turns. */
    private static void fill(Session session, Destination to, int from, int until, int... modes)
            throws JMSException {
        MessageProducer producer = session.createProducer(to);
        for (int i = from; i < until; i++) {
            TextMessage message = session.createTextMessage(Integer.toString(i));
            message.setStringProperty("padding", PADDING);
            producer.setDeliveryMode(modes[i % modes.length]);
            producer.send(message);
        }
        producer.close();
    }

    private Session narrow() throws JMSException {
        return auto(connect("jms.prefetchPolicy.all=10"));
    }

    @Rule
    void backlogOfAQueueKeepsItsOrder() throws Exception {
        for (String policy : POLICIES) {
            for (int mode : new int[] {DeliveryMode.PERSISTENT, DeliveryMode.NON_PERSISTENT}) {
                Queue queue = queue(policy);
                fill(session(), queue, 0, BACKLOG, mode);
                MessageConsumer consumer = narrow().createConsumer(queue);
                takes(consumer, 0, 100);
                fill(session(), queue, BACKLOG, BACKLOG + 10, mode);
                takes(consumer, 100, BACKLOG + 10);
                isEmpty(queue);
            }
        }
    }

    /** With one list for both kinds of messages, unlike the cursor of a store. */
    @Rule
    void bothKindsOfMessagesKeepTheirOrder() throws Exception {
        for (String policy : POLICIES) {
            Queue queue = queue(policy);
            fill(session(), queue, 0, BACKLOG,
                    DeliveryMode.PERSISTENT, DeliveryMode.NON_PERSISTENT, DeliveryMode.PERSISTENT);
            takes(narrow().createConsumer(queue), 0, BACKLOG);
            isEmpty(queue);
        }
    }

    @Rule
    void whatAConsumerReturnsComesFirst() throws Exception {
        for (String policy : POLICIES) {
            Queue queue = queue(policy);
            fill(session(), queue, 0, BACKLOG, DeliveryMode.PERSISTENT);
            Session session = client(connect("jms.prefetchPolicy.all=10"));
            takes(session.createConsumer(queue), 0, 5);
            session.close();
            MessageConsumer consumer = narrow().createConsumer(queue);
            takesFlagged(consumer, 0, 5, true, 2);
            takesFlagged(consumer, 5, BACKLOG, false, 1);
        }
    }

    @Rule
    void whatWaitsForASubscriberKeepsItsOrder() throws Exception {
        for (String policy : POLICIES) {
            Topic topic = topic(policy);
            MessageConsumer slow = narrow().createConsumer(topic);
            MessageConsumer fast = session().createConsumer(topic);
            fill(session(), topic, 0, BACKLOG,
                    DeliveryMode.PERSISTENT, DeliveryMode.NON_PERSISTENT);
            takes(fast, 0, BACKLOG);
            takes(slow, 0, BACKLOG);
        }
    }

    @Rule
    void whatWaitsForADurableSubscriptionKeepsItsOrder() throws Exception {
        for (String policy : POLICIES) {
            Topic topic = topic(policy);
            Session session = auto(connectAs(unique("durable"), "jms.prefetchPolicy.all=10"));
            session.createDurableSubscriber(topic, "s").close();
            fill(session(), topic, 0, BACKLOG, DeliveryMode.PERSISTENT);
            MessageConsumer consumer = session.createDurableSubscriber(topic, "s");
            takes(consumer, 0, 100);
            consumer.close();
            fill(session(), topic, BACKLOG, BACKLOG + 10, DeliveryMode.PERSISTENT);
            takes(session.createDurableSubscriber(topic, "s"), 100, BACKLOG + 10);
        }
    }
}

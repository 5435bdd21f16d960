import javax.jms.DeliveryMode;
import javax.jms.MessageConsumer;
import javax.jms.MessageProducer;
import javax.jms.Session;
import javax.jms.Topic;
import org.apache.activemq.ActiveMQConnection;

/** What becomes of a durable subscription that comes back as another, or after both kinds of messages. */
final class SubscriptionChanges extends Rules {
    @Rule
    void changedTopicStartsAnew() throws Exception {
        Topic first = topic();
        Topic second = topic();
        Session session = auto(connectAs(unique("durable")));
        session.createDurableSubscriber(first, "s").close();
        send(session, first, 0, 3);
        send(session, second, 0, 3);
        MessageConsumer consumer = session.createDurableSubscriber(second, "s");
        send(session, first, 3, 4);
        send(session, second, 4, 6);
        takes(consumer, 4, 6);
        consumer.close();
        // Nothing of the first topic is left either.
        consumer = session.createDurableSubscriber(first, "s");
        send(session, first, 6, 7);
        takes(consumer, 6, 7);
    }

    @Rule
    void changedNoLocalStartsAnew() throws Exception {
        Topic topic = topic();
        Session session = auto(connectAs(unique("durable")));
        session.createDurableSubscriber(topic, "s").close();
        send(session(), topic, 0, 3);
        MessageConsumer consumer = session.createDurableSubscriber(topic, "s", null, true);
        send(session, topic, 3, 4);
        send(session(), topic, 4, 6);
        takes(consumer, 4, 6);
    }

    /** The original gives all persistent messages before the others. */
    @Rule
    void transientMessagesDoNotOvertakePersistentOnesThatWereSentBefore() throws Exception {
        Topic topic = topic();
        Session session = auto(connectAs(unique("durable")));
        session.createDurableSubscriber(topic, "s").close();
        MessageProducer producer = session.createProducer(topic);
        for (int i = 0; i < 600; i++) {
            boolean persistent = i % 2 == 0;
            producer.setDeliveryMode(
                    persistent ? DeliveryMode.PERSISTENT : DeliveryMode.NON_PERSISTENT);
            producer.send(session.createTextMessage(Integer.toString(i)));
        }
        MessageConsumer consumer = session.createDurableSubscriber(topic, "s");
        int persistent = 0;
        int others = 1;
        for (int i = 0; i < 600; i++) {
            int number = Integer.parseInt(nextText(consumer));
            if (number % 2 == 0) {
                equal(persistent, number, "next persistent message");
                persistent += 2;
            } else {
                equal(others, number, "next transient message");
                others += 2;
                check(number < persistent, number + " came before " + persistent);
            }
        }
    }

    @Rule
    void unmatchedMessagesLeaveNoTrace() throws Exception {
        Topic topic = topic();
        ActiveMQConnection connection = connectAs(unique("durable"));
        Session session = auto(connection);
        session.createDurableSubscriber(topic, "s", "JMSPriority > 5", false).close();
        MessageProducer producer = session.createProducer(topic);
        for (int i = 0; i < 300; i++) {
            producer.setPriority(i < 297 ? 1 : 9);
            producer.send(session.createTextMessage(Integer.toString(i)));
        }
        takes(session.createDurableSubscriber(topic, "s", "JMSPriority > 5", false), 297, 300);
    }
}

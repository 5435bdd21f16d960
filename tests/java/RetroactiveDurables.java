import java.util.ArrayList;
import java.util.List;
import javax.jms.DeliveryMode;
import javax.jms.JMSException;
import javax.jms.Message;
import javax.jms.MessageConsumer;
import javax.jms.MessageProducer;
import javax.jms.Session;
import javax.jms.Topic;
import org.apache.activemq.ActiveMQConnection;
import org.apache.activemq.command.ActiveMQTopic;

/** What durable subscriptions with consumer.retroactive=true get of the past. */
final class RetroactiveDurables extends Rules {
    private static Topic retroactive(Topic topic) throws JMSException {
        return withOptions(topic, "consumer.retroactive=true");
    }

    /** Makes a durable subscription and leaves it alone. */
    private void subscribe(String id, Topic topic) throws JMSException {
        ActiveMQConnection connection = connectAs(id);
        auto(connection).createDurableSubscriber(topic, "s");
        connection.close();
    }

    private MessageConsumer subscriber(String id, Topic topic) throws JMSException {
        return auto(connectAs(id)).createDurableSubscriber(topic, "s");
    }

    private static Topic below(Topic base, String name) {
        return new ActiveMQTopic(nameOf(base) + "." + name);
    }

    private static List<String> sorted(MessageConsumer consumer, int count) throws JMSException {
        List<String> texts = new ArrayList<>(take(consumer, count));
        texts.sort(null);
        return texts;
    }

    @Rule
    void newSubscriptionGetsWhatTheStoreHoldsForOthers() throws Exception {
        Topic topic = topic();
        String one = unique("durable");
        String two = unique("durable");
        subscribe(one, topic);
        send(session(), topic, 0, 10);
        MessageConsumer first = subscriber(one, topic);
        takes(first, 0, 4);
        settled();
        MessageConsumer late = subscriber(two, retroactive(topic));
        takes(late, 4, 10);
        send(session(), topic, 10, 12);
        takes(late, 10, 12);
        takes(first, 4, 12);
    }

    @Rule
    void newSubscriptionGetsWhatAnyOtherHasNotAcknowledged() throws Exception {
        Topic topic = topic();
        String one = unique("durable");
        String two = unique("durable");
        subscribe(one, topic);
        send(session(), topic, 0, 5);
        subscribe(two, topic);
        send(session(), topic, 5, 8);
        MessageConsumer first = subscriber(one, topic);
        takes(first, 0, 2);
        first.close();
        settled();
        takes(subscriber(unique("durable"), retroactive(topic)), 2, 8);
    }

    @Rule
    void whatIsNotPersistentIsNotGivenAgain() throws Exception {
        Topic topic = topic();
        subscribe(unique("durable"), topic);
        Session session = session();
        MessageProducer producer = session.createProducer(topic);
        for (int mode : new int[] {DeliveryMode.NON_PERSISTENT, DeliveryMode.PERSISTENT}) {
            producer.setDeliveryMode(mode);
            producer.send(session.createTextMessage(
                    mode == DeliveryMode.PERSISTENT ? "0" : "not persistent"));
        }
        MessageConsumer late = subscriber(unique("durable"), retroactive(topic));
        takes(late, 0, 1);
        send(session, topic, 1, 2);
        takes(late, 1, 2);
    }

    @Rule
    void selectorAppliesToThePast() throws Exception {
        Topic topic = topic();
        subscribe(unique("durable"), topic);
        Session session = session();
        MessageProducer producer = session.createProducer(topic);
        for (int i = 0; i < 6; i++) {
            Message message = session.createTextMessage(Integer.toString(i / 2));
            message.setIntProperty("n", i % 2);
            producer.send(message);
        }
        Session late = auto(connectAs(unique("durable")));
        MessageConsumer consumer =
                late.createDurableSubscriber(retroactive(topic), "s", "n = 1", false);
        takes(consumer, 0, 3);
        consumer.close();
        consumer = late.createDurableSubscriber(retroactive(topic), "s", "n = 1", false);
        Message last = session.createTextMessage("3");
        last.setIntProperty("n", 1);
        producer.send(last);
        takes(consumer, 3, 4);
    }

    @Rule
    void subscriptionThatIsNotRetroactiveGetsNothingOfOthers() throws Exception {
        Topic topic = topic();
        subscribe(unique("durable"), topic);
        send(session(), topic, 0, 3);
        String id = unique("durable");
        MessageConsumer late = subscriber(id, topic);
        send(session(), topic, 3, 5);
        takes(late, 3, 5);
        late.close();
        MessageConsumer again = auto(connectAs(unique("durable"))).createConsumer(topic);
        send(session(), topic, 5, 6);
        takes(again, 5, 6);
    }

    @Rule
    void oldSubscriptionThatBecomesRetroactiveGetsNothingOfOthers() throws Exception {
        Topic topic = topic();
        subscribe(unique("durable"), topic);
        send(session(), topic, 0, 3);
        String id = unique("durable");
        subscribe(id, topic);
        MessageConsumer late = subscriber(id, retroactive(topic));
        send(session(), topic, 3, 5);
        takes(late, 3, 5);
    }

    @Rule
    void subscriptionWithAChangedSelectorGetsThePastAnew() throws Exception {
        Topic topic = topic();
        subscribe(unique("durable"), topic);
        Session session = auto(connectAs(unique("durable")));
        MessageConsumer consumer =
                session.createDurableSubscriber(retroactive(topic), "s", "JMSPriority > 9", false);
        send(session(), topic, 0, 3);
        consumer.close();
        consumer = session.createDurableSubscriber(retroactive(topic), "s", "JMSPriority > 0", false);
        takes(consumer, 0, 3);
    }

    @Rule
    void whatTheStoreHoldsComesInsteadOfWhatThePolicyKept() throws Exception {
        Topic topic = topic("RETRO");
        subscribe(unique("durable"), topic);
        send(session(), topic, 0, 8);
        MessageConsumer late = subscriber(unique("durable"), retroactive(topic));
        takes(late, 0, 8);
        send(session(), topic, 8, 9);
        takes(late, 8, 9);
    }

    @Rule
    void wildcardSubscriptionGetsThePastOfAllItsTopics() throws Exception {
        Topic base = topic("RETRO");
        Session session = session();
        send(session, below(base, "a"), 0, 8);
        send(session, below(base, "b"), 10, 18);
        Topic all = below(base, ">");
        String id = unique("durable");
        List<String> kept =
                List.of("13", "14", "15", "16", "17", "3", "4", "5", "6", "7");
        MessageConsumer consumer = subscriber(id, retroactive(all));
        equal(kept, sorted(consumer, 10), "of the past");
        send(session, below(base, "c"), 20, 22);
        takes(consumer, 20, 22);
    }

    @Rule
    void compositeSubscriptionGetsThePastOfAllItsTopics() throws Exception {
        Topic a = topic("RETRO");
        Topic b = topic("RETRO");
        Session session = session();
        send(session, a, 0, 8);
        send(session, b, 10, 18);
        Topic both = new ActiveMQTopic(nameOf(a) + "," + nameOf(b));
        List<String> kept =
                List.of("13", "14", "15", "16", "17", "3", "4", "5", "6", "7");
        equal(kept, sorted(subscriber(unique("durable"), retroactive(both)), 10), "of the past");
    }

    @Rule
    void topicsWithABacklogGiveThatAndTheOthersThePast() throws Exception {
        Topic base = topic("RETRO");
        Session session = session();
        send(session, below(base, "a"), 0, 3);
        send(session, below(base, "b"), 10, 13);
        Topic all = below(base, ">");
        String id = unique("durable");
        subscribe(id, all);
        send(session, below(base, "a"), 3, 5);
        MessageConsumer consumer = subscriber(id, retroactive(all));
        equal(List.of("10", "11", "12", "3", "4"), sorted(consumer, 5), "backlog and past");
        send(session, below(base, "a"), 5, 6);
        takes(consumer, 5, 6);
    }

    @Rule
    void wildcardSubscriptionGetsWhatTheStoreHoldsForOthers() throws Exception {
        Topic base = topic();
        Session session = session();
        subscribe(unique("durable"), below(base, "a"));
        subscribe(unique("durable"), below(base, "*"));
        send(session, below(base, "a"), 0, 3);
        send(session, below(base, "b"), 3, 5);
        MessageConsumer consumer = subscriber(unique("durable"), retroactive(below(base, ">")));
        equal(List.of("0", "1", "2", "3", "4"), sorted(consumer, 5), "past");
        send(session, below(base, "b"), 5, 6);
        takes(consumer, 5, 6);
    }
}

import java.util.List;
import javax.jms.DeliveryMode;
import javax.jms.InvalidDestinationException;
import javax.jms.JMSException;
import javax.jms.Message;
import javax.jms.MessageConsumer;
import javax.jms.MessageProducer;
import javax.jms.Session;
import javax.jms.Topic;
import org.apache.activemq.ActiveMQConnection;
import org.apache.activemq.ActiveMQSession;
import org.apache.activemq.command.ActiveMQTopic;

/** What durable subscriptions are after the broker was ended and started again. */
final class RestartTopics extends Rules {
    /** Acknowledgements that are answered: only those are sure to outlive the broker. */
    private static final String SURE_ACKS = "jms.sendAcksAsync=false";

    /** Makes a subscription and leaves it alone. */
    private void subscribe(String id, Topic topic, String name) throws JMSException {
        ActiveMQConnection connection = connectAs(id);
        auto(connection).createDurableSubscriber(topic, name);
        connection.close();
    }

    private MessageConsumer subscriber(String id, Topic topic, String name) throws JMSException {
        return auto(connectAs(id, SURE_ACKS)).createDurableSubscriber(topic, name);
    }

    private void nothingMore(MessageConsumer consumer, Topic topic) throws JMSException {
        sendText(session(), topic, "the end");
        equal("the end", nextText(consumer), "last message");
    }

    @Rule
    void subscriptionKeepsItsBacklogAndPosition() throws Exception {
        Topic topic = topic();
        String id = unique("durable");
        ActiveMQConnection connection = connectAs(id, SURE_ACKS);
        MessageConsumer consumer = client(connection).createDurableSubscriber(topic, "s");
        send(session(), topic, 0, 20);
        takes(consumer, 0, 5).acknowledge();
        takes(consumer, 5, 8);
        connection.close();
        send(session(), topic, 20, 40);
        restart.run();
        send(session(), topic, 40, 50);
        MessageConsumer again = subscriber(id, topic, "s");
        // That some were delivered is not stored, so they are not flagged.
        takesFlagged(again, 5, 50, false, 1);
        nothingMore(again, topic);
    }

    @Rule
    void connectedSubscriptionKeepsItsBacklogAndPosition() throws Exception {
        Topic topic = topic();
        String id = unique("durable");
        MessageConsumer consumer =
                client(connectAs(id, SURE_ACKS)).createDurableSubscriber(topic, "s");
        send(session(), topic, 0, 20);
        takes(consumer, 0, 5).acknowledge();
        takes(consumer, 5, 8);
        restart.run();
        send(session(), topic, 20, 30);
        MessageConsumer again = subscriber(id, topic, "s");
        takes(again, 5, 30);
        nothingMore(again, topic);
    }

    @Rule
    void subscriptionWithoutMessagesIsThereAgain() throws Exception {
        Topic topic = topic();
        String id = unique("durable");
        subscribe(id, topic, "s");
        restart.run();
        send(session(), topic, 0, 10);
        restart.run();
        takes(subscriber(id, topic, "s"), 0, 10);
    }

    @Rule
    void positionSurvivesTwoRestarts() throws Exception {
        Topic topic = topic();
        String id = unique("durable");
        subscribe(id, topic, "s");
        send(session(), topic, 0, 10);
        restart.run();
        takes(subscriber(id, topic, "s"), 0, 5);
        send(session(), topic, 10, 15);
        restart.run();
        MessageConsumer consumer = subscriber(id, topic, "s");
        takes(consumer, 5, 15);
        nothingMore(consumer, topic);
    }

    @Rule
    void caughtUpSubscriptionGetsNothingOld() throws Exception {
        Topic topic = topic();
        String id = unique("durable");
        MessageConsumer consumer = subscriber(id, topic, "s");
        send(session(), topic, 0, 10);
        takes(consumer, 0, 10);
        restart.run();
        MessageConsumer again = subscriber(id, topic, "s");
        nothingMore(again, topic);
    }

    @Rule
    void pullWithoutWaitFindsTheBacklog() throws Exception {
        Topic topic = topic();
        String id = unique("durable");
        subscribe(id, topic, "s");
        send(session(), topic, 0, 3);
        restart.run();
        ActiveMQConnection connection = connectAs(id);
        connection.getPrefetchPolicy().setAll(0);
        MessageConsumer consumer = auto(connection).createDurableSubscriber(topic, "s");
        for (int i = 0; i < 3; i++) {
            Message message = consumer.receiveNoWait();
            check(message != null, "message " + i + " is not there");
            equal(Integer.toString(i), text(message), "text");
        }
        check(consumer.receiveNoWait() == null, "more than was sent");
    }

    @Rule
    void transientMessagesDoNotSurvive() throws Exception {
        Topic topic = topic();
        String id = unique("durable");
        subscribe(id, topic, "s");
        Session session = session();
        MessageProducer producer = session.createProducer(topic);
        for (int i = 0; i < 20; i++) {
            boolean stays = i % 2 == 0;
            producer.setDeliveryMode(
                    stays ? DeliveryMode.PERSISTENT : DeliveryMode.NON_PERSISTENT);
            producer.send(session.createTextMessage(stays ? Integer.toString(i / 2) : "gone"));
        }
        restart.run();
        MessageConsumer consumer = subscriber(id, topic, "s");
        takes(consumer, 0, 10);
        nothingMore(consumer, topic);
    }

    @Rule
    void subscriptionKeepsItsSelector() throws Exception {
        Topic topic = topic();
        String id = unique("durable");
        ActiveMQConnection connection = connectAs(id);
        auto(connection).createDurableSubscriber(topic, "s", "n = 1", false);
        connection.close();
        sendNumbered(topic, 1, "0");
        sendNumbered(topic, 2, "other");
        restart.run();
        sendNumbered(topic, 2, "other");
        sendNumbered(topic, 1, "1");
        MessageConsumer consumer =
                auto(connectAs(id)).createDurableSubscriber(topic, "s", "n = 1", false);
        sendNumbered(topic, 2, "other");
        sendNumbered(topic, 1, "2");
        takes(consumer, 0, 3);
    }

    @Rule
    void changedSelectorStartsAnew() throws Exception {
        Topic topic = topic();
        String id = unique("durable");
        ActiveMQConnection connection = connectAs(id);
        auto(connection).createDurableSubscriber(topic, "s", "n = 1", false);
        connection.close();
        sendNumbered(topic, 1, "lost");
        restart.run();
        MessageConsumer consumer =
                auto(connectAs(id)).createDurableSubscriber(topic, "s", "n = 2", false);
        sendNumbered(topic, 1, "other");
        sendNumbered(topic, 2, "0");
        takes(consumer, 0, 1);
    }

    private void sendNumbered(Topic topic, int number, String text) throws JMSException {
        Session session = session();
        Message message = session.createTextMessage(text);
        message.setIntProperty("n", number);
        session.createProducer(topic).send(message);
    }

    @Rule
    void subscriptionKeepsItsNoLocal() throws Exception {
        Topic topic = topic();
        String id = unique("durable");
        ActiveMQConnection connection = connectAs(id);
        auto(connection).createDurableSubscriber(topic, "s", null, true);
        send(auto(connection), topic, 100, 105);
        send(session(), topic, 0, 5);
        connection.close();
        send(session(), topic, 5, 10);
        restart.run();
        ActiveMQConnection again = connectAs(id);
        MessageConsumer consumer = auto(again).createDurableSubscriber(topic, "s", null, true);
        takes(consumer, 0, 10);
        send(auto(again), topic, 100, 105);
        send(session(), topic, 10, 12);
        takes(consumer, 10, 12);
    }

    @Rule
    void unsubscribedSubscriptionIsGone() throws Exception {
        Topic topic = topic();
        String id = unique("durable");
        ActiveMQConnection connection = connectAs(id);
        Session session = auto(connection);
        session.createDurableSubscriber(topic, "gone").close();
        session.createDurableSubscriber(topic, "stays").close();
        send(session, topic, 0, 5);
        session.unsubscribe("gone");
        restart.run();
        Session again = auto(connectAs(id));
        fails(InvalidDestinationException.class, () -> again.unsubscribe("gone"));
        MessageConsumer anew = again.createDurableSubscriber(topic, "gone");
        send(session(), topic, 5, 7);
        takes(anew, 5, 7);
        takes(again.createDurableSubscriber(topic, "stays"), 0, 7);
    }

    @Rule
    void storedSubscriptionCanBeUnsubscribed() throws Exception {
        Topic topic = topic();
        String id = unique("durable");
        subscribe(id, topic, "s");
        send(session(), topic, 0, 5);
        restart.run();
        Session session = auto(connectAs(id));
        session.unsubscribe("s");
        fails(InvalidDestinationException.class, () -> session.unsubscribe("s"));
        restart.run();
        MessageConsumer anew = subscriber(id, topic, "s");
        send(session(), topic, 5, 7);
        takes(anew, 5, 7);
    }

    @Rule
    void eachSubscriptionKeepsItsOwnPosition() throws Exception {
        Topic topic = topic();
        String first = unique("durable");
        String second = unique("durable");
        subscribe(first, topic, "a");
        subscribe(first, topic, "b");
        subscribe(second, topic, "a");
        send(session(), topic, 0, 100);
        takes(subscriber(first, topic, "a"), 0, 30);
        takes(subscriber(second, topic, "a"), 0, 100);
        restart.run();
        send(session(), topic, 100, 110);
        ActiveMQConnection connection = connectAs(first, SURE_ACKS);
        takes(auto(connection).createDurableSubscriber(topic, "b"), 0, 110);
        takes(auto(connection).createDurableSubscriber(topic, "a"), 30, 110);
        takes(subscriber(second, topic, "a"), 100, 110);
    }

    @Rule
    void oneSubscriberPerTopicKeepsItsOwnMessages() throws Exception {
        Topic one = topic();
        Topic two = topic();
        String id = unique("durable");
        subscribe(id, one, "one");
        subscribe(id, two, "two");
        send(session(), one, 0, 10);
        send(session(), two, 10, 20);
        restart.run();
        ActiveMQConnection connection = connectAs(id);
        takes(auto(connection).createDurableSubscriber(one, "one"), 0, 10);
        takes(auto(connection).createDurableSubscriber(two, "two"), 10, 20);
    }

    @Rule
    void wildcardSubscriptionSurvives() throws Exception {
        String base = unique("TEST");
        String id = unique("durable");
        Session session = session();
        Topic all = session.createTopic(base + ".>");
        subscribe(id, all, "s");
        sendText(session, session.createTopic(base + ".a"), "a, before");
        sendText(session, session.createTopic(base + ".b.c"), "b, before");
        restart.run();
        Session after = session();
        sendText(after, after.createTopic(base + ".a"), "a, after");
        sendText(after, after.createTopic(base + ".d"), "d, after");
        var texts = take(subscriber(id, all, "s"), 4);
        texts.sort(null);
        equal(List.of("a, after", "a, before", "b, before", "d, after"), texts, "kept");
    }

    @Rule
    void wildcardSubscriptionKeepsItsPositions() throws Exception {
        String base = unique("TEST");
        String id = unique("durable");
        Session session = session();
        Topic all = session.createTopic(base + ".*");
        Topic a = session.createTopic(base + ".a");
        Topic b = session.createTopic(base + ".b");
        MessageConsumer consumer = subscriber(id, all, "s");
        send(session, a, 0, 3);
        takes(consumer, 0, 3);
        send(session, b, 3, 5);
        takes(consumer, 3, 5);
        restart.run();
        MessageConsumer again = subscriber(id, all, "s");
        send(session(), b, 5, 7);
        takes(again, 5, 7);
        send(session(), a, 7, 9);
        takes(again, 7, 9);
    }

    @Rule
    void messagesArriveAsTheyWere() throws Exception {
        Topic topic = topic();
        String id = unique("durable");
        subscribe(id, topic, "s");
        Session session = session();
        Message message = session.createTextMessage("\u00fcml\u00e4ut \ud83d\ude00");
        message.setJMSCorrelationID("correlation");
        message.setJMSType("type");
        message.setJMSReplyTo(queue());
        message.setStringProperty("s", "\u4e2d\u6587");
        message.setLongProperty("l", Long.MIN_VALUE);
        session.createProducer(topic).send(message, DeliveryMode.PERSISTENT, 8, 3_600_000);
        restart.run();
        MessageConsumer consumer = subscriber(id, topic, "s");
        equal(Portrait.of(message), Portrait.of(next(consumer)), "message");
    }

    @Rule
    void receivesOfAnOpenTransactionComeAgain() throws Exception {
        Topic topic = topic();
        String id = unique("durable");
        Session session = transacted(connectAs(id));
        MessageConsumer consumer = session.createDurableSubscriber(topic, "s");
        send(session(), topic, 0, 10);
        takes(consumer, 0, 4);
        session.commit();
        takes(consumer, 4, 8);
        restart.run();
        takes(subscriber(id, topic, "s"), 4, 10);
    }

    private static Topic retroactive(Topic topic) throws JMSException {
        return withOptions(topic, "consumer.retroactive=true");
    }

    @Rule
    void whatWasAcknowledgedOneByOneDoesNotComeAgain() throws Exception {
        Topic topic = topic();
        String id = unique("durable");
        ActiveMQConnection connection = connectAs(id, SURE_ACKS);
        MessageConsumer consumer = connection
                .createSession(false, ActiveMQSession.INDIVIDUAL_ACKNOWLEDGE)
                .createDurableSubscriber(topic, "s");
        send(session(), topic, 0, 6);
        for (int i = 0; i < 6; i++) {
            Message message = takes(consumer, i, i + 1);
            if (i % 2 == 1) {
                message.acknowledge();
            }
        }
        connection.close();
        restart.run();
        MessageConsumer again = subscriber(id, topic, "s");
        for (int i = 0; i < 6; i += 2) {
            takes(again, i, i + 1);
        }
        nothingMore(again, topic);
    }

    @Rule
    void compositeSubscriptionKeepsItsPositions() throws Exception {
        Topic one = topic();
        Topic two = topic();
        Topic both = new ActiveMQTopic(nameOf(one) + "," + nameOf(two));
        String id = unique("durable");
        subscribe(id, both, "s");
        Session session = session();
        send(session, one, 0, 3);
        send(session, two, 3, 6);
        ActiveMQConnection connection = connectAs(id, SURE_ACKS);
        MessageConsumer consumer = auto(connection).createDurableSubscriber(both, "s");
        take(consumer, 4);
        connection.close();
        restart.run();
        MessageConsumer again = subscriber(id, both, "s");
        take(again, 2);
        sendText(session(), one, "the end");
        equal("the end", nextText(again), "last message");
    }

    @Rule
    void retroactiveSubscriptionKeepsWhatTheStoreHeldForOthers() throws Exception {
        Topic topic = topic();
        subscribe(unique("durable"), topic, "s");
        send(session(), topic, 0, 10);
        String id = unique("durable");
        MessageConsumer late = subscriber(id, retroactive(topic), "s");
        takes(late, 0, 3);
        restart.run();
        send(session(), topic, 10, 12);
        MessageConsumer again = subscriber(id, topic, "s");
        takes(again, 3, 12);
        nothingMore(again, topic);
    }

    @Rule
    void subscriptionFromBeforeTheRestartSharesWithARetroactiveOne() throws Exception {
        Topic topic = topic();
        String id = unique("durable");
        subscribe(id, topic, "s");
        send(session(), topic, 0, 10);
        takes(subscriber(id, topic, "s"), 0, 4);
        restart.run();
        MessageConsumer late = subscriber(unique("durable"), retroactive(topic), "s");
        takes(late, 4, 10);
        nothingMore(late, topic);
    }

    /** The original has it in memory only, and its policy's memory is gone with it. */
    @Rule(beyondOriginal = true)
    void retroactiveSubscriptionKeepsWhatThePolicyKept() throws Exception {
        Topic topic = topic("RETRO");
        send(session(), topic, 0, 8);
        String id = unique("durable");
        MessageConsumer late = subscriber(id, retroactive(topic), "s");
        takes(late, 3, 5);
        restart.run();
        MessageConsumer again = subscriber(id, retroactive(topic), "s");
        takes(again, 5, 8);
        nothingMore(again, topic);
    }
}

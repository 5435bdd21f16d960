import java.util.List;
import javax.jms.DeliveryMode;
import javax.jms.IllegalStateException;
import javax.jms.InvalidDestinationException;
import javax.jms.JMSException;
import javax.jms.Message;
import javax.jms.MessageConsumer;
import javax.jms.MessageProducer;
import javax.jms.Session;
import javax.jms.Topic;
import org.apache.activemq.ActiveMQConnection;
import org.apache.activemq.command.ActiveMQDestination;
import org.apache.activemq.command.RemoveSubscriptionInfo;

final class Durable extends Rules {
    @Rule
    void offlineSubscriptionKeepsMessagesInOrder() throws Exception {
        Topic topic = topic();
        String id = unique("durable");
        ActiveMQConnection connection = connectAs(id);
        MessageConsumer consumer = auto(connection).createDurableSubscriber(topic, "s");
        send(session(), topic, 0, 5);
        takes(consumer, 0, 5);
        connection.close();
        send(session(), topic, 5, 305);
        ActiveMQConnection again = connectAs(id);
        takesFlagged(auto(again).createDurableSubscriber(topic, "s"), 5, 305, false, 1);
        again.close();
        send(session(), topic, 305, 306);
        takes(auto(connectAs(id)).createDurableSubscriber(topic, "s"), 305, 306);
    }

    @Rule
    void offlineSubscriptionKeepsTransientMessagesToo() throws Exception {
        Topic topic = topic();
        String id = unique("durable");
        ActiveMQConnection connection = connectAs(id);
        auto(connection).createDurableSubscriber(topic, "s");
        connection.close();
        Session session = session();
        MessageProducer producer = session.createProducer(topic);
        producer.setDeliveryMode(DeliveryMode.NON_PERSISTENT);
        for (int i = 0; i < 20; i++) {
            producer.send(session.createTextMessage(Integer.toString(i)));
        }
        takes(auto(connectAs(id)).createDurableSubscriber(topic, "s"), 0, 20);
    }

    @Rule
    void unackedMessagesComeAgain() throws Exception {
        Topic topic = topic();
        String id = unique("durable");
        ActiveMQConnection connection = connectAs(id);
        Session session = client(connection);
        MessageConsumer consumer = session.createDurableSubscriber(topic, "s");
        send(session(), topic, 0, 10);
        takes(consumer, 0, 3).acknowledge();
        takes(consumer, 3, 6);
        connection.close();
        MessageConsumer again = auto(connectAs(id)).createDurableSubscriber(topic, "s");
        takesFlagged(again, 3, 6, true, 2);
        takesFlagged(again, 6, 10, false, 1);
    }

    @Rule
    void cutSubscriptionKeepsUnackedMessages() throws Exception {
        Topic topic = topic();
        String id = unique("durable");
        Proxy proxy = proxy();
        ActiveMQConnection connection = preparedAt(proxy.url(), "");
        connection.setClientID(id);
        connection.start();
        MessageConsumer consumer = client(connection).createDurableSubscriber(topic, "s");
        send(session(), topic, 0, 10);
        takes(consumer, 0, 3);
        proxy.cut();
        MessageConsumer[] again = new MessageConsumer[1];
        eventually("subscription is free", () -> {
            try {
                again[0] = auto(connectAs(id)).createDurableSubscriber(topic, "s");
                return true;
            } catch (JMSException e) {
                return false;
            }
        });
        takesFlagged(again[0], 0, 10, true, 2);
    }

    @Rule
    void changedSelectorStartsAnew() throws Exception {
        Topic topic = topic();
        ActiveMQConnection connection = connectAs(unique("durable"));
        Session session = auto(connection);
        MessageConsumer consumer = session.createDurableSubscriber(topic, "s", "n = 1", false);
        sendNumbered(topic, 1, "one");
        sendNumbered(topic, 2, "two");
        equal("one", nextText(consumer), "selected");
        consumer.close();
        sendNumbered(topic, 1, "lost");
        consumer = session.createDurableSubscriber(topic, "s", "n = 2", false);
        sendNumbered(topic, 1, "one");
        sendNumbered(topic, 2, "two");
        equal("two", nextText(consumer), "selected by the new selector");
        consumer.close();
        sendNumbered(topic, 1, "one");
        sendNumbered(topic, 2, "kept");
        consumer = session.createDurableSubscriber(topic, "s", "n = 2", false);
        equal("kept", nextText(consumer), "kept by the same selector");
    }

    private void sendNumbered(Topic topic, int number, String text) throws JMSException {
        Session session = session();
        Message message = session.createTextMessage(text);
        message.setIntProperty("n", number);
        session.createProducer(topic).send(message);
    }

    @Rule
    void unsubscribedSubscriptionForgets() throws Exception {
        Topic topic = topic();
        ActiveMQConnection connection = connectAs(unique("durable"));
        Session session = auto(connection);
        session.createDurableSubscriber(topic, "s").close();
        send(session, topic, 0, 5);
        session.unsubscribe("s");
        MessageConsumer consumer = session.createDurableSubscriber(topic, "s");
        send(session, topic, 5, 10);
        takes(consumer, 5, 10);
    }

    @Rule
    void unsubscribingUnknownNameFails() throws Exception {
        String id = unique("durable");
        Session session = auto(connectAs(id));
        fails(InvalidDestinationException.class,
                "No durable subscription exists for clientID: " + id
                        + " and subscriptionName: nobody",
                () -> session.unsubscribe("nobody"));
    }

    @Rule
    void unsubscribingWhileActiveFails() throws Exception {
        Session session = auto(connectAs(unique("durable")));
        session.createDurableSubscriber(topic(), "s");
        fails(JMSException.class, "Durable consumer is in use", () -> session.unsubscribe("s"));
    }

    @Rule
    void secondActiveSubscriberOfANameFails() throws Exception {
        Topic topic = topic();
        String id = unique("durable");
        ActiveMQConnection connection = connectAs(id);
        auto(connection).createDurableSubscriber(topic, "s");
        fails(JMSException.class,
                "Durable consumer is in use for client: " + id + " and subscriptionName: s",
                () -> auto(connection).createDurableSubscriber(topic, "s"));
        auto(connection).createDurableSubscriber(topic, "other");
    }

    @Rule
    void durableSubscriberNeedsAClientId() throws Exception {
        // The client refuses: the id it makes up for itself would be another one next time.
        fails(JMSException.class,
                "You cannot create a durable subscriber without specifying a unique clientID",
                () -> session().createDurableSubscriber(topic(), "s"));
    }

    /** More than is read at a time, and for two others. */
    @Rule
    void retroactiveSubscriptionGetsWhatIsStoredForOthers() throws Exception {
        Topic topic = topic();
        String[] others = {unique("durable"), unique("durable")};
        for (String other : others) {
            auto(connectAs(other)).createDurableSubscriber(topic, "s").close();
            send(session(), topic, 0, 250);
        }
        Topic past = withOptions(topic, "consumer.retroactive=true");
        Session session = auto(connectAs(unique("durable")));
        MessageConsumer late = session.createDurableSubscriber(past, "s");
        send(session(), topic, 500, 510);
        takes(late, 0, 250);
        takes(late, 0, 250);
        takes(late, 500, 510);
        late.close();
        late = session.createDurableSubscriber(past, "s");
        send(session(), topic, 510, 511);
        takes(late, 510, 511);
    }

    @Rule
    void retroactiveSubscriptionGetsNothingOthersAreDoneWith() throws Exception {
        Topic topic = topic();
        Session others = auto(connectAs(unique("durable")));
        MessageConsumer first = others.createDurableSubscriber(topic, "s");
        send(session(), topic, 0, 20);
        takes(first, 0, 10);
        first.close();
        MessageConsumer late = auto(connectAs(unique("durable"))).createDurableSubscriber(
                withOptions(topic, "consumer.retroactive=true"), "s");
        takes(late, 10, 20);
    }

    @Rule
    void retroactiveSubscriptionToAPatternGetsWhatIsStoredForOthers() throws Exception {
        String base = unique("TEST");
        Topic a = session().createTopic(base + ".a");
        Topic b = session().createTopic(base + ".b");
        for (Topic topic : new Topic[] {a, b, topic()}) {
            auto(connectAs(unique("durable"))).createDurableSubscriber(topic, "s").close();
            send(session(), topic, 0, 2);
        }
        Session session = auto(connectAs(unique("durable")));
        MessageConsumer late = session.createDurableSubscriber(
                session.createTopic(base + ".>?consumer.retroactive=true"), "s");
        send(session(), a, 2, 3);
        var texts = take(late, 5);
        texts.sort(null);
        equal(List.of("0", "0", "1", "1", "2"), texts, "texts");
    }

    @Rule
    void wildcardSubscriptionKeepsMessagesOfAllItsTopics() throws Exception {
        String base = unique("TEST");
        String id = unique("durable");
        Session session = session();
        ActiveMQConnection connection = connectAs(id);
        sendText(session, session.createTopic(base + ".a"), "before");
        auto(connection).createDurableSubscriber(session.createTopic(base + ".>"), "s");
        connection.close();
        sendText(session, session.createTopic(base + ".a"), "old topic");
        sendText(session, session.createTopic(base + ".b.c"), "new topic");
        MessageConsumer consumer =
                auto(connectAs(id)).createDurableSubscriber(session.createTopic(base + ".>"), "s");
        var texts = take(consumer, 2);
        texts.sort(null);
        equal(java.util.List.of("new topic", "old topic"), texts, "kept");
    }

    @Rule
    void eachSubscriptionHasItsOwnPosition() throws Exception {
        Topic topic = topic();
        ActiveMQConnection connection = connectAs(unique("durable"));
        Session session = auto(connection);
        MessageConsumer first = session.createDurableSubscriber(topic, "first");
        session.createDurableSubscriber(topic, "second").close();
        send(session, topic, 0, 50);
        takes(first, 0, 50);
        first.close();
        send(session, topic, 50, 60);
        takes(session.createDurableSubscriber(topic, "second"), 0, 60);
        takes(session.createDurableSubscriber(topic, "first"), 50, 60);
    }

    @Rule
    void noLocalSubscriptionKeepsOnlyForeignMessages() throws Exception {
        Topic topic = topic();
        ActiveMQConnection connection = connectAs(unique("durable"));
        MessageConsumer consumer = auto(connection).createDurableSubscriber(topic, "s", null, true);
        send(auto(connection), topic, 0, 5);
        send(session(), topic, 5, 10);
        takes(consumer, 5, 10);
    }

    @Rule
    void durableSubscriptionOfAnAdvisoryIsRefused() throws Exception {
        Session session = auto(connectAs(unique("durable")));
        Topic advisory = session.createTopic("ActiveMQ.Advisory.Connection");
        fails(JMSException.class, "Cannot create a durable subscription for an advisory Topic",
                () -> session.createDurableSubscriber(advisory, "s"));
    }

    @Rule
    void topicOfASubscriptionThatIsAwayIsNotDestroyed() throws Exception {
        Topic topic = topic();
        ActiveMQConnection connection = connectAs(unique("durable"));
        Session session = auto(connection);
        session.createDurableSubscriber(topic, "s").close();
        send(session, topic, 0, 2);
        fails(JMSException.class, "Destination: " + topic + " still has an active subscription: ",
                () -> connection.destroyDestination((ActiveMQDestination) topic));
        send(session, topic, 2, 4);
        takes(session.createDurableSubscriber(topic, "s"), 0, 4);
    }

    @Rule
    void durableSubscriptionTakesMoreThanItsPrefetch() throws Exception {
        Topic topic = topic();
        ActiveMQConnection connection = connectAs(unique("durable"));
        connection.getPrefetchPolicy().setDurableTopicPrefetch(10);
        connection.getPrefetchPolicy().setOptimizeDurableTopicPrefetch(10);
        Session session = client(connection);
        MessageConsumer consumer = session.createDurableSubscriber(topic, "s");
        send(session(), topic, 0, 200);
        takes(consumer, 0, 200).acknowledge();
        consumer.close();
        send(session(), topic, 200, 201);
        takes(session.createDurableSubscriber(topic, "s"), 200, 201);
    }

    @Rule
    void clientIdOfAClosedConnectionOwnsItsSubscriptions() throws Exception {
        Topic topic = topic();
        ActiveMQConnection other = connectAs(unique("durable"));
        auto(other).createDurableSubscriber(topic, "s").close();
        ActiveMQConnection mine = connectAs(unique("durable"));
        fails(InvalidDestinationException.class, () -> auto(mine).unsubscribe("s"));
        Session closed = auto(mine);
        closed.close();
        fails(IllegalStateException.class, () -> closed.unsubscribe("s"));
        auto(other).unsubscribe("s");
    }

    @Rule
    void whoRemovesASubscriptionNeedNotNameTheConnection() throws Exception {
        Topic topic = topic();
        String id = unique("durable");
        ActiveMQConnection connection = connectAs(id);
        Session session = auto(connection);
        session.createDurableSubscriber(topic, "s").close();
        RemoveSubscriptionInfo remove = new RemoveSubscriptionInfo();
        remove.setClientId(id);
        remove.setSubscriptionName("s");
        connection.syncSendPacket(remove);
        fails(InvalidDestinationException.class, "No durable subscription exists for clientID: " + id
                + " and subscriptionName: s", () -> session.unsubscribe("s"));
    }

    /** More than is read from the store at a time. */
    @Rule
    void higherPriorityInALongBacklogIsServedFirst() throws Exception {
        Topic topic = topic("PRIO");
        String id = unique("durable");
        ActiveMQConnection connection = connectAs(id);
        auto(connection).createDurableSubscriber(topic, "s");
        connection.close();
        Session session = connect().createSession(true, Session.SESSION_TRANSACTED);
        MessageProducer producer = session.createProducer(topic);
        for (int i = 0; i < 900; i++) {
            producer.setPriority(i / 300 * 2 + 3);
            producer.send(session.createTextMessage(Integer.toString(i)));
        }
        session.commit();
        connection = connectAs(id, "jms.prefetchPolicy.optimizeDurableTopicPrefetch=10"
                + "&jms.messagePrioritySupported=false");
        MessageConsumer consumer = auto(connection).createDurableSubscriber(topic, "s");
        takes(consumer, 600, 900);
        takes(consumer, 300, 600);
        takes(consumer, 0, 300);
    }
}

import java.util.ArrayList;
import java.util.List;
import javax.jms.DeliveryMode;
import javax.jms.Message;
import javax.jms.MessageConsumer;
import javax.jms.MessageProducer;
import javax.jms.Session;
import javax.jms.Topic;
import org.apache.activemq.ActiveMQConnection;

final class Topics extends Rules {
    @Rule
    void everySubscriberGetsEveryMessageInOrder() throws Exception {
        Topic topic = topic();
        List<MessageConsumer> consumers = new ArrayList<>();
        for (int i = 0; i < 5; i++) {
            consumers.add(session().createConsumer(topic));
        }
        send(session(), topic, 0, 200);
        for (MessageConsumer consumer : consumers) {
            takes(consumer, 0, 200);
        }
    }

    @Rule
    void nothingSentBeforeSubscribingArrives() throws Exception {
        Topic topic = topic();
        Session session = session();
        send(session, topic, 0, 5);
        MessageConsumer consumer = session.createConsumer(topic);
        send(session, topic, 5, 10);
        takes(consumer, 5, 10);
    }

    @Rule
    void nothingArrivesAfterUnsubscribing() throws Exception {
        Topic topic = topic();
        Session session = session();
        MessageConsumer consumer = session.createConsumer(topic);
        send(session, topic, 0, 2);
        takes(consumer, 0, 2);
        consumer.close();
        send(session, topic, 2, 4);
        MessageConsumer next = session.createConsumer(topic);
        send(session, topic, 4, 6);
        takes(next, 4, 6);
    }

    @Rule
    void noLocalHidesOwnMessages() throws Exception {
        Topic topic = topic();
        ActiveMQConnection connection = connect();
        MessageConsumer consumer = auto(connection).createConsumer(topic, null, true);
        send(auto(connection), topic, 0, 5);
        send(session(), topic, 5, 10);
        takes(consumer, 5, 10);
    }

    @Rule
    void pendingLimitDiscardsTheOldest() throws Exception {
        Topic topic = topic("LIMIT");
        ActiveMQConnection connection = connect("jms.prefetchPolicy.topicPrefetch=1");
        MessageConsumer slow = auto(connection).createConsumer(topic);
        send(session(), topic, 0, 100);
        // One is with the client, the pending list keeps the ten newest.
        takes(slow, 0, 1);
        takes(slow, 90, 100);
    }

    @Rule
    void persistentMessageThatIsDiscardedIsADeadLetter() throws Exception {
        Topic topic = topic("LIMIT");
        ActiveMQConnection connection = connect("jms.prefetchPolicy.topicPrefetch=1");
        MessageConsumer slow = auto(connection).createConsumer(topic);
        send(session(), topic, 0, 12);
        Message dead = DeadLetters.next(this, topic);
        equal("1", text(dead), "text");
        String cause = dead.getStringProperty("dlqDeliveryFailureCause");
        String id = connection.getConnectionInfo().getConnectionId().toString();
        check(cause.startsWith("java.lang.Throwable: TopicSubDiscard. ID:" + id), cause);
        takes(slow, 0, 1);
        takes(slow, 2, 12);
    }

    @Rule
    void withoutPolicyNothingIsDiscarded() throws Exception {
        Topic topic = topic();
        ActiveMQConnection connection = connect("jms.prefetchPolicy.topicPrefetch=1");
        MessageConsumer slow = auto(connection).createConsumer(topic);
        send(auto(connect("jms.useAsyncSend=true")), topic, 0, 3000);
        takes(slow, 0, 3000);
    }

    @Rule
    void slowSubscriberDoesNotHoldUpAFastOne() throws Exception {
        Topic topic = topic("LIMIT");
        MessageConsumer slow =
                auto(connect("jms.prefetchPolicy.topicPrefetch=5")).createConsumer(topic);
        MessageConsumer fast = session().createConsumer(topic);
        send(auto(connect("jms.useAsyncSend=true")), topic, 0, 2000);
        takes(fast, 0, 2000);
        takes(slow, 0, 5);
    }

    @Rule
    void wildcardSubscriberGetsPresentAndFutureTopics() throws Exception {
        String base = unique("TEST");
        Session session = session();
        send(session, session.createTopic(base + ".a"), 0, 1);
        MessageConsumer one = session.createConsumer(session.createTopic(base + ".*"));
        MessageConsumer all = session.createConsumer(session.createTopic(base + ".>"));
        sendText(session, session.createTopic(base + ".a"), "a");
        sendText(session, session.createTopic(base + ".b"), "b");
        sendText(session, session.createTopic(base + ".b.c"), "b.c");
        sendText(session, session.createTopic(base), "base");
        sendText(session, session.createTopic(base + ".z"), "z");
        equal(List.of("a", "b", "z"), take(one, 3), "of *");
        equal(List.of("a", "b", "b.c", "base", "z"), take(all, 5), "of >");
    }

    @Rule
    void persistentMessagesReachPlainSubscribers() throws Exception {
        Topic topic = topic();
        Session session = session();
        MessageConsumer consumer = session.createConsumer(topic);
        MessageProducer producer = session.createProducer(topic);
        for (int mode : new int[] {DeliveryMode.PERSISTENT, DeliveryMode.NON_PERSISTENT}) {
            producer.setDeliveryMode(mode);
            producer.send(session.createTextMessage("0"));
            equal(mode, takes(consumer, 0, 1).getJMSDeliveryMode(), "delivery mode");
        }
    }

    @Rule
    void smallPrefetchStillDeliversAll() throws Exception {
        Topic topic = topic();
        ActiveMQConnection connection = connect("jms.prefetchPolicy.topicPrefetch=10");
        Session session = client(connection);
        MessageConsumer consumer = session.createConsumer(topic);
        send(auto(connection), topic, 0, 100);
        Message last = takes(consumer, 0, 100);
        last.acknowledge();
    }

    @Rule
    void retroactiveSubscriberGetsWhatThePolicyKept() throws Exception {
        Topic topic = topic("RETRO");
        Session session = session();
        send(session, topic, 0, 20);
        MessageConsumer plain = session.createConsumer(topic);
        MessageConsumer late =
                session.createConsumer(withOptions(topic, "consumer.retroactive=true"));
        send(session, topic, 20, 22);
        takes(late, 15, 22);
        takes(plain, 20, 22);
    }

    @Rule
    void virtualTopicFeedsTheQueuesOfItsConsumers() throws Exception {
        String name = unique("VirtualTopic.T");
        Session session = session();
        Topic topic = session.createTopic(name);
        MessageConsumer a1 = session().createConsumer(session.createQueue("Consumer.A." + name));
        MessageConsumer a2 = session().createConsumer(session.createQueue("Consumer.A." + name));
        MessageConsumer b = session().createConsumer(session.createQueue("Consumer.B." + name));
        MessageConsumer plain = session().createConsumer(topic);
        send(session, topic, 0, 10);
        takes(b, 0, 10);
        takes(plain, 0, 10);
        List<String> shared = new ArrayList<>(take(a1, 5));
        shared.addAll(take(a2, 5));
        shared.sort(null);
        equal(List.of("0", "1", "2", "3", "4", "5", "6", "7", "8", "9"), shared, "shared by A");
        isEmpty(session.createQueue("Consumer.A." + name));
    }
}

import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import javax.jms.JMSException;
import javax.jms.MessageConsumer;
import javax.jms.MessageProducer;
import javax.jms.Session;
import javax.jms.Topic;
import org.apache.activemq.ActiveMQConnection;
import org.apache.activemq.command.ConnectionId;
import org.apache.activemq.command.ConsumerId;
import org.apache.activemq.command.ConsumerInfo;
import org.apache.activemq.command.SessionId;

/** In which order the subscribers of a topic are served, and what waits for those that are busy. */
final class TopicDispatch extends Rules {
    /** Names of consumers of one connection, in the order in which they were served. */
    private final BlockingQueue<String> served = new LinkedBlockingQueue<>();

    private void listen(Session session, Topic topic, String name) throws JMSException {
        session.createConsumer(topic).setMessageListener(message -> served.add(name));
    }

    private List<String> served(int count) throws Exception {
        List<String> names = new ArrayList<>();
        for (int i = 0; i < count; i++) {
            String name = served.poll(WAIT_MS, TimeUnit.MILLISECONDS);
            check(name != null, "only " + names + " were served");
            names.add(name);
        }
        return names;
    }

    @Rule
    void consumersAreServedInTheOrderInWhichTheyCame() throws Exception {
        Topic topic = topic();
        Session session = session();
        for (String name : List.of("a", "b", "c")) {
            listen(session, topic, name);
        }
        send(session(), topic, 0, 2);
        equal(List.of("a", "b", "c", "a", "b", "c"), served(6), "served");
    }

    @Rule
    void roundRobinBeginsEachMessageWithAnotherConsumer() throws Exception {
        Topic topic = topic("TURNS");
        Session session = session();
        for (String name : List.of("a", "b", "c")) {
            listen(session, topic, name);
        }
        send(session(), topic, 0, 4);
        equal(List.of("a", "b", "c", "b", "c", "a", "c", "a", "b", "a", "b", "c"), served(12),
                "served");
    }

    @Rule
    void consumersOfHigherPriorityAreServedFirst() throws Exception {
        Topic topic = topic("RANKED");
        Session session = session();
        for (String priority : List.of("0", "7", "-3", "5")) {
            listen(session, withOptions(topic, "consumer.priority=" + priority), priority);
        }
        send(session(), topic, 0, 2);
        equal(List.of("7", "5", "0", "-3", "7", "5", "0", "-3"), served(8), "served");
    }

    /** As the broker of a network has it, which stands for a consumer there. */
    private static RawClient bridged(
            ActiveMQConnection connection, Topic topic, int priority, ConsumerId behind)
            throws JMSException {
        RawClient bridge = new RawClient(connection);
        ConsumerInfo info = bridge.consumer(topic, 100);
        info.setNetworkSubscription(true);
        info.setNetworkConsumerPath(new ConsumerId[] {behind});
        info.setPriority((byte) priority);
        connection.syncSendPacket(info);
        return bridge;
    }

    @Rule
    void ofNetworkConsumersForTheSameOneThatOfHighestPriorityIsServed() throws Exception {
        Topic topic = topic("NEAREST");
        SessionId there = new SessionId(new ConnectionId("ID:far-1-1:1"), 1);
        ConsumerId remote = new ConsumerId(there, 7);
        RawClient far = bridged(connect(), topic, -5, remote);
        ActiveMQConnection connection = connect();
        RawClient near = bridged(connection, topic, -2, remote);
        RawClient other = bridged(connect(), topic, -5, new ConsumerId(there, 8));
        MessageConsumer own = session().createConsumer(topic);
        Session session = session();
        send(session, topic, 0, 3);
        near.takes(0, 3);
        other.takes(0, 3);
        takes(own, 0, 3);
        connection.close();
        settled();
        send(session, topic, 3, 4);
        far.takes(3, 4);
        far.hasNoMore();
        other.takes(3, 4);
    }

    @Rule
    void allConsumersSeeTheMessagesOfSeveralProducersInOneOrder() throws Exception {
        Topic topic = topic("STRICT");
        List<MessageConsumer> consumers = new ArrayList<>();
        for (int i = 0; i < 3; i++) {
            consumers.add(session().createConsumer(topic));
        }
        List<CompletableFuture<Void>> producers = new ArrayList<>();
        for (int i = 0; i < 3; i++) {
            Session session = session();
            int from = 1000 * i;
            producers.add(meanwhile(() -> send(session, topic, from, from + 200)));
        }
        for (CompletableFuture<Void> producer : producers) {
            finishes(producer);
        }
        List<String> first = take(consumers.get(0), 600);
        equal(first, take(consumers.get(1), 600), "what the second saw");
        equal(first, take(consumers.get(2), 600), "what the third saw");
    }

    /** A consumer that holds two messages and takes none; the others wait with the broker. */
    private MessageConsumer busy(Topic topic, String options) throws Exception {
        return client(connect("jms.prefetchPolicy.topicPrefetch=2" + options)).createConsumer(topic);
    }

    @Rule
    void asManyWaitAsTheShareOfThePrefetchSays() throws Exception {
        Topic topic = topic("RATE");
        MessageConsumer consumer = busy(topic, "");
        send(session(), topic, 0, 20);
        takes(consumer, 0, 2).acknowledge();
        takes(consumer, 15, 20);
    }

    @Rule
    void limitOfTheConsumerCountsIfItIsLower() throws Exception {
        Topic topic = topic("RATE");
        MessageConsumer consumer = busy(topic, "&jms.prefetchPolicy.maximumPendingMessageLimit=3");
        send(session(), topic, 0, 20);
        takes(consumer, 0, 2).acknowledge();
        takes(consumer, 17, 20);
        Topic other = topic("RATE");
        MessageConsumer patient = busy(other, "&jms.prefetchPolicy.maximumPendingMessageLimit=9");
        send(session(), other, 0, 20);
        takes(patient, 0, 2).acknowledge();
        takes(patient, 15, 20);
    }

    @Rule
    void nothingWaitsWithALimitOfZero() throws Exception {
        Topic topic = topic("NOTHING");
        MessageConsumer consumer = busy(topic, "");
        Session session = session();
        send(session, topic, 0, 20);
        takes(consumer, 0, 2).acknowledge();
        settled();
        send(session, topic, 20, 21);
        takes(consumer, 20, 21);
    }

    @Rule
    void messagesThatAreOverTheirTimeGoBeforeOthers() throws Exception {
        Topic topic = topic("RATE");
        MessageConsumer consumer = busy(topic, "");
        Session session = session();
        send(session, topic, 0, 3);
        MessageProducer producer = session.createProducer(topic);
        producer.setTimeToLive(1);
        for (int i = 0; i < 3; i++) {
            producer.send(session.createTextMessage("expired"));
        }
        Thread.sleep(20);
        send(session, topic, 3, 7);
        takes(consumer, 0, 2).acknowledge();
        takes(consumer, 2, 7);
    }

    // Priorities of messages

    /** A durable subscriber of which so many messages wait, of which it has taken two. */
    private MessageConsumer behind(Topic topic, int count) throws Exception {
        String id = unique("durable");
        ActiveMQConnection connection = connectAs(id);
        auto(connection).createDurableSubscriber(topic, "s");
        connection.close();
        Session session = transacted(connect());
        send(session, topic, 0, count);
        session.commit();
        connection = connectAs(id, "jms.prefetchPolicy.optimizeDurableTopicPrefetch=1"
                + "&jms.messagePrioritySupported=false");
        MessageConsumer consumer = auto(connection).createDurableSubscriber(topic, "s");
        takes(consumer, 0, 2);
        settled();
        return consumer;
    }

    private static void sendUrgent(Session session, Topic topic) throws JMSException {
        MessageProducer producer = session.createProducer(topic);
        producer.setPriority(9);
        producer.send(session.createTextMessage("urgent"));
    }

    /** Whatever immediatePriorityDispatch says: it is for when there is no memory for the backlog. */
    @Rule
    void urgentMessageOvertakesTheBacklogOfADurableSubscription() throws Exception {
        for (String policy : List.of("PRIO", "LATER")) {
            Topic topic = topic(policy);
            MessageConsumer consumer = behind(topic, 900);
            sendUrgent(session(), topic);
            takes(consumer, 2, 3);
            equal("urgent", nextText(consumer), "the next one");
            takes(consumer, 3, 900);
        }
    }
}

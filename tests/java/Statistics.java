import java.util.ArrayList;
import java.util.Collections;
import java.util.Enumeration;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import javax.jms.DeliveryMode;
import javax.jms.Destination;
import javax.jms.JMSException;
import javax.jms.MapMessage;
import javax.jms.Message;
import javax.jms.MessageConsumer;
import javax.jms.MessageProducer;
import javax.jms.Queue;
import javax.jms.QueueBrowser;
import javax.jms.Session;
import javax.jms.TemporaryQueue;
import javax.jms.Topic;
import org.apache.activemq.ActiveMQConnection;
import org.apache.activemq.command.ActiveMQQueue;
import org.apache.activemq.command.ActiveMQTopic;
import org.apache.activemq.command.ConsumerInfo;

/** Counters by message. */
final class Statistics extends Rules {
    private static final String PREFIX = "ActiveMQ.Statistics.";
    private static final String ENDS = PREFIX + "Destination.List.End.With.Null";
    private static final String FIRST =
            PREFIX + "Destination.Include.First.Message.Timestamp";
    private static final Set<String> COUNTERS = Set.of(
            "brokerName", "brokerId", "size", "enqueueCount", "dequeueCount", "dispatchCount",
            "expiredCount", "inflightCount", "messagesCached", "averageMessageSize",
            "memoryPercentUsage", "memoryUsage", "memoryLimit", "averageEnqueueTime",
            "maxEnqueueTime", "minEnqueueTime", "consumerCount", "producerCount");

    /** Asks, and takes the answers up to the empty one that ends them, or one. */
    private List<MapMessage> ask(Destination about, boolean ends, String... properties)
            throws JMSException {
        Session session = session();
        TemporaryQueue answers = session.createTemporaryQueue();
        MessageConsumer consumer = session.createConsumer(answers);
        Message question = session.createMessage();
        question.setJMSReplyTo(answers);
        question.setJMSCorrelationID("asked");
        for (String property : properties) {
            question.setBooleanProperty(property, true);
        }
        session.createProducer(about).send(question);
        List<MapMessage> told = new ArrayList<>();
        while (true) {
            MapMessage answer = (MapMessage) next(consumer);
            if (ends && !answer.getMapNames().hasMoreElements()) {
                return told;
            }
            told.add(answer);
            if (!ends) {
                return told;
            }
        }
    }

    private Map<String, Object> one(Destination about, String... properties) throws JMSException {
        return fields(ask(about, false, properties).get(0));
    }

    private static Map<String, Object> fields(MapMessage answer) throws JMSException {
        Map<String, Object> fields = new TreeMap<>();
        for (Enumeration<?> names = answer.getMapNames(); names.hasMoreElements();) {
            String name = (String) names.nextElement();
            fields.put(name, answer.getObject(name));
        }
        return fields;
    }

    private static Queue aboutQueues(String name) {
        return new ActiveMQQueue(PREFIX + "Destination." + name);
    }

    private static void has(Map<String, Object> fields, String name, Object expected) {
        equal(expected, fields.get(name), name);
    }

    @Rule
    void aQueueTellsItsCounters() throws Exception {
        Queue queue = queue();
        Session session = session();
        send(session, queue, 0, 3);
        takes(session.createConsumer(queue), 0, 1);
        session.createProducer(queue);
        settled();
        MapMessage answer = ask(aboutQueues(nameOf(queue)), false).get(0);
        equal("Advisory", answer.getJMSType(), "JMSType");
        equal("asked", answer.getJMSCorrelationID(), "JMSCorrelationID");
        equal(DeliveryMode.NON_PERSISTENT, answer.getJMSDeliveryMode(), "delivery mode");
        equal(4, answer.getJMSPriority(), "JMSPriority");
        equal(0L, answer.getJMSExpiration(), "JMSExpiration");
        check(answer.getJMSTimestamp() > 0, "no JMSTimestamp");
        Map<String, Object> fields = fields(answer);
        Set<String> names = new TreeSet<>(COUNTERS);
        names.add("destinationName");
        equal(names, fields.keySet(), "fields");
        has(fields, "brokerName", "judged");
        has(fields, "destinationName", queue.toString());
        has(fields, "size", 2L);
        has(fields, "enqueueCount", 3L);
        has(fields, "dequeueCount", 1L);
        has(fields, "dispatchCount", 3L);
        has(fields, "inflightCount", 2L);
        has(fields, "expiredCount", 0L);
        has(fields, "consumerCount", 1L);
        has(fields, "producerCount", 1L);
        has(fields, "memoryPercentUsage", 0);
        check((Long) fields.get("averageMessageSize") >= 1024, "size " + fields);
        for (String name : new String[] {"average", "max", "min"}) {
            check(fields.get(name + "EnqueueTime") instanceof Double, name + " " + fields);
        }
    }

    /** Nor does the question go where it was sent to. */
    @Rule
    void theDotBeforeTheNameMayBeMissing() throws Exception {
        Queue queue = queue();
        send(session(), queue, 0, 1);
        Queue about = new ActiveMQQueue(PREFIX + "Destination" + nameOf(queue));
        has(one(about), "destinationName", queue.toString());
        isEmpty(about);
    }

    @Rule
    void aTopicTellsItsCounters() throws Exception {
        Topic topic = topic();
        ActiveMQConnection connection = connectAs(unique("client"));
        Session session = auto(connection);
        MessageConsumer durable = session.createDurableSubscriber(topic, "sub");
        session.createConsumer(topic, "a = 1");
        send(session, topic, 0, 2);
        takes(durable, 0, 1);
        settled();
        Topic about = new ActiveMQTopic(PREFIX + "Destination." + nameOf(topic));
        Map<String, Object> fields = one(about);
        has(fields, "destinationName", topic.toString());
        has(fields, "enqueueCount", 2L);
        has(fields, "dispatchCount", 2L);
        has(fields, "dequeueCount", 1L);
        has(fields, "inflightCount", 1L);
        has(fields, "consumerCount", 2L);
        has(fields, "size", 0L);
    }

    @Rule
    void whatBrowsersSeeIsDispatched() throws Exception {
        Queue queue = queue();
        Session session = session();
        send(session, queue, 0, 3);
        QueueBrowser browser = session.createBrowser(queue);
        equal(3, Collections.list((Enumeration<?>) browser.getEnumeration()).size(), "browsed");
        browser.close();
        settled();
        Map<String, Object> fields = one(aboutQueues(nameOf(queue)));
        has(fields, "dispatchCount", 3L);
        has(fields, "dequeueCount", 0L);
        has(fields, "inflightCount", 0L);
        has(fields, "size", 3L);
    }

    @Rule
    void messagesThatABrowserHasNotTakenAreInFlight() throws Exception {
        Queue queue = queue();
        send(session(), queue, 0, 3);
        RawClient client = new RawClient(connect());
        ConsumerInfo browser = client.consumer(queue, 10);
        browser.setBrowser(true);
        client.connection.syncSendPacket(browser);
        client.takes(0, 3);
        has(one(aboutQueues(nameOf(queue))), "inflightCount", 3L);
        client.close(browser, 0);
        has(one(aboutQueues(nameOf(queue))), "inflightCount", 0L);
    }

    @Rule
    void acknowledgementsOfTopicsCountWhenTheyAreCommitted() throws Exception {
        Topic topic = topic();
        Topic about = new ActiveMQTopic(PREFIX + "Destination." + nameOf(topic));
        Session session = transacted(connect());
        MessageConsumer consumer = session.createConsumer(topic);
        send(session(), topic, 0, 4);
        takes(consumer, 0, 2);
        session.rollback();
        settled();
        Map<String, Object> fields = one(about);
        has(fields, "dequeueCount", 0L);
        has(fields, "inflightCount", 4L);
        takes(consumer, 0, 3);
        session.commit();
        fields = one(about);
        has(fields, "dequeueCount", 3L);
        has(fields, "inflightCount", 1L);
    }

    @Rule
    void aConsumerOfSeveralNamesCreatesNone() throws Exception {
        Session session = session();
        for (boolean queues : new boolean[] {true, false}) {
            String one = unique("ONE");
            String two = unique("TWO");
            String names = one + "," + two;
            Destination both = queues ? new ActiveMQQueue(names) : new ActiveMQTopic(names);
            MessageConsumer consumer = session.createConsumer(both);
            equal(0, ask(about(queues, one), true, ENDS).size(), "destinations");
            Destination first = queues ? new ActiveMQQueue(one) : new ActiveMQTopic(one);
            send(session, first, 0, 1);
            takes(consumer, 0, 1);
            equal(0, ask(about(queues, two), true, ENDS).size(), "destinations");
            has(one(about(queues, one)), "consumerCount", 1L);
        }
    }

    private static Destination about(boolean queue, String name) {
        String about = PREFIX + "Destination." + name;
        return queue ? new ActiveMQQueue(about) : new ActiveMQTopic(about);
    }

    @Rule
    void aTopicCountsWhatItsConsumersFindExpired() throws Exception {
        Topic topic = topic();
        Session session = auto(connectAs(unique("client")));
        MessageConsumer plain = session.createConsumer(topic);
        MessageProducer producer = session.createProducer(topic);
        producer.setTimeToLive(100);
        producer.send(session.createTextMessage("late"));
        producer.send(session.createTextMessage("later"));
        settled();
        Thread.sleep(150);
        producer.setTimeToLive(0);
        producer.send(session.createTextMessage("0"));
        takes(plain, 0, 1);
        settled();
        Map<String, Object> fields =
                one(new ActiveMQTopic(PREFIX + "Destination." + nameOf(topic)));
        has(fields, "expiredCount", 2L);
        has(fields, "dequeueCount", 3L);
        has(fields, "inflightCount", 0L);
    }

    @Rule
    void aPatternGivesOneAnswerForEachDestination() throws Exception {
        String family = unique("FAMILY");
        Session session = session();
        for (String last : new String[] {"A", "B"}) {
            send(session, new ActiveMQQueue(family + "." + last), 0, 1);
            session.createConsumer(new ActiveMQTopic(family + "." + last));
        }
        Set<Object> told = new TreeSet<>();
        for (MapMessage answer : ask(aboutQueues(family + ".>"), true, ENDS)) {
            told.add(answer.getObject("destinationName"));
        }
        equal(Set.of("queue://" + family + ".A", "queue://" + family + ".B"), told, "answers");
    }

    @Rule
    void anEmptyMapEndsTheListWhenAskedFor() throws Exception {
        Queue queue = queue();
        send(session(), queue, 0, 1);
        equal(1, ask(aboutQueues(nameOf(queue)), true, ENDS).size(), "answers by property");
        equal(1, ask(aboutQueues(nameOf(queue) + ENDS), true).size(), "answers by name");
        equal(0, ask(aboutQueues(unique("NOBODY")), true, ENDS).size(), "answers about nothing");
    }

    /** Names end with that one request only. */
    @Rule
    void otherRequestsAreNoPartOfAName() throws Exception {
        Queue queue = queue();
        send(session(), queue, 0, 1);
        equal(0, ask(aboutQueues(nameOf(queue) + FIRST + ENDS), true).size(), "answers");
        long before = (Long) one(new ActiveMQQueue(PREFIX + "Broker")).get("enqueueCount");
        long after = (Long) one(new ActiveMQQueue(PREFIX + "Broker.Reset")).get("enqueueCount");
        check(after >= before, "the counters begin anew");
    }

    @Rule
    void theFirstMessagesTimeIsToldWhenAskedFor() throws Exception {
        Queue queue = queue();
        long before = System.currentTimeMillis();
        send(session(), queue, 0, 1);
        Object first = one(aboutQueues(nameOf(queue)), FIRST).get("firstMessageTimestamp");
        long time = (Long) first;
        check(time >= before && time <= System.currentTimeMillis(), "the time is " + time);
    }

    @Rule
    void theBrokerTellsItsCounters() throws Exception {
        send(session(), queue(), 0, 1);
        Map<String, Object> fields = one(new ActiveMQQueue(PREFIX + "Broker"));
        Set<String> names = new TreeSet<>(COUNTERS);
        names.addAll(Set.of("storeUsage", "storeLimit", "storePercentUsage", "tempUsage",
                "tempLimit", "tempPercentUsage", "openwire", "stomp", "ssl", "stomp+ssl", "vm",
                "dataDirectory"));
        equal(names, fields.keySet(), "fields");
        check((Long) fields.get("enqueueCount") >= 1, "enqueueCount " + fields);
        check(fields.get("storePercentUsage") instanceof Integer, "percent " + fields);
        has(fields, "vm", "vm://judged");
        has(fields, "stomp", "");
        contains((String) fields.get("openwire"), "?maximumConnections=1000");
        check(((String) fields.get("dataDirectory")).startsWith("/"), "folder " + fields);
    }

    /** What destinations count for themselves stays. */
    @Rule
    void aResetConcernsTheBrokerAlone() throws Exception {
        Queue queue = queue();
        send(session(), queue, 0, 2);
        Map<String, Object> fields =
                one(new ActiveMQQueue(PREFIX + "Broker"), PREFIX + "Broker.Reset");
        has(fields, "enqueueCount", 0L);
        has(fields, "dispatchCount", 0L);
        has(fields, "maxEnqueueTime", 0.0);
        check((Long) fields.get("size") >= 2, "size " + fields);
        has(one(aboutQueues(nameOf(queue))), "enqueueCount", 2L);
    }

    /** The answer about the subscription that listens to this. */
    private Map<String, Object> subscription(String name) throws JMSException {
        Session asking = session();
        TemporaryQueue answers = asking.createTemporaryQueue();
        MessageConsumer told = asking.createConsumer(answers);
        Message question = asking.createMessage();
        question.setJMSReplyTo(answers);
        question.setJMSCorrelationID("asked");
        asking.createProducer(new ActiveMQQueue(PREFIX + "Subscription")).send(question);
        while (true) {
            MapMessage answer = (MapMessage) next(told);
            equal("Advisory", answer.getJMSType(), "JMSType");
            equal(null, answer.getJMSCorrelationID(), "JMSCorrelationID");
            Map<String, Object> fields = fields(answer);
            if (name.equals(fields.get("destinationName"))) {
                return fields;
            }
        }
    }

    @Rule
    void aConsumerOfSeveralQueuesIsOneSubscription() throws Exception {
        String family = unique("SEVERAL");
        Session session = session();
        MessageConsumer consumer = session.createConsumer(new ActiveMQQueue(family + ".*"));
        for (String last : new String[] {"A", "B"}) {
            send(session, new ActiveMQQueue(family + "." + last), 0, 1);
        }
        take(consumer, 2);
        settled();
        Map<String, Object> fields = subscription(family + ".*");
        has(fields, "enqueueCounter", 2L);
        has(fields, "dispatchedCounter", 2L);
        has(fields, "dequeueCounter", 2L);
        has(fields, "dispatchedQueueSize", 0L);
    }

    @Rule
    void aBrowserIsASubscriptionToo() throws Exception {
        Queue queue = queue();
        send(session(), queue, 0, 3);
        RawClient client = new RawClient(connect());
        ConsumerInfo browser = client.consumer(queue, 10);
        browser.setBrowser(true);
        client.connection.syncSendPacket(browser);
        client.takes(0, 3);
        Map<String, Object> fields = subscription(nameOf(queue));
        has(fields, "dispatchedCounter", 3L);
        has(fields, "dispatchedQueueSize", 3L);
        has(fields, "enqueueCounter", 3L);
        has(fields, "dequeueCounter", 0L);
        has(fields, "prefetchSize", 10);
    }

    @Rule
    void subscriptionsTellTheirCounters() throws Exception {
        Queue queue = queue();
        String clientId = unique("client");
        ActiveMQConnection connection = connectAs(clientId);
        Session session = auto(connection);
        send(session, queue, 0, 3);
        MessageConsumer consumer = session.createConsumer(queue, "JMSPriority = 4");
        takes(consumer, 0, 1);
        settled();
        Map<String, Object> fields = subscription(nameOf(queue));
        equal(Set.of("brokerName", "brokerId", "destinationName", "clientId", "connectionId",
                "sessionId", "selector", "enqueueCounter", "dequeueCounter", "dispatchedCounter",
                "dispatchedQueueSize", "prefetchSize", "maximumPendingMessageLimit", "exclusive",
                "retroactive", "slowConsumer"), fields.keySet(), "fields");
        has(fields, "clientId", clientId);
        has(fields, "sessionId", 1L);
        has(fields, "selector", "JMSPriority = 4");
        has(fields, "enqueueCounter", 3L);
        has(fields, "dispatchedCounter", 3L);
        has(fields, "dequeueCounter", 1L);
        has(fields, "dispatchedQueueSize", 2L);
        has(fields, "prefetchSize", 1000);
        has(fields, "maximumPendingMessageLimit", 0);
        has(fields, "exclusive", false);
        has(fields, "retroactive", false);
        has(fields, "slowConsumer", false);
    }

    @Rule
    void aQuestionWithoutReplyToIsAnOrdinaryMessage() throws Exception {
        Queue queue = new ActiveMQQueue(PREFIX + "Destination." + unique("PLAIN"));
        Session session = session();
        MessageProducer producer = session.createProducer(queue);
        producer.send(session.createTextMessage("plain"));
        equal("plain", nextText(session.createConsumer(queue)), "text");
    }
}

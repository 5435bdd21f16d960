import java.io.Serializable;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.Enumeration;
import java.util.List;
import java.util.Map;
import javax.jms.BytesMessage;
import javax.jms.DeliveryMode;
import javax.jms.MapMessage;
import javax.jms.Message;
import javax.jms.MessageConsumer;
import javax.jms.MessageProducer;
import javax.jms.Queue;
import javax.jms.Session;
import javax.jms.StreamMessage;
import javax.jms.Topic;
import org.apache.activemq.ActiveMQConnection;
import org.apache.activemq.ActiveMQSession;
import org.apache.activemq.command.ActiveMQMessage;
import org.apache.activemq.command.ActiveMQQueue;

/** What a queue is after the broker was ended and started again. */
final class RestartQueues extends Rules {
    /** Acknowledgements that are answered: only those are sure to outlive the broker. */
    private static final String SURE_ACKS = "jms.sendAcksAsync=false";

    private static final String TEXT =
            "plain, \u00fcml\u00e4ut, \u4e2d\u6587, \u0000 and \ud83d\ude00";

    @Rule
    void messagesOfEveryKindSurviveAsTheyWere() throws Exception {
        Queue queue = queue();
        List<String> sent = new ArrayList<>();
        for (String options : new String[] {"", "&jms.useCompression=true"}) {
            Session session = auto(connect("jms.trustAllPackages=true" + options));
            for (Message message : everyKind(session)) {
                message.setJMSReplyTo(queue());
                message.setJMSCorrelationID("c\u00f6rrelation");
                message.setJMSType("type");
                message.setBooleanProperty("boolean", true);
                message.setByteProperty("byte", Byte.MIN_VALUE);
                message.setShortProperty("short", Short.MIN_VALUE);
                message.setIntProperty("int", Integer.MIN_VALUE);
                message.setLongProperty("long", Long.MIN_VALUE);
                message.setFloatProperty("float", Float.MIN_VALUE);
                message.setDoubleProperty("double", Double.NaN);
                message.setStringProperty("string", "\u00fcml\u00e4ut \u4e2d\u6587");
                message.setStringProperty("long string", "\u00e4".repeat(70_000));
                message.setStringProperty("null", null);
                message.setObjectProperty("map", Map.of("key", List.of("a", 2L)));
                message.setStringProperty("JMSXGroupID", "gr\u00fcn");
                message.setIntProperty("JMSXGroupSeq", 5);
                session.createProducer(queue)
                        .send(message, DeliveryMode.PERSISTENT, 7, 3_600_000);
                sent.add(Portrait.of(message));
            }
        }
        restart.run();
        Session session = auto(connect("jms.trustAllPackages=true"));
        MessageConsumer consumer = session.createConsumer(queue);
        for (String portrait : sent) {
            equal(portrait, Portrait.of(next(consumer)), "message");
        }
        session.close();
        isEmpty(queue);
    }

    private static List<Message> everyKind(Session session) throws Exception {
        BytesMessage bytes = session.createBytesMessage();
        byte[] content = new byte[100_000];
        for (int i = 0; i < content.length; i++) {
            content[i] = (byte) (i * 31 + i / 256);
        }
        bytes.writeUTF(TEXT);
        bytes.writeBytes(content);
        MapMessage map = session.createMapMessage();
        map.setBoolean("boolean", true);
        map.setChar("char", '\u4e2d');
        map.setBytes("bytes", new byte[] {0, -1, 1});
        map.setString("null", null);
        map.setObject("map", Map.of("k", "v"));
        StreamMessage stream = session.createStreamMessage();
        stream.writeLong(-4);
        stream.writeDouble(0.25);
        stream.writeString("y".repeat(40_000));
        stream.writeObject(null);
        stream.writeBytes(new byte[] {0, -1, 1});
        Serializable object = new ArrayList<>(List.of("\u00fcml\u00e4ut", 1, 2L, 'c'));
        return List.of(session.createMessage(), session.createTextMessage(),
                session.createTextMessage(""), session.createTextMessage(TEXT),
                session.createTextMessage("x".repeat(100_000)), bytes,
                session.createBytesMessage(), map, session.createMapMessage(), stream,
                session.createObjectMessage(object), session.createObjectMessage());
    }

    @Rule(seconds = 60)
    void largeMessagesSurvive() throws Exception {
        Queue queue = queue();
        Session session = session();
        MessageProducer producer = session.createProducer(queue);
        List<String> sent = new ArrayList<>();
        for (int i = 0; i < 6; i++) {
            byte[] content = new byte[i % 2 == 0 ? 5 * 1024 * 1024 : 100];
            Arrays.fill(content, i * 7, content.length, (byte) (i + 1));
            BytesMessage message = session.createBytesMessage();
            message.writeBytes(content);
            producer.send(message);
            sent.add(Portrait.of(message));
        }
        restart.run();
        MessageConsumer consumer = session().createConsumer(queue);
        for (String portrait : sent) {
            equal(portrait, Portrait.of(next(consumer)), "message");
        }
    }

    @Rule
    void transientMessagesDoNotSurvive() throws Exception {
        Queue queue = queue();
        Session session = session();
        MessageProducer producer = session.createProducer(queue);
        for (int i = 0; i < 20; i++) {
            boolean stays = i % 2 == 0;
            producer.setDeliveryMode(
                    stays ? DeliveryMode.PERSISTENT : DeliveryMode.NON_PERSISTENT);
            producer.send(session.createTextMessage(stays ? Integer.toString(i / 2) : "gone"));
        }
        restart.run();
        takes(session().createConsumer(queue), 0, 10);
        isEmpty(queue);
    }

    @Rule
    void acknowledgedMessagesAreGoneAndUnacknowledgedComeAsIfNew() throws Exception {
        Queue queue = queue();
        send(session(), queue, 0, 20);
        MessageConsumer consumer = client(connect(SURE_ACKS)).createConsumer(queue);
        takes(consumer, 0, 10).acknowledge();
        takes(consumer, 10, 15);
        restart.run();
        // That they were delivered is not stored, so they are not flagged.
        takesFlagged(session().createConsumer(queue), 10, 20, false, 1);
        isEmpty(queue);
    }

    @Rule
    void dispatchedMessagesComeBackFlaggedIfThePolicySaysSo() throws Exception {
        Queue queue = queue("MARK");
        send(session(), queue, 0, 6);
        RawClient client = new RawClient(connect());
        client.consume(queue, 4);
        client.takes(0, 4);
        restart.run();
        MessageConsumer consumer = session().createConsumer(queue);
        takesFlagged(consumer, 0, 4, true, 2);
        takesFlagged(consumer, 4, 6, false, 1);
        isEmpty(queue);
    }

    @Rule
    void individuallyAcknowledgedMessagesAreGone() throws Exception {
        Queue queue = queue();
        send(session(), queue, 0, 10);
        ActiveMQConnection connection = connect(SURE_ACKS);
        MessageConsumer consumer =
                connection.createSession(false, ActiveMQSession.INDIVIDUAL_ACKNOWLEDGE)
                        .createConsumer(queue);
        for (int i = 0; i < 10; i++) {
            Message message = takes(consumer, i, i + 1);
            if (i == 1 || i == 5 || i == 9) {
                message.acknowledge();
            }
        }
        restart.run();
        MessageConsumer again = session().createConsumer(queue);
        for (int i : new int[] {0, 2, 3, 4, 6, 7, 8}) {
            takes(again, i, i + 1);
        }
        isEmpty(queue);
    }

    @Rule
    void autoAcknowledgedMessagesAreGone() throws Exception {
        Queue queue = queue();
        send(session(), queue, 0, 300);
        takes(auto(connect(SURE_ACKS)).createConsumer(queue), 0, 200);
        restart.run();
        takes(session().createConsumer(queue), 200, 300);
        isEmpty(queue);
    }

    @Rule
    void messagesBetweenAcknowledgedOnesKeepTheirOrder() throws Exception {
        Queue queue = queue();
        Session session = transacted(connect());
        send(session, queue, 0, 2000);
        session.commit();
        ActiveMQConnection connection =
                connect(SURE_ACKS + "&jms.prefetchPolicy.queuePrefetch=2000");
        MessageConsumer consumer =
                connection.createSession(false, ActiveMQSession.INDIVIDUAL_ACKNOWLEDGE)
                        .createConsumer(queue);
        for (int i = 0; i < 2000; i++) {
            Message message = takes(consumer, i, i + 1);
            if (i % 3 == 0) {
                message.acknowledge();
            }
        }
        restart.run();
        MessageConsumer rest = session().createConsumer(queue);
        for (int i = 0; i < 2000; i++) {
            if (i % 3 != 0) {
                takes(rest, i, i + 1);
            }
        }
        isEmpty(queue);
    }

    @Rule
    void messagesSurviveTwoRestarts() throws Exception {
        Queue queue = queue();
        send(session(), queue, 0, 10);
        restart.run();
        send(session(), queue, 10, 20);
        takes(auto(connect(SURE_ACKS)).createConsumer(queue), 0, 15);
        restart.run();
        send(session(), queue, 20, 25);
        takes(session().createConsumer(queue), 15, 25);
        isEmpty(queue);
    }

    @Rule
    void drainedQueueStaysEmpty() throws Exception {
        Queue queue = queue();
        send(session(), queue, 0, 100);
        takes(auto(connect(SURE_ACKS)).createConsumer(queue), 0, 100);
        restart.run();
        isEmpty(queue);
        send(session(), queue, 100, 110);
        takes(session().createConsumer(queue), 100, 110);
    }

    /** The original may begin with a number again that it gave before: it looks at queues, not at all messages. */
    @Rule(beyondOriginal = true)
    void brokerSequenceGoesOn() throws Exception {
        Queue queue = queue();
        send(session(), queue, 0, 10);
        restart.run();
        send(session(), queue, 10, 20);
        MessageConsumer consumer = session().createConsumer(queue);
        long before = 0;
        for (int i = 0; i < 20; i++) {
            ActiveMQMessage message = (ActiveMQMessage) takes(consumer, i, i + 1);
            long sequence = message.getMessageId().getBrokerSequenceId();
            check(sequence > before, "sequence " + sequence + " follows " + before);
            before = sequence;
        }
    }

    @Rule
    void selectorsSeeStoredPropertiesAndHeaders() throws Exception {
        Queue queue = queue();
        Session session = session();
        MessageProducer producer = session.createProducer(queue);
        for (int i = 0; i < 30; i++) {
            Message message = session.createTextMessage(Integer.toString(i));
            message.setIntProperty("n", i);
            message.setJMSType(i % 2 == 0 ? "even" : "odd");
            producer.setPriority(i % 10);
            producer.send(message);
        }
        restart.run();
        MessageConsumer consumer =
                session().createConsumer(queue, "n >= 10 AND JMSType = 'odd' AND JMSPriority > 4");
        equal(List.of("15", "17", "19", "25", "27", "29"), take(consumer, 6), "selected");
    }

    @Rule
    void prioritizedQueueKeepsItsOrder() throws Exception {
        Queue queue = queue("PRIO");
        Session session = session();
        MessageProducer producer = session.createProducer(queue);
        for (int i = 0; i < 30; i++) {
            producer.setPriority(i % 10);
            producer.send(session.createTextMessage((9 - i % 10) + "/" + i / 10));
        }
        restart.run();
        session = session();
        producer = session.createProducer(queue);
        for (int priority = 0; priority < 10; priority++) {
            producer.setPriority(priority);
            producer.send(session.createTextMessage((9 - priority) + "/3"));
        }
        MessageConsumer consumer = session.createConsumer(queue);
        for (int i = 0; i < 40; i++) {
            equal(i / 4 + "/" + i % 4, nextText(consumer), "message");
        }
    }

    @Rule
    void messagesThatExpireAfterTheRestartAreDeadLetters() throws Exception {
        Queue queue = queue("EXPIRE");
        Queue other = queue();
        Session session = session();
        for (Queue each : List.of(queue, other)) {
            MessageProducer producer = session.createProducer(each);
            producer.send(session.createTextMessage("stays"));
            producer.setTimeToLive(5_000);
            producer.send(session.createTextMessage("expires"));
        }
        long end = System.currentTimeMillis() + 5_000;
        restart.run();
        equal("expires", text(DeadLetters.next(this, queue)), "dead letter");
        eventually("clock moves", () -> System.currentTimeMillis() > end);
        for (Queue each : List.of(queue, other)) {
            List<Message> left = drained(each);
            equal(1, left.size(), "messages left in " + each);
            equal("stays", text(left.get(0)), "text");
        }
        equal("expires", text(DeadLetters.next(this, other)), "dead letter");
    }

    @Rule
    void groupsKeepTogetherAndInOrder() throws Exception {
        Queue queue = queue();
        Session session = session();
        MessageProducer producer = session.createProducer(queue);
        for (int i = 0; i < 60; i++) {
            Message message = session.createTextMessage(Integer.toString(i));
            message.setStringProperty("JMSXGroupID", "g" + i % 6);
            producer.send(message);
        }
        restart.run();
        ActiveMQConnection connection = connect("jms.prefetchPolicy.queuePrefetch=1");
        List<MessageConsumer> consumers = new ArrayList<>();
        for (int i = 0; i < 2; i++) {
            consumers.add(auto(connection).createConsumer(queue));
        }
        int[] last = new int[6];
        int[] owner = new int[6];
        Arrays.fill(last, -1);
        for (int got = 0; got < 60;) {
            for (int c = 0; c < 2; c++) {
                Message message = consumers.get(c).receive(50);
                if (message == null) {
                    continue;
                }
                got++;
                int group = Integer.parseInt(message.getStringProperty("JMSXGroupID").substring(1));
                int n = Integer.parseInt(text(message));
                if (last[group] < 0) {
                    owner[group] = c;
                    equal(true, message.getBooleanProperty("JMSXGroupFirstForConsumer"),
                            "JMSXGroupFirstForConsumer of " + n);
                }
                equal(owner[group], c, "consumer of group " + group);
                equal(last[group] < 0 ? group : last[group] + 6, n, "next of group " + group);
                last[group] = n;
            }
        }
    }

    @Rule
    void deadLettersSurvive() throws Exception {
        Queue queue = queue("DEAD");
        Queue dead = new ActiveMQQueue("DLQ." + nameOf(queue));
        Session session = transacted(connect("jms.redeliveryPolicy.maximumRedeliveries=0"));
        send(session, queue, 0, 3);
        session.commit();
        MessageConsumer consumer = session.createConsumer(queue);
        for (int i = 0; i < 2; i++) {
            takes(consumer, i, i + 1);
            session.rollback();
        }
        MessageConsumer waiting = client(connect()).createConsumer(dead);
        takes(waiting, 0, 2);
        restart.run();
        MessageConsumer again = session().createConsumer(dead);
        for (int i = 0; i < 2; i++) {
            ActiveMQMessage message = (ActiveMQMessage) takes(again, i, i + 1);
            equal(queue, message.getOriginalDestination(), "original destination");
            contains(message.getStringProperty("dlqDeliveryFailureCause"),
                    "exceeds redelivery policy limit");
        }
        isEmpty(dead);
        takes(session().createConsumer(queue), 2, 3);
        isEmpty(queue);
    }

    @Rule
    void virtualTopicStillFillsItsQueues() throws Exception {
        String name = unique("VirtualTopic");
        Topic topic = session().createTopic(name);
        Queue a = new ActiveMQQueue("Consumer.A." + name);
        Queue b = new ActiveMQQueue("Consumer.B." + name);
        session().createConsumer(a).close();
        MessageConsumer consumer = auto(connect(SURE_ACKS)).createConsumer(b);
        send(session(), topic, 0, 10);
        takes(consumer, 0, 5);
        restart.run();
        // Nobody consumes yet: the queues are there by themselves.
        send(session(), topic, 10, 20);
        takes(session().createConsumer(a), 0, 20);
        takes(session().createConsumer(b), 5, 20);
        isEmpty(a);
        isEmpty(b);
    }

    @Rule
    void compositeSendsSurviveInEachDestination() throws Exception {
        Queue a = queue();
        Queue b = queue();
        Topic topic = topic();
        String id = unique("durable");
        ActiveMQConnection connection = connectAs(id);
        auto(connection).createDurableSubscriber(topic, "s").close();
        connection.close();
        Queue all = new ActiveMQQueue(nameOf(a) + "," + nameOf(b) + ",topic://" + nameOf(topic));
        send(session(), all, 0, 10);
        takes(auto(connect(SURE_ACKS)).createConsumer(a), 0, 4);
        restart.run();
        takes(session().createConsumer(a), 4, 10);
        takes(session().createConsumer(b), 0, 10);
        takes(auto(connectAs(id)).createDurableSubscriber(topic, "s"), 0, 10);
        isEmpty(a);
        isEmpty(b);
    }

    @Rule
    void browserShowsStoredMessages() throws Exception {
        Queue queue = queue();
        send(session(), queue, 0, 50);
        restart.run();
        Session session = session();
        List<String> texts = new ArrayList<>();
        Enumeration<?> all = session.createBrowser(queue).getEnumeration();
        for (Object message : Collections.list(all)) {
            texts.add(text((Message) message));
        }
        takes(session.createConsumer(queue), 0, 50);
        equal(50, texts.size(), "messages browsed");
        for (int i = 0; i < 50; i++) {
            equal(Integer.toString(i), texts.get(i), "message browsed");
        }
    }

    @Rule
    void queueOfAConsumerIsThereAgain() throws Exception {
        Queue queue = queue();
        Queue drained = queue();
        session().createConsumer(queue).close();
        send(session(), drained, 0, 1);
        takes(auto(connect(SURE_ACKS)).createConsumer(drained), 0, 1);
        restart.run();
        var source = connect().getDestinationSource();
        eventually("the queues are announced", () ->
                source.getQueues().contains(queue) && source.getQueues().contains(drained));
    }

    @Rule
    void deletedQueueStaysAway() throws Exception {
        Queue gone = queue();
        Queue there = queue();
        ActiveMQConnection connection = connect();
        send(auto(connection), gone, 0, 10);
        send(auto(connection), there, 0, 10);
        connection.destroyDestination((ActiveMQQueue) gone);
        restart.run();
        var source = connect().getDestinationSource();
        eventually("the other queue is announced", () -> source.getQueues().contains(there));
        check(!source.getQueues().contains(gone), "the deleted queue is back");
        isEmpty(gone);
        send(session(), gone, 10, 12);
        takes(session().createConsumer(gone), 10, 12);
    }
}

import java.util.ArrayList;
import java.util.List;
import javax.jms.DeliveryMode;
import javax.jms.InvalidSelectorException;
import javax.jms.JMSException;
import javax.jms.Message;
import javax.jms.MessageConsumer;
import javax.jms.MessageProducer;
import javax.jms.Queue;
import javax.jms.Session;
import javax.jms.Topic;
import org.apache.activemq.ActiveMQConnection;
import org.apache.activemq.command.ActiveMQTopic;
import org.apache.activemq.command.ConsumerInfo;

final class Selectors extends Rules {
    /** Ten messages 0 to 9, whose properties are described by the code. */
    private static void sendSamples(Session session, javax.jms.Destination to) throws JMSException {
        MessageProducer producer = session.createProducer(to);
        String[] colors = {"red", "green", "blue"};
        for (int i = 0; i < 10; i++) {
            Message message = session.createTextMessage(Integer.toString(i));
            message.setIntProperty("n", i);
            message.setDoubleProperty("half", i / 2.0);
            message.setStringProperty("color", colors[i % 3]);
            message.setBooleanProperty("even", i % 2 == 0);
            message.setByteProperty("b", (byte) i);
            message.setShortProperty("s", (short) i);
            message.setLongProperty("l", i);
            message.setFloatProperty("f", i / 4f);
            message.setStringProperty("digit", Integer.toString(i));
            message.setStringProperty("quoted", "it's 100%_" + i);
            if (i >= 5) {
                message.setLongProperty("big", 1L << 40);
            }
            message.setJMSType(i < 3 ? "low" : "high");
            message.setJMSCorrelationID("c" + i);
            producer.setPriority(i);
            producer.setDeliveryMode(
                    i == 4 ? DeliveryMode.NON_PERSISTENT : DeliveryMode.PERSISTENT);
            producer.send(message);
        }
        producer.setPriority(4);
    }

    private static final String[][] SAMPLES = {
        {"n = 3", "3"},
        {"n <> 3", "012456789"},
        {"n > 6", "789"},
        {"n >= 6 AND n < 8", "67"},
        {"n < 2 OR n > 8", "019"},
        {"NOT (n < 8)", "89"},
        {"n BETWEEN 2 AND 4", "234"},
        {"n NOT BETWEEN 2 AND 8", "019"},
        {"color IN ('red', 'blue')", "0235689"},
        {"color NOT IN ('red', 'blue')", "147"},
        {"color LIKE 'r%'", "0369"},
        {"color LIKE '_l%'", "258"},
        {"color NOT LIKE '%e%'", ""},
        {"quoted = 'it''s 100%_5'", "5"},
        {"quoted LIKE '%!%!_5' ESCAPE '!'", "5"},
        {"even", "02468"},
        {"even = TRUE", "02468"},
        {"even = FALSE", "13579"},
        {"NOT even", "13579"},
        {"big IS NULL", "01234"},
        {"big IS NOT NULL", "56789"},
        {"big = 1099511627776", "56789"},
        {"big > 5 AND even", "68"},
        {"missing = 1", ""},
        {"missing <> 1", ""},
        {"NOT (missing = 1)", ""},
        {"missing = 1 OR n = 1", "1"},
        {"half = 1.5", "3"},
        {"half > 3.9", "89"},
        {"n * 2 = 6", "3"},
        {"n + 1 = half * 2 + 1", "0123456789"},
        {"n - 9 = 0", "9"},
        {"n / 2 = 4", "8"},
        {"-n = -3", "3"},
        {"n = 3.0", "3"},
        {"n = 0x3", "3"},
        {"n = '3'", ""},
        {"color = 3", ""},
        {"JMSType = 'low'", "012"},
        {"JMSCorrelationID = 'c7'", "7"},
        {"JMSPriority > 7", "89"},
        {"JMSDeliveryMode = 'NON_PERSISTENT'", "4"},
        {"JMSMessageID LIKE 'ID:%'", "0123456789"},
        {"JMSTimestamp > 0", "0123456789"},
        {"(n = 1 OR n = 2) AND (color = 'green' OR color = 'none')", "1"},
        {"n = 1 OR n = 2 AND color = 'none'", "1"},
        {"color = 'red' and not (n between 1 and 5)", "069"},
        {"1 = 1", "0123456789"},
        {"1 = 2", ""},
        {"TRUE", "0123456789"},
        // What is missing is unknown on the left only.
        {"1 <> missing", "0123456789"},
        {"1 = missing", ""},
        {"missing = missing2", "0123456789"},
        {"missing > 1", ""},
        {"missing IS NULL AND n = 1", "1"},
        {"missing LIKE '%'", ""},
        {"missing NOT LIKE '%'", ""},
        {"missing IN ('1')", ""},
        {"missing BETWEEN 1 AND 2", ""},
        {"missing + 1 = 2", ""},
        {"FALSE AND missing", ""},
        {"TRUE OR missing", "0123456789"},
        {"NOT (missing = 1 AND n = 2)", "013456789"},
        // Bytes and shorts are compared as what stands on the left.
        {"b = 3", "3"},
        {"s = 3", "3"},
        {"3 = b", ""},
        {"n = b", ""},
        {"l = b", ""},
        {"b = n", "0123456789"},
        {"n = l", "0123456789"},
        {"f = 0.25", "1"},
        {"f = half", "0"},
        {"l > 7.5", "89"},
        // NOT comes before comparisons.
        {"NOT n = 5", ""},
        {"NOT even = FALSE", "02468"},
        // Strings have an order among properties, and are no numbers.
        {"color > digit", "0123456789"},
        {"color < digit", ""},
        {"digit = 3", ""},
        {"digit > 3", ""},
        {"digit LIKE '3'", "3"},
        {"n LIKE '3'", ""},
        {"n IN ('3')", ""},
        // Literals and blanks.
        {"n = 03", "3"},
        {"n = 3L", "3"},
        {"half = 15e-1", "3"},
        {"half = .5", "1"},
        {"n = 3 /* comment */", "3"},
        {"n = 3 -- comment\n", "3"},
        {"n\t=\n3", "3"},
        // Arithmetic.
        {"n + n * 2 = 9", "3"},
        {"(n + n) * 2 = 12", "3"},
        {"n % 4 = 1", "159"},
        {"n / 0 > 1", "0123456789"},
        {"7 / 2 = 3.5", "0123456789"},
        {"color + 'x' = 'redx'", "0369"},
        {"+n = 3", "3"},
        // Functions.
        {"REGEX('^gr', color)", "147"},
        {"REPLACE(color, 'e', 'a') = 'rad'", "0369"},
        {"INLIST(SPLIT('red,blue', ','), color)", "0235689"},
        {"INLIST(MAKELIST('red', 'blue'), color)", "0235689"},
    };

    private static void compare(String[] sample, String got, List<String> wrong) {
        if (!sample[1].equals(got)) {
            wrong.add(sample[0] + " selects " + got + ", not " + sample[1]);
        }
    }

    @Rule(seconds = 60)
    void queueSelectorsPickWhatTheySay() throws Exception {
        ActiveMQConnection connection = connect();
        Session session = auto(connection);
        Queue queue = queue();
        sendSamples(session, queue);
        List<String> wrong = new ArrayList<>();
        for (String[] sample : SAMPLES) {
            List<String> got = new ArrayList<>();
            var browser = session.createBrowser(queue, sample[0]);
            for (var all = browser.getEnumeration(); all.hasMoreElements();) {
                got.add(text((Message) all.nextElement()));
            }
            browser.close();
            got.sort(null);
            compare(sample, String.join("", got), wrong);
        }
        equal(List.of(), wrong, "what is selected otherwise");
    }

    @Rule(seconds = 60)
    void topicSelectorsPickWhatTheySay() throws Exception {
        ActiveMQConnection connection = connect();
        Session session = auto(connection);
        Topic topic = topic();
        List<MessageConsumer> consumers = new ArrayList<>();
        for (String[] sample : SAMPLES) {
            consumers.add(session.createConsumer(topic, sample[0]));
        }
        MessageConsumer all = session.createConsumer(topic);
        sendSamples(session, topic);
        // Dispatches of one connection keep their order, so the others have theirs when the last
        // has come.
        takes(all, 0, 10);
        List<String> wrong = new ArrayList<>();
        for (int i = 0; i < SAMPLES.length; i++) {
            StringBuilder got = new StringBuilder();
            Message message = consumers.get(i).receiveNoWait();
            while (message != null) {
                got.append(text(message));
                message = consumers.get(i).receiveNoWait();
            }
            compare(SAMPLES[i], got.toString(), wrong);
        }
        equal(List.of(), wrong, "what is selected otherwise");
    }

    @Rule
    void consumersWithSelectorsShareAQueue() throws Exception {
        Session session = session();
        Queue queue = queue();
        MessageConsumer even = session.createConsumer(queue, "even");
        MessageConsumer odd = session.createConsumer(queue, "NOT even");
        sendSamples(session, queue);
        for (int i = 0; i < 10; i += 2) {
            takes(even, i, i + 1);
            takes(odd, i + 1, i + 2);
        }
        isEmpty(queue);
    }

    @Rule
    void unmatchedMessagesStay() throws Exception {
        Session session = session();
        Queue queue = queue();
        MessageConsumer none = session.createConsumer(queue, "n > 100");
        MessageConsumer some = session.createConsumer(queue, "n > 7");
        send(session, queue, 0, 1);
        sendSamples(session, queue);
        takes(some, 8, 10);
        equal(null, none.receiveNoWait(), "unmatched message");
        equal(9, drained(queue).size(), "messages left");
    }

    @Rule
    void unmatchedBacklogDoesNotHideMatches() throws Exception {
        Session session = auto(connect("jms.useAsyncSend=true"));
        Queue queue = queue();
        send(session, queue, 0, 150);
        sendSamples(session, queue);
        MessageConsumer consumer = session.createConsumer(queue, "n = 9");
        takes(consumer, 9, 10);
    }

    @Rule
    void invalidSelectorsAreRefused() throws Exception {
        Session session = session();
        String[] invalid = {
            "n >", "n = = 1", "n IN", "(n = 1", "n LIKE 3", "'text", "n BETWEEN 1", "= 1",
            "n = 1 AND",
            // IN takes strings only; NOT binds to the operand.
            "n IN (1, 2)", "NOT n < 8",
            "n != 1", "n == 1", "color = \"red\"", "a.b = 1", "color > 'a'", "n = NULL", "1 IN ('1')",
            "color LIKE color", "n = 0x", "regex('a', color)", "n = 3 -- no line end", "'a' BETWEEN 'a' AND 'b'"
        };
        for (String selector : invalid) {
            fails(InvalidSelectorException.class, () -> session.createConsumer(queue(), selector));
            fails(InvalidSelectorException.class, () -> session.createConsumer(topic(), selector));
        }
    }

    @Rule
    void selectorWithMessageGroupsWorks() throws Exception {
        Session session = session();
        Queue queue = queue();
        Message message = session.createTextMessage("0");
        message.setStringProperty("JMSXGroupID", "g");
        session.createProducer(queue).send(message);
        takes(session.createConsumer(queue, "JMSXGroupID = 'g'"), 0, 1);
    }

    @Rule
    void prefixMakesStringsComparableWithNumbers() throws Exception {
        Session session = session();
        Queue queue = queue();
        Message message = session.createTextMessage("0");
        // The original caches selectors without their prefix, so the name must be new.
        String name = unique("number").replace('.', '_');
        message.setStringProperty(name, "42");
        session.createProducer(queue).send(message);
        equal(0, countMatches(session, queue, name + " = 42"), "matches without conversion");
        message = session.createTextMessage("0");
        name = unique("number").replace('.', '_');
        message.setStringProperty(name, "42");
        session.createProducer(queue).send(message);
        String converting = "convert_string_expressions:" + name + " = 42";
        equal(1, countMatches(session, queue, converting), "matches with conversion");
    }

    @Rule
    void headersAreSelectedByTheirNames() throws Exception {
        Session session = session();
        Queue queue = queue();
        Message message = session.createTextMessage("0");
        message.setJMSReplyTo(new ActiveMQTopic("answers"));
        message.setJMSType("kind");
        message.setJMSCorrelationID("c");
        message.setStringProperty("JMSXGroupID", "g");
        message.setIntProperty("JMSXGroupSeq", 3);
        message.setStringProperty("JMSOther", "other");
        message.setStringProperty("JMSXUserID", "somebody");
        MessageProducer producer = session.createProducer(queue);
        producer.setPriority(7);
        producer.send(message);
        List<String> wrong = new ArrayList<>();
        for (String selector : new String[] {
            "JMSDestination = 'queue://" + queue.getQueueName() + "'",
            "JMSReplyTo = 'topic://answers'",
            "JMSType = 'kind'",
            "JMSDeliveryMode = 'PERSISTENT'",
            "JMSPriority = 7",
            "JMSMessageID = '" + message.getJMSMessageID() + "'",
            "JMSTimestamp = " + message.getJMSTimestamp(),
            "JMSCorrelationID = 'c'",
            "JMSExpiration = 0",
            "JMSRedelivered = FALSE",
            "NOT JMSRedelivered",
            "JMSXDeliveryCount = 1",
            "JMSXGroupID = 'g'",
            "JMSXGroupSeq = 3",
            "JMSXGroupFirstForConsumer = FALSE",
            "JMSXProducerTXID IS NULL",
            "JMSActiveMQBrokerInTime > 0",
            "JMSActiveMQBrokerPath = 'null'",
            "JMSOther = 'other'",
            "JMSXUserID = 'somebody'",
            "jmstype IS NULL",
            "JMSNothing IS NULL",
        }) {
            if (countMatches(session, queue, selector) != 1) {
                wrong.add(selector);
            }
        }
        equal(List.of(), wrong, "what does not match");
    }

    @Rule
    void headersOfADeliveryAreSelected() throws Exception {
        Queue queue = queue();
        RawClient client = new RawClient(connect());
        ConsumerInfo consumer = client.consume(queue, 10);
        send(session(), queue, 0, 1);
        client.takes(0, 1);
        client.close(consumer, -2);
        Session session = session();
        takes(session.createConsumer(queue, "JMSRedelivered AND JMSXDeliveryCount = 2"), 0, 1);
    }

    @Rule
    void transactionOfASendIsSelected() throws Exception {
        Queue queue = queue();
        Session session = transacted(connect());
        send(session, queue, 0, 1);
        session.commit();
        equal(1, countMatches(session(), queue, "JMSXProducerTXID LIKE 'TX:%'"), "matches");
    }

    @Rule
    void refusalTellsTheSelector() throws Exception {
        Session session = session();
        String selector = "color = 'red' AND NOT size > 5";
        fails(InvalidSelectorException.class, selector,
                () -> session.createConsumer(queue(), selector));
        fails(InvalidSelectorException.class, selector,
                () -> session.createBrowser(queue(), selector).getEnumeration());
    }

    private static int countMatches(
            Session session, Queue queue, String selector) throws JMSException {
        var browser = session.createBrowser(queue, selector);
        int count = 0;
        for (var all = browser.getEnumeration(); all.hasMoreElements(); all.nextElement()) {
            count++;
        }
        browser.close();
        return count;
    }
}

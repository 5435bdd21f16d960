import java.io.Serializable;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Enumeration;
import java.util.List;
import java.util.Map;
import javax.jms.BytesMessage;
import javax.jms.DeliveryMode;
import javax.jms.Destination;
import javax.jms.MapMessage;
import javax.jms.Message;
import javax.jms.MessageConsumer;
import javax.jms.MessageEOFException;
import javax.jms.MessageNotWriteableException;
import javax.jms.MessageProducer;
import javax.jms.ObjectMessage;
import javax.jms.Queue;
import javax.jms.Session;
import javax.jms.StreamMessage;
import javax.jms.TextMessage;
import org.apache.activemq.ActiveMQConnection;
import org.apache.activemq.command.ActiveMQMessage;

final class Messages extends Rules {
    private static final String TEXT =
            "plain, \u00fcml\u00e4ut, \u4e2d\u6587, \u0000 and \ud83d\ude00";

    /** What a consumer gets after the message has been through the broker. */
    private <M extends Message> M pass(String options, Maker<M> maker) throws Exception {
        Queue queue = queue();
        Session session = auto(connect(options));
        M message = maker.make(session);
        session.createProducer(queue).send(message);
        @SuppressWarnings("unchecked")
        M received = (M) next(auto(connect(options)).createConsumer(queue));
        equal(message.getClass(), received.getClass(), "class of the message");
        return received;
    }

    private interface Maker<M extends Message> {
        M make(Session session) throws Exception;
    }

    @Rule
    void everyHeaderArrives() throws Exception {
        Queue queue = queue();
        Session session = session();
        Destination[] replies = {
            queue(), topic(), session.createTemporaryQueue(), session.createTemporaryTopic(), null
        };
        MessageConsumer consumer = session.createConsumer(queue);
        MessageProducer producer = session.createProducer(queue);
        for (Destination reply : replies) {
            Message sent = session.createMessage();
            sent.setJMSReplyTo(reply);
            sent.setJMSCorrelationID("c\u00f6rrelation");
            sent.setJMSType("type");
            producer.send(sent, DeliveryMode.NON_PERSISTENT, 7, 60_000);
            Message got = next(consumer);
            equal(sent.getJMSMessageID(), got.getJMSMessageID(), "JMSMessageID");
            equal(queue, got.getJMSDestination(), "JMSDestination");
            equal(reply, got.getJMSReplyTo(), "JMSReplyTo");
            equal("c\u00f6rrelation", got.getJMSCorrelationID(), "JMSCorrelationID");
            equal("type", got.getJMSType(), "JMSType");
            equal(DeliveryMode.NON_PERSISTENT, got.getJMSDeliveryMode(), "JMSDeliveryMode");
            equal(7, got.getJMSPriority(), "JMSPriority");
            equal(sent.getJMSTimestamp(), got.getJMSTimestamp(), "JMSTimestamp");
            equal(sent.getJMSExpiration(), got.getJMSExpiration(), "JMSExpiration");
            flags(got, false, 1);
        }
    }

    @Rule
    void everyPriorityArrives() throws Exception {
        Queue queue = queue();
        Session session = session();
        MessageConsumer consumer = session.createConsumer(queue);
        MessageProducer producer = session.createProducer(queue);
        for (int priority = 0; priority <= 9; priority++) {
            producer.setPriority(priority);
            producer.send(session.createMessage());
            equal(priority, next(consumer).getJMSPriority(), "priority");
        }
    }

    @Rule
    void brokerStampsItsTimes() throws Exception {
        ActiveMQMessage got = (ActiveMQMessage) pass("", Session::createMessage);
        check(got.getBrokerInTime() > 0, "no broker in time");
        check(got.getBrokerOutTime() >= got.getBrokerInTime(), "broker out time before in time");
        check(got.getMessageId().getBrokerSequenceId() > 0, "no broker sequence id");
    }

    @Rule
    void disabledIdAndTimestampStillArrive() throws Exception {
        Queue queue = queue();
        Session session = session();
        MessageProducer producer = session.createProducer(queue);
        producer.setDisableMessageID(true);
        producer.setDisableMessageTimestamp(true);
        producer.send(session.createTextMessage("0"));
        Message got = takes(session.createConsumer(queue), 0, 1);
        equal(0L, got.getJMSTimestamp(), "JMSTimestamp");
    }

    @Rule
    void groupHeadersArrive() throws Exception {
        Message got = pass("", session -> {
            Message message = session.createMessage();
            message.setStringProperty("JMSXGroupID", "gr\u00fcn");
            message.setIntProperty("JMSXGroupSeq", 5);
            return message;
        });
        equal("gr\u00fcn", got.getStringProperty("JMSXGroupID"), "JMSXGroupID");
        equal(5, got.getIntProperty("JMSXGroupSeq"), "JMSXGroupSeq");
        equal(true, got.getBooleanProperty("JMSXGroupFirstForConsumer"),
                "JMSXGroupFirstForConsumer");
    }

    @Rule
    void everyPropertyTypeArrives() throws Exception {
        Message got = pass("", session -> {
            Message message = session.createMessage();
            message.setBooleanProperty("boolean", true);
            message.setByteProperty("byte", Byte.MIN_VALUE);
            message.setShortProperty("short", Short.MIN_VALUE);
            message.setIntProperty("int", Integer.MIN_VALUE);
            message.setLongProperty("long", Long.MIN_VALUE);
            message.setFloatProperty("float", Float.MIN_VALUE);
            message.setDoubleProperty("double", Double.NaN);
            message.setStringProperty("string", "\u00fcml\u00e4ut \u4e2d\u6587");
            message.setStringProperty("empty", "");
            message.setStringProperty("null", null);
            message.setObjectProperty(
                    "map", Map.of("key", 1, "inner", Map.of("list", List.of("a", 2L))));
            message.setObjectProperty("list", new ArrayList<>(List.of("a", 1, true)));
            return message;
        });
        equal(true, got.getObjectProperty("boolean"), "boolean");
        equal(Byte.MIN_VALUE, got.getObjectProperty("byte"), "byte");
        equal(Short.MIN_VALUE, got.getObjectProperty("short"), "short");
        equal(Integer.MIN_VALUE, got.getObjectProperty("int"), "int");
        equal(Long.MIN_VALUE, got.getObjectProperty("long"), "long");
        equal(Float.MIN_VALUE, got.getObjectProperty("float"), "float");
        equal(Double.NaN, got.getObjectProperty("double"), "double");
        equal("\u00fcml\u00e4ut \u4e2d\u6587", got.getObjectProperty("string"), "string");
        equal("", got.getObjectProperty("empty"), "empty");
        equal(true, got.propertyExists("null"), "null exists");
        equal(null, got.getObjectProperty("null"), "null");
        equal(Map.of("key", 1, "inner", Map.of("list", List.of("a", 2L))),
                got.getObjectProperty("map"), "map");
        equal(List.of("a", 1, true), got.getObjectProperty("list"), "list");
        fails(javax.jms.MessageNotWriteableException.class, () -> got.setIntProperty("int", 1));
        int names = 0;
        Enumeration<?> all = got.getPropertyNames();
        while (all.hasMoreElements()) {
            all.nextElement();
            names++;
        }
        equal(12, names, "number of properties");
    }

    @Rule
    void longStringPropertiesArrive() throws Exception {
        for (int length : new int[] {8190, 8191, 8192, 32767, 32768, 65535, 65536, 300_000}) {
            for (String unit : new String[] {"a", "\u00e4"}) {
                String value = unit.repeat(length);
                Message got = pass("", session -> {
                    Message message = session.createMessage();
                    message.setStringProperty("long", value);
                    return message;
                });
                check(value.equals(got.getStringProperty("long")), "property of length " + length);
            }
        }
    }

    @Rule
    void textBodiesArrive() throws Exception {
        for (String text : new String[] {null, "", TEXT, "x".repeat(100_000),
                "\ud83d\ude00".repeat(20_000)}) {
            for (String options : new String[] {"", "jms.useCompression=true"}) {
                TextMessage got = pass(options, session -> session.createTextMessage(text));
                check(java.util.Objects.equals(text, got.getText()),
                        "text differs, options " + options);
            }
        }
    }

    @Rule
    void bytesBodiesArrive() throws Exception {
        byte[] data = new byte[100_000];
        for (int i = 0; i < data.length; i++) {
            data[i] = (byte) (i * 31 + i / 256);
        }
        for (String options : new String[] {"", "jms.useCompression=true"}) {
            BytesMessage got = pass(options, session -> {
                BytesMessage message = session.createBytesMessage();
                message.writeUTF(TEXT);
                message.writeBoolean(true);
                message.writeByte((byte) -1);
                message.writeShort((short) -2);
                message.writeChar('\u4e2d');
                message.writeInt(-3);
                message.writeLong(-4);
                message.writeFloat(0.5f);
                message.writeDouble(0.25);
                message.writeBytes(data);
                return message;
            });
            equal(TEXT, got.readUTF(), "UTF");
            equal(true, got.readBoolean(), "boolean");
            equal((byte) -1, got.readByte(), "byte");
            equal((short) -2, got.readShort(), "short");
            equal('\u4e2d', got.readChar(), "char");
            equal(-3, got.readInt(), "int");
            equal(-4L, got.readLong(), "long");
            equal(0.5f, got.readFloat(), "float");
            equal(0.25, got.readDouble(), "double");
            byte[] read = new byte[data.length];
            equal(data.length, got.readBytes(read), "bytes read");
            check(Arrays.equals(data, read), "bytes differ");
            fails(MessageEOFException.class, got::readByte);
        }
    }

    @Rule
    void mapBodiesArrive() throws Exception {
        for (String options : new String[] {"", "jms.useCompression=true"}) {
            MapMessage got = pass(options, session -> {
                MapMessage message = session.createMapMessage();
                message.setBoolean("boolean", true);
                message.setByte("byte", (byte) -1);
                message.setShort("short", (short) -2);
                message.setChar("char", '\u4e2d');
                message.setInt("int", -3);
                message.setLong("long", -4);
                message.setFloat("float", 0.5f);
                message.setDouble("double", 0.25);
                message.setString("string", "\u00fcml\u00e4ut");
                message.setString("big", "y".repeat(40_000));
                message.setString("null", null);
                message.setBytes("bytes", new byte[] {0, -1, 1});
                message.setObject("map", Map.of("k", "v"));
                message.setString("k\u00e9y", "value");
                return message;
            });
            equal(true, got.getObject("boolean"), "boolean");
            equal((byte) -1, got.getObject("byte"), "byte");
            equal((short) -2, got.getObject("short"), "short");
            equal('\u4e2d', got.getObject("char"), "char");
            equal(-3, got.getObject("int"), "int");
            equal(-4L, got.getObject("long"), "long");
            equal(0.5f, got.getObject("float"), "float");
            equal(0.25, got.getObject("double"), "double");
            equal("\u00fcml\u00e4ut", got.getObject("string"), "string");
            equal("y".repeat(40_000), got.getObject("big"), "big");
            equal(true, got.itemExists("null"), "null exists");
            equal(null, got.getObject("null"), "null");
            check(Arrays.equals(new byte[] {0, -1, 1}, got.getBytes("bytes")), "bytes");
            equal(Map.of("k", "v"), got.getObject("map"), "map");
            equal("value", got.getString("k\u00e9y"), "key beyond ASCII");
        }
    }

    @Rule
    void streamBodiesArrive() throws Exception {
        for (String options : new String[] {"", "jms.useCompression=true"}) {
            StreamMessage got = pass(options, session -> {
                StreamMessage message = session.createStreamMessage();
                message.writeBoolean(true);
                message.writeByte((byte) -1);
                message.writeShort((short) -2);
                message.writeChar('\u4e2d');
                message.writeInt(-3);
                message.writeLong(-4);
                message.writeFloat(0.5f);
                message.writeDouble(0.25);
                message.writeString("\u00fcml\u00e4ut");
                message.writeString("y".repeat(40_000));
                message.writeObject(null);
                message.writeBytes(new byte[] {0, -1, 1});
                return message;
            });
            Object[] expected = {
                true, (byte) -1, (short) -2, '\u4e2d', -3, -4L, 0.5f, 0.25, "\u00fcml\u00e4ut",
                "y".repeat(40_000), null
            };
            for (Object value : expected) {
                equal(value, got.readObject(), "next value");
            }
            check(Arrays.equals(new byte[] {0, -1, 1}, (byte[]) got.readObject()), "bytes");
            fails(MessageEOFException.class, got::readObject);
        }
    }

    @Rule
    void objectBodiesArrive() throws Exception {
        Serializable object = new ArrayList<>(List.of("\u00fcml\u00e4ut", 1, 2L, 'c'));
        for (String options : new String[] {"", "jms.useCompression=true"}) {
            ObjectMessage got =
                    pass(options + (options.isEmpty() ? "" : "&") + "jms.trustAllPackages=true",
                    session -> session.createObjectMessage(object));
            equal(object, got.getObject(), "object");
        }
        equal(null, pass("", session -> session.createObjectMessage()).getObject(), "empty object");
    }

    @Rule
    void emptyBodiesArrive() throws Exception {
        for (String options : new String[] {"", "jms.useCompression=true"}) {
            pass(options, Session::createMessage);
            equal(null, pass(options, Session::createTextMessage).getText(), "text");
            equal(0L, pass(options, Session::createBytesMessage).getBodyLength(), "length");
            check(!pass(options, Session::createMapMessage).getMapNames().hasMoreElements(),
                    "map is not empty");
            StreamMessage stream = pass(options, Session::createStreamMessage);
            fails(MessageEOFException.class, stream::readObject);
        }
    }

    @Rule(seconds = 90)
    void hugeBodyArrives() throws Exception {
        byte[] data = new byte[50 * 1024 * 1024];
        for (int i = 0; i < data.length; i++) {
            data[i] = (byte) (i * 31 + i / 65_536);
        }
        BytesMessage got = pass("", session -> {
            BytesMessage message = session.createBytesMessage();
            message.writeBytes(data);
            return message;
        });
        equal((long) data.length, got.getBodyLength(), "length");
        byte[] read = new byte[data.length];
        equal(data.length, got.readBytes(read), "bytes read");
        check(Arrays.equals(data, read), "bytes differ");
    }

    @Rule
    void manyPropertiesArrive() throws Exception {
        Message got = pass("", session -> {
            Message message = session.createMessage();
            for (int i = 0; i < 1000; i++) {
                message.setIntProperty("p" + i, i);
            }
            return message;
        });
        for (int i = 0; i < 1000; i++) {
            equal(i, got.getIntProperty("p" + i), "p" + i);
        }
    }

    @Rule
    void forwardedMessageKeepsItsContent() throws Exception {
        Queue first = queue();
        Queue second = queue();
        Session session = session();
        Message sent = session.createTextMessage(TEXT);
        sent.setIntProperty("n", 1);
        session.createProducer(first).send(sent);
        Message forwarded = next(session.createConsumer(first));
        session.createProducer(second).send(forwarded);
        Message got = next(session.createConsumer(second));
        equal(TEXT, text(got), "text");
        equal(1, got.getIntProperty("n"), "property");
        equal(second, got.getJMSDestination(), "JMSDestination");
        check(!sent.getJMSMessageID().equals(got.getJMSMessageID()),
                "the forwarded message has the old id");
    }

    @Rule
    void userIdIsEmptyUnlessTheBrokerSetsIt() throws Exception {
        ActiveMQConnection connection = connect();
        Queue queue = queue();
        Session session = auto(connection);
        send(session, queue, 0, 1);
        Message got = next(session.createConsumer(queue));
        equal(null, got.getStringProperty("JMSXUserID"), "JMSXUserID");
    }

    @Rule
    void supplementaryCharactersInPropertiesArriveAsTheClientReadsThem() throws Exception {
        Message got = pass("", session -> {
            Message message = session.createMessage();
            message.setStringProperty("after", "a\ud83d\ude00z");
            return message;
        });
        // The client writes two surrogates of three bytes and reads them as standard UTF-8.
        String value = got.getStringProperty("after");
        check(value.startsWith("a") && value.endsWith("z"), "property is " + value);
    }
}

import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicReference;
import javax.jms.JMSException;
import javax.jms.Message;
import javax.jms.MessageConsumer;
import javax.jms.MessageProducer;
import javax.jms.Queue;
import javax.jms.Session;
import javax.jms.TemporaryQueue;
import javax.jms.Topic;
import org.apache.activemq.ActiveMQConnection;
import org.apache.activemq.command.ActiveMQDestination;
import org.apache.activemq.command.ActiveMQTextMessage;
import org.apache.activemq.command.FlushCommand;
import org.apache.activemq.command.KeepAliveInfo;
import org.apache.activemq.command.MessageId;
import org.apache.activemq.command.ProducerId;
import org.apache.activemq.command.ProducerInfo;
import org.apache.activemq.command.SessionId;
import org.apache.activemq.command.SessionInfo;
import org.apache.activemq.openwire.OpenWireFormat;

final class Wire extends Rules {
    /** Either side drops the other after a second of silence. */
    private static final String IMPATIENT = "wireFormat.maxInactivityDuration=1000"
            + "&wireFormat.maxInactivityDurationInitalDelay=500";

    /** A bit of everything over a connection with these options. */
    private void converse(String options) throws Exception {
        Queue queue = queue();
        Topic topic = topic();
        ActiveMQConnection connection = connect(options);
        Session session = auto(connection);
        MessageConsumer subscriber = session.createConsumer(topic);
        MessageProducer producer = session.createProducer(queue);
        for (int i = 0; i < 10; i++) {
            Message message = session.createTextMessage("\u00fcml\u00e4ut \ud83d\ude00 " + i);
            message.setIntProperty("n", i);
            message.setStringProperty("s", "\u4e2d\u6587".repeat(i * 100));
            message.setJMSCorrelationID("correlation");
            message.setJMSReplyTo(topic);
            producer.send(message);
        }
        var browser = session.createBrowser(queue, "n > 7");
        int browsed = 0;
        for (var all = browser.getEnumeration(); all.hasMoreElements(); all.nextElement()) {
            browsed++;
        }
        browser.close();
        equal(2, browsed, "browsed");
        Session client = client(connection);
        MessageConsumer consumer = client.createConsumer(queue);
        Message last = null;
        for (int i = 0; i < 10; i++) {
            last = next(consumer);
            equal("\u00fcml\u00e4ut \ud83d\ude00 " + i, text(last), "text");
            equal(i, last.getIntProperty("n"), "n");
            equal("\u4e2d\u6587".repeat(i * 100), last.getStringProperty("s"), "s");
            equal("correlation", last.getJMSCorrelationID(), "correlation id");
            equal(topic, last.getJMSReplyTo(), "reply to");
            equal(queue, last.getJMSDestination(), "destination");
        }
        last.acknowledge();
        consumer.close();
        isEmpty(queue);
        Session transacted = transacted(connection);
        MessageConsumer receiver = transacted.createConsumer(queue);
        send(transacted, queue, 0, 3);
        transacted.rollback();
        send(transacted, queue, 3, 6);
        send(transacted, topic, 0, 3);
        transacted.commit();
        takes(subscriber, 0, 3);
        takes(receiver, 3, 5);
        transacted.rollback();
        takesFlagged(receiver, 3, 5, true, 2);
        takes(receiver, 5, 6);
        transacted.commit();
        receiver.close();
        TemporaryQueue inbox = session.createTemporaryQueue();
        MessageConsumer replies = session.createConsumer(inbox);
        // A sender that watches advisories might not know the new queue yet, and refuse.
        send(auto(connect("jms.watchTopicAdvisories=false")), inbox, 0, 2);
        takes(replies, 0, 2);
        replies.close();
        inbox.delete();
        JMSException thrown = fails(javax.jms.InvalidSelectorException.class,
                () -> session.createConsumer(queue, "n >"));
        check(thrown.getMessage() != null, "no message");
        // Both directions between this dialect and the newest.
        send(session, queue, 0, 3);
        takes(session().createConsumer(queue), 0, 3);
        connection.close();
        isEmpty(queue);
    }

    private static OpenWireFormat formatOf(ActiveMQConnection connection) {
        return (OpenWireFormat) connection.getTransport()
                .narrow(org.apache.activemq.transport.tcp.TcpTransport.class)
                .getWireFormat();
    }

    private void speaks(int version) throws Exception {
        ActiveMQConnection connection = connect("wireFormat.version=" + version);
        auto(connection);
        equal(version, connection.getProtocolVersion(), "version");
        converse("wireFormat.version=" + version);
        converse("wireFormat.version=" + version
                + "&wireFormat.tightEncodingEnabled=false&wireFormat.cacheEnabled=false");
    }

    @Rule
    void version1() throws Exception {
        speaks(1);
    }

    @Rule
    void version2() throws Exception {
        speaks(2);
    }

    @Rule
    void version3() throws Exception {
        speaks(3);
    }

    @Rule
    void version5() throws Exception {
        speaks(5);
    }

    @Rule
    void version6() throws Exception {
        speaks(6);
    }

    @Rule
    void version9() throws Exception {
        speaks(9);
    }

    @Rule
    void version10() throws Exception {
        speaks(10);
    }

    @Rule
    void version11() throws Exception {
        speaks(11);
    }

    @Rule
    void version12() throws Exception {
        speaks(12);
    }

    @Rule
    void looseEncoding() throws Exception {
        converse("wireFormat.tightEncodingEnabled=false");
    }

    @Rule
    void withoutCache() throws Exception {
        converse("wireFormat.cacheEnabled=false");
    }

    @Rule
    void looseWithoutCache() throws Exception {
        converse("wireFormat.tightEncodingEnabled=false&wireFormat.cacheEnabled=false");
    }

    @Rule
    void smallCacheWrapsAround() throws Exception {
        ActiveMQConnection connection = connect("wireFormat.cacheSize=150");
        Session session = auto(connection);
        for (int i = 0; i < 300; i++) {
            Queue queue = queue();
            send(session, queue, 0, 2);
            MessageConsumer consumer = session.createConsumer(queue);
            takes(consumer, 0, 2);
            consumer.close();
        }
        converse("wireFormat.cacheSize=150&wireFormat.tightEncodingEnabled=false");
    }

    @Rule
    void withoutStackTraces() throws Exception {
        converse("wireFormat.stackTraceEnabled=false");
    }

    @Rule
    void withoutTcpNoDelay() throws Exception {
        converse("wireFormat.tcpNoDelayEnabled=false");
    }

    @Rule
    void withoutInactivityMonitor() throws Exception {
        converse("wireFormat.maxInactivityDuration=0");
    }

    @Rule
    void defaultsAreNegotiated() throws Exception {
        ActiveMQConnection connection = connect();
        auto(connection);
        OpenWireFormat format = formatOf(connection);
        equal(12, format.getVersion(), "version");
        equal(true, format.isTightEncodingEnabled(), "tight encoding");
        equal(true, format.isCacheEnabled(), "cache");
        equal(false, format.isSizePrefixDisabled(), "size prefix disabled");
        equal(104_857_600L, format.getMaxFrameSize(), "maximum frame size");
    }

    @Rule
    void idleConnectionIsKeptAlive() throws Exception {
        ActiveMQConnection connection = connect(IMPATIENT);
        AtomicReference<JMSException> broken = new AtomicReference<>();
        connection.setExceptionListener(broken::set);
        Session session = auto(connection);
        // Four times the time after which a silent connection is dropped.
        Thread.sleep(4000);
        equal(null, broken.get(), "failure of the idle connection");
        Queue queue = queue();
        send(session, queue, 0, 1);
        takes(session.createConsumer(queue), 0, 1);
    }

    @Rule
    void silentClientIsDropped() throws Exception {
        Proxy proxy = proxy();
        ActiveMQConnection connection = connectAt(proxy.url(), IMPATIENT);
        auto(connection);
        proxy.muteClients();
        check(proxy.awaitBrokerClose(WAIT_MS), "the broker keeps a silent client");
    }

    @Rule
    void silentBrokerIsNoticed() throws Exception {
        Proxy proxy = proxy();
        ActiveMQConnection connection = preparedAt(proxy.url(), IMPATIENT);
        CompletableFuture<JMSException> told = new CompletableFuture<>();
        connection.setExceptionListener(told::complete);
        connection.start();
        auto(connection);
        proxy.muteBroker();
        contains(told.get(WAIT_MS, TimeUnit.MILLISECONDS).getMessage(),
                "Channel was inactive for too");
    }

    @Rule
    void tooLargeFrameIsRefusedByTheClient() throws Exception {
        ActiveMQConnection connection = connect("wireFormat.maxFrameSize=10000");
        Session session = auto(connection);
        Queue queue = queue();
        JMSException thrown = null;
        try {
            sendText(session, queue, "x".repeat(20_000));
        } catch (JMSException e) {
            thrown = e;
        }
        check(thrown != null, "a frame over the limit was sent");
        contains(thrown.getMessage(), "larger than max allowed");
        sendText(session(), queue, "small");
        equal("small", nextText(session.createConsumer(queue)), "text");
    }

    /** Nulls of the frame that was not sent stand in the client's cache of ids. */
    @Rule
    void producerGoesOnAfterAFrameThatWasTooLarge() throws Exception {
        Session session = auto(connect("wireFormat.maxFrameSize=10000"));
        Queue queue = queue();
        MessageProducer producer = session.createProducer(queue);
        fails(JMSException.class, "larger than max allowed 9 KB",
                () -> producer.send(session.createTextMessage("x".repeat(40_000))));
        producer.send(session.createTextMessage("small"));
        equal("small", nextText(session.createConsumer(queue)), "text");
    }

    @Rule
    void sameMessageIdTwiceIsDeliveredOnce() throws Exception {
        Queue queue = queue();
        ActiveMQConnection connection = connect();
        auto(connection);
        SessionId session = new SessionId(connection.getConnectionInfo().getConnectionId(), 1000);
        ProducerId producer = new ProducerId(session, 1);
        connection.syncSendPacket(new SessionInfo(session));
        ProducerInfo info = new ProducerInfo(producer);
        info.setDestination((ActiveMQDestination) queue);
        connection.syncSendPacket(info);
        for (int i : new int[] {1, 2, 2, 1, 3}) {
            ActiveMQTextMessage message = new ActiveMQTextMessage();
            message.setProducerId(producer);
            message.setMessageId(new MessageId(producer, i));
            message.setDestination((ActiveMQDestination) queue);
            message.setPersistent(true);
            message.setText(Integer.toString(i));
            connection.syncSendPacket(message);
        }
        MessageConsumer consumer = session().createConsumer(queue);
        takes(consumer, 1, 4);
        isEmpty(queue);
    }

    @Rule
    void commandsWithoutMeaningAreAnswered() throws Exception {
        ActiveMQConnection connection = connect();
        auto(connection);
        connection.syncSendPacket(new FlushCommand());
        connection.syncSendPacket(new org.apache.activemq.command.ControlCommand());
        connection.syncSendPacket(new org.apache.activemq.command.ProducerAck());
        connection.syncSendPacket(new org.apache.activemq.command.ConnectionControl());
        connection.asyncSendPacket(new KeepAliveInfo());
        converse("");
    }
}

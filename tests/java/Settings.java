import static org.apache.activemq.ScheduledMessage.AMQ_SCHEDULED_DELAY;

import java.io.IOException;
import java.net.URI;
import java.util.List;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import javax.jms.JMSException;
import javax.jms.JMSSecurityException;
import javax.jms.Message;
import javax.jms.MessageConsumer;
import javax.jms.MessageProducer;
import javax.jms.Queue;
import javax.jms.Session;
import javax.jms.TemporaryQueue;
import javax.jms.Topic;
import org.apache.activemq.ActiveMQConnection;
import org.apache.activemq.command.ActiveMQDestination;
import org.apache.activemq.command.ActiveMQQueue;
import org.apache.activemq.command.ActiveMQTextMessage;
import org.apache.activemq.command.ActiveMQTopic;
import org.apache.activemq.command.ConnectionId;
import org.apache.activemq.command.ConnectionInfo;
import org.apache.activemq.command.ExceptionResponse;
import org.apache.activemq.command.MessageAck;
import org.apache.activemq.command.MessageDispatch;
import org.apache.activemq.command.MessageId;
import org.apache.activemq.command.ProducerInfo;
import org.apache.activemq.command.TransactionId;
import org.apache.activemq.command.TransactionInfo;
import org.apache.activemq.transport.DefaultTransportListener;
import org.apache.activemq.transport.Transport;
import org.apache.activemq.transport.TransportFactory;

/** Users, names, and attributes of the broker that are other than usual. */
final class Settings extends Rules {
    private ActiveMQConnection login(String user, String password) throws JMSException {
        return connect("jms.userName=" + user + (password == null ? "" : "&jms.password=" + password));
    }

    private static String userSeen(ActiveMQConnection connection) throws JMSException {
        Session session = auto(connection);
        Queue queue = queue();
        sendText(session, queue, "x");
        return next(session.createConsumer(queue)).getStringProperty("JMSXUserID");
    }

    @Rule
    void usersNeedTheirPassword() throws Exception {
        equal("somebody", userSeen(login("somebody", "secret")), "JMSXUserID");
        String[][] wrong = {{"somebody", "guessed"}, {"somebody", null}, {"unknown", "secret"}};
        for (String[] login : wrong) {
            fails(JMSSecurityException.class, "User name [" + login[0] + "] or password is invalid.",
                    () -> login(login[0], login[1]));
        }
    }

    @Rule
    void whoGivesNoNameIsAnonymous() throws Exception {
        equal("nobody", userSeen(connect()), "JMSXUserID");
    }

    @Rule
    void refusedLoginEndsItsConnection() throws Exception {
        CountDownLatch ended = new CountDownLatch(1);
        Transport transport = TransportFactory.connect(new URI(url));
        transport.setTransportListener(new DefaultTransportListener() {
            @Override
            public void onException(IOException error) {
                ended.countDown();
            }
        });
        transport.start();
        try {
            ConnectionInfo info = new ConnectionInfo(new ConnectionId(unique("connection")));
            info.setClientId(unique("client"));
            info.setUserName("somebody");
            info.setPassword("guessed");
            Object response = transport.request(info, (int) WAIT_MS);
            check(response instanceof ExceptionResponse, "the login is accepted");
            Throwable refusal = ((ExceptionResponse) response).getException();
            equal(SecurityException.class, refusal.getClass(), "refusal");
            equal("User name [somebody] or password is invalid.", refusal.getMessage(), "text");
            check(ended.await(WAIT_MS, TimeUnit.MILLISECONDS), "the connection lives on");
        } finally {
            transport.stop();
        }
    }

    @Rule
    void anotherSeparatorStandsForDots() throws Exception {
        String name = unique("TEST");
        Session session = session();
        Queue slashed = new ActiveMQQueue(name.replace('.', '/') + "/a");
        Queue dotted = new ActiveMQQueue(name + ".a");
        send(session, slashed, 0, 1);
        send(session, dotted, 1, 2);
        MessageConsumer consumer = session.createConsumer(slashed);
        Message got = takes(consumer, 0, 2);
        equal(dotted, got.getJMSDestination(), "JMSDestination");
        consumer.close();
        MessageConsumer pattern =
                session.createConsumer(new ActiveMQTopic(name.replace('.', '/') + "/*"));
        send(session, new ActiveMQTopic(name + "/b"), 2, 3);
        takes(pattern, 2, 3);
        isEmpty(dotted);
    }

    @Rule
    void listedDestinationsAreThereFromTheStart() throws Exception {
        var source = connect().getDestinationSource();
        eventually("the queue is there",
                () -> source.getQueues().contains(new ActiveMQQueue("LISTED.queue")));
        eventually("the topic is there",
                () -> source.getTopics().contains(new ActiveMQTopic("LISTED.topic")));
    }

    /** Though nothing is stored: the list follows what comes. */
    @Rule
    void destinationsThatCameAreListed() throws Exception {
        Queue queue = queue();
        Topic topic = topic();
        Session session = session();
        send(session, queue, 0, 1);
        session.createConsumer(topic).close();
        restart.run();
        var source = connect().getDestinationSource();
        eventually("the queue is there", () -> source.getQueues().contains(queue));
        eventually("the topic is there", () -> source.getTopics().contains(topic));
        isEmpty(queue);
    }

    /** The original has them back. */
    @Rule(beyondOriginal = true)
    void destinationsThatWentAreNotListed() throws Exception {
        Queue gone = queue();
        Queue there = queue();
        ActiveMQConnection connection = connect();
        send(auto(connection), gone, 0, 1);
        send(auto(connection), there, 0, 1);
        connection.destroyDestination((ActiveMQDestination) gone);
        restart.run();
        var source = connect().getDestinationSource();
        eventually("the other queue is there", () -> source.getQueues().contains(there));
        check(!source.getQueues().contains(gone), "the removed queue is there");
    }

    @Rule
    void selectorsOfConsumersThatAreAwayCount() throws Exception {
        Topic topic = topic("VirtualTopic");
        Queue queue = new ActiveMQQueue("Consumer.A." + nameOf(topic));
        Session session = session();
        session.createConsumer(queue, "JMSType = 'x'").close();
        MessageProducer producer = session.createProducer(topic);
        for (int i = 0; i < 4; i++) {
            Message message = session.createTextMessage(Integer.toString(i));
            message.setJMSType(i % 2 == 0 ? "x" : "y");
            producer.send(message);
        }
        equal(List.of("0", "2"), take(session.createConsumer(queue), 2), "copies");
        session.close();
        isEmpty(queue);
    }

    @Rule
    void durableSubscriptionsAreRefused() throws Exception {
        Topic topic = topic();
        Session session = auto(connectAs(unique("client")));
        fails(JMSException.class, "Durable Consumers are not allowed",
                () -> session.createDurableSubscriber(topic, "s"));
        MessageConsumer plain = session.createConsumer(topic);
        send(session, topic, 0, 1);
        takes(plain, 0, 1);
    }

    @Rule
    void sendMakesATemporaryQueueThatIsGone() throws Exception {
        ActiveMQConnection owner = connect();
        TemporaryQueue queue = auto(owner).createTemporaryQueue();
        Session other = auto(connect("jms.watchTopicAdvisories=false"));
        MessageProducer anonymous = other.createProducer(null);
        owner.close();
        anonymous.send(queue, other.createTextMessage("x"));
    }

    @Rule
    void withoutSchedulerADelayIsAPropertyLikeAnyOther() throws Exception {
        Session session = session();
        Queue queue = queue();
        Message message = session.createTextMessage("x");
        message.setLongProperty(AMQ_SCHEDULED_DELAY, 3_600_000);
        session.createProducer(queue).send(message);
        Message got = next(session.createConsumer(queue));
        equal(3_600_000L, got.getLongProperty(AMQ_SCHEDULED_DELAY), "the delay");
        equal(null, got.getStringProperty("scheduledJobId"), "the job");
    }

    @Rule
    void failedOneWayAckIsLeftOutOfItsTransaction() throws Exception {
        RawClient client = new RawClient(connect());
        Queue in = queue();
        Queue out = queue();
        send(session(), in, 0, 1);
        client.consume(in, 10);
        List<MessageDispatch> held = client.takes(0, 1);
        TransactionId id = client.begin();
        ProducerInfo producer = client.produce(null, 0);
        ActiveMQTextMessage good = RawClient.message(producer, out, 0);
        good.setTransactionId(id);
        client.connection.syncSendPacket(good);
        MessageAck bad = RawClient.ack(MessageAck.STANDARD_ACK_TYPE, held);
        bad.setTransactionId(id);
        bad.setFirstMessageId(null);
        bad.setLastMessageId(new MessageId(producer.getProducerId(), 77));
        client.connection.asyncSendPacket(bad);
        client.end(id, TransactionInfo.COMMIT_ONE_PHASE);
        takes(session().createConsumer(out), 0, 1);
        client.send(RawClient.ack(MessageAck.STANDARD_ACK_TYPE, held));
        isEmpty(in);
    }
}

import java.net.URI;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import javax.jms.JMSException;
import javax.jms.MessageConsumer;
import javax.jms.MessageProducer;
import javax.jms.Queue;
import javax.jms.Session;
import javax.jms.TemporaryQueue;
import javax.jms.Topic;
import org.apache.activemq.ActiveMQConnection;
import org.apache.activemq.advisory.AdvisorySupport;
import org.apache.activemq.command.ActiveMQMessage;
import org.apache.activemq.command.ActiveMQQueue;
import org.apache.activemq.command.ActiveMQTopic;
import org.apache.activemq.command.ConsumerId;
import org.apache.activemq.command.ConsumerInfo;
import org.apache.activemq.command.ProducerInfo;
import org.apache.activemq.command.RemoveInfo;

/** Attributes of the broker and its connectors. */
final class Attributes extends Rules {
    private static final int MAX = 20;

    @Rule
    void aConnectionHasSoManyProducersAndNoMore() throws Exception {
        Session session = session();
        Queue queue = queue();
        for (int i = 0; i < MAX; i++) {
            session.createProducer(queue);
        }
        fails(JMSException.class, ": at maximum limit: " + MAX,
                () -> session.createProducer(queue));
    }

    @Rule
    void aConnectionHasSoManyConsumersAndNoMore() throws Exception {
        ActiveMQConnection connection = connect("jms.watchTopicAdvisories=false");
        Session session = auto(connection);
        Queue queue = queue();
        for (int i = 0; i < MAX; i++) {
            session.createConsumer(queue);
        }
        fails(JMSException.class, ": at maximum limit: " + MAX,
                () -> session.createConsumer(queue));
    }

    @Rule
    void aSecondConnectionWithTheSameClientIdEndsTheFirst() throws Exception {
        String clientId = unique("client");
        ActiveMQConnection first = connectAs(clientId);
        CountDownLatch ended = new CountDownLatch(1);
        first.setExceptionListener(error -> ended.countDown());
        ActiveMQConnection second = connectAs(clientId);
        check(ended.await(WAIT_MS, TimeUnit.MILLISECONDS), "the first connection lives on");
        sendText(auto(second), queue(), "x");
    }

    private static String origin(MessageConsumer watch) throws JMSException {
        return next(watch).getStringProperty("originBrokerURL");
    }

    /** Of whoever sends, consumes or gives up a message, or comes to watch. */
    @Rule
    void advisoriesNameTheConnectorOfTheirCause() throws Exception {
        int port = new URI(url).getPort();
        String first = ":" + port;
        String second = ":" + (port + 1);
        ActiveMQConnection other =
                connectAt(url.replace(first, second), "jms.redeliveryPolicy.maximumRedeliveries=0");
        for (boolean isOther : new boolean[] {true, false}) {
            Queue queue = queue("TOLD");
            Session session = session();
            MessageConsumer made = session.createConsumer(new ActiveMQTopic("ActiveMQ.Advisory.Queue"));
            MessageConsumer delivered =
                    session.createConsumer(AdvisorySupport.getMessageDeliveredAdvisoryTopic(queue));
            MessageConsumer consumed =
                    session.createConsumer(AdvisorySupport.getMessageConsumedAdvisoryTopic(queue));
            MessageConsumer dead =
                    session.createConsumer(AdvisorySupport.getMessageDLQdAdvisoryTopic((ActiveMQQueue) queue));
            while (made.receive(200) != null) {
                // What was there before.
            }
            Session sending = auto(isOther ? other : connect());
            sendText(sending, queue, "x");
            String sender = isOther ? second : first;
            contains(origin(made), sender);
            contains(origin(delivered), sender);
            Session taking = isOther ? session() : other.createSession(true, Session.SESSION_TRANSACTED);
            String taker = isOther ? first : second;
            MessageConsumer consumer = taking.createConsumer(queue);
            next(consumer);
            if (taking.getTransacted()) {
                taking.commit();
            }
            contains(origin(consumed), taker);
            if (taking.getTransacted()) {
                sendText(sending, queue, "dead");
                next(consumer);
                taking.rollback();
                contains(origin(dead), taker);
            }
            MessageConsumer late = auto(other).createConsumer(
                    AdvisorySupport.getConsumerAdvisoryTopic(queue));
            contains(origin(late), second);
        }
    }

    /** A consumer as the broker of a network has it, which stands for these. */
    private static void bridged(RawClient bridge, Queue queue, ConsumerId... behind)
            throws JMSException {
        ConsumerInfo info = bridge.consumer(queue, 100);
        info.setNetworkSubscription(true);
        info.setNetworkConsumerPath(behind);
        bridge.connection.syncSendPacket(info);
    }

    @Rule
    void networkConsumersGoWhenTheClientsTheyStandForCome() throws Exception {
        Queue queue = queue();
        RawClient bridge = new RawClient(connect());
        RawClient client = new RawClient(connect());
        ConsumerInfo first = client.consumer(queue, 100);
        ConsumerInfo second = client.consumer(queue, 100);
        bridged(bridge, queue, first.getConsumerId(), second.getConsumerId());
        client.connection.syncSendPacket(first);
        client.close(first, 0);
        Session session = session();
        send(session, queue, 0, 1);
        bridge.takes(0, 1);
        client.connection.syncSendPacket(second);
        client.takes(0, 1);
        send(session, queue, 1, 11);
        client.takes(1, 11);
        bridge.hasNoMore();
    }

    @Rule
    void producersWithoutDestinationAreAnnounced() throws Exception {
        MessageConsumer watch =
                session().createConsumer(new ActiveMQTopic("ActiveMQ.Advisory.Producer.Anonymous"));
        ActiveMQConnection connection = connect();
        String id = connection.getConnectionInfo().getConnectionId().toString() + ":";
        MessageProducer producer = auto(connection).createProducer(null);
        ActiveMQMessage came;
        do {
            came = (ActiveMQMessage) next(watch);
        } while (!(came.getDataStructure() instanceof ProducerInfo info)
                || !info.getProducerId().toString().startsWith(id));
        equal(0, came.getIntProperty("producerCount"), "producerCount");
        producer.close();
        ActiveMQMessage went;
        do {
            went = (ActiveMQMessage) next(watch);
        } while (!(went.getDataStructure() instanceof RemoveInfo gone)
                || !gone.getObjectId().toString().startsWith(id));
        equal(0, went.getIntProperty("producerCount"), "producerCount");
    }

    /** With cacheTempDestinations; from the original the message does not come back. */
    @Rule(beyondOriginal = true)
    void temporaryQueuesOutliveTheirConnectionForAWhile() throws Exception {
        Proxy proxy = proxy();
        ActiveMQConnection connection = connectAt(proxy.failoverUrl(), "");
        Session session = auto(connection);
        TemporaryQueue queue = session.createTemporaryQueue();
        sendText(session, queue, "kept");
        CountDownLatch resumed = resumption(connection);
        proxy.cut();
        check(resumed.await(WAIT_MS, TimeUnit.MILLISECONDS), "the client does not reconnect");
        equal("kept", nextText(session.createConsumer(queue)), "text");
    }

    @Rule
    void messagesCarryTheUserOfTheirConnection() throws Exception {
        ActiveMQConnection connection = connect("jms.userName=somebody&jms.password=x");
        Session session = auto(connection);
        Queue queue = queue();
        sendText(session, queue, "x");
        equal("somebody", next(session.createConsumer(queue)).getStringProperty("JMSXUserID"),
                "JMSXUserID");
    }

    /** With destinationInterceptors, which replace the usual one. */
    @Rule
    void virtualTopicsAreThoseThatAreConfigured() throws Exception {
        Session session = session();
        Topic topic = topic("Orders");
        MessageConsumer consumer =
                session.createConsumer(new ActiveMQQueue("App.A." + nameOf(topic)));
        send(session, topic, 0, 3);
        takes(consumer, 0, 3);
        Topic usual = topic("VirtualTopic");
        Queue queue = new ActiveMQQueue("Consumer.A." + nameOf(usual));
        MessageConsumer subscriber = session.createConsumer(usual);
        session.createConsumer(queue).close();
        send(session, usual, 0, 3);
        takes(subscriber, 0, 3);
        isEmpty(queue);
    }
}

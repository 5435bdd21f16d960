import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import javax.jms.JMSException;
import javax.jms.Queue;
import javax.jms.Session;
import org.apache.activemq.ActiveMQConnection;

/** Attributes of the broker and its connectors. */
final class ConnectorAttributes extends Rules {
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

    @Rule
    void messagesCarryTheUserOfTheirConnection() throws Exception {
        ActiveMQConnection connection = connect("jms.userName=somebody&jms.password=x");
        Session session = auto(connection);
        Queue queue = queue();
        sendText(session, queue, "x");
        equal("somebody", next(session.createConsumer(queue)).getStringProperty("JMSXUserID"),
                "JMSXUserID");
    }
}

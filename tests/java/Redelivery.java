import java.util.Collections;
import java.util.Enumeration;
import java.util.List;
import javax.jms.Message;
import javax.jms.MessageConsumer;
import javax.jms.Queue;
import javax.jms.Session;
import org.apache.activemq.ActiveMQConnection;
import org.apache.activemq.command.ConsumerInfo;
import org.apache.activemq.command.MessageDispatch;

final class Redelivery extends Rules {
    @Rule
    void rollbackCountsEachDelivery() throws Exception {
        Queue queue = queue();
        Session session = transacted(connect());
        send(session, queue, 0, 1);
        session.commit();
        MessageConsumer consumer = session.createConsumer(queue);
        for (int count = 1; count <= 5; count++) {
            takesFlagged(consumer, 0, 1, count > 1, count);
            session.rollback();
        }
        takesFlagged(consumer, 0, 1, true, 6);
        session.commit();
        session.close();
        isEmpty(queue);
    }

    @Rule
    void countGrowsOverLostConnections() throws Exception {
        Queue queue = queue();
        send(session(), queue, 0, 1);
        for (int count = 1; count <= 4; count++) {
            Proxy proxy = proxy();
            ActiveMQConnection connection = connectAt(proxy.url(), "");
            MessageConsumer consumer = client(connection).createConsumer(queue);
            takesFlagged(consumer, 0, 1, count > 1, count);
            proxy.cut();
        }
        MessageConsumer last = session().createConsumer(queue);
        takesFlagged(last, 0, 1, true, 5);
    }

    @Rule
    void countGrowsOverClosedSessions() throws Exception {
        Queue queue = queue();
        ActiveMQConnection connection = connect();
        send(auto(connection), queue, 0, 1);
        for (int count = 1; count <= 4; count++) {
            Session session = client(connection);
            takesFlagged(session.createConsumer(queue), 0, 1, count > 1, count);
            session.close();
        }
    }

    @Rule
    void exceededLimitMovesToDeadLetterQueue() throws Exception {
        Queue queue = queue();
        String options = "jms.redeliveryPolicy.maximumRedeliveries=2";
        Session session = transacted(connect(options));
        Message sent = session.createTextMessage("poison");
        session.createProducer(queue).send(sent);
        session.commit();
        MessageConsumer consumer = session.createConsumer(queue);
        for (int count = 1; count <= 3; count++) {
            flags(next(consumer), count > 1, count);
            session.rollback();
        }
        Message dead = DeadLetters.next(this, queue);
        equal("poison", text(dead), "text");
        equal(sent.getJMSMessageID(), dead.getJMSMessageID(), "message id");
        contains(dead.getStringProperty("dlqDeliveryFailureCause"),
                "java.lang.Throwable: Delivery[3] exceeds redelivery policy limit:RedeliveryPolicy {");
        equal(0L, dead.getLongProperty("originalExpiration"), "originalExpiration");
        flags(dead, false, 1);
        equal(queue, ((org.apache.activemq.command.ActiveMQMessage) dead).getOriginalDestination(),
                "original");
        equal("queue://ActiveMQ.DLQ", dead.getJMSDestination().toString(), "destination");
        session.close();
        isEmpty(queue);
    }

    @Rule
    void delayedRedeliveryKeepsOrder() throws Exception {
        Queue queue = queue();
        Session session = transacted(connect("jms.redeliveryPolicy.initialRedeliveryDelay=200"));
        send(session, queue, 0, 5);
        session.commit();
        MessageConsumer consumer = session.createConsumer(queue);
        takes(consumer, 0, 3);
        session.rollback();
        takesFlagged(consumer, 0, 3, true, 2);
        takesFlagged(consumer, 3, 5, false, 1);
        session.commit();
    }

    @Rule
    void nonBlockingRedeliveryLetsOthersPass() throws Exception {
        Queue queue = queue();
        String options =
                "jms.nonBlockingRedelivery=true&jms.redeliveryPolicy.initialRedeliveryDelay=300"
                + "&jms.redeliveryPolicy.redeliveryDelay=300";
        Session session = transacted(connect(options));
        send(session, queue, 0, 3);
        session.commit();
        MessageConsumer consumer = session.createConsumer(queue);
        takes(consumer, 0, 1);
        session.rollback();
        takesFlagged(consumer, 1, 3, false, 1);
        session.commit();
        takesFlagged(consumer, 0, 1, true, 2);
        session.commit();
    }

    /** Each dispatch has this redelivery counter. */
    private static void counters(List<MessageDispatch> dispatches, int expected) {
        for (MessageDispatch dispatch : dispatches) {
            equal(expected, dispatch.getRedeliveryCounter(), "redelivery counter");
        }
    }

    /** The first dispatch counts once and for all, the way in which the consumer leaves as ever. */
    @Rule
    void whatWasDispatchedCountsAsDeliveredIfThePolicySaysSo() throws Exception {
        Queue queue = queue("MARK");
        send(session(), queue, 0, 3);
        RawClient client = new RawClient(connect());
        long[] lastDelivered = {0, -1, -2, 0};
        int[] expected = {0, 1, 1, 2};
        for (int i = 0; i < expected.length; i++) {
            ConsumerInfo consumer = client.consume(queue, 10);
            counters(client.takes(0, 3), expected[i]);
            client.close(consumer, lastDelivered[i]);
        }
        takesFlagged(session().createConsumer(queue), 0, 3, true, 3);
    }

    /** The original takes a browser for a consumer. */
    @Rule(beyondOriginal = true)
    void whatWasOnlyBrowsedDoesNotCountAsDelivered() throws Exception {
        Queue queue = queue("MARK");
        Session session = session();
        send(session, queue, 0, 2);
        Enumeration<?> browsed = session.createBrowser(queue).getEnumeration();
        equal(2, Collections.list(browsed).size(), "messages seen");
        takesFlagged(session.createConsumer(queue), 0, 2, false, 1);
    }
}

import javax.jms.Message;
import javax.jms.MessageConsumer;
import javax.jms.Queue;
import javax.jms.Session;
import org.apache.activemq.ActiveMQConnection;

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
}

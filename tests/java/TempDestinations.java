import javax.jms.IllegalStateException;
import javax.jms.InvalidDestinationException;
import javax.jms.JMSException;
import javax.jms.Message;
import javax.jms.MessageConsumer;
import javax.jms.MessageProducer;
import javax.jms.Queue;
import javax.jms.QueueRequestor;
import javax.jms.QueueSession;
import javax.jms.Session;
import javax.jms.TemporaryQueue;
import javax.jms.TemporaryTopic;
import org.apache.activemq.ActiveMQConnection;
import org.apache.activemq.DestinationDoesNotExistException;
import org.apache.activemq.command.ActiveMQDestination;

final class TempDestinations extends Rules {
    /** Waits until the client has been told of the temporary queue; before, it refuses to send. */
    private static void knows(
            ActiveMQConnection connection, TemporaryQueue queue) throws Exception {
        eventually(
                "client knows " + queue, () -> !connection.isDeleted((ActiveMQDestination) queue));
    }

    /** Whether a send is refused, by the client or, before it knows, by the broker. */
    private static boolean refusesSend(Session session, TemporaryQueue queue) throws JMSException {
        try {
            session.createProducer(queue).send(session.createMessage());
            return false;
        } catch (InvalidDestinationException e) {
            contains(e.getMessage(), "Cannot publish to a deleted Destination: " + queue);
        } catch (DestinationDoesNotExistException e) {
            equal(queue.toString(), e.getMessage(), "message of the exception");
        }
        return true;
    }

    /** Answers every request of the queue with its own text. */
    private void serve(Queue requests) throws JMSException {
        Session session = session();
        MessageProducer replies = session.createProducer(null);
        session.createConsumer(requests).setMessageListener(request -> {
            try {
                Message reply = session.createTextMessage("re: " + text(request));
                reply.setJMSCorrelationID(request.getJMSMessageID());
                replies.send(request.getJMSReplyTo(), reply);
            } catch (JMSException e) {
                throw new java.lang.IllegalStateException(e);
            }
        });
    }

    @Rule
    void repliesComeToATemporaryQueue() throws Exception {
        Queue requests = queue();
        serve(requests);
        Session session = session();
        TemporaryQueue inbox = session.createTemporaryQueue();
        MessageConsumer replies = session.createConsumer(inbox);
        for (int i = 0; i < 100; i++) {
            Message request = session.createTextMessage("r" + i);
            request.setJMSReplyTo(inbox);
            session.createProducer(requests).send(request);
            Message reply = next(replies);
            equal("re: r" + i, text(reply), "reply");
            equal(request.getJMSMessageID(), reply.getJMSCorrelationID(), "correlation id");
            equal(inbox, reply.getJMSDestination(), "JMSDestination");
        }
    }

    @Rule
    void repliesComeToATemporaryTopic() throws Exception {
        Queue requests = queue();
        serve(requests);
        Session session = session();
        TemporaryTopic inbox = session.createTemporaryTopic();
        MessageConsumer one = session.createConsumer(inbox);
        MessageConsumer two = session.createConsumer(inbox);
        Message request = session.createTextMessage("r");
        request.setJMSReplyTo(inbox);
        session.createProducer(requests).send(request);
        equal("re: r", nextText(one), "reply");
        equal("re: r", nextText(two), "reply");
    }

    @Rule
    void requestorWorks() throws Exception {
        Queue requests = queue();
        serve(requests);
        ActiveMQConnection connection = connect();
        QueueSession session = connection.createQueueSession(false, Session.AUTO_ACKNOWLEDGE);
        QueueRequestor requestor = new QueueRequestor(session, requests);
        equal("re: hello", text(requestor.request(session.createTextMessage("hello"))), "reply");
        requestor.close();
    }

    @Rule
    void requestOfEachReplyQueueWorks() throws Exception {
        Queue requests = queue();
        serve(requests);
        Session session = session();
        MessageProducer producer = session.createProducer(requests);
        for (int i = 0; i < 50; i++) {
            TemporaryQueue inbox = session.createTemporaryQueue();
            MessageConsumer replies = session.createConsumer(inbox);
            Message request = session.createTextMessage("r" + i);
            request.setJMSReplyTo(inbox);
            producer.send(request);
            equal("re: r" + i, nextText(replies), "reply");
            replies.close();
            inbox.delete();
        }
    }

    @Rule
    void onlyItsConnectionMayConsume() throws Exception {
        TemporaryQueue queue = session().createTemporaryQueue();
        TemporaryTopic topic = session().createTemporaryTopic();
        Session other = session();
        fails(InvalidDestinationException.class,
                "Cannot use a Temporary destination from another Connection",
                () -> other.createConsumer(queue));
        fails(InvalidDestinationException.class,
                "Cannot use a Temporary destination from another Connection",
                () -> other.createConsumer(topic));
    }

    @Rule
    void anyConnectionMaySend() throws Exception {
        Session owner = session();
        ActiveMQConnection other = connect();
        TemporaryQueue queue = owner.createTemporaryQueue();
        knows(other, queue);
        send(auto(other), queue, 0, 3);
        takes(owner.createConsumer(queue), 0, 3);
    }

    @Rule
    void deletingWhileConsumedIsRefused() throws Exception {
        Session session = session();
        TemporaryQueue queue = session.createTemporaryQueue();
        MessageConsumer consumer = session.createConsumer(queue);
        fails(JMSException.class, "A consumer is consuming from the temporary destination",
                queue::delete);
        consumer.close();
        queue.delete();
    }

    @Rule
    void sendToDeletedOneFailsAtItsOwner() throws Exception {
        Session session = session();
        TemporaryQueue queue = session.createTemporaryQueue();
        MessageProducer producer = session.createProducer(queue);
        queue.delete();
        fails(InvalidDestinationException.class,
                "Cannot publish to a deleted Destination: " + queue,
                () -> producer.send(session.createMessage()));
    }

    @Rule
    void sendToDeletedOneFailsElsewhere() throws Exception {
        TemporaryQueue queue = session().createTemporaryQueue();
        ActiveMQConnection other = connect();
        knows(other, queue);
        Session session = auto(other);
        MessageProducer producer = session.createProducer(queue);
        producer.send(session.createMessage());
        queue.delete();
        // The client learns of it by an advisory and then refuses by itself.
        eventually("client is told", () -> other.isDeleted((ActiveMQDestination) queue));
        fails(InvalidDestinationException.class,
                "Cannot publish to a deleted Destination: " + queue,
                () -> producer.send(session.createMessage()));
    }

    @Rule
    void brokerRefusesSendToAMissingOne() throws Exception {
        ActiveMQConnection owner = connect();
        TemporaryQueue queue = auto(owner).createTemporaryQueue();
        TemporaryTopic topic = auto(owner).createTemporaryTopic();
        Session other = auto(connect("jms.watchTopicAdvisories=false"));
        MessageProducer anonymous = other.createProducer(null);
        anonymous.send(queue, other.createMessage());
        anonymous.send(topic, other.createMessage());
        owner.close();
        for (var gone : new javax.jms.Destination[] {queue, topic}) {
            fails(DestinationDoesNotExistException.class, gone.toString(),
                    () -> anonymous.send(gone, other.createMessage()));
        }
    }

    @Rule
    void goneWithItsConnection() throws Exception {
        ActiveMQConnection owner = connect();
        TemporaryQueue queue = auto(owner).createTemporaryQueue();
        ActiveMQConnection other = connect();
        knows(other, queue);
        Session session = auto(other);
        session.createProducer(queue).send(session.createMessage());
        owner.close();
        check(refusesSend(session, queue),
                "a send to a temporary queue whose connection is closed succeeds");
    }

    @Rule
    void goneWithItsCutConnection() throws Exception {
        Proxy proxy = proxy();
        ActiveMQConnection owner = connectAt(proxy.url(), "");
        TemporaryQueue queue = auto(owner).createTemporaryQueue();
        ActiveMQConnection other = connect();
        knows(other, queue);
        Session session = auto(other);
        session.createProducer(queue).send(session.createMessage());
        proxy.cut();
        eventually("send is refused", () -> refusesSend(session, queue));
    }

    @Rule
    void transactionsReachTemporaryQueues() throws Exception {
        ActiveMQConnection connection = connect();
        Session session = transacted(connection);
        TemporaryQueue queue = session.createTemporaryQueue();
        MessageConsumer consumer = session.createConsumer(queue);
        send(session, queue, 0, 3);
        session.rollback();
        send(session, queue, 3, 6);
        session.commit();
        takes(consumer, 3, 5);
        session.rollback();
        takesFlagged(consumer, 3, 5, true, 2);
        takes(consumer, 5, 6);
        session.commit();
    }
}

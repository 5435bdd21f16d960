import java.io.IOException;
import java.net.URI;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import javax.jms.InvalidClientIDException;
import javax.jms.JMSException;
import javax.jms.Message;
import javax.jms.MessageConsumer;
import javax.jms.Queue;
import javax.jms.ResourceAllocationException;
import javax.jms.Session;
import org.apache.activemq.ActiveMQConnection;
import org.apache.activemq.command.ActiveMQDestination;
import org.apache.activemq.command.ActiveMQMessage;
import org.apache.activemq.command.ActiveMQQueue;
import org.apache.activemq.command.ActiveMQTextMessage;
import org.apache.activemq.command.ActiveMQTopic;
import org.apache.activemq.command.ConnectionId;
import org.apache.activemq.command.ConnectionInfo;
import org.apache.activemq.command.ExceptionResponse;
import org.apache.activemq.command.MessageId;
import org.apache.activemq.command.ProducerAck;
import org.apache.activemq.command.ProducerId;
import org.apache.activemq.command.ProducerInfo;
import org.apache.activemq.command.SessionId;
import org.apache.activemq.command.SessionInfo;
import org.apache.activemq.command.TransactionId;
import org.apache.activemq.command.TransactionInfo;
import org.apache.activemq.transport.DefaultTransportListener;
import org.apache.activemq.transport.Transport;
import org.apache.activemq.transport.TransportFactory;

/** Connections and sends as a client writes them: names, windows, duplicates. */
final class SendCommands extends Rules {
    private RawClient raw() throws JMSException {
        return new RawClient(connect());
    }

    @Rule
    void connectionNeedsAClientId() throws Exception {
        Transport transport = TransportFactory.connect(new URI(url));
        transport.setTransportListener(new DefaultTransportListener());
        transport.start();
        try {
            ConnectionInfo info = new ConnectionInfo(new ConnectionId(unique("connection")));
            Object response = transport.request(info, (int) WAIT_MS);
            check(response instanceof ExceptionResponse, "accepted");
            Throwable refusal = ((ExceptionResponse) response).getException();
            equal(InvalidClientIDException.class, refusal.getClass(), "refusal");
            equal("No clientID specified for connection request", refusal.getMessage(), "text");
        } finally {
            transport.stop();
        }
    }

    @Rule
    void refusedConnectionIsClosed() throws Exception {
        String id = unique("client");
        connectAs(id);
        CountDownLatch closed = new CountDownLatch(1);
        Transport transport = TransportFactory.connect(new URI(url));
        transport.setTransportListener(new DefaultTransportListener() {
            @Override
            public void onException(IOException error) {
                closed.countDown();
            }
        });
        transport.start();
        try {
            ConnectionInfo info = new ConnectionInfo(new ConnectionId(unique("connection")));
            info.setClientId(id);
            check(transport.request(info, (int) WAIT_MS) instanceof ExceptionResponse, "accepted");
            check(closed.await(WAIT_MS, TimeUnit.MILLISECONDS), "the connection lives on");
        } finally {
            transport.stop();
        }
    }

    /** Nor does the message go to the queues which the pattern matches. */
    @Rule
    void sendToAPatternReachesItsConsumersOnce() throws Exception {
        String base = unique("TEST");
        Session session = session();
        send(session, new ActiveMQQueue(base + ".a"), 0, 1);
        send(session, new ActiveMQQueue(base + ".*"), 1, 2);
        Queue end = new ActiveMQQueue(base + ".b");
        MessageConsumer consumer = session.createConsumer(new ActiveMQQueue(base + ".*"));
        List<String> texts = take(consumer, 2);
        texts.sort(null);
        equal(List.of("0", "1"), texts, "texts");
        send(session, end, 2, 3);
        takes(consumer, 2, 3);
    }

    @Rule
    void partsOfACompositeAreASetAndKnowTheirOrigin() throws Exception {
        Queue one = queue();
        Queue two = queue();
        ActiveMQQueue composite = new ActiveMQQueue(
                nameOf(one) + "," + nameOf(two) + "," + nameOf(one));
        sendText(session(), composite, "0");
        for (Queue part : List.of(one, two)) {
            var left = drained(part);
            equal(1, left.size(), "messages of " + part);
            ActiveMQMessage message = (ActiveMQMessage) left.get(0);
            equal(part, message.getDestination(), "destination");
            check(message.getOriginalDestination() != null
                    && message.getOriginalDestination().isComposite(), "original destination is "
                    + message.getOriginalDestination());
        }
    }

    @Rule
    void oneWaySendsOfAWindowAreAcknowledged() throws Exception {
        RawClient client = raw();
        Queue queue = queue();
        ProducerInfo producer = client.produce(queue, 100_000);
        TransactionId transaction = client.begin();
        ActiveMQTextMessage inside = RawClient.message(producer, queue, 0);
        inside.setTransactionId(transaction);
        client.connection.asyncSendPacket(inside);
        client.end(transaction, TransactionInfo.COMMIT_ONE_PHASE);
        client.connection.syncSendPacket(RawClient.message(producer, queue, 1));
        client.connection.asyncSendPacket(RawClient.message(producer, queue, 2));
        for (int i = 0; i < 2; i++) {
            ProducerAck ack = client.producerAcks.poll(WAIT_MS, TimeUnit.MILLISECONDS);
            check(ack != null, "ProducerAck " + i + " does not come");
            equal(producer.getProducerId(), ack.getProducerId(), "producer");
            check(ack.getSize() > 0, "size of the ProducerAck");
        }
        ProducerInfo windowless = client.produce(queue, 0);
        client.connection.asyncSendPacket(RawClient.message(windowless, queue, 3));
        takes(session().createConsumer(queue), 0, 4);
        equal(0, client.producerAcks.size(), "ProducerAcks of other sends");
    }

    @Rule
    void transactionMayBeLargerThanTheWindow() throws Exception {
        Queue queue = queue();
        Session session = transacted(connect("jms.producerWindowSize=5000"));
        CompletableFuture<Void> sender = meanwhile(() -> {
            send(session, queue, 0, 100);
            session.commit();
        });
        finishes(sender);
        takes(session().createConsumer(queue), 0, 100);
    }

    @Rule
    void waitForSpaceEndsIfThePolicySaysSo() throws Exception {
        Queue queue = queue("IMPATIENT");
        Session session = session();
        ResourceAllocationException thrown = fails(ResourceAllocationException.class,
                () -> FlowControl.sendBlocks(session, queue, 0, 30));
        contains(thrown.getMessage(), "Usage Manager Memory Limit Wait Timeout. Stopping producer (");
        contains(thrown.getMessage(), ") to prevent flooding queue://" + nameOf(queue)
                + ". See http://activemq.apache.org/producer-flow-control.html for more info");
        FlowControl.takesBlocks(session().createConsumer(queue), 0, 8);
        FlowControl.sendBlocks(session, queue, 100, 101);
    }

    @Rule
    void reconnectedProducerIsNotStoredTwice() throws Exception {
        Queue queue = queue();
        RawClient client = raw();
        ProducerInfo producer = client.produce(queue, 0);
        for (int i = 1; i < 6; i++) {
            client.connection.syncSendPacket(RawClient.message(producer, queue, i));
        }
        MessageConsumer consumer = session().createConsumer(queue);
        takes(consumer, 1, 6);
        client.connection.close();
        Transport transport = TransportFactory.connect(new URI(url));
        transport.setTransportListener(new DefaultTransportListener());
        transport.start();
        try {
            ProducerId id = producer.getProducerId();
            SessionId session = id.getParentId();
            ConnectionInfo info = new ConnectionInfo(session.getParentId());
            info.setClientId(unique("client"));
            info.setFailoverReconnect(true);
            answered(transport.request(info, (int) WAIT_MS));
            answered(transport.request(new SessionInfo(session), (int) WAIT_MS));
            ProducerInfo again = new ProducerInfo(id);
            answered(transport.request(again, (int) WAIT_MS));
            for (int i : new int[] {3, 5, 6}) {
                answered(transport.request(RawClient.message(again, queue, i), (int) WAIT_MS));
            }
            takes(consumer, 6, 7);
            isEmpty(queue);
        } finally {
            transport.stop();
        }
    }

    private static void answered(Object response) {
        check(!(response instanceof ExceptionResponse), "refused: "
                + (response instanceof ExceptionResponse e ? e.getException() : null));
    }

    /** Unlike the first consumer, which takes no part, the second has room. */
    @Rule
    void fullConsumerOfHigherPriorityDoesNotHoldUpOthers() throws Exception {
        Queue queue = queue();
        ActiveMQConnection connection = connect();
        RawClient client = new RawClient(connection);
        var high = client.consumer(queue, 2);
        high.setPriority((byte) 5);
        connection.syncSendPacket(high);
        MessageConsumer low = session().createConsumer(queue);
        send(session(), queue, 0, 5);
        client.takes(0, 2);
        takes(low, 2, 5);
        client.hasNoMore();
    }

    /** The same message again, perhaps in a transaction of its own. */
    private static void sendAgain(RawClient client, ActiveMQMessage message, boolean transacted)
            throws Exception {
        ActiveMQMessage copy = (ActiveMQMessage) message.copy();
        TransactionId transaction = transacted ? client.begin() : null;
        copy.setTransactionId(transaction);
        client.connection.syncSendPacket(copy);
        if (transacted) {
            client.end(transaction, TransactionInfo.COMMIT_ONE_PHASE);
        }
    }

    private int letters(ActiveMQDestination from, String cause) throws Exception {
        int letters = 0;
        for (Message message : drained(new ActiveMQQueue("ActiveMQ.DLQ"))) {
            if (from.equals(((ActiveMQMessage) message).getOriginalDestination())) {
                equal(cause, message.getStringProperty("dlqDeliveryFailureCause"), "cause");
                letters++;
            }
        }
        return letters;
    }

    /** Sends a message twice, with its first copy still there or not. */
    private void twice(
            String policy, boolean transacted, boolean persistent, boolean consumed, int expected,
            int letters) throws Exception {
        ActiveMQQueue queue = (ActiveMQQueue) queue(policy);
        RawClient client = raw();
        ActiveMQTextMessage message = RawClient.message(client.produce(queue, 0), queue, 1);
        message.setPersistent(persistent);
        sendAgain(client, message, transacted);
        if (consumed) {
            Session session = session();
            takes(session.createConsumer(queue), 1, 2);
            session.close();
            settled();
        }
        sendAgain(client, message, transacted);
        equal(expected, drained(queue).size(), "messages left");
        equal(letters, letters(queue, "java.lang.Throwable: duplicate from store for " + queue),
                "dead letters");
    }

    @Rule
    void sameMessageTwiceIsOneInAQueue() throws Exception {
        for (boolean transacted : new boolean[] {false, true}) {
            for (boolean persistent : new boolean[] {false, true}) {
                twice("TEST", transacted, persistent, false, 1, 0);
            }
        }
    }

    @Rule
    void whatWasConsumedMayComeAgainUnlessItIsPersistent() throws Exception {
        for (boolean transacted : new boolean[] {false, true}) {
            twice("TEST", transacted, true, true, 0, 0);
            twice("TEST", transacted, false, true, 1, 0);
        }
    }

    @Rule
    void duplicatesOfWhatWasConsumedAreDeadLettersIfThePolicySaysSo() throws Exception {
        for (boolean transacted : new boolean[] {false, true}) {
            twice("TWICE", transacted, true, false, 1, 0);
            twice("TWICE", transacted, true, true, 0, 1);
            twice("TWICE", transacted, false, true, 1, 0);
        }
    }

    @Rule
    void duplicatesForDurableSubscribersAreDeadLettersIfThePolicySaysSo() throws Exception {
        for (boolean transacted : new boolean[] {false, true}) {
            ActiveMQTopic topic = (ActiveMQTopic) topic("TWICE");
            RawClient client = raw();
            ActiveMQTextMessage message = RawClient.message(client.produce(topic, 0), topic, 1);
            MessageConsumer plain = session().createConsumer(topic);
            sendAgain(client, message, transacted);
            sendAgain(client, message, transacted);
            settled();
            equal(0, letters(topic, null), "dead letters without durable subscribers");
            message.setMessageId(new MessageId(message.getProducerId(), 2));
            MessageConsumer durable =
                    auto(connectAs(unique("durable"))).createDurableSubscriber(topic, "s");
            sendAgain(client, message, transacted);
            sendAgain(client, message, transacted);
            sendText(session(), topic, "last");
            equal(List.of("1", "1", "last"), take(plain, 3), "messages");
            equal(List.of("1", "last"), take(durable, 2), "messages of the durable subscription");
            equal(1, letters(topic, "java.lang.Throwable: duplicate from store for " + topic),
                    "dead letters");
        }
    }
}

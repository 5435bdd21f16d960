import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicLong;
import javax.jms.Destination;
import javax.jms.JMSException;
import org.apache.activemq.ActiveMQConnection;
import org.apache.activemq.command.ActiveMQDestination;
import org.apache.activemq.command.ActiveMQTextMessage;
import org.apache.activemq.command.ConnectionId;
import org.apache.activemq.command.ConsumerId;
import org.apache.activemq.command.ConsumerInfo;
import org.apache.activemq.command.LocalTransactionId;
import org.apache.activemq.command.MessageAck;
import org.apache.activemq.command.MessageDispatch;
import org.apache.activemq.command.MessageId;
import org.apache.activemq.command.ProducerAck;
import org.apache.activemq.command.ProducerId;
import org.apache.activemq.command.ProducerInfo;
import org.apache.activemq.command.RemoveInfo;
import org.apache.activemq.command.Response;
import org.apache.activemq.command.SessionId;
import org.apache.activemq.command.SessionInfo;
import org.apache.activemq.command.TransactionId;
import org.apache.activemq.command.TransactionInfo;
import org.apache.activemq.transport.TransportListener;

/**
 * A session whose commands the scenario writes itself, so that it can say what the client would
 * never say. All are answered before the methods return, unless they tell otherwise.
 */
final class RawClient implements TransportListener {
    /** Unlike those of the client's own sessions and transactions. */
    private static final AtomicLong IDS = new AtomicLong(1000);

    final ActiveMQConnection connection;
    final BlockingQueue<ProducerAck> producerAcks = new LinkedBlockingQueue<>();
    private final BlockingQueue<MessageDispatch> dispatches = new LinkedBlockingQueue<>();
    private final SessionId session;

    /** The connection is started. */
    RawClient(ActiveMQConnection connection) throws JMSException {
        this.connection = connection;
        connection.addTransportListener(this);
        session = new SessionId(connectionId(), IDS.incrementAndGet());
        connection.syncSendPacket(new SessionInfo(session));
    }

    ConnectionId connectionId() {
        return connection.getConnectionInfo().getConnectionId();
    }

    // Consumers

    ConsumerInfo consumer(Destination destination, int prefetch) {
        ConsumerInfo info = new ConsumerInfo(new ConsumerId(session, IDS.incrementAndGet()));
        info.setDestination((ActiveMQDestination) destination);
        info.setPrefetchSize(prefetch);
        return info;
    }

    ConsumerInfo consume(Destination destination, int prefetch) throws JMSException {
        ConsumerInfo info = consumer(destination, prefetch);
        connection.syncSendPacket(info);
        return info;
    }

    ConsumerInfo subscribe(Destination topic, String name) throws JMSException {
        ConsumerInfo info = consumer(topic, 100);
        info.setSubscriptionName(name);
        connection.syncSendPacket(info);
        return info;
    }

    /** Closes the consumer, which says that this was the last message it delivered. */
    void close(ConsumerInfo consumer, long lastDelivered) throws JMSException {
        RemoveInfo remove = consumer.createRemoveCommand();
        remove.setLastDeliveredSequenceId(lastDelivered);
        connection.syncSendPacket(remove);
    }

    /** The next dispatches to consumers of this session, which are the texts "from" to "to - 1". */
    List<MessageDispatch> takes(int from, int to) throws Exception {
        List<MessageDispatch> taken = new ArrayList<>();
        for (int i = from; i < to; i++) {
            MessageDispatch dispatch = dispatches.poll(Rules.WAIT_MS, TimeUnit.MILLISECONDS);
            Rules.check(dispatch != null, "no dispatch of message " + i);
            Rules.equal(Integer.toString(i), Rules.text((ActiveMQTextMessage) dispatch.getMessage()),
                    "text of a dispatch");
            taken.add(dispatch);
        }
        return taken;
    }

    /** Nothing was dispatched that has not been taken. */
    void hasNoMore() {
        Rules.equal(0, dispatches.size(), "dispatches beyond");
    }

    /** From the first to the last of these, as that many messages. */
    static MessageAck ack(byte type, List<MessageDispatch> range) {
        MessageAck ack = new MessageAck(range.get(range.size() - 1), type, range.size());
        ack.setFirstMessageId(range.get(0).getMessage().getMessageId());
        return ack;
    }

    void send(MessageAck ack) throws JMSException {
        connection.syncSendPacket(ack);
    }

    // Producers

    ProducerInfo produce(Destination destination, int window) throws JMSException {
        return produceAs(new ProducerId(session, IDS.incrementAndGet()), destination, window);
    }

    ProducerInfo produceAs(ProducerId id, Destination destination, int window)
            throws JMSException {
        ProducerInfo info = new ProducerInfo(id);
        info.setDestination((ActiveMQDestination) destination);
        info.setWindowSize(window);
        connection.syncSendPacket(info);
        return info;
    }

    /** A persistent message with its number as id and text. */
    static ActiveMQTextMessage message(ProducerInfo producer, Destination to, int number)
            throws JMSException {
        ActiveMQTextMessage message = new ActiveMQTextMessage();
        message.setProducerId(producer.getProducerId());
        message.setMessageId(new MessageId(producer.getProducerId(), number));
        message.setDestination((ActiveMQDestination) to);
        message.setPersistent(true);
        message.setText(Integer.toString(number));
        return message;
    }

    // Transactions

    TransactionId transactionId() {
        return new LocalTransactionId(connectionId(), IDS.incrementAndGet());
    }

    TransactionId begin() throws JMSException {
        TransactionId id = transactionId();
        end(id, TransactionInfo.BEGIN);
        return id;
    }

    /** One step of a transaction. */
    Response end(TransactionId id, byte step) throws JMSException {
        return connection.syncSendPacket(new TransactionInfo(connectionId(), id, step));
    }

    // TransportListener

    @Override
    public void onCommand(Object command) {
        if (command instanceof ProducerAck ack) {
            producerAcks.add(ack);
        } else if (command instanceof MessageDispatch dispatch
                && dispatch.getMessage() != null
                && dispatch.getConsumerId().getParentId().equals(session)) {
            dispatches.add(dispatch);
        }
    }

    @Override
    public void onException(IOException error) {}

    @Override
    public void transportInterupted() {}

    @Override
    public void transportResumed() {}
}

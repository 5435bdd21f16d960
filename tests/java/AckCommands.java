import java.util.List;
import javax.jms.JMSException;
import javax.jms.Message;
import javax.jms.MessageConsumer;
import javax.jms.Queue;
import javax.jms.Session;
import javax.jms.Topic;
import org.apache.activemq.ActiveMQConnection;
import org.apache.activemq.command.ActiveMQQueue;
import org.apache.activemq.command.ConsumerInfo;
import org.apache.activemq.command.MessageAck;
import org.apache.activemq.command.MessageDispatch;
import org.apache.activemq.command.MessageId;
import org.apache.activemq.command.TransactionId;
import org.apache.activemq.command.TransactionInfo;

/** Each kind of ack, and each way to leave without one, as a client writes it. */
final class AckCommands extends Rules {
    private RawClient raw() throws JMSException {
        return new RawClient(connect());
    }

    /** A consumer that holds the texts "0" to "count - 1". */
    private record Holder(RawClient client, ConsumerInfo consumer, List<MessageDispatch> held) {}

    private Holder holder(Queue queue, int count) throws Exception {
        send(session(), queue, 0, count);
        RawClient client = raw();
        ConsumerInfo consumer = client.consume(queue, 1000);
        return new Holder(client, consumer, client.takes(0, count));
    }

    private static MessageId stranger() {
        return new MessageId("ID:nobody-1:1:1:1:1");
    }

    @Rule
    void countOfARangeMustAgree() throws Exception {
        Queue queue = queue();
        Holder holder = holder(queue, 5);
        MessageAck ack = RawClient.ack(MessageAck.STANDARD_ACK_TYPE, holder.held.subList(0, 3));
        ack.setMessageCount(5);
        fails(JMSException.class,
                "Expected message count (5) differs from count in dispatched-list (3)",
                () -> holder.client.send(ack));
        ack.setMessageCount(3);
        holder.client.send(ack);
        holder.client.close(holder.consumer, 0);
        takes(session().createConsumer(queue), 3, 5);
    }

    @Rule
    void bothEndsOfARangeMustBeHeld() throws Exception {
        Holder holder = holder(queue(), 3);
        MessageAck ack = RawClient.ack(MessageAck.STANDARD_ACK_TYPE, holder.held);
        ack.setFirstMessageId(stranger());
        fails(JMSException.class, "Could not find Message-ID " + stranger()
                + " in dispatched-list (start of ack)", () -> holder.client.send(ack));
        MessageAck other = RawClient.ack(MessageAck.STANDARD_ACK_TYPE, holder.held);
        other.setLastMessageId(stranger());
        fails(JMSException.class, "Could not find Message-ID " + stranger()
                + " in dispatched-list (end of ack)", () -> holder.client.send(other));
    }

    @Rule
    void rangeWithoutStartBeginsAtTheOldest() throws Exception {
        Queue queue = queue();
        Holder holder = holder(queue, 5);
        MessageAck ack = RawClient.ack(MessageAck.STANDARD_ACK_TYPE, holder.held.subList(0, 3));
        ack.setFirstMessageId(null);
        holder.client.send(ack);
        holder.client.close(holder.consumer, 0);
        takes(session().createConsumer(queue), 3, 5);
    }

    @Rule
    void individualAckTakesItsLastMessageAndNoneThatIsNotHeld() throws Exception {
        Queue queue = queue();
        Holder holder = holder(queue, 2);
        MessageAck ack = RawClient.ack(MessageAck.INDIVIDUAL_ACK_TYPE, holder.held);
        holder.client.send(ack);
        ack.setLastMessageId(stranger());
        holder.client.send(ack);
        holder.client.close(holder.consumer, 0);
        takes(session().createConsumer(queue), 0, 1);
        isEmpty(queue);
    }

    @Rule
    void ackOfAConsumerThatIsGoneIsIgnored() throws Exception {
        Queue queue = queue();
        Holder holder = holder(queue, 2);
        holder.client.close(holder.consumer, 0);
        holder.client.send(RawClient.ack(MessageAck.STANDARD_ACK_TYPE, holder.held));
        takes(session().createConsumer(queue), 0, 2);
    }

    @Rule
    void poisonAckMovesItsRangeToTheDeadLetterQueue() throws Exception {
        Queue queue = queue("DEAD");
        Holder holder = holder(queue, 4);
        MessageAck ack = RawClient.ack(MessageAck.POISON_ACK_TYPE, holder.held.subList(0, 2));
        ack.setPoisonCause(new Throwable("too hot"));
        holder.client.send(ack);
        holder.client.send(RawClient.ack(MessageAck.POISON_ACK_TYPE, holder.held.subList(2, 3)));
        MessageConsumer dead = session().createConsumer(queueOf("DLQ." + nameOf(queue)));
        for (int i = 0; i < 3; i++) {
            Message message = takes(dead, i, i + 1);
            equal(i < 2 ? "java.lang.Throwable: too hot" : null,
                    message.getStringProperty("dlqDeliveryFailureCause"), "cause of " + i);
        }
        holder.client.close(holder.consumer, 0);
        takes(session().createConsumer(queue), 3, 4);
        isEmpty(queue);
    }

    private static Queue queueOf(String name) {
        return new ActiveMQQueue(name);
    }

    @Rule
    void poisonAckIsNeverTransacted() throws Exception {
        Queue queue = queue("DEAD");
        Holder holder = holder(queue, 1);
        MessageAck ack = RawClient.ack(MessageAck.POISON_ACK_TYPE, holder.held);
        TransactionId transaction = holder.client.begin();
        ack.setTransactionId(transaction);
        fails(JMSException.class, "Poison ack cannot be transacted: ",
                () -> holder.client.send(ack));
        holder.client.end(transaction, TransactionInfo.ROLLBACK);
        holder.client.close(holder.consumer, 0);
        takes(session().createConsumer(queue), 0, 1);
    }

    @Rule
    void redeliveredAckChangesNothing() throws Exception {
        Queue queue = queue();
        Holder holder = holder(queue, 3);
        holder.client.send(RawClient.ack(MessageAck.REDELIVERED_ACK_TYPE, holder.held));
        holder.client.close(holder.consumer, 0);
        takesFlagged(session().createConsumer(queue), 0, 3, false, 1);
    }

    @Rule
    void deliveredAckExtendsTheWindowUntilTheMessagesAreAcknowledged() throws Exception {
        Queue queue = queue();
        send(session(), queue, 0, 10);
        RawClient client = raw();
        client.consume(queue, 2);
        List<MessageDispatch> first = client.takes(0, 2);
        client.send(RawClient.ack(MessageAck.DELIVERED_ACK_TYPE, first));
        client.takes(2, 4);
        client.hasNoMore();
        client.send(RawClient.ack(MessageAck.STANDARD_ACK_TYPE, first));
        settled();
        client.hasNoMore();
    }

    /** Its client sees the end of a time to live before the broker does. */
    @Rule
    void expiredAckIsBelieved() throws Exception {
        Queue queue = queue("DEAD");
        Holder holder = holder(queue, 2);
        holder.client.send(RawClient.ack(MessageAck.EXPIRED_ACK_TYPE, holder.held.subList(0, 1)));
        holder.client.close(holder.consumer, 0);
        takes(session().createConsumer(queue), 1, 2);
        isEmpty(queue);
        Message dead = next(session().createConsumer(queueOf("DLQ." + nameOf(queue))));
        equal("0", text(dead), "text");
        equal("java.lang.Throwable: Message Expired. Expiration:0",
                dead.getStringProperty("dlqDeliveryFailureCause"), "cause");
    }

    @Rule
    void expiredAckIsNeverTransacted() throws Exception {
        Queue queue = queue("DEAD");
        Holder holder = holder(queue, 2);
        TransactionId transaction = holder.client.begin();
        MessageAck ack = RawClient.ack(MessageAck.EXPIRED_ACK_TYPE, holder.held.subList(0, 1));
        ack.setTransactionId(transaction);
        holder.client.send(ack);
        equal("0", nextText(session().createConsumer(queueOf("DLQ." + nameOf(queue)))), "dead letter");
        holder.client.end(transaction, TransactionInfo.ROLLBACK);
        holder.client.close(holder.consumer, 0);
        takes(session().createConsumer(queue), 1, 2);
        isEmpty(queue);
    }

    /** It is the broker's own: a client that sends it changes nothing. */
    @Rule
    void unmatchedAckChangesNothing() throws Exception {
        Queue queue = queue();
        Holder holder = holder(queue, 3);
        holder.client.send(RawClient.ack(MessageAck.UNMATCHED_ACK_TYPE, holder.held));
        holder.client.close(holder.consumer, 0);
        takesFlagged(session().createConsumer(queue), 0, 3, false, 1);
        Topic topic = topic();
        RawClient client = new RawClient(connectAs(unique("durable")));
        ConsumerInfo durable = client.subscribe(topic, "s");
        ConsumerInfo plain = client.consume(topic(), 10);
        send(session(), topic, 0, 3);
        send(session(), plain.getDestination(), 3, 4);
        client.send(RawClient.ack(MessageAck.UNMATCHED_ACK_TYPE, client.takes(0, 3)));
        List<MessageDispatch> held = client.takes(3, 4);
        fails(JMSException.class, "Invalid acknowledgment: ",
                () -> client.send(RawClient.ack(MessageAck.UNMATCHED_ACK_TYPE, held)));
        client.close(durable, -1);
        takesFlagged(auto(client.connection).createDurableSubscriber(topic, "s"), 0, 3, false, 1);
    }

    private void leavesQueue(long lastDelivered, int flagged) throws Exception {
        Queue queue = queue();
        Holder holder = holder(queue, 4);
        long last = lastDelivered > 0
                ? holder.held.get((int) lastDelivered - 1).getMessage().getMessageId()
                        .getBrokerSequenceId()
                : lastDelivered;
        holder.client.close(holder.consumer, last);
        MessageConsumer again = session().createConsumer(queue);
        takesFlagged(again, 0, flagged, true, 2);
        takesFlagged(again, flagged, 4, false, 1);
    }

    @Rule
    void queueConsumerThatDeliveredNothingFlagsNothing() throws Exception {
        leavesQueue(0, 0);
        leavesQueue(-1, 0);
    }

    @Rule
    void queueConsumerThatDoesNotSayFlagsAll() throws Exception {
        leavesQueue(-2, 4);
    }

    @Rule
    void queueConsumerFlagsUpToWhatItDelivered() throws Exception {
        leavesQueue(3, 3);
    }

    private void leavesTopic(long lastDelivered, int flagged) throws Exception {
        Topic topic = topic();
        String id = unique("durable");
        RawClient client = new RawClient(connectAs(id));
        ConsumerInfo consumer = client.subscribe(topic, "s");
        send(session(), topic, 0, 4);
        List<MessageDispatch> held = client.takes(0, 4);
        long last = lastDelivered > 0
                ? held.get((int) lastDelivered - 1).getMessage().getMessageId()
                        .getBrokerSequenceId()
                : lastDelivered;
        client.close(consumer, last);
        MessageConsumer again = auto(client.connection).createDurableSubscriber(topic, "s");
        takesFlagged(again, 0, flagged, true, 2);
        takesFlagged(again, flagged, 4, false, 1);
    }

    @Rule
    void durableSubscriberThatDoesNotSayFlagsAll() throws Exception {
        leavesTopic(0, 4);
        leavesTopic(-2, 4);
    }

    @Rule
    void durableSubscriberThatDeliveredNothingFlagsNothing() throws Exception {
        leavesTopic(-1, 0);
    }

    @Rule
    void durableSubscriberFlagsUpToWhatItDelivered() throws Exception {
        leavesTopic(3, 3);
    }

    @Rule
    void acksOfATransactionTakeEffectAtCommit() throws Exception {
        Queue queue = queue();
        Holder holder = holder(queue, 4);
        TransactionId kept = holder.client.begin();
        MessageAck ack = RawClient.ack(MessageAck.STANDARD_ACK_TYPE, holder.held.subList(0, 2));
        ack.setTransactionId(kept);
        holder.client.send(ack);
        TransactionId undone = holder.client.begin();
        MessageAck other = RawClient.ack(MessageAck.STANDARD_ACK_TYPE, holder.held.subList(2, 3));
        other.setTransactionId(undone);
        holder.client.send(other);
        holder.client.end(kept, TransactionInfo.COMMIT_ONE_PHASE);
        holder.client.end(undone, TransactionInfo.ROLLBACK);
        // What was rolled back is still the consumer's, which acknowledges it now.
        holder.client.send(
                RawClient.ack(MessageAck.STANDARD_ACK_TYPE, holder.held.subList(2, 3)));
        holder.client.close(holder.consumer, 0);
        takes(session().createConsumer(queue), 3, 4);
        isEmpty(queue);
    }

    @Rule
    void poisonOfAPlainTopicSubscriberIsNoDeadLetter() throws Exception {
        Topic topic = topic("DEAD");
        RawClient client = raw();
        client.consume(topic, 100);
        ActiveMQConnection connection = connect();
        Session session = auto(connection);
        send(session, topic, 0, 1);
        client.send(RawClient.ack(MessageAck.POISON_ACK_TYPE, client.takes(0, 1)));
        isEmpty(queueOf("DLT." + nameOf(topic)));
    }

    @Rule
    void poisonOpensTheWindowOfAPlainTopicSubscriber() throws Exception {
        Topic topic = topic();
        RawClient client = raw();
        client.consume(topic, 2);
        send(session(), topic, 0, 5);
        List<MessageDispatch> held = client.takes(0, 2);
        client.hasNoMore();
        client.send(RawClient.ack(MessageAck.POISON_ACK_TYPE, held));
        client.takes(2, 4);
        client.hasNoMore();
    }
}

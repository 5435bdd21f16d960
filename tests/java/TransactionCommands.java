import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import javax.jms.JMSException;
import javax.jms.Queue;
import javax.transaction.xa.XAException;
import javax.transaction.xa.XAResource;
import org.apache.activemq.ActiveMQConnection;
import org.apache.activemq.command.ActiveMQTempQueue;
import org.apache.activemq.command.ActiveMQTextMessage;
import org.apache.activemq.command.DataArrayResponse;
import org.apache.activemq.command.IntegerResponse;
import org.apache.activemq.command.LocalTransactionId;
import org.apache.activemq.command.MessageAck;
import org.apache.activemq.command.MessageDispatch;
import org.apache.activemq.command.MessageId;
import org.apache.activemq.command.ProducerInfo;
import org.apache.activemq.command.TransactionId;
import org.apache.activemq.command.TransactionInfo;
import org.apache.activemq.command.XATransactionId;

/** The steps of transactions in every order, as a client writes them. */
final class TransactionCommands extends Rules {
    private RawClient raw() throws JMSException {
        return new RawClient(connect());
    }

    private static XATransactionId xid() {
        XATransactionId id = new XATransactionId();
        id.setFormatId(7);
        id.setGlobalTransactionId(unique("global").getBytes());
        id.setBranchQualifier(new byte[] {1});
        return id;
    }

    /** Sends message "number" in the transaction. */
    private static void sendIn(RawClient client, TransactionId id, Queue queue, int number)
            throws JMSException {
        ProducerInfo producer = client.produce(queue, 0);
        ActiveMQTextMessage message = RawClient.message(producer, queue, number);
        message.setTransactionId(id);
        client.connection.syncSendPacket(message);
    }

    @Rule
    void repeatedBeginChangesNothing() throws Exception {
        RawClient client = raw();
        Queue queue = queue();
        TransactionId id = client.begin();
        sendIn(client, id, queue, 0);
        client.end(id, TransactionInfo.BEGIN);
        sendIn(client, id, queue, 1);
        client.end(id, TransactionInfo.COMMIT_ONE_PHASE);
        takes(session().createConsumer(queue), 0, 2);
        client.end(id, TransactionInfo.BEGIN);
    }

    @Rule
    void unknownTransactionsAreRefused() throws Exception {
        RawClient client = raw();
        TransactionId id = client.transactionId();
        String unknown = "Transaction '" + id + "' has not been started.";
        fails(JMSException.class, unknown, () -> client.end(id, TransactionInfo.COMMIT_ONE_PHASE));
        fails(JMSException.class, unknown, () -> client.end(id, TransactionInfo.ROLLBACK));
        Queue queue = queue();
        fails(JMSException.class, unknown, () -> sendIn(client, id, queue, 0));
        isEmpty(queue);
    }

    @Rule
    void endedTransactionsAreUnknown() throws Exception {
        RawClient client = raw();
        Queue queue = queue();
        TransactionId id = client.begin();
        sendIn(client, id, queue, 0);
        client.end(id, TransactionInfo.COMMIT_ONE_PHASE);
        fails(JMSException.class, "Transaction '" + id + "' has not been started.",
                () -> client.end(id, TransactionInfo.COMMIT_ONE_PHASE));
        fails(JMSException.class, "Transaction '" + id + "' has not been started.",
                () -> client.end(id, TransactionInfo.ROLLBACK));
        takes(session().createConsumer(queue), 0, 1);
    }

    @Rule
    void localTransactionBelongsToItsConnection() throws Exception {
        RawClient client = raw();
        RawClient other = raw();
        Queue queue = queue();
        TransactionId id = client.begin();
        sendIn(client, id, queue, 0);
        fails(JMSException.class, "has not been started.",
                () -> other.end(id, TransactionInfo.COMMIT_ONE_PHASE));
        isEmpty(queue);
        client.end(id, TransactionInfo.COMMIT_ONE_PHASE);
        takes(session().createConsumer(queue), 0, 1);
    }

    @Rule
    void repeatedPrepareVotesTheSame() throws Exception {
        RawClient client = raw();
        Queue queue = queue();
        XATransactionId id = xid();
        client.end(id, TransactionInfo.BEGIN);
        sendIn(client, id, queue, 0);
        for (int i = 0; i < 2; i++) {
            IntegerResponse vote = (IntegerResponse) client.end(id, TransactionInfo.PREPARE);
            equal(XAResource.XA_OK, vote.getResult(), "vote");
        }
        isEmpty(queue);
        client.end(id, TransactionInfo.COMMIT_TWO_PHASE);
        takes(session().createConsumer(queue), 0, 1);
    }

    @Rule
    void emptyBranchIsForgottenByItsPrepare() throws Exception {
        RawClient client = raw();
        XATransactionId id = xid();
        client.end(id, TransactionInfo.BEGIN);
        IntegerResponse vote = (IntegerResponse) client.end(id, TransactionInfo.PREPARE);
        equal(XAResource.XA_RDONLY, vote.getResult(), "vote");
        fails(JMSException.class, "Cannot prepare a transaction that had not been started",
                () -> client.end(id, TransactionInfo.PREPARE));
    }

    private static void xaFails(int code, String part, Action action) throws Exception {
        try {
            action.run();
        } catch (JMSException e) {
            Throwable cause = e.getCause() == null ? e : e.getCause();
            contains(cause.getMessage(), part);
            check(cause instanceof XAException, "not an XAException: " + cause);
            check(cause.getMessage().contains("xaErrorCode:" + code)
                    || ((XAException) cause).errorCode == code, "another code: " + cause);
            return;
        }
        throw new AssertionError("nothing was thrown");
    }

    @Rule
    void branchIsPreparedBeforeItsSecondPhase() throws Exception {
        RawClient client = raw();
        Queue queue = queue();
        XATransactionId id = xid();
        client.end(id, TransactionInfo.BEGIN);
        sendIn(client, id, queue, 0);
        xaFails(XAException.XAER_PROTO, "",
                () -> client.end(id, TransactionInfo.COMMIT_TWO_PHASE));
        isEmpty(queue);
    }

    @Rule
    void unknownBranchIsNotFound() throws Exception {
        RawClient client = raw();
        XATransactionId id = xid();
        String unknown = "Transaction '" + id + "' has not been started.";
        xaFails(XAException.XAER_NOTA, unknown,
                () -> client.end(id, TransactionInfo.COMMIT_ONE_PHASE));
        xaFails(XAException.XAER_NOTA, unknown,
                () -> client.end(id, TransactionInfo.COMMIT_TWO_PHASE));
        xaFails(XAException.XAER_NOTA, unknown, () -> client.end(id, TransactionInfo.ROLLBACK));
    }

    @Rule
    void endDoesNothing() throws Exception {
        RawClient client = raw();
        Queue queue = queue();
        XATransactionId id = xid();
        client.end(id, TransactionInfo.BEGIN);
        sendIn(client, id, queue, 0);
        client.end(id, TransactionInfo.END);
        client.end(id, TransactionInfo.COMMIT_ONE_PHASE);
        takes(session().createConsumer(queue), 0, 1);
    }

    @Rule
    void forgottenBranchIsRolledBack() throws Exception {
        RawClient client = raw();
        Queue queue = queue();
        XATransactionId id = xid();
        client.end(id, TransactionInfo.BEGIN);
        sendIn(client, id, queue, 0);
        client.end(id, TransactionInfo.PREPARE);
        client.end(id, TransactionInfo.FORGET);
        DataArrayResponse left = (DataArrayResponse) client.end(null, TransactionInfo.RECOVER);
        for (Object branch : left.getData()) {
            check(!branch.equals(id), "the branch is still there");
        }
        isEmpty(queue);
    }

    @Rule
    void recoverTellsPreparedBranches() throws Exception {
        RawClient client = raw();
        XATransactionId id = xid();
        client.end(id, TransactionInfo.BEGIN);
        sendIn(client, id, queue(), 0);
        check(!recovered(client, id), "the branch is told before it is prepared");
        client.end(id, TransactionInfo.PREPARE);
        check(recovered(raw(), id), "the branch is not told");
        client.end(id, TransactionInfo.COMMIT_TWO_PHASE);
        check(!recovered(client, id), "the branch is told after its end");
    }

    private static boolean recovered(RawClient client, XATransactionId id) throws JMSException {
        var all = (DataArrayResponse) client.end(null, TransactionInfo.RECOVER);
        for (Object branch : all.getData()) {
            if (branch.equals(id)) {
                return true;
            }
        }
        return false;
    }

    /** A queue that is not there, of a connection that is. */
    private static ActiveMQTempQueue missing(RawClient client) {
        return new ActiveMQTempQueue(client.connectionId() + ":" + unique("missing"));
    }

    /** The original's is no TransactionRolledBackException, but has one for its last cause. */
    private static void commitFails(RawClient client, TransactionId id) {
        JMSException thrown = null;
        try {
            client.end(id, TransactionInfo.COMMIT_ONE_PHASE);
        } catch (JMSException e) {
            thrown = e;
        }
        check(thrown != null, "the commit does not fail");
        contains(thrown.getMessage(), "marked rollback only");
    }

    @Rule
    void failedOneWaySendMakesTheCommitFail() throws Exception {
        RawClient client = raw();
        Queue queue = queue();
        TransactionId id = client.begin();
        sendIn(client, id, queue, 0);
        ProducerInfo producer = client.produce(null, 0);
        ActiveMQTextMessage message = RawClient.message(producer, missing(client), 1);
        message.setTransactionId(id);
        client.connection.asyncSendPacket(message);
        commitFails(client, id);
        isEmpty(queue);
    }

    @Rule
    void failedOneWayAckMakesTheCommitFail() throws Exception {
        RawClient client = raw();
        Queue in = queue();
        Queue out = queue();
        send(session(), in, 0, 3);
        client.consume(in, 10);
        List<MessageDispatch> held = client.takes(0, 3);
        TransactionId id = client.begin();
        sendIn(client, id, out, 0);
        MessageAck good = RawClient.ack(MessageAck.STANDARD_ACK_TYPE, held.subList(0, 1));
        good.setTransactionId(id);
        client.connection.asyncSendPacket(good);
        MessageAck bad = RawClient.ack(MessageAck.STANDARD_ACK_TYPE, held.subList(1, 2));
        bad.setTransactionId(id);
        bad.setFirstMessageId(null);
        bad.setLastMessageId(new MessageId(client.produce(in, 0).getProducerId(), 77));
        client.connection.asyncSendPacket(bad);
        commitFails(client, id);
        isEmpty(out);
        // What was acknowledged is the consumer's still.
        client.send(RawClient.ack(MessageAck.STANDARD_ACK_TYPE, held));
        isEmpty(in);
    }

    /** A branch with a good send and one that failed without an answer. */
    private XATransactionId spoilt(RawClient client, Queue queue) throws JMSException {
        XATransactionId id = xid();
        client.end(id, TransactionInfo.BEGIN);
        sendIn(client, id, queue, 0);
        ProducerInfo producer = client.produce(null, 0);
        ActiveMQTextMessage message = RawClient.message(producer, missing(client), 1);
        message.setTransactionId(id);
        client.connection.asyncSendPacket(message);
        return id;
    }

    /** The original leaves the send out and commits the rest. */
    @Rule(beyondOriginal = true)
    void failedOneWaySendMakesThePrepareFail() throws Exception {
        RawClient client = raw();
        Queue queue = queue();
        XATransactionId id = spoilt(client, queue);
        xaFails(XAException.XA_RBROLLBACK, "rollback only",
                () -> client.end(id, TransactionInfo.PREPARE));
        check(!recovered(client, id), "the branch is told");
        isEmpty(queue);
    }

    @Rule(beyondOriginal = true)
    void failedOneWaySendMakesTheCommitOfABranchFail() throws Exception {
        RawClient client = raw();
        Queue queue = queue();
        XATransactionId id = spoilt(client, queue);
        xaFails(XAException.XA_RBROLLBACK, "rollback only",
                () -> client.end(id, TransactionInfo.COMMIT_ONE_PHASE));
        isEmpty(queue);
    }

    @Rule(beyondOriginal = true)
    void branchWithNothingButAFailedSendIsNotReadOnly() throws Exception {
        RawClient client = raw();
        XATransactionId id = xid();
        client.end(id, TransactionInfo.BEGIN);
        ProducerInfo producer = client.produce(null, 0);
        ActiveMQTextMessage message = RawClient.message(producer, missing(client), 1);
        message.setTransactionId(id);
        client.connection.asyncSendPacket(message);
        xaFails(XAException.XA_RBROLLBACK, "rollback only",
                () -> client.end(id, TransactionInfo.PREPARE));
    }

    @Rule
    void connectionsWorkInOneBranch() throws Exception {
        RawClient one = raw();
        RawClient two = raw();
        Queue queue = queue();
        XATransactionId id = xid();
        one.end(id, TransactionInfo.BEGIN);
        sendIn(one, id, queue, 0);
        two.end(id, TransactionInfo.BEGIN);
        sendIn(two, id, queue, 1);
        two.end(id, TransactionInfo.END);
        one.end(id, TransactionInfo.BEGIN);
        sendIn(one, id, queue, 2);
        one.end(id, TransactionInfo.END);
        isEmpty(queue);
        one.end(id, TransactionInfo.PREPARE);
        two.end(id, TransactionInfo.COMMIT_TWO_PHASE);
        takes(session().createConsumer(queue), 0, 3);
    }

    @Rule
    void branchOutlivesWhoJoinedIt() throws Exception {
        RawClient one = raw();
        RawClient two = raw();
        Queue queue = queue();
        XATransactionId id = xid();
        one.end(id, TransactionInfo.BEGIN);
        two.end(id, TransactionInfo.BEGIN);
        sendIn(two, id, queue, 0);
        two.end(id, TransactionInfo.END);
        two.connection.close();
        sendIn(one, id, queue, 1);
        one.end(id, TransactionInfo.COMMIT_ONE_PHASE);
        takes(session().createConsumer(queue), 0, 2);
    }

    @Rule
    void branchEndsWithWhoBeganIt() throws Exception {
        RawClient one = raw();
        RawClient two = raw();
        Queue queue = queue();
        XATransactionId id = xid();
        one.end(id, TransactionInfo.BEGIN);
        two.end(id, TransactionInfo.BEGIN);
        sendIn(two, id, queue, 0);
        one.connection.close();
        xaFails(XAException.XAER_NOTA, "", () -> two.end(id, TransactionInfo.COMMIT_ONE_PHASE));
        isEmpty(queue);
    }

    /** The original takes it, though it has voted. */
    @Rule(beyondOriginal = true)
    void preparedBranchTakesNoMoreWork() throws Exception {
        RawClient client = raw();
        Queue queue = queue();
        XATransactionId id = xid();
        client.end(id, TransactionInfo.BEGIN);
        sendIn(client, id, queue, 0);
        client.end(id, TransactionInfo.PREPARE);
        fails(JMSException.class, () -> sendIn(client, id, queue, 1));
        client.end(id, TransactionInfo.COMMIT_TWO_PHASE);
        takes(session().createConsumer(queue), 0, 1);
        isEmpty(queue);
    }

    @Rule
    void emptyBranchCommitsAndRollsBack() throws Exception {
        RawClient client = raw();
        XATransactionId id = xid();
        client.end(id, TransactionInfo.BEGIN);
        client.end(id, TransactionInfo.COMMIT_ONE_PHASE);
        client.end(id, TransactionInfo.BEGIN);
        client.end(id, TransactionInfo.ROLLBACK);
        client.end(id, TransactionInfo.BEGIN);
        xaFails(XAException.XAER_PROTO, "",
                () -> client.end(id, TransactionInfo.COMMIT_TWO_PHASE));
        client.end(id, TransactionInfo.ROLLBACK);
    }

    @Rule
    void preparedBranchCommitsInOnePhaseToo() throws Exception {
        RawClient client = raw();
        Queue queue = queue();
        XATransactionId id = xid();
        client.end(id, TransactionInfo.BEGIN);
        sendIn(client, id, queue, 0);
        client.end(id, TransactionInfo.PREPARE);
        client.end(id, TransactionInfo.COMMIT_ONE_PHASE);
        takes(session().createConsumer(queue), 0, 1);
        check(!recovered(client, id), "the branch is told after its end");
    }

    @Rule
    void failedOneWaySendIsToldToTheConnection() throws Exception {
        RawClient client = raw();
        CompletableFuture<JMSException> told = new CompletableFuture<>();
        client.connection.setExceptionListener(told::complete);
        ActiveMQTempQueue missing = missing(client);
        ProducerInfo producer = client.produce(null, 0);
        client.connection.asyncSendPacket(RawClient.message(producer, missing, 1));
        contains(told.get(WAIT_MS, TimeUnit.MILLISECONDS).getMessage(),
                missing.toString());
        // The connection goes on.
        Queue queue = queue();
        ActiveMQConnection connection = client.connection;
        send(auto(connection), queue, 0, 1);
        takes(auto(connection).createConsumer(queue), 0, 1);
    }

    @Rule
    void sameNumberIsAnotherTransactionElsewhere() throws Exception {
        RawClient one = raw();
        RawClient two = raw();
        Queue queue = queue();
        TransactionId first = new LocalTransactionId(one.connectionId(), 99_999);
        TransactionId second = new LocalTransactionId(two.connectionId(), 99_999);
        one.end(first, TransactionInfo.BEGIN);
        two.end(second, TransactionInfo.BEGIN);
        sendIn(one, first, queue, 0);
        sendIn(two, second, queue, 1);
        two.end(second, TransactionInfo.COMMIT_ONE_PHASE);
        one.end(first, TransactionInfo.ROLLBACK);
        takes(session().createConsumer(queue), 1, 2);
        isEmpty(queue);
    }
}

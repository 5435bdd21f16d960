import java.nio.ByteBuffer;
import java.util.Arrays;
import java.util.concurrent.atomic.AtomicLong;
import javax.jms.JMSException;
import javax.jms.Queue;
import javax.jms.XASession;
import javax.transaction.xa.XAException;
import javax.transaction.xa.XAResource;
import javax.transaction.xa.Xid;
import org.apache.activemq.ActiveMQXAConnection;
import org.apache.activemq.ActiveMQXAConnectionFactory;

/** What the scenarios of XA transactions have at hand. */
abstract class XaRules extends Rules {
    private static final AtomicLong IDS = new AtomicLong(System.nanoTime());

    /** One branch of a made-up global transaction. */
    record Branch(int formatId, byte[] global, byte[] qualifier) implements Xid {
        static Branch next() {
            byte[] global = ByteBuffer.allocate(8).putLong(IDS.incrementAndGet()).array();
            return new Branch(4711, global, new byte[] {1, -2, 3});
        }

        @Override
        public int getFormatId() {
            return formatId;
        }

        @Override
        public byte[] getGlobalTransactionId() {
            return global;
        }

        @Override
        public byte[] getBranchQualifier() {
            return qualifier;
        }

        boolean isAmong(Xid[] all) {
            return Arrays.stream(all).anyMatch(xid -> xid.getFormatId() == formatId
                    && Arrays.equals(xid.getGlobalTransactionId(), global)
                    && Arrays.equals(xid.getBranchQualifier(), qualifier));
        }
    }

    /** A connection that is not started, so that it can still get a client id. */
    ActiveMQXAConnection preparedXa() throws JMSException {
        ActiveMQXAConnectionFactory factory = new ActiveMQXAConnectionFactory(url);
        factory.getRedeliveryPolicy().setInitialRedeliveryDelay(0);
        ActiveMQXAConnection connection = (ActiveMQXAConnection) factory.createXAConnection();
        closeLater(connection);
        return connection;
    }

    ActiveMQXAConnection xaConnection() throws JMSException {
        ActiveMQXAConnection connection = preparedXa();
        connection.start();
        return connection;
    }

    XASession xaSession() throws JMSException {
        return xaConnection().createXASession();
    }

    /** Sends the texts inside a branch that is ended, not prepared. */
    static Branch sent(XASession session, Queue queue, int from, int to) throws Exception {
        Branch branch = Branch.next();
        session.getXAResource().start(branch, XAResource.TMNOFLAGS);
        send(session, queue, from, to);
        session.getXAResource().end(branch, XAResource.TMSUCCESS);
        return branch;
    }

    static void failsWith(int code, Action action) throws Exception {
        XAException thrown = fails(XAException.class, action);
        equal(code, thrown.errorCode, "XA error code (" + thrown.getMessage() + ")");
    }
}

import javax.jms.JMSException;
import javax.jms.MessageConsumer;
import javax.jms.Queue;
import javax.jms.XASession;
import javax.transaction.xa.XAException;
import javax.transaction.xa.XAResource;
import javax.transaction.xa.Xid;
import org.apache.activemq.ActiveMQXAConnection;

final class Xa extends XaRules {
    @Rule
    void twoPhaseCommitMakesSendsVisible() throws Exception {
        Queue queue = queue();
        XASession session = xaSession();
        Branch branch = sent(session, queue, 0, 5);
        isEmpty(queue);
        equal(XAResource.XA_OK, session.getXAResource().prepare(branch), "vote");
        isEmpty(queue);
        session.getXAResource().commit(branch, false);
        takes(session().createConsumer(queue), 0, 5);
    }

    @Rule
    void onePhaseCommitMakesSendsVisible() throws Exception {
        Queue queue = queue();
        XASession session = xaSession();
        Branch branch = sent(session, queue, 0, 5);
        session.getXAResource().commit(branch, true);
        takes(session().createConsumer(queue), 0, 5);
    }

    @Rule
    void rollbackDropsSends() throws Exception {
        Queue queue = queue();
        XASession session = xaSession();
        session.getXAResource().rollback(sent(session, queue, 0, 5));
        Branch prepared = sent(session, queue, 5, 10);
        session.getXAResource().prepare(prepared);
        session.getXAResource().rollback(prepared);
        isEmpty(queue);
    }

    @Rule
    void rollbackRedeliversReceives() throws Exception {
        Queue queue = queue();
        send(session(), queue, 0, 5);
        XASession session = xaSession();
        XAResource resource = session.getXAResource();
        MessageConsumer consumer = session.createConsumer(queue);
        Branch branch = Branch.next();
        resource.start(branch, XAResource.TMNOFLAGS);
        takes(consumer, 0, 3);
        resource.end(branch, XAResource.TMSUCCESS);
        resource.prepare(branch);
        resource.rollback(branch);
        Branch second = Branch.next();
        resource.start(second, XAResource.TMNOFLAGS);
        takesFlagged(consumer, 0, 3, true, 2);
        takesFlagged(consumer, 3, 5, false, 1);
        resource.end(second, XAResource.TMSUCCESS);
        resource.commit(second, true);
        session.close();
        isEmpty(queue);
    }

    @Rule
    void sendsAndReceivesAreOneUnit() throws Exception {
        Queue in = queue();
        Queue out = queue();
        send(session(), in, 0, 3);
        XASession session = xaSession();
        XAResource resource = session.getXAResource();
        MessageConsumer consumer = session.createConsumer(in);
        Branch branch = Branch.next();
        resource.start(branch, XAResource.TMNOFLAGS);
        takes(consumer, 0, 3);
        send(session, out, 0, 3);
        resource.end(branch, XAResource.TMSUCCESS);
        resource.prepare(branch);
        resource.commit(branch, false);
        session.close();
        isEmpty(in);
        takes(session().createConsumer(out), 0, 3);
    }

    @Rule
    void emptyBranchVotesReadOnly() throws Exception {
        XASession session = xaSession();
        XAResource resource = session.getXAResource();
        Branch branch = Branch.next();
        resource.start(branch, XAResource.TMNOFLAGS);
        resource.end(branch, XAResource.TMSUCCESS);
        equal(XAResource.XA_RDONLY, resource.prepare(branch), "vote");
        failsWith(XAException.XAER_NOTA, () -> resource.commit(branch, false));
    }

    @Rule
    void unknownBranchIsNotFound() throws Exception {
        XAResource resource = xaSession().getXAResource();
        failsWith(XAException.XAER_NOTA, () -> resource.commit(Branch.next(), true));
        failsWith(XAException.XAER_NOTA, () -> resource.commit(Branch.next(), false));
        failsWith(XAException.XAER_NOTA, () -> resource.rollback(Branch.next()));
        failsWith(XAException.XAER_NOTA, () -> resource.forget(Branch.next()));
        // The broker answers with an IllegalStateException that holds no code.
        failsWith(XAException.XAER_RMFAIL, () -> resource.prepare(Branch.next()));
    }

    @Rule
    void twoPhaseCommitNeedsPrepare() throws Exception {
        Queue queue = queue();
        XASession session = xaSession();
        Branch branch = sent(session, queue, 0, 1);
        failsWith(XAException.XAER_PROTO, () -> session.getXAResource().commit(branch, false));
        isEmpty(queue);
    }

    @Rule
    void preparedBranchSurvivesItsConnection() throws Exception {
        Queue queue = queue();
        ActiveMQXAConnection connection = xaConnection();
        XASession session = connection.createXASession();
        Branch branch = sent(session, queue, 0, 5);
        session.getXAResource().prepare(branch);
        connection.close();
        XAResource recovering = xaSession().getXAResource();
        check(branch.isAmong(recovering.recover(XAResource.TMSTARTRSCAN)),
                "branch is not recovered");
        isEmpty(queue);
        recovering.commit(branch, false);
        check(!branch.isAmong(recovering.recover(XAResource.TMSTARTRSCAN)),
                "committed branch is recovered");
        takes(session().createConsumer(queue), 0, 5);
    }

    @Rule
    void unpreparedBranchDiesWithItsConnection() throws Exception {
        Queue queue = queue();
        ActiveMQXAConnection connection = xaConnection();
        Branch branch = sent(connection.createXASession(), queue, 0, 5);
        connection.close();
        XAResource other = xaSession().getXAResource();
        check(!branch.isAmong(other.recover(XAResource.TMSTARTRSCAN)),
                "unprepared branch is recovered");
        failsWith(XAException.XAER_NOTA, () -> other.commit(branch, true));
        isEmpty(queue);
    }

    @Rule
    void preparedReceivesStayLockedAfterTheConnection() throws Exception {
        Queue queue = queue();
        send(session(), queue, 0, 4);
        ActiveMQXAConnection connection = xaConnection();
        XASession session = connection.createXASession();
        Branch branch = Branch.next();
        session.getXAResource().start(branch, XAResource.TMNOFLAGS);
        takes(session.createConsumer(queue), 0, 2);
        session.getXAResource().end(branch, XAResource.TMSUCCESS);
        session.getXAResource().prepare(branch);
        connection.close();
        xaSession().getXAResource().commit(branch, false);
        takes(session().createConsumer(queue), 2, 4);
        isEmpty(queue);
    }

    @Rule
    void anotherConnectionMayRollBackAPreparedBranch() throws Exception {
        Queue queue = queue();
        XASession session = xaSession();
        Branch branch = sent(session, queue, 0, 2);
        session.getXAResource().prepare(branch);
        xaSession().getXAResource().rollback(branch);
        isEmpty(queue);
    }

    @Rule
    void recoverListsOnlyPreparedBranches() throws Exception {
        Queue queue = queue();
        XASession session = xaSession();
        Branch open = sent(session, queue, 0, 1);
        Branch prepared = sent(session, queue, 1, 2);
        session.getXAResource().prepare(prepared);
        Xid[] listed = session.getXAResource().recover(XAResource.TMSTARTRSCAN);
        check(prepared.isAmong(listed), "prepared branch is missing");
        check(!open.isAmong(listed), "unprepared branch is listed");
        equal(0, session.getXAResource().recover(XAResource.TMNOFLAGS).length,
                "second part of the scan");
        session.getXAResource().rollback(open);
        session.getXAResource().commit(prepared, false);
        takes(session().createConsumer(queue), 1, 2);
    }

    @Rule
    void sessionOutsideABranchIsRefused() throws Exception {
        Queue queue = queue();
        XASession session = xaSession();
        fails(JMSException.class,
                "Session's XAResource has not been enlisted in a distributed transaction.",
                () -> send(session, queue, 0, 2));
    }

    @Rule
    void resourcesOfOneBrokerAreTheSame() throws Exception {
        check(xaSession().getXAResource().isSameRM(xaSession().getXAResource()),
                "not the same resource manager");
    }

    @Rule
    void branchesOfOneSessionFollowEachOther() throws Exception {
        Queue queue = queue();
        XASession session = xaSession();
        Branch first = sent(session, queue, 2, 4);
        Branch second = sent(session, queue, 0, 2);
        session.getXAResource().prepare(second);
        session.getXAResource().prepare(first);
        session.getXAResource().commit(second, false);
        session.getXAResource().commit(first, false);
        takes(session().createConsumer(queue), 0, 4);
    }
}

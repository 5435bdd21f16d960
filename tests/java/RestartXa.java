import java.util.ArrayList;
import java.util.List;
import javax.jms.MessageConsumer;
import javax.jms.Queue;
import javax.jms.Session;
import javax.jms.Topic;
import javax.jms.XASession;
import javax.transaction.xa.XAException;
import javax.transaction.xa.XAResource;
import javax.transaction.xa.Xid;
import org.apache.activemq.ActiveMQConnection;
import org.apache.activemq.ActiveMQXAConnection;

/** What the broker's end leaves of XA transactions. */
final class RestartXa extends XaRules {
    /** A prepared branch that took 0 to 4 of two queues and sent 10 to 14 to two others. */
    private final class Work {
        final List<Queue> in = List.of(queue(), queue());
        final List<Queue> out = List.of(queue(), queue());
        final Branch branch = Branch.next();

        Work() throws Exception {
            for (Queue queue : in) {
                send(session(), queue, 0, 8);
            }
            XASession session = xaSession();
            XAResource resource = session.getXAResource();
            resource.start(branch, XAResource.TMNOFLAGS);
            for (int i = 0; i < 2; i++) {
                MessageConsumer consumer = session.createConsumer(in.get(i));
                takes(consumer, 0, 5);
                consumer.close();
                send(session, out.get(i), 10, 15);
            }
            resource.end(branch, XAResource.TMSUCCESS);
            equal(XAResource.XA_OK, resource.prepare(branch), "vote");
        }

        /** Its outcome is open: what it took is locked, what it sent is not to be seen. */
        void isOpen() throws Exception {
            check(branch.isAmong(recovered()), "the prepared branch is not recovered");
            for (Queue queue : out) {
                isEmpty(queue);
            }
            for (Queue queue : in) {
                ActiveMQConnection connection = connect();
                Session session = client(connection);
                takes(session.createConsumer(queue), 5, 8);
                connection.close();
            }
        }

        void isCommitted() throws Exception {
            check(!branch.isAmong(recovered()), "the committed branch is recovered");
            for (int i = 0; i < 2; i++) {
                takes(session().createConsumer(in.get(i)), 5, 8);
                takes(session().createConsumer(out.get(i)), 10, 15);
                isEmpty(in.get(i));
                isEmpty(out.get(i));
            }
        }

        void isRolledBack() throws Exception {
            check(!branch.isAmong(recovered()), "the rolled back branch is recovered");
            for (int i = 0; i < 2; i++) {
                List<String> texts = new ArrayList<>();
                for (var message : drained(in.get(i))) {
                    texts.add(text(message));
                }
                texts.sort(null);
                equal(List.of("0", "1", "2", "3", "4", "5", "6", "7"), texts, "left");
                isEmpty(out.get(i));
            }
        }
    }

    private Xid[] recovered() throws Exception {
        return xaSession().getXAResource().recover(XAResource.TMSTARTRSCAN);
    }

    @Rule
    void preparedBranchCommitsAfterTheRestart() throws Exception {
        Work work = new Work();
        restart.run();
        work.isOpen();
        xaSession().getXAResource().commit(work.branch, false);
        work.isCommitted();
    }

    @Rule
    void preparedBranchRollsBackAfterTheRestart() throws Exception {
        Work work = new Work();
        restart.run();
        work.isOpen();
        xaSession().getXAResource().rollback(work.branch);
        work.isRolledBack();
    }

    @Rule
    void preparedBranchSurvivesAnotherRestart() throws Exception {
        Work commits = new Work();
        Work rollsBack = new Work();
        restart.run();
        commits.isOpen();
        rollsBack.isOpen();
        restart.run();
        commits.isOpen();
        rollsBack.isOpen();
        xaSession().getXAResource().commit(commits.branch, false);
        xaSession().getXAResource().rollback(rollsBack.branch);
        commits.isCommitted();
        rollsBack.isRolledBack();
    }

    /** In the original the queues are empty after the second restart, even of what nobody took. */
    @Rule(beyondOriginal = true)
    void outcomeOfAStoredBranchIsStored() throws Exception {
        Work commits = new Work();
        Work rollsBack = new Work();
        restart.run();
        xaSession().getXAResource().commit(commits.branch, false);
        xaSession().getXAResource().rollback(rollsBack.branch);
        restart.run();
        commits.isCommitted();
        rollsBack.isRolledBack();
        XAResource resource = xaSession().getXAResource();
        failsWith(XAException.XAER_NOTA, () -> resource.commit(commits.branch, false));
        failsWith(XAException.XAER_NOTA, () -> resource.commit(rollsBack.branch, false));
    }

    @Rule
    void outcomeBeforeTheRestartIsStored() throws Exception {
        Work commits = new Work();
        Work rollsBack = new Work();
        xaSession().getXAResource().commit(commits.branch, false);
        xaSession().getXAResource().rollback(rollsBack.branch);
        restart.run();
        commits.isCommitted();
        rollsBack.isRolledBack();
    }

    @Rule
    void unpreparedBranchIsGone() throws Exception {
        Queue queue = queue();
        Branch ended = sent(xaSession(), queue, 0, 5);
        Branch open = Branch.next();
        XASession session = xaSession();
        session.getXAResource().start(open, XAResource.TMNOFLAGS);
        send(session, queue, 5, 10);
        restart.run();
        Xid[] listed = recovered();
        check(!ended.isAmong(listed) && !open.isAmong(listed), "an unprepared branch is recovered");
        XAResource resource = xaSession().getXAResource();
        failsWith(XAException.XAER_NOTA, () -> resource.commit(ended, true));
        failsWith(XAException.XAER_NOTA, () -> resource.rollback(open));
        isEmpty(queue);
    }

    @Rule
    void onePhaseCommitIsStored() throws Exception {
        Queue queue = queue();
        XASession session = xaSession();
        session.getXAResource().commit(sent(session, queue, 0, 5), true);
        restart.run();
        takes(session().createConsumer(queue), 0, 5);
        isEmpty(queue);
    }

    @Rule
    void forgottenBranchIsRolledBack() throws Exception {
        Work work = new Work();
        restart.run();
        xaSession().getXAResource().forget(work.branch);
        work.isRolledBack();
        restart.run();
        check(!work.branch.isAmong(recovered()), "the forgotten branch is recovered");
    }

    @Rule
    void branchesOfOneTransactionEndOneByOne() throws Exception {
        Queue one = queue();
        Queue two = queue();
        XASession first = xaConnection().createXASession();
        XASession second = xaConnection().createXASession();
        Branch a = Branch.next();
        Branch b = new Branch(a.formatId(), a.global(), new byte[] {9});
        for (int i = 0; i < 2; i++) {
            XASession session = i == 0 ? first : second;
            Branch branch = i == 0 ? a : b;
            session.getXAResource().start(branch, XAResource.TMNOFLAGS);
            send(session, i == 0 ? one : two, 0, 5);
            session.getXAResource().end(branch, XAResource.TMSUCCESS);
            session.getXAResource().prepare(branch);
        }
        first.getXAResource().commit(a, false);
        restart.run();
        Xid[] listed = recovered();
        check(!a.isAmong(listed), "the committed branch is recovered");
        check(b.isAmong(listed), "the prepared branch is not recovered");
        takes(session().createConsumer(one), 0, 5);
        isEmpty(two);
        xaSession().getXAResource().commit(b, false);
        takes(session().createConsumer(two), 0, 5);
    }

    @Rule
    void manyBranchesEndInAnyOrder() throws Exception {
        Queue queue = queue();
        XASession session = xaSession();
        List<Branch> branches = new ArrayList<>();
        for (int i = 0; i < 40; i++) {
            branches.add(sent(session, queue, i, i + 1));
            session.getXAResource().prepare(branches.get(i));
        }
        restart.run();
        Xid[] listed = recovered();
        XAResource resource = xaSession().getXAResource();
        for (int i = 39; i >= 0; i--) {
            check(branches.get(i).isAmong(listed), "branch " + i + " is not recovered");
            if (i % 2 == 0) {
                resource.commit(branches.get(i), false);
            } else {
                resource.rollback(branches.get(i));
            }
        }
        List<Integer> texts = new ArrayList<>();
        for (var message : drained(queue)) {
            texts.add(Integer.parseInt(text(message)));
        }
        texts.sort(null);
        List<Integer> even = new ArrayList<>();
        for (int i = 0; i < 40; i += 2) {
            even.add(i);
        }
        equal(even, texts, "messages of committed branches");
    }

    @Rule
    void preparedReceivesOfADurableSubscriptionAreLocked() throws Exception {
        Topic topic = topic();
        String id = unique("durable");
        ActiveMQXAConnection connection = preparedXa();
        connection.setClientID(id);
        connection.start();
        XASession session = connection.createXASession();
        MessageConsumer consumer = session.createDurableSubscriber(topic, "s");
        send(session(), topic, 0, 10);
        Branch branch = Branch.next();
        session.getXAResource().start(branch, XAResource.TMNOFLAGS);
        takes(consumer, 0, 4);
        session.getXAResource().end(branch, XAResource.TMSUCCESS);
        session.getXAResource().prepare(branch);
        restart.run();
        check(branch.isAmong(recovered()), "the prepared branch is not recovered");
        ActiveMQConnection again = connectAs(id);
        takes(client(again).createDurableSubscriber(topic, "s"), 4, 10);
        again.close();
        xaSession().getXAResource().commit(branch, false);
        takes(auto(connectAs(id)).createDurableSubscriber(topic, "s"), 4, 10);
    }

    @Rule
    void preparedSendsToATopicReachItsSubscription() throws Exception {
        Topic topic = topic();
        String id = unique("durable");
        ActiveMQConnection connection = connectAs(id);
        auto(connection).createDurableSubscriber(topic, "s");
        connection.close();
        XASession session = xaSession();
        Branch branch = Branch.next();
        session.getXAResource().start(branch, XAResource.TMNOFLAGS);
        send(session, topic, 0, 5);
        session.getXAResource().end(branch, XAResource.TMSUCCESS);
        session.getXAResource().prepare(branch);
        restart.run();
        xaSession().getXAResource().commit(branch, false);
        takes(auto(connectAs(id)).createDurableSubscriber(topic, "s"), 0, 5);
    }
}

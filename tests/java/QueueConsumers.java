import java.util.List;
import javax.jms.JMSException;
import javax.jms.Message;
import javax.jms.MessageConsumer;
import javax.jms.MessageProducer;
import javax.jms.Queue;
import javax.jms.Session;
import org.apache.activemq.ActiveMQConnection;
import org.apache.activemq.command.ActiveMQQueue;

/** Which consumer of a queue gets a message, where options and groups meet. */
final class QueueConsumers extends Rules {
    private static void sendGrouped(Session session, Queue queue, int number, int sequence)
            throws JMSException {
        Message message = session.createTextMessage(Integer.toString(number));
        message.setStringProperty("JMSXGroupID", "g");
        message.setIntProperty("JMSXGroupSeq", sequence);
        MessageProducer producer = session.createProducer(queue);
        producer.send(message);
        producer.close();
    }

    @Rule
    void sequenceOneGivesTheGroupToTheConsumerAtHand() throws Exception {
        Queue queue = queue();
        Session session = session();
        // It has nothing of the group unless it is given it.
        MessageConsumer first = session.createConsumer(withOptions(queue, "consumer.priority=1"));
        sendGrouped(session, queue, 0, 1);
        takes(first, 0, 1);
        MessageConsumer second =
                session().createConsumer(withOptions(queue, "consumer.priority=2"));
        sendGrouped(session, queue, 1, 2);
        takes(first, 1, 2);
        sendGrouped(session, queue, 2, 1);
        check(takes(second, 2, 3).getBooleanProperty("JMSXGroupFirstForConsumer"),
                "not the first of its consumer");
        sendGrouped(session, queue, 3, 2);
        takes(second, 3, 4);
    }

    @Rule
    void groupOfASelectingOwnerWaitsForNobodyElse() throws Exception {
        Queue queue = queue();
        Session session = session();
        MessageConsumer owner =
                session.createConsumer(withOptions(queue, "consumer.priority=5"), "JMSPriority < 9");
        sendGrouped(session, queue, 0, 0);
        takes(owner, 0, 1);
        MessageConsumer other = session().createConsumer(queue);
        Message message = session.createTextMessage("1");
        message.setStringProperty("JMSXGroupID", "g");
        MessageProducer producer = session.createProducer(queue);
        producer.setPriority(9);
        producer.send(message);
        sendGrouped(session, queue, 2, 0);
        takes(owner, 2, 3);
        // The owner does not want it, and it is not for others while the owner is there.
        owner.close();
        takes(other, 1, 2);
    }

    @Rule
    void exclusiveConsumerTakesOverFromAnEqualOneWithTheHighestPriorityOnly() throws Exception {
        for (int priority : new int[] {126, 127}) {
            Queue queue = queue();
            String options = "consumer.exclusive=true&consumer.priority=" + priority;
            MessageConsumer first = session().createConsumer(withOptions(queue, options));
            MessageConsumer second = session().createConsumer(withOptions(queue, options));
            send(session(), queue, 0, 5);
            takes(priority == 127 ? second : first, 0, 5);
        }
    }

    @Rule
    void withoutExclusiveConsumerTheOthersShareAgain() throws Exception {
        Queue queue = queue();
        Session session = session();
        MessageConsumer one = session().createConsumer(queue);
        MessageConsumer exclusive =
                session().createConsumer(withOptions(queue, "consumer.exclusive=true"));
        MessageConsumer two = session().createConsumer(queue);
        send(session, queue, 0, 4);
        takes(exclusive, 0, 4);
        exclusive.close();
        settled();
        send(session, queue, 4, 8);
        List<String> texts = take(one, 2);
        texts.addAll(take(two, 2));
        texts.sort(null);
        equal(List.of("4", "5", "6", "7"), texts, "texts");
    }

    @Rule
    void noLocalConsumerLeavesItsConnectionsMessagesToOthers() throws Exception {
        Queue queue = queue();
        ActiveMQConnection connection = connect();
        Session session = auto(connection);
        MessageConsumer deaf =
                session.createConsumer(withOptions(queue, "consumer.noLocal=true"));
        send(session, queue, 0, 2);
        send(session(), queue, 2, 4);
        takes(deaf, 2, 4);
        takes(session().createConsumer(queue), 0, 2);
    }

    @Rule
    void consumerWithSelectorOvertakesWhatItDoesNotWant() throws Exception {
        Queue queue = queue();
        Session session = session();
        MessageProducer producer = session.createProducer(queue);
        for (int i = 0; i < 6; i++) {
            Message message = session.createTextMessage(Integer.toString(i));
            message.setIntProperty("n", i);
            producer.send(message);
        }
        takes(session().createConsumer(queue, "n > 3"), 4, 6);
        takes(session().createConsumer(queue), 0, 4);
    }

    @Rule
    void oneWindowServesSeveralQueues() throws Exception {
        Queue one = queue();
        Queue two = queue();
        Session session = auto(connect("jms.useAsyncSend=true"));
        MessageConsumer consumer = session().createConsumer(new ActiveMQQueue(
                one.getQueueName() + "," + two.getQueueName() + "?consumer.prefetchSize=1"));
        for (int i = 0; i < 100; i++) {
            send(session, one, 0, 1);
            send(session, two, 0, 1);
            takes(consumer, 0, 1);
            takes(consumer, 0, 1);
        }
    }

    /** With usePrefetchExtension="false" only the commit makes room. The original tells nobody but its own queue. */
    @Rule(beyondOriginal = true)
    void commitMakesRoomForTheOtherQueues() throws Exception {
        Queue one = queue("TIGHT");
        Queue two = queue("TIGHT");
        Session session = transacted(connect());
        MessageConsumer consumer = session.createConsumer(new ActiveMQQueue(
                one.getQueueName() + "," + two.getQueueName() + "?consumer.prefetchSize=1"));
        send(session(), one, 0, 20);
        send(session(), two, 0, 20);
        for (int i = 0; i < 40; i++) {
            next(consumer);
            session.commit();
        }
        isEmpty(one);
        isEmpty(two);
    }

    /** With useConsumerPriority="false" the priority decides between exclusive ones all the same. */
    @Rule
    void exclusiveConsumerOfHigherPriorityTakesOverWherePrioritiesAreIgnored() throws Exception {
        Queue queue = queue("EQUAL");
        Session session = session();
        MessageConsumer one = session().createConsumer(withOptions(queue, "consumer.exclusive=true"));
        send(session, queue, 0, 2);
        takes(one, 0, 2);
        MessageConsumer two = session().createConsumer(
                withOptions(queue, "consumer.exclusive=true&consumer.priority=5"));
        send(session, queue, 2, 4);
        takes(two, 2, 4);
    }
}

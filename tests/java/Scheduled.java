import static org.apache.activemq.ScheduledMessage.AMQ_SCHEDULED_CRON;
import static org.apache.activemq.ScheduledMessage.AMQ_SCHEDULED_DELAY;
import static org.apache.activemq.ScheduledMessage.AMQ_SCHEDULED_PERIOD;
import static org.apache.activemq.ScheduledMessage.AMQ_SCHEDULED_REPEAT;
import static org.apache.activemq.ScheduledMessage.AMQ_SCHEDULER_ACTION;
import static org.apache.activemq.ScheduledMessage.AMQ_SCHEDULER_ACTION_BROWSE;
import static org.apache.activemq.ScheduledMessage.AMQ_SCHEDULER_ACTION_END_TIME;
import static org.apache.activemq.ScheduledMessage.AMQ_SCHEDULER_ACTION_REMOVE;
import static org.apache.activemq.ScheduledMessage.AMQ_SCHEDULER_ACTION_REMOVEALL;
import static org.apache.activemq.ScheduledMessage.AMQ_SCHEDULER_ACTION_START_TIME;
import static org.apache.activemq.ScheduledMessage.AMQ_SCHEDULER_MANAGEMENT_DESTINATION;

import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import javax.jms.DeliveryMode;
import javax.jms.Destination;
import javax.jms.JMSException;
import javax.jms.Message;
import javax.jms.MessageConsumer;
import javax.jms.MessageProducer;
import javax.jms.Queue;
import javax.jms.Session;
import javax.jms.Topic;
import org.apache.activemq.command.ActiveMQMessage;
import org.apache.activemq.command.ActiveMQQueue;
import org.apache.activemq.command.ActiveMQTopic;

/** Scheduled delivery: AMQ_SCHEDULED_* properties and the topic that manages jobs. */
final class Scheduled extends Rules {
    private static final String JOB_ID = "scheduledJobId";
    /** Far off: it does not come while a rule runs. */
    private static final long LATER_MS = 3_600_000;

    private static Message delayed(Session session, String text, long delayMs) throws JMSException {
        Message message = session.createTextMessage(text);
        message.setLongProperty(AMQ_SCHEDULED_DELAY, delayMs);
        return message;
    }

    private static void sendDelayed(Session session, Destination to, String text, long delayMs)
            throws JMSException {
        MessageProducer producer = session.createProducer(to);
        producer.send(delayed(session, text, delayMs));
        producer.close();
    }

    private static Topic management() {
        return new ActiveMQTopic(AMQ_SCHEDULER_MANAGEMENT_DESTINATION);
    }

    private static Message request(Session session, String action) throws JMSException {
        Message message = session.createMessage();
        message.setStringProperty(AMQ_SCHEDULER_ACTION, action);
        return message;
    }

    /** The jobs for this destination, as a client that browses gets them. */
    private List<Message> jobs(Destination destination) throws Exception {
        return jobs(destination, 0, Long.MAX_VALUE);
    }

    private List<Message> jobs(Destination destination, long fromMs, long toMs) throws Exception {
        Session session = session();
        Queue replies = session.createTemporaryQueue();
        MessageConsumer consumer = session.createConsumer(replies);
        Message browse = request(session, AMQ_SCHEDULER_ACTION_BROWSE);
        browse.setLongProperty(AMQ_SCHEDULER_ACTION_START_TIME, fromMs);
        browse.setLongProperty(AMQ_SCHEDULER_ACTION_END_TIME, toMs);
        browse.setJMSReplyTo(replies);
        session.createProducer(management()).send(browse);
        // The answers are in the queue when the send is answered; this comes behind them.
        sendText(session, replies, "end");
        List<Message> found = new ArrayList<>();
        while (true) {
            ActiveMQMessage message = (ActiveMQMessage) next(consumer);
            if (message.getStringProperty(JOB_ID) == null) {
                session.close();
                return found;
            }
            if (destination.equals(message.getOriginalDestination())) {
                found.add(message);
            }
        }
    }

    private static void manage(Session session, Message request) throws JMSException {
        session.createProducer(management()).send(request);
    }

    @Rule
    void aDelayedMessageComesWhenItsDelayIsOver() throws Exception {
        Session session = session();
        Queue queue = queue();
        Message message = delayed(session, "late", 1_500);
        long sent = System.currentTimeMillis();
        session.createProducer(queue).send(message);
        isEmpty(queue);
        sendText(session, queue, "at once");
        MessageConsumer consumer = session.createConsumer(queue);
        equal("at once", nextText(consumer), "what comes first");
        Message late = next(consumer);
        equal("late", text(late), "what comes then");
        check(System.currentTimeMillis() - sent >= 1_500, "it came too early");
        equal(message.getJMSMessageID(), late.getJMSMessageID(), "its id");
        equal(message.getJMSTimestamp(), late.getJMSTimestamp(), "its time");
        flags(late, false, 1);
    }

    @Rule
    void whatIsDeliveredNamesItsJobAndNoSchedule() throws Exception {
        Session session = session();
        Queue queue = queue();
        Message message = delayed(session, "x", 500);
        message.setStringProperty("color", "red");
        session.createProducer(queue).send(message);
        Message got = next(session.createConsumer(queue));
        check(!got.propertyExists(AMQ_SCHEDULED_DELAY), "it still has a delay");
        equal("red", got.getStringProperty("color"), "a property");
        String id = message.getJMSMessageID();
        String producer = id.substring(0, id.lastIndexOf(':') + 1);
        check(got.getStringProperty(JOB_ID).startsWith(producer), "the job's id is another's");
    }

    @Rule
    void aRepeatedMessageComesOnceMoreThanItRepeats() throws Exception {
        Session session = session();
        Queue queue = queue();
        Message message = delayed(session, "again", 500);
        message.setLongProperty(AMQ_SCHEDULED_PERIOD, 500);
        message.setIntProperty(AMQ_SCHEDULED_REPEAT, 2);
        session.createProducer(queue).send(message);
        MessageConsumer consumer = session.createConsumer(queue);
        Set<String> ids = new HashSet<>();
        Set<String> jobs = new HashSet<>();
        for (int i = 0; i < 3; i++) {
            Message got = next(consumer);
            equal("again", text(got), "text of a message");
            check(!got.propertyExists(AMQ_SCHEDULED_REPEAT), "it still repeats");
            ids.add(got.getJMSMessageID());
            jobs.add(got.getStringProperty(JOB_ID));
        }
        equal(3, ids.size(), "number of ids");
        equal(1, jobs.size(), "number of jobs");
        check(!ids.contains(message.getJMSMessageID()), "one has the id that was sent");
        eventually("the job is gone", () -> jobs(queue).isEmpty());
        session.close();
        isEmpty(queue);
    }

    @Rule
    void withoutDelayTheFirstComesAfterAPeriod() throws Exception {
        Session session = session();
        Queue queue = queue();
        Message message = session.createTextMessage("x");
        message.setLongProperty(AMQ_SCHEDULED_PERIOD, 1_500);
        long sent = System.currentTimeMillis();
        session.createProducer(queue).send(message);
        Message got = next(session.createConsumer(queue));
        check(System.currentTimeMillis() - sent >= 1_500, "it came too early");
        equal(message.getJMSMessageID(), got.getJMSMessageID(), "its id");
    }

    @Rule
    void textsOfNumbersAreNumbers() throws Exception {
        Session session = session();
        Queue queue = queue();
        Message message = session.createTextMessage("x");
        message.setStringProperty(AMQ_SCHEDULED_DELAY, "400");
        message.setStringProperty(AMQ_SCHEDULED_PERIOD, "400");
        message.setStringProperty(AMQ_SCHEDULED_REPEAT, "1");
        session.createProducer(queue).send(message);
        MessageConsumer consumer = session.createConsumer(queue);
        next(consumer);
        next(consumer);
    }

    @Rule
    void whatHasAJobIdIsDeliveredAtOnce() throws Exception {
        Session session = session();
        Queue queue = queue();
        Message message = delayed(session, "x", LATER_MS);
        message.setStringProperty(JOB_ID, "ID:some:job");
        session.createProducer(queue).send(message);
        Message got = next(session.createConsumer(queue));
        equal(LATER_MS, got.getLongProperty(AMQ_SCHEDULED_DELAY), "its delay");
    }

    @Rule
    void aRepeatAloneIsAPropertyLikeAnyOther() throws Exception {
        Session session = session();
        Queue queue = queue();
        Message message = session.createTextMessage("x");
        message.setIntProperty(AMQ_SCHEDULED_REPEAT, 5);
        session.createProducer(queue).send(message);
        equal(5, next(session.createConsumer(queue)).getIntProperty(AMQ_SCHEDULED_REPEAT), "it");
    }

    @Rule
    void tooManyRepetitionsAreRefused() throws Exception {
        Session session = session();
        Queue queue = queue();
        Message message = delayed(session, "x", LATER_MS);
        message.setIntProperty(AMQ_SCHEDULED_REPEAT, 1_001);
        fails(javax.jms.MessageFormatException.class, "The scheduled repeat value is too large",
                () -> session.createProducer(queue).send(message));
        equal(0, jobs(queue).size(), "number of jobs");
    }

    @Rule
    void whatIsNoCronEntryIsRefused() throws Exception {
        Session session = session();
        Queue queue = queue();
        for (String entry : new String[] {"* * * *", "a * * * *", "* * * JAN *"}) {
            ActiveMQMessage message = (ActiveMQMessage) session.createTextMessage("x");
            // The usual way the client would refuse it.
            message.setProperty(AMQ_SCHEDULED_CRON, entry);
            boolean taken = true;
            try {
                session.createProducer(queue).send(message);
            } catch (Exception expected) {
                // Of one class here, of several in the original.
                taken = false;
            }
            check(!taken, entry + " was taken");
        }
        equal(0, jobs(queue).size(), "number of jobs");
    }

    @Rule(seconds = 100)
    void aCronEntryFiresWhenTheMinuteBegins() throws Exception {
        Session session = session();
        Queue queue = queue();
        Message message = session.createTextMessage("x");
        message.setStringProperty(AMQ_SCHEDULED_CRON, "* * * * *");
        long sent = System.currentTimeMillis();
        session.createProducer(queue).send(message);
        Message got = session.createConsumer(queue).receive(75_000);
        check(got != null, "nothing came");
        check(System.currentTimeMillis() / 60_000 > sent / 60_000, "it came in the same minute");
        check(!message.getJMSMessageID().equals(got.getJMSMessageID()), "it has the id that was sent");
        check(!got.propertyExists(AMQ_SCHEDULED_CRON), "it still has the entry");
        goesOnUntilRemoved(session, queue, got.getStringProperty(JOB_ID));
    }

    /** One job for the queue is left, and can be removed. */
    private void goesOnUntilRemoved(Session session, Queue queue, String id) throws Exception {
        eventually("the job waits again", () -> jobs(queue).size() == 1);
        String waiting = jobs(queue).get(0).getStringProperty(JOB_ID);
        check(id == null || id.equals(waiting), "another job waits");
        Message remove = request(session, AMQ_SCHEDULER_ACTION_REMOVE);
        remove.setStringProperty(JOB_ID, waiting);
        manage(session, remove);
        equal(0, jobs(queue).size(), "number of jobs");
    }

    /** The original's scheduler waits for itself then, and delivers nothing any more. */
    @Rule(seconds = 100, beyondOriginal = true)
    void eachTimeOfACronEntryBeginsRepetitions() throws Exception {
        Session session = session();
        Queue queue = queue();
        Message message = session.createTextMessage("x");
        message.setStringProperty(AMQ_SCHEDULED_CRON, "* * * * *");
        message.setIntProperty(AMQ_SCHEDULED_REPEAT, 1);
        message.setLongProperty(AMQ_SCHEDULED_PERIOD, 500);
        session.createProducer(queue).send(message);
        MessageConsumer consumer = session.createConsumer(queue);
        Message first = consumer.receive(75_000);
        check(first != null, "nothing came");
        Message second = next(consumer);
        equal(first.getStringProperty(JOB_ID), second.getStringProperty(JOB_ID), "the job");
        check(!first.getJMSMessageID().equals(second.getJMSMessageID()), "they have one id");
        goesOnUntilRemoved(session, queue, null);
    }

    @Rule
    void whatIsSentInATransactionIsScheduledAtItsCommit() throws Exception {
        Session session = transacted(connect());
        Queue queue = queue();
        sendDelayed(session, queue, "dropped", 500);
        session.rollback();
        sendDelayed(session, queue, "kept", 500);
        equal(0, jobs(queue).size(), "number of jobs before the commit");
        session.commit();
        equal("kept", nextText(session().createConsumer(queue)), "what comes");
    }

    @Rule
    void theTimeToLiveBeginsWithTheDelivery() throws Exception {
        Session session = session();
        Queue queue = queue();
        Message message = delayed(session, "x", 1_500);
        session.createProducer(queue).send(message, DeliveryMode.PERSISTENT, 4, 60_000);
        Message got = next(session.createConsumer(queue));
        check(got.getJMSTimestamp() >= message.getJMSTimestamp() + 1_500, "its time is that of the send");
        equal(60_000L, got.getJMSExpiration() - got.getJMSTimestamp(), "its time to live");
    }

    @Rule
    void headersAndDeliveryModeAreKept() throws Exception {
        Session session = session();
        Queue queue = queue();
        Queue replies = queue();
        Message message = delayed(session, "x", 500);
        message.setJMSReplyTo(replies);
        message.setJMSCorrelationID("c");
        message.setJMSType("t");
        session.createProducer(queue).send(message, DeliveryMode.NON_PERSISTENT, 7, 0);
        Message got = next(session.createConsumer(queue));
        equal(DeliveryMode.NON_PERSISTENT, got.getJMSDeliveryMode(), "its delivery mode");
        equal(7, got.getJMSPriority(), "its priority");
        equal(replies, got.getJMSReplyTo(), "its JMSReplyTo");
        equal("c", got.getJMSCorrelationID(), "its correlation id");
        equal("t", got.getJMSType(), "its type");
        equal(queue, got.getJMSDestination(), "its destination");
    }

    @Rule
    void topicsGetWhatIsDueWhenItIs() throws Exception {
        Session session = session();
        Topic topic = topic();
        sendDelayed(session, topic, "x", 1_000);
        // It subscribes after the send.
        equal("x", nextText(session.createConsumer(topic)), "what comes");
    }

    @Rule
    void eachPartOfACompositeNameHasAJob() throws Exception {
        Session session = session();
        Queue a = queue();
        Queue b = queue();
        Destination both = new ActiveMQQueue(nameOf(a) + "," + nameOf(b));
        sendDelayed(session, both, "x", 1_000);
        equal(1, jobs(a).size() + jobs(b).size() - 1, "number of jobs but one");
        equal("x", nextText(session.createConsumer(a)), "what comes to the first");
        equal("x", nextText(session.createConsumer(b)), "what comes to the second");
    }

    @Rule
    void queuesOfVirtualTopicsGetWhatIsDue() throws Exception {
        Session session = session();
        String topic = unique("VirtualTopic.LATER");
        MessageConsumer consumer =
                session.createConsumer(new ActiveMQQueue("Consumer.A." + topic));
        sendDelayed(session, new ActiveMQTopic(topic), "x", 500);
        equal("x", nextText(consumer), "what comes");
    }

    @Rule
    void browsingShowsTheJobsThatWait() throws Exception {
        Session session = session();
        Queue queue = queue();
        long before = System.currentTimeMillis();
        sendDelayed(session, queue, "in an hour", LATER_MS);
        sendDelayed(session, queue, "in two", 2 * LATER_MS);
        List<Message> all = jobs(queue);
        equal(2, all.size(), "number of jobs");
        ActiveMQMessage first = (ActiveMQMessage) all.get(0);
        equal("in an hour", text(first), "text of the first");
        equal(LATER_MS, first.getLongProperty(AMQ_SCHEDULED_DELAY), "its delay");
        equal("Advisory", first.getJMSType(), "its type");
        equal(DeliveryMode.NON_PERSISTENT, first.getJMSDeliveryMode(), "its delivery mode");
        List<Message> some = jobs(queue, before + LATER_MS + 60_000, before + 3 * LATER_MS);
        equal(1, some.size(), "number of jobs in a time");
        equal("in two", text(some.get(0)), "text of that");
        Message removeAll = request(session, AMQ_SCHEDULER_ACTION_REMOVEALL);
        removeAll.setLongProperty(AMQ_SCHEDULER_ACTION_START_TIME, before + LATER_MS + 60_000);
        removeAll.setLongProperty(AMQ_SCHEDULER_ACTION_END_TIME, before + 3 * LATER_MS);
        manage(session, removeAll);
        List<Message> left = jobs(queue);
        equal(1, left.size(), "number of jobs that are left");
        equal("in an hour", text(left.get(0)), "text of that");
        manage(session, request(session, AMQ_SCHEDULER_ACTION_REMOVEALL));
        equal(0, jobs(queue).size(), "number of jobs in the end");
    }

    @Rule
    void aJobThatIsRemovedDeliversNothing() throws Exception {
        Session session = session();
        Queue queue = queue();
        sendDelayed(session, queue, "removed", 2_000);
        sendDelayed(session, queue, "kept", 2_100);
        for (Message job : jobs(queue)) {
            if (text(job).equals("removed")) {
                Message remove = request(session, AMQ_SCHEDULER_ACTION_REMOVE);
                remove.setStringProperty(JOB_ID, job.getStringProperty(JOB_ID));
                manage(session, remove);
            }
        }
        Message unknown = request(session, AMQ_SCHEDULER_ACTION_REMOVE);
        unknown.setStringProperty(JOB_ID, "ID:nobody:1:1:1:1");
        manage(session, unknown);
        equal("kept", nextText(session.createConsumer(queue)), "what comes");
    }

    @Rule
    void requestsReachNoSubscriber() throws Exception {
        Session session = session();
        MessageConsumer consumer = session.createConsumer(management());
        MessageProducer producer = session.createProducer(management());
        producer.send(session.createTextMessage("x"));
        producer.send(request(session, "DANCE"));
        equal(null, consumer.receive(500), "what a subscriber gets");
    }
}

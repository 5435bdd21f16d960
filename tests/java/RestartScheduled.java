import static org.apache.activemq.ScheduledMessage.AMQ_SCHEDULED_DELAY;
import static org.apache.activemq.ScheduledMessage.AMQ_SCHEDULED_PERIOD;
import static org.apache.activemq.ScheduledMessage.AMQ_SCHEDULED_REPEAT;

import java.util.HashSet;
import java.util.Set;
import javax.jms.Message;
import javax.jms.MessageConsumer;
import javax.jms.Queue;
import javax.jms.Session;

/** What scheduled messages are after the broker was ended and started again. */
final class RestartScheduled extends Rules {
    private static Message scheduled(Session session, String text, long delayMs) throws Exception {
        Message message = session.createTextMessage(text);
        message.setLongProperty(AMQ_SCHEDULED_DELAY, delayMs);
        return message;
    }

    @Rule(seconds = 60)
    void jobsSurviveAndComeAtTheirTimeOrAtTheStart() throws Exception {
        Queue queue = queue();
        Session session = session();
        session.createProducer(queue).send(scheduled(session, "missed or not", 1));
        session.createProducer(queue).send(scheduled(session, "later", 8_000));
        restart.run();
        MessageConsumer consumer = session().createConsumer(queue);
        equal("missed or not", nextText(consumer), "what comes first");
        equal("later", nextText(consumer), "what comes then");
        isEmpty(queue);
    }

    @Rule(seconds = 60)
    void eachRepetitionComesOnceThoughTheBrokerEnds() throws Exception {
        Queue queue = queue();
        Session session = session();
        Message message = scheduled(session, "again", 500);
        message.setLongProperty(AMQ_SCHEDULED_PERIOD, 500);
        message.setIntProperty(AMQ_SCHEDULED_REPEAT, 5);
        session.createProducer(queue).send(message);
        restart.run();
        MessageConsumer consumer = session().createConsumer(queue);
        Set<String> ids = new HashSet<>();
        for (int i = 0; i < 6; i++) {
            ids.add(next(consumer).getJMSMessageID());
        }
        equal(6, ids.size(), "number of ids");
        equal(null, consumer.receive(1_500), "what comes beyond");
    }

    @Rule(seconds = 60)
    void onlyWhatWasCommittedIsScheduled() throws Exception {
        Queue queue = queue();
        Session session = transacted(connect());
        session.createProducer(queue).send(scheduled(session, "committed", 2_000));
        session.commit();
        session.createProducer(queue).send(scheduled(session, "lost", 2_000));
        restart.run();
        MessageConsumer consumer = session().createConsumer(queue);
        equal("committed", nextText(consumer), "what comes");
        equal(null, consumer.receive(1_000), "what comes beyond");
    }
}

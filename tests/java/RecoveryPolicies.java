import java.util.ArrayList;
import java.util.List;
import javax.jms.JMSException;
import javax.jms.MessageConsumer;
import javax.jms.Session;
import javax.jms.Topic;
import org.apache.activemq.command.ActiveMQTopic;

/** What retroactive consumers get of the past: each subscriptionRecoveryPolicy. */
final class RecoveryPolicies extends Rules {
    private MessageConsumer retroactive(Topic topic) throws JMSException {
        return session().createConsumer(withOptions(topic, "consumer.retroactive=true"));
    }

    private static Topic below(Topic base, String name) {
        return new ActiveMQTopic(nameOf(base) + "." + name);
    }

    /** Sends 20 messages, then one more when a consumer has come; it gets the last so many of the 20. */
    private void keeps(String policy, int count) throws Exception {
        Topic topic = topic(policy);
        Session session = session();
        send(session, topic, 0, 20);
        MessageConsumer late = retroactive(topic);
        MessageConsumer plain = session().createConsumer(topic);
        send(session, topic, 20, 21);
        takes(late, 20 - count, 21);
        takes(plain, 20, 21);
    }

    @Rule
    void nothingIsKeptWithoutAPolicy() throws Exception {
        keeps("TEST", 0);
    }

    @Rule
    void nothingIsKeptIfThePolicySaysSo() throws Exception {
        keeps("FORGETFUL", 0);
    }

    @Rule
    void fixedCountKeepsTheLastMessages() throws Exception {
        keeps("RETRO", 5);
    }

    /** Each message counts 1024 bytes and what it says. */
    @Rule
    void fixedSizeKeepsTheLastMessagesThatFit() throws Exception {
        keeps("SIZED", 9);
    }

    @Rule
    void timedKeepsWhatIsNotTooOld() throws Exception {
        keeps("TIMED", 20);
    }

    @Rule
    void lastImageKeepsTheLastMessage() throws Exception {
        keeps("IMAGE", 1);
    }

    @Rule
    void wildcardConsumerGetsThePastOfEachTopic() throws Exception {
        for (String policy : List.of("RETRO", "IMAGE")) {
            Topic base = topic(policy);
            Session session = session();
            send(session, below(base, "a"), 0, 10);
            send(session, below(base, "b"), 10, 20);
            List<String> kept = policy.equals("IMAGE")
                    ? List.of("19", "9")
                    : List.of("15", "16", "17", "18", "19", "5", "6", "7", "8", "9");
            MessageConsumer late = retroactive(below(base, "*"));
            List<String> past = new ArrayList<>(take(late, kept.size()));
            past.sort(null);
            equal(kept, past, policy);
            send(session, below(base, "c"), 20, 21);
            takes(late, 20, 21);
        }
    }

    @Rule
    void selectorAppliesToThePast() throws Exception {
        Topic topic = topic("RETRO");
        Session session = session();
        for (int i = 0; i < 6; i++) {
            var message = session.createTextMessage(Integer.toString(i / 2));
            message.setIntProperty("n", i % 2);
            session.createProducer(topic).send(message);
        }
        MessageConsumer late = session().createConsumer(
                withOptions(topic, "consumer.retroactive=true"), "n = 1");
        takes(late, 0, 3);
    }
}

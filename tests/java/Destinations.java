import java.util.ArrayList;
import java.util.List;
import javax.jms.IllegalStateException;
import javax.jms.Message;
import javax.jms.MessageConsumer;
import javax.jms.MessageProducer;
import javax.jms.Queue;
import javax.jms.Session;
import org.apache.activemq.command.ActiveMQMessage;

final class Destinations extends Rules {
    @Rule
    void starMatchesOneLevelOfQueueNames() throws Exception {
        String base = unique("TEST");
        Session session = session();
        for (String name : new String[] {"", ".a", ".b", ".a.c"}) {
            sendText(session, session.createQueue(base + name), "present" + name);
        }
        MessageConsumer consumer = session.createConsumer(session.createQueue(base + ".*"));
        List<String> got = take(consumer, 2);
        sendText(session, session.createQueue(base + ".new"), "future");
        got.add(nextText(consumer));
        got.sort(null);
        equal(List.of("future", "present.a", "present.b"), got, "of *");
        equal(null, consumer.receiveNoWait(), "more");
        equal(1, drained(session.createQueue(base)).size(), "left in the parent");
        equal(1, drained(session.createQueue(base + ".a.c")).size(), "left in the grandchild");
    }

    /** maxDestinations counts what its policy entry applies to. */
    @Rule
    void policyLimitsTheNumberOfItsQueues() throws Exception {
        Session session = session();
        for (String name : new String[] {"PAIR.a", "PAIR.b", "PAIR.a"}) {
            sendText(session, session.createQueue(name), "allowed");
        }
        Queue third = session.createQueue("PAIR.c");
        fails(IllegalStateException.class,
                "The maxmimum number of destinations allowed (2) for the policy queue://PAIR.> has already been reached.",
                () -> session.createProducer(third));
    }

    @Rule
    void angleBracketMatchesAllLevelsOfQueueNames() throws Exception {
        String base = unique("TEST");
        Session session = session();
        for (String name : new String[] {"", ".a", ".b.c", ".b.c.d"}) {
            sendText(session, session.createQueue(base + name), "present" + name);
        }
        MessageConsumer consumer = session.createConsumer(session.createQueue(base + ".>"));
        List<String> got = take(consumer, 4);
        got.sort(null);
        equal(List.of("present", "present.a", "present.b.c", "present.b.c.d"), got, "of >");
    }

    @Rule
    void starInTheMiddleMatchesOneLevel() throws Exception {
        String base = unique("TEST");
        Session session = session();
        MessageConsumer consumer = session.createConsumer(session.createQueue(base + ".*.x"));
        sendText(session, session.createQueue(base + ".a.y"), "no");
        sendText(session, session.createQueue(base + ".a.b.x"), "no");
        sendText(session, session.createQueue(base + ".a.x"), "a");
        sendText(session, session.createQueue(base + ".b.x"), "b");
        equal(List.of("a", "b"), take(consumer, 2), "of *.x");
    }

    @Rule
    void wildcardConsumerSeesTheConcreteDestination() throws Exception {
        String base = unique("TEST");
        Session session = session();
        Queue queue = session.createQueue(base + ".a");
        MessageConsumer consumer = session.createConsumer(session.createQueue(base + ".*"));
        send(session, queue, 0, 1);
        equal(queue, next(consumer).getJMSDestination(), "JMSDestination");
    }

    @Rule
    void wildcardConsumerAcknowledgesAcrossQueues() throws Exception {
        String base = unique("TEST");
        Session session = client(connect());
        MessageConsumer consumer = session.createConsumer(session.createQueue(base + ".>"));
        Message last = null;
        for (int i = 0; i < 10; i++) {
            sendText(session, session.createQueue(base + ".q" + i % 3), Integer.toString(i));
            last = takes(consumer, i, i + 1);
        }
        last.acknowledge();
        session.close();
        for (int i = 0; i < 3; i++) {
            isEmpty(session().createQueue(base + ".q" + i));
        }
    }

    @Rule
    void compositeSendReachesEveryPart() throws Exception {
        Queue one = queue();
        Queue two = queue();
        var topic = topic();
        Session session = session();
        MessageConsumer subscriber = session.createConsumer(topic);
        String parts = nameOf(one) + "," + nameOf(two) + ",topic://" + nameOf(topic);
        Queue composite = session.createQueue(parts);
        send(session, composite, 0, 3);
        takes(subscriber, 0, 3);
        for (Queue queue : new Queue[] {one, two}) {
            MessageConsumer consumer = session.createConsumer(queue);
            Message last = takes(consumer, 0, 3);
            equal(queue, ((ActiveMQMessage) last).getDestination(), "destination");
            isEmpty(queue);
        }
    }

    @Rule
    void compositeSendIsTransacted() throws Exception {
        Queue one = queue();
        Queue two = queue();
        Session session = transacted(connect());
        Queue composite = session.createQueue(nameOf(one) + "," + nameOf(two));
        send(session, composite, 0, 2);
        session.rollback();
        send(session, composite, 2, 4);
        isEmpty(one);
        session.commit();
        takes(session().createConsumer(one), 2, 4);
        takes(session().createConsumer(two), 2, 4);
    }

    @Rule
    void compositeConsumerIsFedByEveryPart() throws Exception {
        Queue one = queue();
        Queue two = queue();
        Session session = session();
        send(session, one, 0, 2);
        MessageConsumer consumer =
                session.createConsumer(session.createQueue(nameOf(one) + "," + nameOf(two)));
        takes(consumer, 0, 2);
        for (int i = 2; i < 10; i++) {
            send(session, i % 2 == 0 ? one : two, i, i + 1);
            takes(consumer, i, i + 1);
        }
        session.close();
        isEmpty(one);
        isEmpty(two);
    }

    @Rule
    void anonymousProducerSendsAnywhere() throws Exception {
        Session session = session();
        MessageProducer producer = session.createProducer(null);
        List<Queue> queues = new ArrayList<>();
        for (int i = 0; i < 20; i++) {
            queues.add(queue());
            producer.send(queues.get(i), session.createTextMessage(Integer.toString(i)));
        }
        for (int i = 0; i < 20; i++) {
            takes(session.createConsumer(queues.get(i)), i, i + 1);
        }
    }

    @Rule
    void namesKeepCaseAndUnusualCharacters() throws Exception {
        Session session = session();
        for (String name : new String[] {"a b", "\u00fcml\u00e4ut", "Case", "case", "a/b", "a:b",
                "a\"b", "a-b_c#d%20"}) {
            Queue queue = session.createQueue(unique("TEST") + "." + name);
            sendText(session, queue, name);
            Message got = next(session.createConsumer(queue));
            equal(name, text(got), "text");
            equal(queue, got.getJMSDestination(), "JMSDestination");
        }
    }

    @Rule
    void queueAndTopicOfOneNameAreApart() throws Exception {
        String name = unique("TEST");
        Session session = session();
        MessageConsumer subscriber = session.createConsumer(session.createTopic(name));
        MessageConsumer receiver = session.createConsumer(session.createQueue(name));
        sendText(session, session.createTopic(name), "topic");
        sendText(session, session.createQueue(name), "queue");
        equal("topic", nextText(subscriber), "of the topic");
        equal("queue", nextText(receiver), "of the queue");
        equal(null, subscriber.receiveNoWait(), "more");
        isEmpty(session.createQueue(name));
    }

    @Rule
    void optionsOfTheNameAreNotPartOfIt() throws Exception {
        Queue queue = queue();
        Session session = session();
        MessageConsumer consumer =
                session.createConsumer(withOptions(queue, "consumer.prefetchSize=1"));
        send(session, queue, 0, 5);
        takes(session().createConsumer(queue), 1, 5);
        takes(consumer, 0, 1);
    }
}

import java.util.ArrayList;
import java.util.List;
import javax.jms.DeliveryMode;
import javax.jms.MessageConsumer;
import javax.jms.MessageProducer;
import javax.jms.Queue;
import javax.jms.Session;
import javax.jms.TextMessage;
import javax.jms.Topic;

final class Scale extends Rules {
    @Rule(seconds = 90)
    void fiveHundredConnectionsAllReceive() throws Exception {
        Topic topic = topic();
        Queue queue = queue();
        List<Session> sessions = new ArrayList<>();
        List<MessageConsumer> subscribers = new ArrayList<>();
        for (int i = 0; i < 500; i++) {
            Session session = auto(connect("jms.watchTopicAdvisories=" + (i % 2 == 0)));
            sessions.add(session);
            subscribers.add(session.createConsumer(topic));
        }
        send(session(), topic, 0, 5);
        for (MessageConsumer subscriber : subscribers) {
            takes(subscriber, 0, 5);
        }
        for (int i = 0; i < 500; i++) {
            send(sessions.get(i), queue, i, i + 1);
        }
        takes(session().createConsumer(queue), 0, 500);
    }

    @Rule(seconds = 60)
    void thousandQueuesKeepTheirOwn() throws Exception {
        String base = unique("TEST");
        Session session = auto(connect("jms.alwaysSyncSend=true"));
        MessageProducer producer = session.createProducer(null);
        producer.setDeliveryMode(DeliveryMode.NON_PERSISTENT);
        for (int i = 0; i < 1000; i++) {
            producer.send(session.createQueue(base + ".q" + i),
                    session.createTextMessage(Integer.toString(i)));
        }
        for (int i = 0; i < 1000; i += 100) {
            equal(Integer.toString(i), text(drained(session.createQueue(base + ".q" + i)).get(0)),
                    "text");
        }
        MessageConsumer all = session.createConsumer(session.createQueue(base + ".>"));
        boolean[] seen = new boolean[1000];
        for (int i = 0; i < 990; i++) {
            int number = Integer.parseInt(nextText(all));
            check(!seen[number] && number % 100 != 0, "unexpected " + number);
            seen[number] = true;
        }
    }

    @Rule(seconds = 60)
    void hundredSessionsConsumeAtOnce() throws Exception {
        Queue queue = queue();
        var connection = connect("jms.prefetchPolicy.queuePrefetch=10");
        List<MessageConsumer> consumers = new ArrayList<>();
        for (int i = 0; i < 100; i++) {
            consumers.add(auto(connection).createConsumer(queue));
        }
        send(auto(connect("jms.useAsyncSend=true")), queue, 0, 1000);
        boolean[] seen = new boolean[1000];
        for (MessageConsumer consumer : consumers) {
            for (int i = 0; i < 10; i++) {
                int number = Integer.parseInt(nextText(consumer));
                check(!seen[number], "twice: " + number);
                seen[number] = true;
            }
        }
    }

    @Rule(seconds = 60)
    void twentyThousandMessagesPassInOrder() throws Exception {
        Queue queue = queue();
        MessageConsumer consumer = session().createConsumer(queue);
        Session session = session();
        var sender = meanwhile(() -> {
            MessageProducer producer = session.createProducer(queue);
            producer.setDeliveryMode(DeliveryMode.NON_PERSISTENT);
            TextMessage message = session.createTextMessage();
            for (int i = 0; i < 20_000; i++) {
                message.setText(Integer.toString(i));
                producer.send(message);
            }
        });
        takes(consumer, 0, 20_000);
        finishes(sender);
    }
}

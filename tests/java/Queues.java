import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import javax.jms.Connection;
import javax.jms.DeliveryMode;
import javax.jms.JMSException;
import javax.jms.Message;
import javax.jms.MessageConsumer;
import javax.jms.MessageProducer;
import javax.jms.Queue;
import javax.jms.Session;
import org.apache.activemq.ActiveMQConnection;
import org.apache.activemq.command.ActiveMQDestination;
import org.apache.activemq.command.ActiveMQQueue;

final class Queues extends Rules {
    @Rule
    void fifoPerProducer() throws Exception {
        Queue queue = queue();
        List<CompletableFuture<Void>> senders = new ArrayList<>();
        for (int p = 0; p < 3; p++) {
            String prefix = p + ":";
            Session session = auto(connect("jms.useAsyncSend=true"));
            senders.add(meanwhile(() -> {
                MessageProducer producer = session.createProducer(queue);
                for (int i = 0; i < 200; i++) {
                    producer.send(session.createTextMessage(prefix + i));
                }
            }));
        }
        MessageConsumer consumer = session().createConsumer(queue);
        Map<String, Integer> expected = new HashMap<>();
        for (int i = 0; i < 600; i++) {
            String[] parts = nextText(consumer).split(":");
            int number = Integer.parseInt(parts[1]);
            equal(expected.getOrDefault(parts[0], 0), number,
                    "next message of producer " + parts[0]);
            expected.put(parts[0], number + 1);
        }
        for (CompletableFuture<Void> sender : senders) {
            finishes(sender);
        }
    }

    @Rule
    void persistentAndTransientKeepTheirOrder() throws Exception {
        for (int mode : new int[] {DeliveryMode.PERSISTENT, DeliveryMode.NON_PERSISTENT}) {
            Queue queue = queue();
            Session session = session();
            MessageProducer producer = session.createProducer(queue);
            producer.setDeliveryMode(mode);
            for (int i = 0; i < 500; i++) {
                producer.send(session.createTextMessage(Integer.toString(i)));
            }
            takes(session.createConsumer(queue), 0, 500);
        }
    }

    @Rule
    void equalConsumersTakeTurnsWithPrefetch1() throws Exception {
        takeTurns(1);
    }

    @Rule
    void equalConsumersTakeTurnsWithPrefetch1000() throws Exception {
        takeTurns(1000);
    }

    private void takeTurns(int prefetch) throws JMSException {
        Queue queue = queue();
        ActiveMQConnection connection = connect("jms.prefetchPolicy.queuePrefetch=" + prefetch);
        MessageConsumer first = auto(connection).createConsumer(queue);
        MessageConsumer second = auto(connection).createConsumer(queue);
        send(auto(connection), queue, 0, 20);
        for (int i = 0; i < 20; i += 2) {
            takes(first, i, i + 1);
            takes(second, i + 1, i + 2);
        }
    }

    @Rule
    void consumerOfHigherPriorityIsFilledFirst() throws Exception {
        Queue queue = queue();
        ActiveMQConnection connection = connect("jms.prefetchPolicy.queuePrefetch=2");
        MessageConsumer low = auto(connection).createConsumer(queue);
        MessageConsumer high =
                auto(connection).createConsumer(withOptions(queue, "consumer.priority=10"));
        send(auto(connection), queue, 0, 4);
        takes(low, 2, 4);
        takes(high, 0, 2);
        send(auto(connection), queue, 4, 6);
        takes(high, 4, 6);
    }

    @Rule
    void prefetchLimitLeavesTheRestToOthers() throws Exception {
        Queue queue = queue();
        ActiveMQConnection connection = connect("jms.prefetchPolicy.queuePrefetch=5");
        MessageConsumer first = client(connection).createConsumer(queue);
        send(auto(connection), queue, 0, 10);
        MessageConsumer second = client(connection).createConsumer(queue);
        takes(second, 5, 10);
        Message last = takes(first, 0, 5);
        send(auto(connection), queue, 10, 11);
        last.acknowledge();
        takes(first, 10, 11);
    }

    @Rule
    void consumerCloseReturnsUnackedInOrder() throws Exception {
        Queue queue = queue();
        ActiveMQConnection connection = connect();
        Session session = client(connection);
        send(session, queue, 0, 10);
        MessageConsumer consumer = session.createConsumer(queue);
        takesFlagged(consumer, 0, 3, false, 1);
        consumer.close();
        MessageConsumer again = auto(connection).createConsumer(queue);
        // The client's session tells how far it delivered: only those count as delivered before.
        takesFlagged(again, 0, 3, true, 2);
        takesFlagged(again, 3, 10, false, 1);
    }

    @Rule
    void sessionCloseReturnsUnackedInOrder() throws Exception {
        Queue queue = queue();
        ActiveMQConnection connection = connect();
        Session session = client(connection);
        send(session, queue, 0, 10);
        takes(session.createConsumer(queue), 0, 4);
        session.close();
        MessageConsumer again = auto(connection).createConsumer(queue);
        takesFlagged(again, 0, 4, true, 2);
        takesFlagged(again, 4, 10, false, 1);
    }

    @Rule
    void connectionCloseReturnsUnackedInOrder() throws Exception {
        Queue queue = queue();
        Connection connection = connect();
        Session session = connection.createSession(false, Session.CLIENT_ACKNOWLEDGE);
        send(session, queue, 0, 10);
        takes(session.createConsumer(queue), 0, 4);
        connection.close();
        MessageConsumer again = session().createConsumer(queue);
        takesFlagged(again, 0, 4, true, 2);
        takesFlagged(again, 4, 10, false, 1);
    }

    @Rule
    void cleanCloseWithoutDeliveryFlagsNothing() throws Exception {
        Queue queue = queue();
        ActiveMQConnection connection = connect();
        Session session = client(connection);
        MessageConsumer consumer = session.createConsumer(queue);
        send(session, queue, 0, 10);
        consumer.close();
        takesFlagged(auto(connection).createConsumer(queue), 0, 10, false, 1);
    }

    @Rule
    void cutConnectionReturnsAllWithOneMoreDelivery() throws Exception {
        Queue queue = queue();
        Proxy proxy = proxy();
        ActiveMQConnection connection = connectAt(proxy.url(), "");
        Session session = client(connection);
        send(session, queue, 0, 10);
        takes(session.createConsumer(queue), 0, 3);
        MessageConsumer waiting = session().createConsumer(queue);
        proxy.cut();
        takesFlagged(waiting, 0, 10, true, 2);
    }

    @Rule
    void returnedMessagesGoBeforeNewOnes() throws Exception {
        Queue queue = queue();
        ActiveMQConnection connection = connect("jms.prefetchPolicy.queuePrefetch=5");
        Session session = client(connection);
        MessageConsumer consumer = session.createConsumer(queue);
        send(session, queue, 0, 10);
        takes(consumer, 0, 5);
        consumer.close();
        takes(auto(connection).createConsumer(queue), 0, 10);
    }

    @Rule
    void zeroPrefetchPullsOneByOne() throws Exception {
        Queue queue = queue();
        ActiveMQConnection connection = connect("jms.prefetchPolicy.queuePrefetch=0");
        Session session = auto(connection);
        MessageConsumer first = session.createConsumer(queue);
        MessageConsumer second = auto(connection).createConsumer(queue);
        equal(null, first.receiveNoWait(), "message of an empty queue");
        send(session, queue, 0, 4);
        takes(first, 0, 1);
        takes(second, 1, 2);
        equal("2", text(first.receiveNoWait()), "pulled without waiting");
        equal("3", text(second.receiveNoWait()), "pulled without waiting");
        equal(null, second.receiveNoWait(), "message of a drained queue");
    }

    @Rule
    void zeroPrefetchReceiveTimesOut() throws Exception {
        ActiveMQConnection connection = connect("jms.prefetchPolicy.queuePrefetch=0");
        MessageConsumer consumer = auto(connection).createConsumer(queue());
        long start = System.nanoTime();
        equal(null, consumer.receive(300), "message of an empty queue");
        long waited = TimeUnit.NANOSECONDS.toMillis(System.nanoTime() - start);
        check(waited >= 290, "receive(300) came back after " + waited + " ms");
    }

    @Rule
    void zeroPrefetchReceiveWakesUpForALateMessage() throws Exception {
        Queue queue = queue();
        ActiveMQConnection connection = connect("jms.prefetchPolicy.queuePrefetch=0");
        MessageConsumer consumer = auto(connection).createConsumer(queue);
        equal(null, consumer.receive(50), "message of an empty queue");
        CompletableFuture<Void> receiver =
                meanwhile(() -> equal("0", text(consumer.receive()), "late message"));
        send(session(), queue, 0, 1);
        finishes(receiver);
        isEmpty(queue);
    }

    @Rule
    void exclusiveConsumerGetsAllAndIsSucceeded() throws Exception {
        Queue queue = queue();
        ActiveMQConnection connection = connect();
        Queue exclusive = withOptions(queue, "consumer.exclusive=true");
        MessageConsumer first = auto(connection).createConsumer(exclusive);
        MessageConsumer second = auto(connection).createConsumer(exclusive);
        send(auto(connection), queue, 0, 10);
        takes(first, 0, 10);
        equal(null, second.receiveNoWait(), "message of the second exclusive consumer");
        first.close();
        send(auto(connection), queue, 10, 20);
        takes(second, 10, 20);
    }

    @Rule
    void exclusiveConsumerOfHigherPriorityTakesOver() throws Exception {
        Queue queue = queue();
        ActiveMQConnection connection = connect();
        MessageConsumer low =
                auto(connection).createConsumer(withOptions(queue, "consumer.exclusive=true"));
        send(auto(connection), queue, 0, 2);
        takes(low, 0, 2);
        MessageConsumer high = auto(connection)
                .createConsumer(withOptions(queue, "consumer.exclusive=true&consumer.priority=5"));
        send(auto(connection), queue, 2, 4);
        takes(high, 2, 4);
    }

    @Rule
    void messageGroupStaysWithItsConsumer() throws Exception {
        Queue queue = queue();
        ActiveMQConnection connection = connect();
        MessageConsumer[] consumers = {
            auto(connection).createConsumer(queue), auto(connection).createConsumer(queue)
        };
        sendGrouped(queue, "a", 0, 0, 10);
        sendGrouped(queue, "b", 0, 10, 20);
        Map<String, Integer> owners = new HashMap<>();
        Map<String, Integer> counts = new HashMap<>();
        for (int c = 0; c < 2; c++) {
            for (int i = 0; i < 10; i++) {
                Message message = next(consumers[c]);
                String group = message.getStringProperty("JMSXGroupID");
                Integer owner = owners.putIfAbsent(group, c);
                equal(owner == null, message.getBooleanProperty("JMSXGroupFirstForConsumer"),
                        "first of " + group);
                equal(c, owners.get(group), "consumer of group " + group);
                int start = group.equals("a") ? 0 : 10;
                equal(start + counts.merge(group, 1, Integer::sum) - 1,
                        Integer.parseInt(text(message)), "order");
            }
        }
    }

    @Rule
    void messageGroupMovesWhenItsConsumerCloses() throws Exception {
        Queue queue = queue();
        ActiveMQConnection connection = connect();
        MessageConsumer owner = auto(connection).createConsumer(queue);
        sendGrouped(queue, "g", 0, 0, 3);
        takes(owner, 0, 3);
        MessageConsumer other = auto(connection).createConsumer(queue);
        sendGrouped(queue, "g", 0, 3, 5);
        takes(owner, 3, 5);
        owner.close();
        sendGrouped(queue, "g", 0, 5, 7);
        check(takes(other, 5, 6).getBooleanProperty("JMSXGroupFirstForConsumer"),
                "not the group's first");
        takes(other, 6, 7);
    }

    @Rule
    void negativeSequenceClosesMessageGroup() throws Exception {
        Queue queue = queue();
        ActiveMQConnection connection = connect();
        MessageConsumer owner = auto(connection).createConsumer(queue);
        sendGrouped(queue, "g", 0, 0, 2);
        check(takes(owner, 0, 1).getBooleanProperty("JMSXGroupFirstForConsumer"),
                "not the group's first");
        check(!takes(owner, 1, 2).getBooleanProperty("JMSXGroupFirstForConsumer"), "first twice");
        sendGrouped(queue, "g", -1, 2, 3);
        takes(owner, 2, 3);
        sendGrouped(queue, "g", 0, 3, 4);
        check(takes(owner, 3, 4).getBooleanProperty("JMSXGroupFirstForConsumer"),
                "group was not closed");
    }

    private void sendGrouped(
            Queue queue, String group, int sequence, int from, int to) throws JMSException {
        Session session = session();
        MessageProducer producer = session.createProducer(queue);
        for (int i = from; i < to; i++) {
            Message message = session.createTextMessage(Integer.toString(i));
            message.setStringProperty("JMSXGroupID", group);
            if (sequence != 0) {
                message.setIntProperty("JMSXGroupSeq", sequence);
            }
            producer.send(message);
        }
    }

    @Rule
    void higherMessagePriorityIsServedFirst() throws Exception {
        Queue queue = queue("PRIO");
        Session session = session();
        MessageProducer producer = session.createProducer(queue);
        for (int i = 0; i < 20; i++) {
            producer.setPriority(i % 10);
            producer.send(session.createTextMessage(Integer.toString(i)));
        }
        MessageConsumer consumer =
                auto(connect(
                        "jms.prefetchPolicy.queuePrefetch=1&jms.messagePrioritySupported=false"))
                        .createConsumer(queue);
        for (int priority = 9; priority >= 0; priority--) {
            for (int i = priority; i < 20; i += 10) {
                Message message = takes(consumer, i, i + 1);
                equal(priority, message.getJMSPriority(), "priority");
            }
        }
    }

    @Rule
    void withoutPolicyPriorityIsIgnored() throws Exception {
        Queue queue = queue();
        Session session = session();
        MessageProducer producer = session.createProducer(queue);
        for (int i = 0; i < 20; i++) {
            producer.setPriority(i % 10);
            producer.send(session.createTextMessage(Integer.toString(i)));
        }
        takes(auto(connect("jms.messagePrioritySupported=false")).createConsumer(queue), 0, 20);
    }

    @Rule
    void messagesWaitForAConsumer() throws Exception {
        Queue queue = queue();
        ActiveMQConnection connection = connect();
        send(auto(connection), queue, 0, 300);
        connection.close();
        takes(session().createConsumer(queue), 0, 300);
    }

    @Rule
    void backlogBeyondAPageKeepsItsOrder() throws Exception {
        Queue queue = queue();
        Session session = auto(connect("jms.useAsyncSend=true"));
        send(session, queue, 0, 5000);
        MessageConsumer consumer = session().createConsumer(queue);
        takes(consumer, 0, 5000);
    }

    @Rule
    void competingConsumersShareWithoutLossOrDouble() throws Exception {
        Queue queue = queue();
        boolean[] seen = new boolean[2000];
        List<CompletableFuture<Void>> receivers = new ArrayList<>();
        for (int c = 0; c < 4; c++) {
            MessageConsumer consumer =
                    auto(connect("jms.prefetchPolicy.queuePrefetch=10")).createConsumer(queue);
            receivers.add(meanwhile(() -> {
                String text = nextText(consumer);
                while (!text.equals("end")) {
                    synchronized (seen) {
                        check(!seen[Integer.parseInt(text)], "twice: " + text);
                        seen[Integer.parseInt(text)] = true;
                    }
                    text = nextText(consumer);
                }
                consumer.close();
            }));
        }
        Session session = auto(connect("jms.useAsyncSend=true"));
        send(session, queue, 0, seen.length);
        for (int c = 0; c < 4; c++) {
            sendText(session, queue, "end");
        }
        for (CompletableFuture<Void> receiver : receivers) {
            finishes(receiver);
        }
        // A consumer that met its end early may have returned a prefetched message.
        for (Message message : drained(queue)) {
            seen[Integer.parseInt(text(message))] = true;
        }
        for (int i = 0; i < seen.length; i++) {
            check(seen[i], "lost: " + i);
        }
    }

    @Rule
    void destroyedQueueLosesItsMessages() throws Exception {
        Queue queue = queue();
        ActiveMQConnection connection = connect();
        Session session = auto(connection);
        MessageConsumer consumer = session.createConsumer(queue);
        JMSException thrown = fails(JMSException.class,
                () -> connection.destroyDestination((ActiveMQDestination) queue));
        contains(thrown.getMessage(),
                "Destination: " + queue + " still has an active subscription");
        consumer.close();
        send(session, queue, 0, 3);
        connection.destroyDestination((ActiveMQDestination) queue);
        isEmpty(queue);
        connection.destroyDestination((ActiveMQDestination) queue());
    }

    @Rule
    void pullOfAPatternIsServedByAQueueThatComesMeanwhile() throws Exception {
        String base = unique("TEST");
        MessageConsumer consumer = auto(connect("jms.prefetchPolicy.queuePrefetch=0"))
                .createConsumer(new ActiveMQQueue(base + ".*"));
        for (String name : new String[] {".a", ".b", ".*"}) {
            var received = meanwhile(() -> equal(name, nextText(consumer), "text"));
            sendText(session(), new ActiveMQQueue(base + name), name);
            finishes(received);
        }
    }

    @Rule
    void pullOfAPatternEndsWhenThereIsNothing() throws Exception {
        String base = unique("TEST");
        MessageConsumer consumer = auto(connect("jms.prefetchPolicy.queuePrefetch=0"))
                .createConsumer(new ActiveMQQueue(base + ".*"));
        for (int queues = 0; queues < 3; queues++) {
            finishes(meanwhile(() -> equal(null, consumer.receiveNoWait(), "message")));
            finishes(meanwhile(() -> equal(null, consumer.receive(100), "message")));
            sendText(session(), new ActiveMQQueue(base + "." + queues), "x");
            equal("x", nextText(consumer), "text");
        }
    }
}

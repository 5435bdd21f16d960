import java.util.List;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import javax.jms.DeliveryMode;
import javax.jms.JMSException;
import javax.jms.Message;
import javax.jms.MessageConsumer;
import javax.jms.MessageProducer;
import javax.jms.Queue;
import javax.jms.QueueBrowser;
import javax.jms.Session;
import javax.jms.TextMessage;
import javax.jms.Topic;
import org.apache.activemq.ActiveMQConnection;
import org.apache.activemq.ActiveMQMessageConsumer;
import org.apache.activemq.advisory.AdvisorySupport;
import org.apache.activemq.command.ActiveMQMessage;
import org.apache.activemq.command.ActiveMQTopic;
import org.apache.activemq.command.ConsumerInfo;
import org.apache.activemq.command.DestinationInfo;

/** What attributes and children of policyEntry do that no other group is about. */
final class Policies extends Rules {
    private static final String RETROACTIVE = "consumer.retroactive=true";

    // Who gets what

    @Rule
    void dispatchWaitsForTheSecondConsumer() throws Exception {
        Queue queue = queue("STARTS");
        send(session(), queue, 0, 10);
        MessageConsumer one = session().createConsumer(queue);
        settled();
        check(one.receive(300) == null, "the first consumer got a message alone");
        MessageConsumer two = session().createConsumer(queue);
        equal(5, take(one, 5).size(), "messages of the first");
        equal(5, take(two, 5).size(), "messages of the second");
    }

    @Rule
    void lazyDispatchDeliversAllInOrder() throws Exception {
        Queue queue = queue("LAZY");
        send(session(), queue, 0, 100);
        ActiveMQConnection connection = connect("jms.prefetchPolicy.queuePrefetch=3");
        takes(auto(connection).createConsumer(queue), 0, 100);
        isEmpty(queue);
    }

    @Rule
    void strictOrderFillsOneConsumerAndKeepsTheOrderOfWhatComesBack() throws Exception {
        Queue queue = queue("STRICT");
        ActiveMQConnection connection = connect("jms.prefetchPolicy.queuePrefetch=5");
        client(connection).createConsumer(queue);
        MessageConsumer second =
                client(connect("jms.prefetchPolicy.queuePrefetch=100")).createConsumer(queue);
        send(session(), queue, 0, 10);
        takes(second, 5, 10);
        connection.close();
        takes(second, 0, 5);
    }

    @Rule
    void allConsumersAreExclusiveByDefault() throws Exception {
        Queue queue = queue("ALONE");
        MessageConsumer first = session().createConsumer(queue);
        MessageConsumer second = session().createConsumer(queue);
        send(session(), queue, 0, 10);
        takes(first, 0, 10);
        first.close();
        send(session(), queue, 10, 20);
        takes(second, 10, 20);
    }

    @Rule
    void prefetchOfThePolicyReplacesTheDefault() throws Exception {
        Queue queue = queue("PREFETCH");
        ActiveMQMessageConsumer consumer =
                (ActiveMQMessageConsumer) client(connect()).createConsumer(queue);
        send(session(), queue, 0, 10);
        eventually("three messages are with the client", () -> consumer.getMessageSize() == 3);
        ActiveMQMessageConsumer own = (ActiveMQMessageConsumer)
                client(connect("jms.prefetchPolicy.queuePrefetch=6")).createConsumer(queue);
        eventually("six messages are with the client", () -> own.getMessageSize() == 6);
        equal(1, drained(queue).size(), "messages that stayed with the broker");
        Topic topic = topic("PREFETCH");
        ActiveMQMessageConsumer plain =
                (ActiveMQMessageConsumer) client(connect()).createConsumer(topic);
        ActiveMQMessageConsumer durable =
                (ActiveMQMessageConsumer) client(connectAs(unique("durable")))
                        .createDurableSubscriber(topic, "s");
        send(session(), topic, 0, 20);
        eventually("five messages are with the client", () -> plain.getMessageSize() == 5);
        eventually("six messages are with the client", () -> durable.getMessageSize() == 6);
        QueueBrowser browser = session().createBrowser(queue);
        int seen = 0;
        for (var all = browser.getEnumeration(); all.hasMoreElements(); all.nextElement()) {
            seen++;
        }
        equal(9, seen, "messages seen by a browser");
    }

    @Rule
    void messageThatNamesAClientGoesToThatOneOnly() throws Exception {
        Topic topic = new ActiveMQTopic(unique("SERVED") + ".PTP");
        String id = unique("client");
        MessageConsumer named = auto(connectAs(id)).createConsumer(topic);
        MessageConsumer other = session().createConsumer(topic);
        Session session = session();
        MessageProducer producer = session.createProducer(topic);
        Message addressed = session.createTextMessage("0");
        addressed.setStringProperty("PTP_CLIENTID", id);
        producer.send(addressed);
        producer.send(session.createTextMessage("1"));
        takes(named, 0, 2);
        takes(other, 1, 2);
    }

    // The past

    private static boolean isRetained(Message message) throws JMSException {
        return message.propertyExists("ActiveMQ.Retained")
                && message.getBooleanProperty("ActiveMQ.Retained");
    }

    @Rule
    void retainedMessageComesFirstWithoutAnyPolicy() throws Exception {
        Topic topic = topic();
        Session session = session();
        MessageConsumer live = session.createConsumer(topic);
        MessageProducer producer = session.createProducer(topic);
        for (int i = 0; i < 2; i++) {
            Message retained = session.createTextMessage(Integer.toString(i));
            retained.setBooleanProperty("ActiveMQ.Retain", true);
            producer.send(retained);
        }
        producer.send(session.createTextMessage("2"));
        for (int i = 0; i < 3; i++) {
            Message message = takes(live, i, i + 1);
            check(!message.getPropertyNames().hasMoreElements(), "a live message has properties");
        }
        MessageConsumer late = session().createConsumer(withOptions(topic, RETROACTIVE));
        MessageConsumer durable = auto(connectAs(unique("durable")))
                .createDurableSubscriber(withOptions(topic, RETROACTIVE), "s");
        send(session, topic, 3, 4);
        for (MessageConsumer consumer : new MessageConsumer[] {late, durable}) {
            check(isRetained(takes(consumer, 1, 2)), "the message is not marked as retained");
            takes(consumer, 3, 4);
        }
    }

    /** The original fails to send a message without body that asks to be retained. */
    @Rule(beyondOriginal = true)
    void messageWithoutBodyEndsTheRetaining() throws Exception {
        Topic topic = topic();
        Session session = session();
        MessageProducer producer = session.createProducer(topic);
        for (Message message : new Message[] {
            session.createTextMessage("0"), session.createMessage()}) {
            message.setBooleanProperty("ActiveMQ.Retain", true);
            producer.send(message);
        }
        MessageConsumer late = session().createConsumer(withOptions(topic, RETROACTIVE));
        send(session, topic, 1, 2);
        takes(late, 1, 2);
    }

    @Rule
    void alwaysRetroactiveGivesTheLastImageToEverybody() throws Exception {
        Topic topic = topic("ALWAYS");
        Session session = session();
        send(session, topic, 0, 3);
        MessageConsumer late = session.createConsumer(topic);
        send(session, topic, 3, 4);
        takes(late, 2, 4);
    }

    @Rule
    void retroactiveDurableSubscriptionGetsWhatWasKeptWhenItHasNothing() throws Exception {
        Topic topic = topic("RETRO");
        Topic retroactive = withOptions(topic, RETROACTIVE);
        send(session(), topic, 0, 8);
        Session session = auto(connectAs(unique("durable")));
        MessageConsumer consumer = session.createDurableSubscriber(retroactive, "s");
        takes(consumer, 3, 8);
        consumer.close();
        consumer = session.createDurableSubscriber(retroactive, "s");
        takes(consumer, 3, 8);
        consumer.close();
        send(session(), topic, 8, 10);
        consumer = session.createDurableSubscriber(retroactive, "s");
        takes(consumer, 8, 10);
        send(session(), topic, 10, 11);
        takes(consumer, 10, 11);
    }

    @Rule
    void whatADurableSubscriptionGotOfThePastIsItsOwn() throws Exception {
        Topic topic = topic("RETRO");
        send(session(), topic, 0, 3);
        String id = unique("durable");
        ActiveMQConnection connection = connectAs(id);
        takes(client(connection).createDurableSubscriber(withOptions(topic, RETROACTIVE), "s"),
                0, 3);
        connection.close();
        takes(auto(connectAs(id)).createDurableSubscriber(topic, "s"), 0, 3);
    }

    // What goes when too much waits

    /** A consumer that has one message, so that all others wait with the broker. */
    private MessageConsumer busy(Topic topic) throws JMSException {
        MessageConsumer consumer =
                auto(connect("jms.prefetchPolicy.topicPrefetch=1")).createConsumer(topic);
        sendText(session(), topic, "first");
        return consumer;
    }

    @Rule
    void oldestOfTheLowestPriorityGoes() throws Exception {
        Topic topic = topic("LOWEST");
        MessageConsumer consumer = busy(topic);
        Session session = session();
        MessageProducer producer = session.createProducer(topic);
        int number = 0;
        for (int priority : new int[] {4, 9, 2, 2, 4, 0}) {
            producer.setPriority(priority);
            producer.send(session.createTextMessage(Integer.toString(number++)));
        }
        equal(List.of("first", "0", "1", "4"), take(consumer, 4), "what stayed");
    }

    /** Sends a text for each name; all have different times. The texts are their numbers. */
    private void sendStocks(Topic topic, String... names) throws Exception {
        Session session = session();
        MessageProducer producer = session.createProducer(topic);
        for (int i = 0; i < names.length; i++) {
            TextMessage message = session.createTextMessage(names[i] + i);
            if (!names[i].isEmpty()) {
                message.setStringProperty("STOCK", names[i]);
            }
            producer.send(message);
            long sent = message.getJMSTimestamp();
            eventually("the clock moves", () -> System.currentTimeMillis() > sent);
        }
    }

    @Rule
    void ofEachValueOfAPropertyTheNewestStays() throws Exception {
        Topic topic = topic("UNIQUE");
        MessageConsumer consumer = busy(topic);
        sendStocks(topic, "a", "a", "a", "b");
        equal(List.of("first", "a2", "b3"), take(consumer, 3), "what stayed");
    }

    @Rule
    void messagesWithoutThePropertyGoAtOnce() throws Exception {
        Topic topic = topic("UNIQUE");
        MessageConsumer consumer = busy(topic);
        sendStocks(topic, "", "a", "", "b");
        equal(List.of("first", "a1", "b3"), take(consumer, 3), "what stayed");
    }

    @Rule
    void theOldestGoesWhenAllValuesDiffer() throws Exception {
        Topic topic = topic("UNIQUE");
        MessageConsumer consumer = busy(topic);
        sendStocks(topic, "a", "b", "c", "d", "e");
        equal(List.of("first", "c2", "d3", "e4"), take(consumer, 4), "what stayed");
    }

    @Rule
    void theOldestGoesWhenNoneHasTheProperty() throws Exception {
        Topic topic = topic("UNIQUE");
        MessageConsumer consumer = busy(topic);
        sendStocks(topic, "", "", "", "", "");
        equal(List.of("first", "2", "3", "4"), take(consumer, 4), "what stayed");
    }

    // Who is too slow

    /** Returns when the client has closed the consumer because the broker told it to. */
    private static void isClosed(MessageConsumer consumer) throws Exception {
        eventually("the consumer is closed", () -> {
            try {
                consumer.getMessageSelector();
                return false;
            } catch (javax.jms.IllegalStateException closed) {
                return true;
            }
        });
    }

    @Rule
    void slowTopicConsumersAreClosed() throws Exception {
        Topic topic = topic("SLOW");
        MessageConsumer watch =
                session().createConsumer(AdvisorySupport.getSlowConsumerAdvisoryTopic(topic));
        MessageConsumer slow =
                client(connect("jms.prefetchPolicy.topicPrefetch=2")).createConsumer(topic);
        ActiveMQConnection connection = prepared("jms.prefetchPolicy.durableTopicPrefetch=2");
        connection.setClientID(unique("durable"));
        connection.start();
        MessageConsumer durable = client(connection).createDurableSubscriber(topic, "s");
        MessageConsumer fast = session().createConsumer(topic);
        send(session(), topic, 0, 8);
        for (int i = 0; i < 2; i++) {
            ConsumerInfo told = (ConsumerInfo) ((ActiveMQMessage) next(watch)).getDataStructure();
            equal(topic, told.getDestination(), "destination");
        }
        isClosed(slow);
        isClosed(durable);
        takes(fast, 0, 8);
        fast.getMessageSelector();
    }

    /** The original does not notice that a consumer of a queue holds all it may. */
    @Rule(beyondOriginal = true)
    void queueConsumerThatTakesNothingIsClosed() throws Exception {
        Queue queue = queue("SLOW");
        MessageConsumer slow =
                client(connect("jms.prefetchPolicy.queuePrefetch=2")).createConsumer(queue);
        send(session(), queue, 0, 5);
        isClosed(slow);
        equal(5, drained(queue).size(), "messages that are back");
    }

    @Rule
    void consumerThatAcknowledgesNothingIsClosedAndItsMessagesGoOn() throws Exception {
        Queue queue = queue("SILENT");
        MessageConsumer watch =
                session().createConsumer(AdvisorySupport.getSlowConsumerAdvisoryTopic(queue));
        MessageConsumer idle = client(connect()).createConsumer(queue(("SILENT")));
        MessageConsumer silent = client(connect()).createConsumer(queue);
        send(session(), queue, 0, 5);
        ConsumerInfo told = (ConsumerInfo) ((ActiveMQMessage) next(watch)).getDataStructure();
        equal(queue, told.getDestination(), "destination");
        isClosed(silent);
        equal(5, drained(queue).size(), "messages that are back");
        idle.getMessageSelector();
    }

    @Rule
    void idleConsumerIsSilentTooIfThePolicySaysSo() throws Exception {
        Queue queue = queue("MUTE");
        MessageConsumer watch =
                session().createConsumer(AdvisorySupport.getSlowConsumerAdvisoryTopic(queue));
        MessageConsumer idle = client(connect()).createConsumer(queue);
        ConsumerInfo told = (ConsumerInfo) ((ActiveMQMessage) next(watch)).getDataStructure();
        equal(queue, told.getDestination(), "destination");
        isClosed(idle);
    }

    @Rule
    void connectionOfASilentConsumerIsClosedIfThePolicySaysSo() throws Exception {
        Queue queue = queue("CUT");
        ActiveMQConnection connection = connect();
        CountDownLatch cut = new CountDownLatch(1);
        connection.setExceptionListener(error -> cut.countDown());
        client(connection).createConsumer(queue);
        send(session(), queue, 0, 5);
        check(cut.await(WAIT_MS, TimeUnit.MILLISECONDS), "the connection was not closed");
        eventually("the transport has failed", connection::isTransportFailed);
        equal(5, drained(queue).size(), "messages that are back");
    }

    /** A client that does not answer any more: only the broker can take its consumer off. */
    @Rule
    void consumerOfASilentClientIsTakenOff() throws Exception {
        Queue queue = queue("SILENT");
        Proxy proxy = proxy();
        ActiveMQConnection connection = connectAt(proxy.url(), "jms.closeTimeout=100");
        client(connection).createConsumer(queue);
        proxy.muteClients();
        send(session(), queue, 0, 5);
        MessageConsumer other = session().createConsumer(queue);
        takes(other, 0, 5);
    }

    // What nobody uses

    @Rule
    void destinationNobodyUsesGoes() throws Exception {
        MessageConsumer queues = session().createConsumer(new ActiveMQTopic("ActiveMQ.Advisory.Queue"));
        Session session = session();
        MessageProducer anonymous = session.createProducer(null);
        Queue queue = queue("IDLE");
        Queue kept = queue("IDLE");
        anonymous.send(kept, session.createTextMessage("0"));
        TextMessage message = session.createTextMessage("0");
        anonymous.send(queue, message);
        takes(session.createConsumer(queue), 0, 1);
        session.close();
        while (true) {
            DestinationInfo told =
                    (DestinationInfo) ((ActiveMQMessage) next(queues)).getDataStructure();
            check(!told.getDestination().equals(kept) || told.isAddOperation(),
                    "a queue with a message was removed");
            if (told.getDestination().equals(queue) && told.isRemoveOperation()) {
                break;
            }
        }
        Session again = session();
        send(again, queue, 1, 2);
        takes(again.createConsumer(queue), 1, 2);
        equal(1, drained(kept).size(), "messages of the queue that stayed");
    }

    @Rule
    void nonPersistentMessageKeepsItsQueueToo() throws Exception {
        Queue queue = queue("IDLE");
        Session session = session();
        MessageProducer producer = session.createProducer(queue);
        producer.setDeliveryMode(DeliveryMode.NON_PERSISTENT);
        producer.send(session.createTextMessage("0"));
        producer.close();
        Thread.sleep(900);
        takes(session.createConsumer(queue), 0, 1);
    }
}

import java.util.ArrayList;
import java.util.List;
import javax.jms.DeliveryMode;
import javax.jms.JMSException;
import javax.jms.Message;
import javax.jms.MessageConsumer;
import javax.jms.MessageProducer;
import javax.jms.Queue;
import javax.jms.ResourceAllocationException;
import javax.jms.Session;
import javax.jms.TextMessage;
import javax.jms.Topic;
import org.apache.activemq.ActiveMQConnection;
import org.apache.activemq.command.ActiveMQDestination;
import org.apache.activemq.command.ActiveMQMessage;
import org.apache.activemq.command.ActiveMQQueue;
import org.apache.activemq.command.ActiveMQTextMessage;
import org.apache.activemq.command.ActiveMQTopic;
import org.apache.activemq.command.BrokerId;
import org.apache.activemq.command.ConsumerInfo;
import org.apache.activemq.command.ProducerInfo;
import org.apache.activemq.command.RemoveInfo;

/** Virtual topics and composite destinations, as destinationInterceptors in peer.xml has them. */
final class VirtualDestinations extends Rules {
    private static Topic virtualTopic() {
        return topic("VirtualTopic");
    }

    /** The queue of an application that a virtual topic feeds. */
    private static Queue fed(String prefix, Topic topic) {
        return new ActiveMQQueue(prefix + nameOf(topic));
    }

    private static Queue named(String name) {
        return new ActiveMQQueue(name);
    }

    private static ActiveMQDestination original(Message message) {
        return ((ActiveMQMessage) message).getOriginalDestination();
    }

    private static void sendColored(
            Session session, Queue queue, String text, String color, int size)
            throws JMSException {
        MessageProducer producer = session.createProducer(queue);
        TextMessage message = session.createTextMessage(text);
        message.setStringProperty("color", color);
        message.setIntProperty("size", size);
        producer.send(message);
        producer.close();
    }

    private List<String> texts(Queue queue) throws JMSException {
        List<String> texts = new ArrayList<>();
        for (Message message : drained(queue)) {
            texts.add(text(message));
        }
        return texts;
    }

    // Virtual topics

    @Rule
    void virtualTopicFeedsTheQueueOfEachApplicationAndItsSubscribers() throws Exception {
        Topic topic = virtualTopic();
        Session session = session();
        MessageConsumer subscriber = session.createConsumer(topic);
        MessageConsumer one = session.createConsumer(fed("Consumer.A.", topic));
        MessageConsumer again = session().createConsumer(fed("Consumer.A.", topic));
        MessageConsumer other = session.createConsumer(fed("Consumer.B.", topic));
        send(session, topic, 0, 10);
        takes(subscriber, 0, 10);
        takes(other, 0, 10);
        List<String> shared = take(one, 5);
        shared.addAll(take(again, 5));
        shared.sort(null);
        equal(10L, shared.stream().distinct().count(), "messages of application A");
    }

    @Rule
    void virtualTopicCopyNamesQueueAndTopic() throws Exception {
        Topic topic = virtualTopic();
        Queue queue = fed("Consumer.A.", topic);
        Session session = session();
        MessageConsumer subscriber = session.createConsumer(topic);
        MessageConsumer consumer = session.createConsumer(queue);
        send(session, topic, 0, 1);
        Message copy = takes(consumer, 0, 1);
        equal(queue, copy.getJMSDestination(), "JMSDestination of the copy");
        equal(topic, original(copy), "original destination of the copy");
        Message own = takes(subscriber, 0, 1);
        equal(topic, own.getJMSDestination(), "JMSDestination at the topic");
        equal(null, original(own), "original destination at the topic");
        equal(own.getJMSMessageID(), copy.getJMSMessageID(), "message id");
    }

    @Rule
    void virtualTopicMessagesFromBeforeTheQueueAreNotSeen() throws Exception {
        Topic topic = virtualTopic();
        Queue queue = fed("Consumer.A.", topic);
        Session session = session();
        send(session, topic, 0, 3);
        session.createConsumer(queue).close();
        send(session, topic, 3, 6);
        takes(session.createConsumer(queue), 3, 6);
        isEmpty(queue);
    }

    @Rule
    void virtualTopicQueueKeepsMessagesWhileItsConsumersAreAway() throws Exception {
        Topic topic = virtualTopic();
        Queue queue = fed("Consumer.A.", topic);
        ActiveMQConnection first = connect();
        auto(first).createConsumer(queue);
        first.close();
        Session session = session();
        send(session, topic, 0, 20);
        takes(session.createConsumer(queue), 0, 20);
    }

    @Rule
    void virtualTopicSendIsTransacted() throws Exception {
        Topic topic = virtualTopic();
        Queue one = fed("Consumer.A.", topic);
        Queue two = fed("Consumer.B.", topic);
        Session consumers = session();
        MessageConsumer first = consumers.createConsumer(one);
        MessageConsumer second = consumers.createConsumer(two);
        Session session = transacted(connect());
        send(session, topic, 0, 3);
        session.rollback();
        send(session, topic, 3, 6);
        equal(null, first.receive(200), "before the commit");
        session.commit();
        takes(first, 3, 6);
        takes(second, 3, 6);
    }

    @Rule
    void virtualTopicKeepsTheOrderOfItsProducer() throws Exception {
        Topic topic = virtualTopic();
        ActiveMQConnection connection = connect("jms.useAsyncSend=true");
        Session session = auto(connection);
        MessageConsumer one = session().createConsumer(fed("Consumer.A.", topic));
        MessageConsumer two = session().createConsumer(fed("Consumer.B.", topic));
        MessageConsumer subscriber = session().createConsumer(topic);
        send(session, topic, 0, 500);
        takes(one, 0, 500);
        takes(two, 0, 500);
        takes(subscriber, 0, 500);
    }

    @Rule
    void virtualTopicFeedsQueuesWithoutPersistence() throws Exception {
        Topic topic = virtualTopic();
        Session session = session();
        MessageConsumer one = session.createConsumer(fed("Consumer.A.", topic));
        MessageConsumer two = session.createConsumer(fed("Consumer.B.", topic));
        MessageProducer producer = session.createProducer(topic);
        producer.setDeliveryMode(DeliveryMode.NON_PERSISTENT);
        for (int i = 0; i < 50; i++) {
            producer.send(session.createTextMessage(Integer.toString(i)));
        }
        equal(DeliveryMode.NON_PERSISTENT, takes(one, 0, 50).getJMSDeliveryMode(), "mode");
        takes(two, 0, 50);
    }

    @Rule
    void wildcardQueueNameIsFedByAllTopicsItMatches() throws Exception {
        Topic base = virtualTopic();
        Queue wildcard = named("Consumer.A." + nameOf(base) + ".>");
        Session session = session();
        session.createProducer(wildcard).close();
        send(session, topic(base, "x"), 0, 2);
        send(session, topic(base, "y.z"), 2, 4);
        MessageConsumer consumer = session.createConsumer(wildcard);
        Message last = takes(consumer, 0, 4);
        equal(wildcard, last.getJMSDestination(), "JMSDestination");
        equal(topic(base, "y.z"), original(last), "original destination");
    }

    @Rule
    void wildcardConsumerReadsTheQueueOfThatNameAndThoseThatMatch() throws Exception {
        Topic base = virtualTopic();
        Queue wildcard = named("Consumer.A." + nameOf(base) + ".>");
        Queue plain = fed("Consumer.A.", topic(base, "x"));
        Session session = session();
        session.createConsumer(plain).close();
        send(session, topic(base, "x"), 0, 2);
        MessageConsumer consumer = session.createConsumer(wildcard);
        equal(plain, takes(consumer, 0, 2).getJMSDestination(), "JMSDestination of a plain queue");
        send(session, topic(base, "y"), 2, 4);
        equal(wildcard, takes(consumer, 2, 4).getJMSDestination(), "JMSDestination");
        session.close();
        isEmpty(wildcard);
    }

    private static Topic topic(Topic base, String below) {
        return new ActiveMQTopic(nameOf(base) + "." + below);
    }

    @Rule
    void copyThatFailsGoesToTheDeadLettersAlone() throws Exception {
        Topic topic = virtualTopic();
        Queue one = fed("Consumer.DEAD.", topic);
        Queue two = fed("Consumer.B.", topic);
        Session session = session();
        MessageConsumer other = session.createConsumer(two);
        Session work = transacted(connect("jms.redeliveryPolicy.maximumRedeliveries=1"));
        MessageConsumer consumer = work.createConsumer(one);
        MessageConsumer dead = session.createConsumer(named("ActiveMQ.DLQ"),
                "JMSType = '" + nameOf(topic) + "'");
        MessageProducer producer = session.createProducer(topic);
        TextMessage message = session.createTextMessage("0");
        message.setJMSType(nameOf(topic));
        producer.send(message);
        for (int i = 0; i < 2; i++) {
            takesFlagged(consumer, 0, 1, i > 0, i + 1);
            work.rollback();
        }
        equal(one, original(next(dead)), "where the dead letter comes from");
        takesFlagged(other, 0, 1, false, 1);
        isEmpty(one);
    }

    @Rule
    void selectorOfAConsumerFiltersTheQueueNotTheTopic() throws Exception {
        Topic topic = virtualTopic();
        Queue queue = fed("Consumer.A.", topic);
        Session session = session();
        MessageConsumer picky = session.createConsumer(queue, "JMSCorrelationID = 'x'");
        send(session, topic, 0, 2);
        equal(null, picky.receive(200), "for the selector");
        picky.close();
        takes(session.createConsumer(queue), 0, 2);
    }

    @Rule
    void selectorsSeeWhereACopyComesFrom() throws Exception {
        Topic topic = virtualTopic();
        Queue queue = fed("Consumer.A.", topic);
        Session session = session();
        session.createConsumer(queue).close();
        send(session, topic, 0, 1);
        String own = "JMSDestination = '" + queue + "'";
        equal(null, session.createConsumer(queue, own).receive(200), "by its own name");
        takes(session.createConsumer(queue, "JMSDestination = '" + topic + "'"), 0, 1);
    }

    @Rule
    void selectorAwareCopiesOnlyWhatAConsumerSelects() throws Exception {
        Topic topic = topic("Aware");
        Queue picky = fed("AwareFor.A.", topic);
        Queue any = fed("AwareFor.B.", topic);
        Queue absent = fed("AwareFor.C.", topic);
        Session session = session();
        MessageConsumer one = session.createConsumer(picky, "JMSType = 'x'");
        MessageConsumer two = session.createConsumer(any);
        session.createConsumer(absent).close();
        MessageProducer producer = session.createProducer(topic);
        for (int i = 0; i < 4; i++) {
            TextMessage message = session.createTextMessage(Integer.toString(i));
            message.setJMSType(i % 2 == 0 ? "x" : "y");
            producer.send(message);
        }
        equal(List.of("0", "2"), take(one, 2), "of the selector");
        takes(two, 0, 4);
        session.close();
        isEmpty(picky);
        isEmpty(any);
        isEmpty(absent);
    }

    /** A message with a broker's id in its path came over a network. */
    @Rule
    void localVirtualTopicCopiesNothingThatCameOverANetwork() throws Exception {
        Topic topic = topic("Local");
        Session session = session();
        MessageConsumer watch = session.createConsumer(topic);
        MessageConsumer consumer = session.createConsumer(fed("LocalFor.A.", topic));
        RawClient client = new RawClient(connect());
        ProducerInfo producer = client.produce(topic, 0);
        for (int i = 0; i < 3; i++) {
            ActiveMQTextMessage message = RawClient.message(producer, topic, i);
            message.setBrokerPath(i == 1 ? new BrokerId[] {new BrokerId("other")} : null);
            client.connection.syncSendPacket(message);
        }
        takes(watch, 0, 3);
        equal(List.of("0", "2"), take(consumer, 2), "copies");
        consumer.close();
        isEmpty(fed("LocalFor.A.", topic));
    }

    @Rule
    void postfixEndsTheNameAndCopiesMayKeepTheTopicAsDestination() throws Exception {
        Topic topic = topic("Bare");
        Queue queue = named("BareFor.A." + nameOf(topic) + ".in");
        Session session = session();
        MessageConsumer without = session.createConsumer(fed("BareFor.A.", topic));
        MessageConsumer consumer = session.createConsumer(queue);
        send(session, topic, 0, 1);
        Message copy = takes(consumer, 0, 1);
        equal(topic, copy.getJMSDestination(), "JMSDestination");
        equal(null, original(copy), "original destination");
        equal(null, without.receive(200), "without the postfix");
    }

    @Rule
    void fullQueueFailsTheSendToItsVirtualTopic() throws Exception {
        Topic topic = topic("Refused");
        Queue full = fed("REFUSE.A.", topic);
        Queue free = fed("TEST.A.", topic);
        fill(full);
        Session session = session();
        session.createProducer(free).close();
        fails(ResourceAllocationException.class, () -> {
            for (int i = 0; i < 100; i++) {
                sendText(session, topic, "x".repeat(10_000));
            }
        });
    }

    @Rule
    void fullQueueIsPassedOverWithDropOnResourceLimit() throws Exception {
        Topic topic = topic("Dropped");
        Queue full = fed("REFUSE.A.", topic);
        Queue free = fed("REFUSE.B.", topic);
        int before = fill(full);
        Session session = session();
        MessageConsumer other = session.createConsumer(free);
        MessageConsumer subscriber = session.createConsumer(topic);
        send(session, topic, 0, 3);
        takes(other, 0, 3);
        takes(subscriber, 0, 3);
        equal(before, drained(full).size(), "messages in the full queue");
    }

    /** Sends to the queue until it takes no more; returns how many it took. */
    private int fill(Queue queue) throws Exception {
        Session session = session();
        MessageProducer producer = session.createProducer(queue);
        String body = "x".repeat(10_000);
        for (int i = 0; i < 100; i++) {
            try {
                producer.send(session.createTextMessage(body));
            } catch (ResourceAllocationException e) {
                return i;
            }
        }
        throw new AssertionError("it takes everything");
    }

    /** The original announces the end on the topic of the pattern, "VirtualTopic.>": all see both. */
    @Rule
    void consumersOfAFedQueueAreAnnouncedForItsTopic() throws Exception {
        Topic topic = virtualTopic();
        Topic advisory = new ActiveMQTopic(
                "ActiveMQ.Advisory.VirtualDestination.Consumer.Topic." + nameOf(topic));
        Session session = session();
        MessageConsumer watcher = session.createConsumer(advisory);
        MessageConsumer ends = session.createConsumer(new ActiveMQTopic(
                "ActiveMQ.Advisory.VirtualDestination.Consumer.Topic.VirtualTopic.>"));
        Session apart = session();
        MessageConsumer consumer = apart.createConsumer(fed("Consumer.A.", topic));
        ActiveMQMessage added = (ActiveMQMessage) next(watcher);
        ConsumerInfo info = (ConsumerInfo) added.getDataStructure();
        equal(topic, info.getDestination(), "destination of the consumer");
        equal(0, added.getIntProperty("consumerCount"), "consumerCount");
        ActiveMQMessage replayed = (ActiveMQMessage) next(session().createConsumer(advisory));
        equal(info.getConsumerId(),
                ((ConsumerInfo) replayed.getDataStructure()).getConsumerId(), "replayed");
        consumer.close();
        Object ended;
        do {
            ended = ((ActiveMQMessage) next(ends)).getDataStructure();
        } while (!(ended instanceof RemoveInfo removed
                && removed.getObjectId().equals(info.getConsumerId())));
    }

    @Rule
    void consumersOfAForwardTargetAreAnnouncedForTheComposite() throws Exception {
        Topic advisory =
                new ActiveMQTopic("ActiveMQ.Advisory.VirtualDestination.Consumer.Queue.COMPOSE.kept");
        Session session = session();
        MessageConsumer watcher = session.createConsumer(advisory);
        session().createConsumer(named("COMPOSE.kept.a"));
        ConsumerInfo info =
                (ConsumerInfo) ((ActiveMQMessage) next(watcher)).getDataStructure();
        equal(named("COMPOSE.kept"), info.getDestination(), "destination of the consumer");
    }

    // Room

    /** The connection goes on while its send waits, so that its own consumer can make room. */
    @Rule
    void sendToAFullQueueOfAVirtualTopicWaitsForRoom() throws Exception {
        Topic topic = topic("Blocked");
        Queue slow = fed("BLOCK.A.", topic);
        Queue free = fed("BLOCK.B.", topic);
        ActiveMQConnection connection = connect();
        MessageConsumer other = auto(connection).createConsumer(free);
        MessageConsumer consumer = auto(connect("jms.prefetchPolicy.all=1")).createConsumer(slow);
        Session session = auto(connection);
        String body = "x".repeat(10_000);
        var sending = meanwhile(() -> {
            MessageProducer producer = session.createProducer(topic);
            for (int i = 0; i < 40; i++) {
                producer.send(session.createTextMessage(i + body));
            }
        });
        for (int i = 0; i < 40; i++) {
            if (i == 20) {
                check(!sending.isDone(), "the queue took more than its limit");
            }
            check(nextText(consumer).startsWith(i + "x"), "order of the slow queue");
            check(nextText(other).startsWith(i + "x"), "order of the other queue");
        }
        finishes(sending);
    }

    // Composite destinations

    @Rule
    void compositeForwardsAndKeepsNothing() throws Exception {
        Session session = session();
        MessageConsumer subscriber = session.createConsumer(new ActiveMQTopic("COMPOSE.only.b"));
        MessageConsumer consumer = session.createConsumer(named("COMPOSE.only.a"));
        send(session, named("COMPOSE.only"), 0, 5);
        Message copy = takes(consumer, 0, 5);
        equal(named("COMPOSE.only.a"), copy.getJMSDestination(), "JMSDestination");
        equal(named("COMPOSE.only"), original(copy), "original destination");
        takes(subscriber, 0, 5);
        isEmpty(named("COMPOSE.only"));
    }

    @Rule
    void compositeKeepsItsMessagesToo() throws Exception {
        Session session = session();
        send(session, named("COMPOSE.kept"), 0, 5);
        Message kept = takes(session.createConsumer(named("COMPOSE.kept")), 0, 5);
        equal(named("COMPOSE.kept"), kept.getJMSDestination(), "JMSDestination");
        equal(null, original(kept), "original destination of what is kept");
        takes(session.createConsumer(named("COMPOSE.kept.a")), 0, 5);
    }

    @Rule
    void compositeTopicForwardsToQueues() throws Exception {
        Session session = session();
        MessageConsumer subscriber = session.createConsumer(new ActiveMQTopic("COMPOSE.topic"));
        send(session, new ActiveMQTopic("COMPOSE.topic"), 0, 5);
        takes(session.createConsumer(named("COMPOSE.topic.a")), 0, 5);
        takes(session.createConsumer(named("COMPOSE.topic.b")), 0, 5);
        equal(null, subscriber.receiveNoWait(), "for a subscriber of the composite");
    }

    @Rule
    void filteredDestinationsTakeWhatTheySelect() throws Exception {
        Session session = session();
        Queue composite = named("COMPOSE.filtered");
        sendColored(session, composite, "red big", "red", 9);
        sendColored(session, composite, "red", "red", 1);
        sendColored(session, composite, "big", "blue", 9);
        sendColored(session, composite, "neither", "blue", 1);
        equal(List.of("red big", "red"), texts(named("COMPOSE.filtered.red")), "red ones");
        equal(List.of("red big", "big"), texts(named("COMPOSE.filtered.big")), "big ones");
        isEmpty(composite);
    }

    @Rule
    void compositeKeepsWhatNoFilterMatches() throws Exception {
        Session session = session();
        Queue composite = named("COMPOSE.unmatched");
        sendColored(session, composite, "red", "red", 1);
        sendColored(session, composite, "blue", "blue", 1);
        equal(List.of("red"), texts(named("COMPOSE.unmatched.red")), "matched");
        equal(List.of("blue"), texts(composite), "not matched");
    }

    @Rule
    void compositeOfAWildcardForwardsWhatIsSentToAnyMatch() throws Exception {
        Session session = session();
        send(session, named("COMPOSE.any.a"), 0, 1);
        send(session, named("COMPOSE.any.b"), 1, 2);
        Message last = takes(session.createConsumer(named("COMPOSE.all")), 0, 2);
        equal(named("COMPOSE.any.b"), original(last), "original destination");
        isEmpty(named("COMPOSE.any.a"));
    }

    @Rule
    void compositesAndVirtualTopicsChain() throws Exception {
        Session session = session();
        Queue fed = named("Consumer.A.VirtualTopic.Compose.Chain");
        MessageConsumer end = session.createConsumer(fed);
        MessageConsumer middle = session.createConsumer(named("COMPOSE.chain.next"));
        send(session, named("COMPOSE.chain"), 0, 3);
        Message last = takes(end, 0, 3);
        equal(fed, last.getJMSDestination(), "JMSDestination");
        equal(new ActiveMQTopic("VirtualTopic.Compose.Chain"), original(last), "where it came from");
        equal(named("COMPOSE.chain"), original(takes(middle, 0, 3)), "where the middle came from");
        isEmpty(named("COMPOSE.chain"));
    }

    @Rule
    void destinationGetsOneCopyWhateverWaysLeadToIt() throws Exception {
        send(session(), named("COMPOSE.diamond"), 0, 3);
        takes(session().createConsumer(named("COMPOSE.diamond.end")), 0, 3);
        isEmpty(named("COMPOSE.diamond.end"));
    }

    /** The original follows the circle until its stack ends, and the send fails. */
    @Rule(beyondOriginal = true)
    void circleOfCompositesEnds() throws Exception {
        Session session = session();
        send(session, named("COMPOSE.circle"), 0, 3);
        takes(session.createConsumer(named("COMPOSE.circle")), 0, 3);
        takes(session.createConsumer(named("COMPOSE.circle.back")), 0, 3);
        isEmpty(named("COMPOSE.circle"));
    }

    @Rule
    void compositeForwardIsTransacted() throws Exception {
        Session session = transacted(connect());
        Queue composite = named("COMPOSE.kept");
        send(session, composite, 0, 3);
        session.rollback();
        send(session, composite, 3, 6);
        isEmpty(named("COMPOSE.kept.a"));
        session.commit();
        takes(session().createConsumer(named("COMPOSE.kept.a")), 3, 6);
        takes(session().createConsumer(composite), 3, 6);
    }

    @Rule
    void deadLettersGoWhereACompositeForwardsThem() throws Exception {
        Queue queue = named("DEAD.composed");
        Session work = transacted(connect("jms.redeliveryPolicy.maximumRedeliveries=0"));
        send(session(), queue, 0, 1);
        takes(work.createConsumer(queue), 0, 1);
        work.rollback();
        takes(session().createConsumer(named("COMPOSE.dead.a")), 0, 1);
        takes(session().createConsumer(named("COMPOSE.dead.b")), 0, 1);
        isEmpty(named("DLQ.DEAD.composed"));
    }

    @Rule
    void compositeNamesMayHaveVirtualParts() throws Exception {
        Topic topic = virtualTopic();
        Queue plain = queue();
        Queue fed = fed("Consumer.A.", topic);
        Session session = session();
        MessageConsumer end = session.createConsumer(fed);
        send(session, session.createQueue(nameOf(plain) + ",topic://" + nameOf(topic)), 0, 3);
        takes(session.createConsumer(plain), 0, 3);
        equal(topic, original(takes(end, 0, 3)), "original destination");
    }
}

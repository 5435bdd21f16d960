import java.util.concurrent.CompletableFuture;
import javax.jms.DeliveryMode;
import javax.jms.Destination;
import javax.jms.JMSException;
import javax.jms.Message;
import javax.jms.MessageConsumer;
import javax.jms.MessageProducer;
import javax.jms.Queue;
import javax.jms.QueueBrowser;
import javax.jms.Session;
import javax.jms.TemporaryQueue;
import javax.jms.Topic;
import org.apache.activemq.ActiveMQConnection;
import org.apache.activemq.advisory.AdvisorySupport;
import org.apache.activemq.command.ActiveMQMessage;
import org.apache.activemq.command.ActiveMQQueue;
import org.apache.activemq.command.ActiveMQTopic;
import org.apache.activemq.command.ConnectionInfo;
import org.apache.activemq.command.ConsumerInfo;
import org.apache.activemq.command.DataStructure;
import org.apache.activemq.command.DestinationInfo;
import org.apache.activemq.command.ProducerInfo;
import org.apache.activemq.command.RemoveInfo;
import org.apache.activemq.command.RemoveSubscriptionInfo;

final class Advisories extends Rules {
    private MessageConsumer watch(Destination advisoryTopic) throws JMSException {
        return session().createConsumer(advisoryTopic);
    }

    private static Topic topicNamed(String suffix) {
        return new ActiveMQTopic("ActiveMQ.Advisory." + suffix);
    }

    private static ActiveMQMessage advisory(MessageConsumer consumer) throws JMSException {
        ActiveMQMessage message = (ActiveMQMessage) next(consumer);
        equal("Advisory", message.getJMSType(), "JMSType");
        equal(DeliveryMode.NON_PERSISTENT, message.getJMSDeliveryMode(), "delivery mode");
        for (String name : new String[] {"originBrokerName", "originBrokerId", "originBrokerURL"}) {
            check(message.getStringProperty(name) != null, "no property " + name);
        }
        return message;
    }

    private static <D extends DataStructure> D data(Class<D> type, ActiveMQMessage message) {
        DataStructure data = message.getDataStructure();
        check(type.isInstance(data),
                "data structure is " + data + ", expected " + type.getSimpleName());
        return type.cast(data);
    }

    /** The next advisory about the destination; others are passed over. */
    private static DestinationInfo about(
            MessageConsumer consumer, Destination destination) throws JMSException {
        while (true) {
            DestinationInfo info = data(DestinationInfo.class, advisory(consumer));
            if (info.getDestination().equals(destination)) {
                return info;
            }
        }
    }

    @Rule
    void consumersAreCountedAsTheyComeAndGo() throws Exception {
        for (Destination destination : new Destination[] {queue(), topic()}) {
            MessageConsumer watch = watch(AdvisorySupport.getConsumerAdvisoryTopic(destination));
            Session session = session();
            MessageConsumer one = session.createConsumer(destination, "a = 1");
            ActiveMQMessage added = advisory(watch);
            equal(1, added.getIntProperty("consumerCount"), "consumerCount");
            ConsumerInfo info = data(ConsumerInfo.class, added);
            equal(destination, info.getDestination(), "destination");
            equal("a = 1", info.getSelector(), "selector");
            MessageConsumer two = session.createConsumer(destination);
            equal(2, advisory(watch).getIntProperty("consumerCount"), "consumerCount");
            one.close();
            ActiveMQMessage removed = advisory(watch);
            equal(1, removed.getIntProperty("consumerCount"), "consumerCount");
            equal(info.getConsumerId(), data(RemoveInfo.class, removed).getObjectId(),
                    "removed consumer");
            two.close();
            equal(0, advisory(watch).getIntProperty("consumerCount"), "consumerCount");
        }
    }

    @Rule
    void browsersAreCountedAsConsumers() throws Exception {
        Queue queue = queue();
        MessageConsumer watch = watch(AdvisorySupport.getConsumerAdvisoryTopic(queue));
        Session session = session();
        session.createConsumer(queue);
        equal(1, advisory(watch).getIntProperty("consumerCount"), "consumerCount");
        QueueBrowser browser = session.createBrowser(queue);
        browser.getEnumeration();
        ActiveMQMessage added = advisory(watch);
        equal(2, added.getIntProperty("consumerCount"), "consumerCount");
        equal(true, data(ConsumerInfo.class, added).isBrowser(), "browser");
        browser.close();
        equal(1, advisory(watch).getIntProperty("consumerCount"), "consumerCount");
    }

    @Rule
    void producersAreCountedAsTheyComeAndGo() throws Exception {
        for (Destination destination : new Destination[] {queue(), topic()}) {
            MessageConsumer watch = watch(AdvisorySupport.getProducerAdvisoryTopic(destination));
            Session session = session();
            MessageProducer one = session.createProducer(destination);
            ActiveMQMessage added = advisory(watch);
            equal(1, added.getIntProperty("producerCount"), "producerCount");
            ProducerInfo info = data(ProducerInfo.class, added);
            equal(destination, info.getDestination(), "destination");
            session.createProducer(destination);
            equal(2, advisory(watch).getIntProperty("producerCount"), "producerCount");
            one.close();
            ActiveMQMessage removed = advisory(watch);
            equal(1, removed.getIntProperty("producerCount"), "producerCount");
            equal(info.getProducerId(), data(RemoveInfo.class, removed).getObjectId(),
                    "removed producer");
        }
    }

    @Rule
    void lateWatcherIsToldOfPresentConsumersAndProducers() throws Exception {
        Queue queue = queue();
        Session session = session();
        session.createConsumer(queue);
        session.createProducer(queue);
        MessageConsumer consumers = watch(AdvisorySupport.getConsumerAdvisoryTopic(queue));
        MessageConsumer producers = watch(AdvisorySupport.getProducerAdvisoryTopic(queue));
        equal(queue, data(ConsumerInfo.class, advisory(consumers)).getDestination(), "destination");
        equal(queue, data(ProducerInfo.class, advisory(producers)).getDestination(), "destination");
    }

    @Rule
    void closedConnectionRemovesItsConsumers() throws Exception {
        Queue queue = queue();
        MessageConsumer watch = watch(AdvisorySupport.getConsumerAdvisoryTopic(queue));
        ActiveMQConnection connection = connect();
        auto(connection).createConsumer(queue);
        auto(connection).createConsumer(queue);
        equal(1, advisory(watch).getIntProperty("consumerCount"), "consumerCount");
        equal(2, advisory(watch).getIntProperty("consumerCount"), "consumerCount");
        connection.close();
        equal(1, advisory(watch).getIntProperty("consumerCount"), "consumerCount");
        equal(0, advisory(watch).getIntProperty("consumerCount"), "consumerCount");
    }

    @Rule
    void connectionsAreAnnounced() throws Exception {
        MessageConsumer watch = watch(AdvisorySupport.getConnectionAdvisoryTopic());
        String id = unique("client");
        ActiveMQConnection connection = prepared("");
        connection.setClientID(id);
        connection.start();
        ConnectionInfo info = null;
        while (info == null || !id.equals(info.getClientId())) {
            DataStructure data = advisory(watch).getDataStructure();
            info = data instanceof ConnectionInfo added ? added : null;
        }
        check(info.getPassword() == null || info.getPassword().isEmpty(), "the password is told");
        connection.close();
        while (true) {
            DataStructure data = advisory(watch).getDataStructure();
            if (data instanceof RemoveInfo removed
                    && removed.getObjectId().equals(info.getConnectionId())) {
                return;
            }
        }
    }

    @Rule
    void queuesAndTopicsAreAnnounced() throws Exception {
        MessageConsumer queues = watch(topicNamed("Queue"));
        MessageConsumer topics = watch(topicNamed("Topic"));
        ActiveMQConnection connection = connect();
        Session session = auto(connection);
        ActiveMQQueue queue = (ActiveMQQueue) queue();
        ActiveMQTopic topic = (ActiveMQTopic) topic();
        send(session, queue, 0, 1);
        send(session, topic, 0, 1);
        equal(true, about(queues, queue).isAddOperation(), "queue added");
        equal(true, about(topics, topic).isAddOperation(), "topic added");
        connection.destroyDestination(queue);
        connection.destroyDestination(topic);
        equal(true, about(queues, queue).isRemoveOperation(), "queue removed");
        equal(true, about(topics, topic).isRemoveOperation(), "topic removed");
    }

    @Rule
    void destinationIsAnnouncedBeforeWhoUsesIt() throws Exception {
        MessageConsumer watch = watch(topicNamed(">"));
        Session session = session();
        for (int i = 0; i < 50; i++) {
            Destination destination = i % 2 == 0 ? queue() : topic();
            if (i % 4 < 2) {
                session.createConsumer(destination).close();
            } else {
                session.createProducer(destination).close();
            }
            ActiveMQMessage first = advisory(watch);
            while (!mentions(first.getDataStructure(), destination)) {
                first = advisory(watch);
            }
            data(DestinationInfo.class, first);
        }
    }

    private static boolean mentions(DataStructure told, Destination destination) {
        return told instanceof DestinationInfo info && destination.equals(info.getDestination())
                || told instanceof ConsumerInfo consumer && destination.equals(consumer.getDestination())
                || told instanceof ProducerInfo producer && destination.equals(producer.getDestination());
    }

    @Rule
    void temporaryDestinationsAreAnnounced() throws Exception {
        MessageConsumer watch = watch(AdvisorySupport.TEMP_DESTINATION_COMPOSITE_ADVISORY_TOPIC);
        ActiveMQConnection connection = connect();
        TemporaryQueue queue = auto(connection).createTemporaryQueue();
        var topic = auto(connection).createTemporaryTopic();
        DestinationInfo added = about(watch, queue);
        equal(true, added.isAddOperation(), "temporary queue added");
        equal(connection.getConnectionInfo().getConnectionId(), added.getConnectionId(),
                "connection");
        equal(true, about(watch, topic).isAddOperation(), "temporary topic added");
        queue.delete();
        equal(true, about(watch, queue).isRemoveOperation(), "temporary queue removed");
        connection.close();
        equal(true, about(watch, topic).isRemoveOperation(), "temporary topic removed");
    }

    @Rule
    void expiredMessageIsAnnounced() throws Exception {
        Queue queue = queue();
        MessageConsumer watch = watch(AdvisorySupport.getExpiredMessageTopic(queue));
        Message sent = sendExpired(queue);
        isEmpty(queue);
        ActiveMQMessage advisory = advisory(watch);
        equal(sent.getJMSMessageID(), advisory.getStringProperty("orignalMessageId"),
                "orignalMessageId");
        ActiveMQMessage inner = data(ActiveMQMessage.class, advisory);
        equal(sent.getJMSMessageID(), inner.getJMSMessageID(), "message id");
        check(inner.getContent() == null, "the body is told");
    }

    @Rule
    void deadLetterIsAnnounced() throws Exception {
        Queue queue = queue();
        MessageConsumer watch = watch(topicNamed("MessageDLQd.Queue." + nameOf(queue)));
        Message sent = sendExpired(queue);
        isEmpty(queue);
        ActiveMQMessage inner = data(ActiveMQMessage.class, advisory(watch));
        equal(sent.getJMSMessageID(), inner.getJMSMessageID(), "message id");
    }

    private Message sendExpired(Queue queue) throws Exception {
        Session session = session();
        MessageProducer producer = session.createProducer(queue);
        producer.setTimeToLive(1);
        Message message = session.createTextMessage("expired");
        producer.send(message);
        eventually(
                "clock moves", () -> System.currentTimeMillis() > message.getJMSExpiration() + 1);
        return message;
    }

    @Rule
    void deliveredAndConsumedMessagesAreAnnouncedByPolicy() throws Exception {
        Queue queue = queue("ADVISE");
        MessageConsumer delivered =
                watch(AdvisorySupport.getMessageDeliveredAdvisoryTopic((ActiveMQQueue) queue));
        MessageConsumer consumed =
                watch(AdvisorySupport.getMessageConsumedAdvisoryTopic((ActiveMQQueue) queue));
        Session session = session();
        Message sent = session.createTextMessage("0");
        session.createProducer(queue).send(sent);
        ActiveMQMessage first = advisory(delivered);
        equal(sent.getJMSMessageID(), first.getStringProperty("orignalMessageId"),
                "orignalMessageId");
        equal("queue://" + nameOf(queue), first.getStringProperty("orignalDestination"),
                "orignalDestination");
        takes(session.createConsumer(queue), 0, 1);
        ActiveMQMessage second = advisory(consumed);
        equal(sent.getJMSMessageID(), second.getStringProperty("orignalMessageId"),
                "orignalMessageId");
        equal(sent.getJMSMessageID(), data(ActiveMQMessage.class, second).getJMSMessageID(),
                "message id");
    }

    @Rule
    void transientMessageWithoutConsumerIsAnnouncedByPolicy() throws Exception {
        for (Destination destination : new Destination[] {queue("ADVISE"), topic("ADVISE")}) {
            String kind = destination instanceof Queue ? "Queue." : "Topic.";
            MessageConsumer watch = watch(topicNamed("NoConsumer." + kind + nameOf(destination)));
            Session session = session();
            MessageProducer producer = session.createProducer(destination);
            producer.setDeliveryMode(DeliveryMode.NON_PERSISTENT);
            producer.send(session.createTextMessage("nobody"));
            // It is the message itself, under the advisory's destination.
            equal("nobody", nextText(watch), "text");
        }
    }

    @Rule
    void browserIsSomebodyToWhoAnnouncesThatNobodyIsThere() throws Exception {
        Queue queue = queue("ADVISE");
        MessageConsumer watch = watch(topicNamed("NoConsumer.Queue." + nameOf(queue)));
        Session session = session();
        QueueBrowser browser = session.createBrowser(queue);
        browser.getEnumeration();
        MessageProducer producer = session.createProducer(queue);
        producer.setDeliveryMode(DeliveryMode.NON_PERSISTENT);
        producer.send(session.createTextMessage("while it is there"));
        browser.close();
        settled();
        producer.send(session.createTextMessage("nobody"));
        equal("nobody", nextText(watch), "text");
    }

    @Rule
    void fullQueueAndFastProducerAreAnnouncedByPolicy() throws Exception {
        Queue queue = queue("BLOCK");
        MessageConsumer full = watch(AdvisorySupport.getFullAdvisoryTopic(queue));
        MessageConsumer fast = watch(AdvisorySupport.getFastProducerAdvisoryTopic(queue));
        ActiveMQConnection connection = connect();
        CompletableFuture<Void> sender =
                meanwhile(() -> FlowControl.sendBlocks(auto(connection), queue, 0, 30));
        ActiveMQMessage advisory = advisory(full);
        equal("default:memory:" + queue + ":memory", advisory.getStringProperty("usageName"), "usageName");
        check(advisory.getLongProperty("usageCount") > 50_000, "usageCount");
        ActiveMQMessage second = advisory(fast);
        equal(queue, data(ProducerInfo.class, second).getDestination(), "destination");
        check(second.getStringProperty("producerId") != null, "no producerId");
        FlowControl.takesBlocks(session().createConsumer(queue), 0, 30);
        finishes(sender);
    }

    @Rule
    void slowConsumerAndDiscardsAreAnnouncedByPolicy() throws Exception {
        Topic topic = topic("LIMIT");
        MessageConsumer slow = watch(AdvisorySupport.getSlowConsumerAdvisoryTopic(topic));
        MessageConsumer discarded = watch(AdvisorySupport.getMessageDiscardedAdvisoryTopic(topic));
        MessageConsumer consumer =
                auto(connect("jms.prefetchPolicy.topicPrefetch=2")).createConsumer(topic);
        send(session(), topic, 0, 50);
        ActiveMQMessage first = advisory(slow);
        equal(topic, data(ConsumerInfo.class, first).getDestination(), "destination");
        check(first.getStringProperty("consumerId") != null, "no consumerId");
        for (int i = 1; i <= 38; i++) {
            ActiveMQMessage next = advisory(discarded);
            equal(i, next.getIntProperty("discardedCount"), "discardedCount");
            equal("topic://" + nameOf(topic), next.getStringProperty("orignalDestination"),
                    "orignalDestination");
            check(next.getStringProperty("consumerId") != null, "no consumerId");
        }
        takes(consumer, 0, 2);
        takes(consumer, 40, 50);
    }

    /** Returns who is announced to be slow on a topic, when it is on a pattern and was sent to before others. */
    private ConsumerInfo slowAmongOthers(String base) throws Exception {
        Topic first = new ActiveMQTopic(base + ".a");
        MessageConsumer slow = watch(AdvisorySupport.getSlowConsumerAdvisoryTopic(first));
        send(session(), first, 0, 1);
        send(session(), new ActiveMQTopic(base + ".b"), 1, 9);
        return data(ConsumerInfo.class, advisory(slow));
    }

    @Rule
    void slowConsumerOfAPatternIsAnnouncedForEachOfItsTopics() throws Exception {
        String base = nameOf(topic("LIMIT"));
        Session session = auto(connect("jms.prefetchPolicy.topicPrefetch=2"));
        Topic all = session.createTopic(base + ".>");
        session.createConsumer(all);
        equal(all, slowAmongOthers(base).getDestination(), "destination");
    }

    @Rule
    void slowDurableSubscriberOfAPatternIsAnnouncedForEachOfItsTopics() throws Exception {
        String base = nameOf(topic("LIMIT"));
        ActiveMQConnection connection = prepared("jms.prefetchPolicy.durableTopicPrefetch=2");
        connection.setClientID(unique("durable"));
        connection.start();
        Session session = client(connection);
        session.createDurableSubscriber(session.createTopic(base + ".>"), "s");
        equal("s", slowAmongOthers(base).getSubscriptionName(), "subscription name");
    }

    @Rule
    void durableSubscriptionCountsOnceHoweverOftenItIsTaken() throws Exception {
        String base = nameOf(topic());
        Topic topic = new ActiveMQTopic(base + ".a");
        send(session(), topic, 0, 1);
        MessageConsumer watch = watch(AdvisorySupport.getConsumerAdvisoryTopic(topic));
        Session session = auto(connectAs(unique("durable")));
        for (int i = 0; i < 3; i++) {
            session.createDurableSubscriber(topic, "one").close();
            equal(1, advisory(watch).getIntProperty("consumerCount"), "consumerCount");
            advisory(watch);
        }
        for (int i = 0; i < 3; i++) {
            session.createDurableSubscriber(session.createTopic(base + ".*"), "all").close();
        }
        session.createConsumer(topic).close();
        equal(3, advisory(watch).getIntProperty("consumerCount"), "consumerCount");
        equal(2, advisory(watch).getIntProperty("consumerCount"), "consumerCount");
        session.unsubscribe("one");
        session.unsubscribe("all");
        session.createConsumer(topic);
        ActiveMQMessage last = advisory(watch);
        while (!(last.getDataStructure() instanceof ConsumerInfo)) {
            last = advisory(watch);
        }
        equal(1, last.getIntProperty("consumerCount"), "consumerCount");
    }

    /** The next number of consumers that is told with one of `destination`. */
    private static int consumersTold(MessageConsumer watch, Destination destination) throws Exception {
        while (true) {
            ActiveMQMessage told = advisory(watch);
            if (told.getDataStructure() instanceof ConsumerInfo
                    && destination.equals(((ConsumerInfo) told.getDataStructure()).getDestination())) {
                return told.getIntProperty("consumerCount");
            }
        }
    }

    @Rule
    void consumersOfPatternsCountWhereverTheyListen() throws Exception {
        String base = unique("TEST");
        Session session = session();
        Destination[][] kinds = {
            {session.createQueue(base + ".>"), session.createQueue(base + ".a")},
            {session.createTopic(base + ".>"), session.createTopic(base + ".a")},
        };
        for (Destination[] kind : kinds) {
            MessageConsumer all = session.createConsumer(kind[0]);
            MessageConsumer watch = watch(AdvisorySupport.getConsumerAdvisoryTopic(kind[1]));
            MessageConsumer first = session.createConsumer(kind[1]);
            equal(2, consumersTold(watch, kind[1]), "with one of all");
            all.close();
            session.createConsumer(kind[1]).close();
            equal(2, consumersTold(watch, kind[1]), "without one of all");
            first.close();
            session.createConsumer(kind[1]);
            equal(1, consumersTold(watch, kind[1]), "alone");
        }
    }

    @Rule
    void deletedDurableSubscriptionIsAnnounced() throws Exception {
        Topic topic = topic();
        MessageConsumer watch = watch(AdvisorySupport.getConsumerAdvisoryTopic(topic));
        String id = unique("durable");
        Session session = auto(connectAs(id));
        session.createDurableSubscriber(topic, "s").close();
        equal("s", data(ConsumerInfo.class, advisory(watch)).getSubscriptionName(),
                "subscription name");
        data(RemoveInfo.class, advisory(watch));
        session.unsubscribe("s");
        RemoveSubscriptionInfo removed = data(RemoveSubscriptionInfo.class, advisory(watch));
        equal(id, removed.getClientId(), "client id");
        equal("s", removed.getSubscriptionName(), "subscription name");
    }

    @Rule
    void wildcardWatcherSeesAllOfAKind() throws Exception {
        MessageConsumer watch = watch(topicNamed("Consumer.Queue.>"));
        Queue queue = queue();
        session().createConsumer(queue);
        while (true) {
            ActiveMQMessage message = advisory(watch);
            if (message.getDataStructure() instanceof ConsumerInfo info
                    && queue.equals(info.getDestination())) {
                equal("topic://ActiveMQ.Advisory.Consumer.Queue." + nameOf(queue),
                        message.getJMSDestination().toString(), "JMSDestination");
                return;
            }
        }
    }

    @Rule
    void masterBrokerIsToldToNewWatchers() throws Exception {
        ActiveMQMessage message = advisory(watch(AdvisorySupport.getMasterBrokerAdvisoryTopic()));
        equal(null, message.getDataStructure(), "data structure");
    }
}

import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import java.util.TreeSet;
import javax.jms.DeliveryMode;
import javax.jms.Destination;
import javax.jms.JMSException;
import javax.jms.Message;
import javax.jms.MessageConsumer;
import javax.jms.MessageProducer;
import javax.jms.Queue;
import javax.jms.Session;
import javax.jms.TextMessage;
import javax.jms.Topic;
import org.apache.activemq.ActiveMQConnection;
import org.apache.activemq.advisory.AdvisorySupport;
import org.apache.activemq.command.ActiveMQDestination;
import org.apache.activemq.command.ActiveMQMessage;
import org.apache.activemq.command.ActiveMQTextMessage;
import org.apache.activemq.command.ActiveMQTopic;
import org.apache.activemq.command.ConnectionInfo;
import org.apache.activemq.command.ConsumerInfo;
import org.apache.activemq.command.DestinationInfo;
import org.apache.activemq.command.ProducerInfo;
import org.apache.activemq.command.RemoveInfo;

/** What advisories carry, and who gets which. */
final class AdvisoryDetails extends Rules {
    private MessageConsumer watch(String suffix) throws JMSException {
        return session().createConsumer(new ActiveMQTopic("ActiveMQ.Advisory." + suffix));
    }

    private static ActiveMQMessage advisory(MessageConsumer watch) throws JMSException {
        ActiveMQMessage message = (ActiveMQMessage) next(watch);
        equal("Advisory", message.getJMSType(), "JMSType");
        return message;
    }

    private static String kindOf(Destination destination) {
        return (destination instanceof Queue ? "Queue." : "Topic.") + nameOf(destination);
    }

    private static Set<String> properties(ActiveMQMessage message) throws Exception {
        Set<String> names = new TreeSet<>(message.getProperties().keySet());
        for (String name : List.of("originBrokerId", "originBrokerName", "originBrokerURL")) {
            check(names.remove(name), "no " + name);
        }
        return names;
    }

    @Rule
    void headersAreBareAndTheBrokerIsNamed() throws Exception {
        Queue queue = queue();
        MessageConsumer watch = watch("Consumer." + kindOf(queue));
        session().createConsumer(queue);
        ActiveMQMessage message = advisory(watch);
        equal(0, message.getJMSPriority(), "priority");
        equal(0L, message.getJMSTimestamp(), "timestamp");
        equal(0L, message.getJMSExpiration(), "expiration");
        equal(DeliveryMode.NON_PERSISTENT, message.getJMSDeliveryMode(), "delivery mode");
        equal(null, message.getJMSCorrelationID(), "correlation id");
        equal(null, message.getJMSReplyTo(), "reply to");
        equal(null, message.getContent(), "body");
        equal("topic://ActiveMQ.Advisory.Consumer." + kindOf(queue),
                message.getJMSDestination().toString(), "destination");
        equal("judged", message.getStringProperty("originBrokerName"), "originBrokerName");
        contains(message.getStringProperty("originBrokerURL"), "tcp://");
        check(message.getStringProperty("originBrokerId").startsWith("ID:"), "originBrokerId");
        equal(Set.of("consumerCount"), properties(message), "further properties");
    }

    @Rule
    void consumersAndProducersAreDescribedAsTheyAsked() throws Exception {
        Topic topic = topic();
        MessageConsumer consumers = watch("Consumer." + kindOf(topic));
        MessageConsumer producers = watch("Producer." + kindOf(topic));
        String id = unique("client");
        Session session = auto(connectAs(id));
        session.createDurableSubscriber(
                withOptions(topic, "consumer.priority=3&consumer.exclusive=true"), "s", "a = 1", true);
        ConsumerInfo info = (ConsumerInfo) advisory(consumers).getDataStructure();
        equal(id, info.getClientId(), "client id");
        equal("s", info.getSubscriptionName(), "subscription name");
        equal("a = 1", info.getSelector(), "selector");
        equal((byte) 3, info.getPriority(), "priority");
        equal(true, info.isNoLocal(), "noLocal");
        equal(true, info.isExclusive(), "exclusive");
        equal(false, info.isBrowser(), "browser");
        session.createProducer(topic);
        ActiveMQMessage message = advisory(producers);
        equal(Set.of("producerCount"), properties(message), "further properties");
        equal(topic, ((ProducerInfo) message.getDataStructure()).getDestination(), "destination");
    }

    /** The original names them all in one topic, where nobody who watches one of them hears of it. */
    @Rule(beyondOriginal = true)
    void compositeYieldsOneAdvisoryPerPart() throws Exception {
        Queue one = queue();
        Queue two = queue();
        MessageConsumer[] watches = {watch("Consumer." + kindOf(one)), watch("Consumer." + kindOf(two))};
        MessageConsumer[] producers = {watch("Producer." + kindOf(one)), watch("Producer." + kindOf(two))};
        Session session = session();
        Queue both = session.createQueue(nameOf(one) + "," + nameOf(two));
        // It makes the queues; a consumer of several names makes none.
        MessageProducer producer = session.createProducer(both);
        MessageConsumer consumer = session.createConsumer(both);
        for (MessageConsumer watch : watches) {
            ActiveMQMessage message = advisory(watch);
            check(message.getDataStructure() instanceof ConsumerInfo, "no ConsumerInfo");
            equal(1, message.getIntProperty("consumerCount"), "consumerCount");
        }
        for (MessageConsumer watch : producers) {
            ActiveMQMessage message = advisory(watch);
            check(message.getDataStructure() instanceof ProducerInfo, "no ProducerInfo");
            equal(1, message.getIntProperty("producerCount"), "producerCount");
        }
        consumer.close();
        producer.close();
        for (MessageConsumer watch : watches) {
            ActiveMQMessage message = advisory(watch);
            check(message.getDataStructure() instanceof RemoveInfo, "no RemoveInfo");
            equal(0, message.getIntProperty("consumerCount"), "consumerCount");
        }
        for (MessageConsumer watch : producers) {
            equal(0, advisory(watch).getIntProperty("producerCount"), "producerCount");
        }
    }

    @Rule
    void lateWatcherIsToldOfConnectionsAndDestinationsAndNobodyElseIs() throws Exception {
        Queue queue = queue();
        Topic topic = topic();
        send(session(), queue, 0, 1);
        send(session(), topic, 0, 1);
        String id = unique("client");
        connectAs(id);
        MessageConsumer early = watch("Connection");
        boolean told = false;
        while (!told) {
            told = advisory(early).getDataStructure() instanceof ConnectionInfo info
                    && id.equals(info.getClientId());
        }
        for (Destination destination : new Destination[] {queue, topic}) {
            MessageConsumer late = watch(destination instanceof Queue ? "Queue" : "Topic");
            told = false;
            while (!told) {
                DestinationInfo info = (DestinationInfo) advisory(late).getDataStructure();
                told = info.isAddOperation() && destination.equals(info.getDestination());
            }
        }
        MessageConsumer consumers = watch("Consumer." + kindOf(queue));
        session().createConsumer(queue);
        advisory(consumers);
        advisory(watch("Consumer." + kindOf(queue)));
        session().createConsumer(queue);
        equal(2, advisory(consumers).getIntProperty("consumerCount"), "count of the next advisory");
    }

    @Rule
    void bodiesAreToldIfThePolicySaysSo() throws Exception {
        for (boolean included : new boolean[] {true, false}) {
            Queue queue = queue(included ? "BODIES" : "ADVISE");
            MessageConsumer delivered = watch("MessageDelivered." + kindOf(queue));
            MessageConsumer consumed = watch("MessageConsumed." + kindOf(queue));
            sendText(session(), queue, "body");
            next(session().createConsumer(queue));
            for (MessageConsumer watch : new MessageConsumer[] {delivered, consumed}) {
                ActiveMQMessage message = advisory(watch);
                equal(Set.of("orignalDestination", "orignalMessageId"), properties(message),
                        "further properties");
                ActiveMQTextMessage inner = (ActiveMQTextMessage) message.getDataStructure();
                equal(included ? "body" : null, inner.getText(), "text of the message told of");
                equal(queue, inner.getDestination(), "destination of the message told of");
            }
        }
    }

    @Rule
    void messagesOfTopicsAreTold() throws Exception {
        Topic topic = topic("ADVISE");
        MessageConsumer delivered = watch("MessageDelivered." + kindOf(topic));
        MessageConsumer consumed = watch("MessageConsumed." + kindOf(topic));
        Session session = auto(connectAs(unique("durable")));
        MessageConsumer durable = session.createDurableSubscriber(topic, "s");
        Message sent = session.createTextMessage("0");
        session.createProducer(topic).send(sent);
        takes(durable, 0, 1);
        for (MessageConsumer watch : new MessageConsumer[] {delivered, consumed}) {
            ActiveMQMessage message = advisory(watch);
            equal(sent.getJMSMessageID(), message.getStringProperty("orignalMessageId"),
                    "orignalMessageId");
            equal("topic://" + nameOf(topic), message.getStringProperty("orignalDestination"),
                    "orignalDestination");
        }
    }

    @Rule
    void messageThatExpiresInADurableSubscriptionIsTold() throws Exception {
        Topic topic = topic();
        MessageConsumer expired = watch("Expired." + kindOf(topic));
        MessageConsumer dead = watch("MessageDLQd." + kindOf(topic));
        String id = unique("durable");
        ActiveMQConnection connection = connectAs(id);
        auto(connection).createDurableSubscriber(topic, "s");
        connection.close();
        Session session = session();
        MessageProducer producer = session.createProducer(topic);
        producer.setTimeToLive(50);
        TextMessage sent = session.createTextMessage("0");
        producer.send(sent);
        eventually("the message expires",
                () -> System.currentTimeMillis() > sent.getJMSExpiration() + 1);
        auto(connectAs(id)).createDurableSubscriber(topic, "s");
        equal(sent.getJMSMessageID(), advisory(expired).getStringProperty("orignalMessageId"),
                "orignalMessageId");
        ActiveMQMessage inner = (ActiveMQMessage) advisory(dead).getDataStructure();
        equal(sent.getJMSMessageID(), inner.getJMSMessageID(), "message id");
    }

    @Rule
    void anonymousProducersAreToldIfTheBrokerIsToDoSo() throws Exception {
        MessageConsumer watch = watch("Producer.Anonymous");
        ActiveMQConnection connection = connect();
        MessageProducer producer = auto(connection).createProducer(null);
        while (true) {
            ActiveMQMessage message = advisory(watch);
            if (message.getDataStructure() instanceof ProducerInfo info
                    && info.getProducerId().getConnectionId()
                            .equals(connection.getConnectionInfo().getConnectionId().getValue())) {
                equal(null, info.getDestination(), "destination");
                break;
            }
        }
        producer.close();
        while (!(advisory(watch).getDataStructure() instanceof RemoveInfo)) {
            // Those of other rules.
        }
    }

    @Rule
    void advisoriesAreNotToldOf() throws Exception {
        Queue queue = queue();
        MessageConsumer all = watch(">");
        MessageConsumer watch = watch("Consumer." + kindOf(queue));
        session().createConsumer(queue);
        advisory(watch);
        List<String> names = new ArrayList<>();
        while (true) {
            ActiveMQMessage message = (ActiveMQMessage) next(all);
            ActiveMQDestination destination = (ActiveMQDestination) message.getJMSDestination();
            names.add(destination.getPhysicalName());
            if (AdvisorySupport.isConsumerAdvisoryTopic(destination)
                    && destination.getPhysicalName().endsWith(nameOf(queue))) {
                break;
            }
        }
        for (String name : names) {
            check(!name.contains("Topic.ActiveMQ.Advisory."), "an advisory about an advisory: " + name);
        }
    }
}

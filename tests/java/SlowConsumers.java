import java.util.List;
import javax.jms.MessageConsumer;
import javax.jms.Queue;
import javax.jms.Session;
import javax.jms.Topic;
import org.apache.activemq.ActiveMQConnection;
import org.apache.activemq.command.ConsumerId;
import org.apache.activemq.command.ConsumerInfo;
import org.apache.activemq.command.MessageAck;

/** Which consumers a slowConsumerStrategy closes, beyond those of the policies' group. */
final class SlowConsumers extends Rules {
    @Rule
    void topicConsumersThatAcknowledgeNothingAreClosed() throws Exception {
        Topic topic = topic("SILENT");
        MessageConsumer idle = client(connect()).createConsumer(topic("SILENT"));
        MessageConsumer silent = client(connect()).createConsumer(topic);
        String id = unique("durable");
        ActiveMQConnection connection = connectAs(id);
        MessageConsumer durable = client(connection).createDurableSubscriber(topic, "s");
        Session session = session();
        send(session, topic, 0, 5);
        Policies.isClosed(silent);
        Policies.isClosed(durable);
        idle.getMessageSelector();
        connection.close();
        takes(auto(connectAs(id)).createDurableSubscriber(topic, "s"), 0, 5);
    }

    @Rule
    void consumersThatFallBehindOftenEnoughAreClosed() throws Exception {
        Topic topic = topic("OFTEN");
        MessageConsumer slow =
                client(connect("jms.prefetchPolicy.topicPrefetch=2")).createConsumer(topic);
        MessageConsumer fast = session().createConsumer(topic);
        send(session(), topic, 0, 8);
        Policies.isClosed(slow);
        takes(fast, 0, 8);
        fast.getMessageSelector();
    }

    @Rule
    void connectionOfASlowTopicConsumerIsClosedIfThePolicySaysSo() throws Exception {
        Topic topic = topic("CUT");
        ActiveMQConnection connection = connect("jms.prefetchPolicy.topicPrefetch=2");
        client(connection).createConsumer(topic);
        MessageConsumer fast = session().createConsumer(topic);
        send(session(), topic, 0, 8);
        eventually("the transport has failed", connection::isTransportFailed);
        takes(fast, 0, 8);
    }

    @Rule
    void idleConsumersAreClosedIfThePolicySaysSo() throws Exception {
        Queue queue = queue("BUSY");
        MessageConsumer idle = session().createConsumer(queue);
        Policies.isClosed(idle);
        send(session(), queue, 0, 3);
        takes(session().createConsumer(queue), 0, 3);
    }

    @Rule
    void consumersOfNetworksAreLeftAlone() throws Exception {
        for (String policy : List.of("SLOW", "SILENT")) {
            Topic topic = topic(policy);
            RawClient bridge = new RawClient(connect());
            ConsumerInfo info = bridge.consumer(topic, 2);
            info.setNetworkSubscription(true);
            info.setNetworkConsumerPath(new ConsumerId[] {info.getConsumerId()});
            bridge.connection.syncSendPacket(info);
            MessageConsumer slow =
                    client(connect("jms.prefetchPolicy.topicPrefetch=2")).createConsumer(topic);
            Session session = session();
            send(session, topic, 0, 8);
            Policies.isClosed(slow);
            bridge.send(RawClient.ack(
                    MessageAck.STANDARD_ACK_TYPE, bridge.takes(0, 2)));
            bridge.takes(2, 4);
        }
    }
}

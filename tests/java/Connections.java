import java.util.Set;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import javax.jms.ConnectionMetaData;
import javax.jms.IllegalStateException;
import javax.jms.InvalidClientIDException;
import javax.jms.JMSException;
import javax.jms.MessageConsumer;
import javax.jms.Queue;
import javax.jms.Session;
import org.apache.activemq.ActiveMQConnection;

final class Connections extends Rules {
    @Rule
    void metadataNamesTheClient() throws Exception {
        ConnectionMetaData data = connect().getMetaData();
        equal("1.1", data.getJMSVersion(), "JMS version");
        equal("ActiveMQ", data.getJMSProviderName(), "provider");
        check(data.getJMSXPropertyNames().hasMoreElements(), "no JMSX property names");
    }

    @Rule
    void brokerTellsItsNameAndId() throws Exception {
        ActiveMQConnection connection = connect();
        auto(connection);
        check(connection.getBrokerInfo() != null, "no BrokerInfo");
        check(!connection.getBrokerInfo().getBrokerName().isEmpty(), "no broker name");
        check(!connection.getBrokerInfo().getBrokerId().getValue().isEmpty(), "no broker id");
        equal(false, connection.getBrokerInfo().isSlaveBroker(), "slave");
    }

    @Rule
    void clientIdInUseIsRefused() throws Exception {
        String id = unique("client");
        connectAs(id);
        ActiveMQConnection second = prepared("");
        fails(InvalidClientIDException.class,
                "Client: " + id + " already connected from tcp://127.0.0.1:",
                () -> second.setClientID(id));
    }

    @Rule
    void clientIdIsFreeAfterClose() throws Exception {
        String id = unique("client");
        for (int i = 0; i < 20; i++) {
            connectAs(id).close();
        }
    }

    @Rule
    void clientIdIsFreeAfterCut() throws Exception {
        String id = unique("client");
        Proxy proxy = proxy();
        ActiveMQConnection cut = preparedAt(proxy.url(), "");
        cut.setClientID(id);
        cut.start();
        proxy.cut();
        eventually("client id " + id + " is free", () -> {
            ActiveMQConnection next = prepared("");
            try {
                next.setClientID(id);
                return true;
            } catch (InvalidClientIDException e) {
                return false;
            }
        });
    }

    @Rule
    void clientIdCannotChangeAfterUse() throws Exception {
        ActiveMQConnection connection = connect();
        auto(connection);
        fails(IllegalStateException.class, () -> connection.setClientID("late"));
    }

    @Rule
    void stoppedConnectionDeliversNothingUntilStarted() throws Exception {
        Queue queue = queue();
        ActiveMQConnection connection = prepared("");
        Session session = auto(connection);
        MessageConsumer consumer = session.createConsumer(queue);
        send(session, queue, 0, 3);
        equal(null, consumer.receiveNoWait(), "message of a stopped connection");
        connection.start();
        takes(consumer, 0, 3);
    }

    @Rule
    void cutConnectionTellsItsExceptionListener() throws Exception {
        Proxy proxy = proxy();
        ActiveMQConnection connection = preparedAt(proxy.url(), "");
        CompletableFuture<JMSException> told = new CompletableFuture<>();
        connection.setExceptionListener(told::complete);
        connection.start();
        Session session = auto(connection);
        proxy.cut();
        told.get(WAIT_MS, TimeUnit.MILLISECONDS);
        try {
            session.createConsumer(queue());
        } catch (JMSException expected) {
            return;
        }
        throw new AssertionError("a cut connection accepts a consumer");
    }

    @Rule
    void closedConnectionRefusesUse() throws Exception {
        ActiveMQConnection connection = connect();
        Session session = auto(connection);
        connection.close();
        fails(IllegalStateException.class, () -> session.createProducer(queue()));
        fails(org.apache.activemq.ConnectionClosedException.class, () -> auto(connection));
    }

    @Rule
    void destinationSourceListsQueuesAndTopics() throws Exception {
        ActiveMQConnection connection = connect();
        var source = connection.getDestinationSource();
        Queue queue = queue();
        var topic = topic();
        Session session = auto(connection);
        session.createConsumer(queue);
        session.createConsumer(topic);
        eventually("queue is listed", () -> source.getQueues().contains(queue));
        eventually("topic is listed", () -> source.getTopics().contains(topic));
        Set<?> late = connect().getDestinationSource().getQueues();
        eventually("a later source lists it too", () -> late.contains(queue));
    }

    @Rule
    void manySessionsOfOneConnectionWorkIndependently() throws Exception {
        ActiveMQConnection connection = connect();
        for (int i = 0; i < 50; i++) {
            Queue queue = queue();
            Session session = auto(connection);
            send(session, queue, 0, 2);
            takes(session.createConsumer(queue), 0, 2);
        }
    }
}

import java.io.File;
import org.apache.activemq.broker.BrokerFactory;
import org.apache.activemq.broker.BrokerService;

/** Runs the original broker in the foreground from an XML file. */
final class Peer {
    private Peer() {}

    public static void main(String[] args) throws Exception {
        BrokerService broker =
                BrokerFactory.createBroker("xbean:" + new File(args[0]).toURI(), false);
        broker.start();
        broker.waitUntilStarted();
        broker.waitUntilStopped();
        System.exit(0);
    }
}

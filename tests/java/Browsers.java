import java.util.ArrayList;
import java.util.Enumeration;
import java.util.List;
import javax.jms.JMSException;
import javax.jms.Message;
import javax.jms.MessageConsumer;
import javax.jms.MessageProducer;
import javax.jms.Queue;
import javax.jms.QueueBrowser;
import javax.jms.Session;
import org.apache.activemq.ActiveMQConnection;
import org.apache.activemq.command.ActiveMQQueue;

final class Browsers extends Rules {
    private static List<String> browse(
            Session session, Queue queue, String selector) throws JMSException {
        QueueBrowser browser = session.createBrowser(queue, selector);
        List<String> texts = new ArrayList<>();
        Enumeration<?> all = browser.getEnumeration();
        while (all.hasMoreElements()) {
            texts.add(text((Message) all.nextElement()));
        }
        browser.close();
        return texts;
    }

    private static List<String> numbers(int from, int to) {
        List<String> texts = new ArrayList<>();
        for (int i = from; i < to; i++) {
            texts.add(Integer.toString(i));
        }
        return texts;
    }

    @Rule
    void browserShowsAllInOrderAndTakesNothing() throws Exception {
        Queue queue = queue();
        Session session = session();
        send(session, queue, 0, 100);
        equal(numbers(0, 100), browse(session, queue, null), "browsed");
        equal(numbers(0, 100), browse(session, queue, null), "browsed again");
        takesFlagged(session.createConsumer(queue), 0, 100, false, 1);
        isEmpty(queue);
    }

    @Rule
    void browserOfEmptyQueueEnds() throws Exception {
        equal(List.of(), browse(session(), queue(), null), "browsed");
    }

    @Rule
    void browserAppliesItsSelector() throws Exception {
        Queue queue = queue();
        Session session = session();
        MessageProducer producer = session.createProducer(queue);
        for (int i = 0; i < 10; i++) {
            Message message = session.createTextMessage(Integer.toString(i));
            message.setIntProperty("n", i);
            producer.send(message);
        }
        equal(List.of("7", "8", "9"), browse(session, queue, "n > 6"), "browsed");
        equal(List.of(), browse(session, queue, "n > 60"), "browsed");
    }

    @Rule
    void browserShowsWhatAConsumerHolds() throws Exception {
        Queue queue = queue();
        ActiveMQConnection connection = connect("jms.prefetchPolicy.queuePrefetch=5");
        Session holder = client(connection);
        MessageConsumer consumer = holder.createConsumer(queue);
        send(holder, queue, 0, 10);
        takes(consumer, 0, 3);
        equal(numbers(0, 10), browse(auto(connection), queue, null), "browsed");
        takes(consumer, 3, 5).acknowledge();
        takes(consumer, 5, 10);
    }

    @Rule
    void browserDoesNotDisturbConsumers() throws Exception {
        Queue queue = queue();
        ActiveMQConnection connection = connect();
        MessageConsumer consumer = auto(connection).createConsumer(queue);
        QueueBrowser browser = auto(connection).createBrowser(queue);
        browser.getEnumeration();
        send(auto(connection), queue, 0, 20);
        takes(consumer, 0, 20);
    }

    @Rule
    void browserWithSmallPrefetchShowsAll() throws Exception {
        Queue queue = queue();
        ActiveMQConnection connection = connect("jms.prefetchPolicy.queueBrowserPrefetch=10");
        send(auto(connection), queue, 0, 50);
        equal(numbers(0, 50), browse(auto(connection), queue, null), "browsed");
    }

    /** 400, unless it says otherwise. */
    @Rule
    void policyLimitsWhatABrowserShows() throws Exception {
        Queue queue = queue("PRIO");
        Session session = auto(connect("jms.useAsyncSend=true"));
        send(session, queue, 0, 1000);
        equal(numbers(0, 400), browse(session, queue, null), "browsed");
    }

    @Rule
    void browserShowsAllWhereThereIsNoPolicy() throws Exception {
        Queue queue = queue();
        Session session = auto(connect("jms.useAsyncSend=true"));
        send(session, queue, 0, 3000);
        equal(numbers(0, 3000), browse(session, queue, null), "browsed");
    }

    /** With maxBrowsePageSize="0" nothing is read for a browser. */
    @Rule
    void browserThatMayReadNothingSeesWhatConsumersHoldAndReturned() throws Exception {
        Queue queue = queue("UNSEEN");
        ActiveMQConnection connection = connect();
        Session session = auto(connection);
        send(session, queue, 0, 5);
        equal(List.of(), browse(session, queue, null), "browsed before any consumer came");
        Session holder = client(connection);
        takes(holder.createConsumer(queue), 0, 3);
        equal(numbers(0, 5), browse(session, queue, null), "browsed while a consumer holds them");
        holder.close();
        equal(numbers(0, 5), browse(session, queue, null), "browsed when they are back");
        takes(session.createConsumer(queue), 0, 5);
        equal(List.of(), browse(session, queue, null), "browsed when they are gone");
    }

    @Rule
    void queueThatIsBrowsedIsNotDestroyed() throws Exception {
        ActiveMQQueue queue = (ActiveMQQueue) queue();
        ActiveMQConnection connection = connect();
        Session session = auto(connection);
        send(session, queue, 0, 3);
        QueueBrowser browser = session.createBrowser(queue);
        browser.getEnumeration();
        fails(JMSException.class, "Destination: " + queue + " still has an active subscription: ",
                () -> connection.destroyDestination(queue));
        browser.close();
        connection.destroyDestination(queue);
        isEmpty(queue);
    }

    @Rule
    void closedBrowserLeavesNothingBehind() throws Exception {
        Queue queue = queue();
        ActiveMQConnection connection = connect();
        Session session = auto(connection);
        send(session, queue, 0, 5);
        QueueBrowser browser = session.createBrowser(queue);
        Enumeration<?> all = browser.getEnumeration();
        check(all.hasMoreElements(), "nothing to browse");
        all.nextElement();
        browser.close();
        takesFlagged(auto(connection).createConsumer(queue), 0, 5, false, 1);
    }
}

import java.util.ArrayList;
import java.util.List;
import javax.jms.JMSException;
import javax.jms.Message;
import javax.jms.MessageConsumer;
import javax.jms.MessageProducer;
import javax.jms.Queue;
import javax.jms.Session;
import org.apache.activemq.command.ConsumerInfo;
import org.apache.activemq.command.MessageAck;
import org.apache.activemq.command.MessageDispatch;

/** To whom groups go, when they leave, and what that does to messages without group. */
final class MessageGroups extends Rules {
    private Session producing;

    /** Sends the text "number". Sequence 0: says nothing of it. */
    private void send(Queue queue, int number, String group, int sequence) throws JMSException {
        if (producing == null) {
            producing = session();
        }
        Message message = producing.createTextMessage(Integer.toString(number));
        if (group != null) {
            message.setStringProperty("JMSXGroupID", group);
        }
        if (sequence != 0) {
            message.setIntProperty("JMSXGroupSeq", sequence);
        }
        MessageProducer producer = producing.createProducer(queue);
        producer.send(message);
        producer.close();
    }

    /** Sends the texts from "first" on, one for each group. */
    private void send(Queue queue, int first, String... groups) throws JMSException {
        for (int i = 0; i < groups.length; i++) {
            send(queue, first + i, groups[i], 0);
        }
    }

    private MessageConsumer member(Queue queue) throws JMSException {
        return session().createConsumer(queue);
    }

    private MessageConsumer member(Queue queue, String options) throws JMSException {
        return session().createConsumer(withOptions(queue, options));
    }

    private static boolean isFirst(Message message) throws JMSException {
        return message.getBooleanProperty("JMSXGroupFirstForConsumer");
    }

    @Rule
    void newGroupsGoToWhoHasFewest() throws Exception {
        Queue queue = queue();
        MessageConsumer one = member(queue);
        send(queue, 0, "a", "b", "c");
        takes(one, 0, 3);
        MessageConsumer two = member(queue);
        send(queue, 3, "d", "e", "f", "g", "h");
        takes(two, 3, 6);
        takes(one, 6, 7);
        takes(two, 7, 8);
    }

    @Rule
    void messagesWithoutGroupGoToWhoHasFewestGroups() throws Exception {
        Queue queue = queue();
        MessageConsumer one = member(queue);
        send(queue, 0, "a");
        takes(one, 0, 1);
        MessageConsumer two = member(queue, "consumer.prefetchSize=3");
        MessageConsumer three = member(queue);
        send(queue, 1, null, null, null, null);
        takes(two, 1, 2);
        takes(three, 2, 3);
        takes(two, 3, 4);
        takes(three, 4, 5);
    }

    @Rule
    void whoHasMoreGroupsGetsOthersMessagesWhenTheRestIsFull() throws Exception {
        Queue queue = queue();
        MessageConsumer one = member(queue);
        send(queue, 0, "a");
        takes(one, 0, 1);
        RawClient two = new RawClient(connect());
        ConsumerInfo full = two.consume(queue, 2);
        send(queue, 1, null, null, null);
        List<MessageDispatch> held = two.takes(1, 3);
        takes(one, 3, 4);
        two.send(RawClient.ack(MessageAck.STANDARD_ACK_TYPE, held));
        two.close(full, -1);
    }

    @Rule
    void whoHasClosedAGroupIsLighter() throws Exception {
        Queue queue = queue();
        MessageConsumer one = member(queue);
        MessageConsumer two = member(queue);
        send(queue, 0, "a", "b", "c", "d");
        takes(one, 0, 1);
        takes(two, 1, 2);
        takes(one, 2, 3);
        takes(two, 3, 4);
        send(queue, 4, "b", -1);
        takes(two, 4, 5);
        send(queue, 5, "e", "f");
        takes(two, 5, 6);
        takes(one, 6, 7);
    }

    @Rule
    void groupOfAConsumerThatLeavesGoesToWhoHasFewest() throws Exception {
        Queue queue = queue();
        MessageConsumer one = member(queue);
        MessageConsumer two = member(queue);
        MessageConsumer three = member(queue);
        send(queue, 0, "a", "b", "c", "d");
        takes(one, 0, 1);
        takes(two, 1, 2);
        takes(three, 2, 3);
        takes(one, 3, 4);
        two.close();
        settled();
        send(queue, 4, "b");
        check(isFirst(takes(three, 4, 5)), "not the first of its consumer");
    }

    @Rule
    void sequenceOneAtItsOwnerBeginsAnew() throws Exception {
        Queue queue = queue();
        MessageConsumer one = member(queue);
        for (int i = 0; i < 3; i++) {
            send(queue, i, "a", 1);
            check(isFirst(takes(one, i, i + 1)), "not the first of its consumer");
        }
        send(queue, 3, "a", 2);
        check(!isFirst(takes(one, 3, 4)), "first again");
    }

    /** The original counts a group as often as it begins. */
    @Rule(beyondOriginal = true)
    void groupThatBeginsAnewCountsOnce() throws Exception {
        Queue queue = queue();
        MessageConsumer one = member(queue);
        for (int i = 0; i < 3; i++) {
            send(queue, i, "a", 1);
        }
        takes(one, 0, 3);
        MessageConsumer two = member(queue);
        send(queue, 3, "b", "c");
        takes(two, 3, 4);
        takes(one, 4, 5);
    }

    /** The original closes a group only if it has an owner already. */
    @Rule(beyondOriginal = true)
    void groupThatBeginsWithItsEndIsOver() throws Exception {
        Queue queue = queue();
        MessageConsumer one = member(queue);
        send(queue, 0, "a", -1);
        takes(one, 0, 1);
        MessageConsumer two = member(queue, "consumer.priority=5");
        send(queue, 1, "a", 0);
        check(isFirst(takes(two, 1, 2)), "not the first of its consumer");
    }

    @Rule
    void consumerOfHigherPriorityTakesNoGroupOver() throws Exception {
        Queue queue = queue();
        MessageConsumer low = member(queue);
        send(queue, 0, "a");
        takes(low, 0, 1);
        MessageConsumer high = member(queue, "consumer.priority=5");
        send(queue, 1, "a", "b", "c");
        takes(low, 1, 2);
        takes(high, 2, 4);
    }

    @Rule
    void newGroupsGoByPriorityFirst() throws Exception {
        Queue queue = queue();
        MessageConsumer low = member(queue);
        RawClient high = new RawClient(connect());
        ConsumerInfo info = high.consumer(queue, 2);
        info.setPriority((byte) 3);
        high.connection.syncSendPacket(info);
        send(queue, 0, "a", "b", "c", "a");
        List<MessageDispatch> held = high.takes(0, 2);
        takes(low, 2, 3);
        // "a" is not for others though its owner is full.
        send(queue, 4, "d");
        takes(low, 4, 5);
        high.send(RawClient.ack(MessageAck.STANDARD_ACK_TYPE, held));
        high.takes(3, 4);
    }

    @Rule
    void fullOwnerIsWaitedFor() throws Exception {
        Queue queue = queue();
        RawClient owner = new RawClient(connect());
        owner.consume(queue, 1);
        send(queue, 0, "a");
        List<MessageDispatch> held = owner.takes(0, 1);
        MessageConsumer other = member(queue);
        send(queue, 1, "a", "b", null, "a");
        takes(other, 2, 4);
        owner.send(RawClient.ack(MessageAck.STANDARD_ACK_TYPE, held));
        held = owner.takes(1, 2);
        owner.send(RawClient.ack(MessageAck.STANDARD_ACK_TYPE, held));
        owner.takes(4, 5);
    }

    @Rule
    void groupGoesToWhoWantsIt() throws Exception {
        Queue queue = queue();
        Session session = session();
        MessageConsumer picky = session.createConsumer(
                withOptions(queue, "consumer.priority=5"), "JMSXGroupID = 'a'");
        MessageConsumer other = member(queue);
        send(queue, 0, "b", "a", "b", "a");
        takes(other, 0, 1);
        takes(picky, 1, 2);
        takes(other, 2, 3);
        takes(picky, 3, 4);
    }

    @Rule
    void exclusiveConsumerDoesNotGetWhatOthersOwn() throws Exception {
        Queue queue = queue();
        MessageConsumer owner = member(queue);
        send(queue, 0, "a");
        takes(owner, 0, 1);
        MessageConsumer exclusive = member(queue, "consumer.exclusive=true");
        send(queue, 1, "a", "b", null);
        takes(exclusive, 2, 4);
        owner.close();
        check(isFirst(takes(exclusive, 1, 2)), "not the first of its consumer");
    }

    @Rule
    void returnedMessagesOfAGroupStayTogetherAndInOrder() throws Exception {
        Queue queue = queue();
        RawClient owner = new RawClient(connect());
        ConsumerInfo gone = owner.consume(queue, 10);
        send(queue, 0, "a", "a", "a", "a");
        owner.takes(0, 4);
        MessageConsumer[] others = {member(queue), member(queue)};
        send(queue, 4, "a");
        owner.takes(4, 5);
        owner.close(gone, -2);
        MessageConsumer next = others[0];
        Message first = next.receive(1000);
        if (first == null) {
            next = others[1];
            first = next(next);
        }
        equal("0", text(first), "text of the first");
        check(isFirst(first), "not the first of its consumer");
        flags(first, true, 2);
        takesFlagged(next, 1, 5, true, 2);
    }

    @Rule
    void groupsWaitForConsumersAndAreShared() throws Exception {
        Queue queue = queue("STARTS");
        send(queue, 0, "a", "b", "a", "b");
        MessageConsumer one = member(queue);
        MessageConsumer two = member(queue);
        takes(one, 0, 1);
        takes(two, 1, 2);
        takes(one, 2, 3);
        takes(two, 3, 4);
    }

    @Rule
    void groupsOfOneBucketHaveOneOwner() throws Exception {
        Queue queue = queue("BUCKET");
        MessageConsumer one = member(queue);
        MessageConsumer two = member(queue);
        // Java's hash codes of "a" to "d" are 97 to 100.
        send(queue, 0, "a", "b", "c", "d", "a");
        check(isFirst(takes(one, 0, 1)), "not the first of its bucket");
        check(isFirst(takes(two, 1, 2)), "not the first of its bucket");
        check(!isFirst(takes(one, 2, 3)), "first of its bucket");
        takes(two, 3, 4);
        takes(one, 4, 5);
        send(queue, 5, "c", -1);
        takes(one, 5, 6);
        send(queue, 6, "a");
        check(isFirst(takes(one, 6, 7)), "the bucket was not closed");
    }

    @Rule
    void groupUnusedForLongestIsForgotten() throws Exception {
        Queue queue = queue("FEW");
        MessageConsumer one = member(queue);
        MessageConsumer two = member(queue);
        // Two groups are remembered.
        send(queue, 0, "a", "b", "a", "c");
        takes(one, 0, 1);
        takes(two, 1, 2);
        takes(one, 2, 3);
        // "b" is forgotten, so this one has none.
        check(isFirst(takes(two, 3, 4)), "not the first of its consumer");
        send(queue, 4, "b");
        // Now "a" is.
        check(isFirst(takes(one, 4, 5)), "not the first of its consumer");
    }

    @Rule
    void aThousandGroupsAreRemembered() throws Exception {
        Queue queue = queue();
        MessageConsumer one = member(queue);
        Session session = transacted(connect());
        MessageProducer producer = session.createProducer(queue);
        // 1024, of which the first is not the last that was used.
        for (int i = 0; i < 1025; i++) {
            Message message = session.createTextMessage(Integer.toString(i));
            message.setStringProperty("JMSXGroupID", "g" + i);
            producer.send(message);
        }
        session.commit();
        takes(one, 0, 1025);
        MessageConsumer two = member(queue);
        send(queue, 1025, "g1", "g0");
        check(!isFirst(takes(one, 1025, 1026)), "it was forgotten");
        check(isFirst(takes(two, 1026, 1027)), "it was remembered");
    }

    @Rule
    void simpleMapForgetsNothing() throws Exception {
        Queue queue = queue("SIMPLE");
        MessageConsumer one = member(queue);
        Session session = transacted(connect());
        MessageProducer producer = session.createProducer(queue);
        for (int i = 0; i < 1500; i++) {
            Message message = session.createTextMessage(Integer.toString(i));
            message.setStringProperty("JMSXGroupID", "g" + i);
            producer.send(message);
        }
        session.commit();
        takes(one, 0, 1500);
        MessageConsumer two = member(queue);
        send(queue, 1500, "g0", "new", "g1499");
        check(!isFirst(takes(one, 1500, 1501)), "it was forgotten");
        takes(two, 1501, 1502);
        takes(one, 1502, 1503);
    }

    @Rule
    void strictOrderGivesAllGroupsToTheFirstConsumer() throws Exception {
        Queue queue = queue("STRICT");
        MessageConsumer one = member(queue);
        MessageConsumer two = member(queue);
        send(queue, 0, "a", "b", null, "c");
        takes(one, 0, 4);
        // A consumer that comes puts those with fewer groups first.
        MessageConsumer three = member(queue);
        send(queue, 4, "d", "e", "a");
        takes(two, 4, 6);
        takes(one, 6, 7);
        equal(null, three.receiveNoWait(), "message of the third");
    }

    @Rule
    void withoutPrioritiesGroupsGoInTurn() throws Exception {
        Queue queue = queue("EQUAL");
        MessageConsumer one = member(queue);
        send(queue, 0, "a", "b");
        takes(one, 0, 2);
        MessageConsumer two = member(queue, "consumer.priority=5");
        send(queue, 2, "c", "d", null, null);
        takes(one, 2, 3);
        takes(two, 3, 4);
        takes(one, 4, 5);
        takes(two, 5, 6);
    }

    @Rule
    void pullsDoNotGetWhatOthersOwn() throws Exception {
        Queue queue = queue();
        MessageConsumer one = member(queue, "consumer.prefetchSize=0");
        MessageConsumer two = member(queue, "consumer.prefetchSize=0");
        send(queue, 0, "a", "a");
        check(isFirst(takes(one, 0, 1)), "not the first of its consumer");
        equal(null, two.receiveNoWait(), "message of a group");
        takes(one, 1, 2);
    }

    @Rule
    void emptyNameIsAGroupToo() throws Exception {
        Queue queue = queue();
        MessageConsumer one = member(queue);
        MessageConsumer two = member(queue);
        send(queue, 0, "", "", null, "");
        check(isFirst(takes(one, 0, 1)), "not the first of its consumer");
        takes(one, 1, 2);
        takes(two, 2, 3);
        takes(one, 3, 4);
    }

    @Rule
    void browsersSeeGroupsAndTakeNone() throws Exception {
        Queue queue = queue();
        send(queue, 0, "a", "b", "a");
        Session session = session();
        var browser = session.createBrowser(queue);
        List<String> seen = new ArrayList<>();
        for (var all = browser.getEnumeration(); all.hasMoreElements();) {
            Message message = (Message) all.nextElement();
            seen.add(message.getStringProperty("JMSXGroupID"));
            check(!isFirst(message), "first of a browser");
        }
        browser.close();
        equal(List.of("a", "b", "a"), seen, "groups");
        MessageConsumer one = session.createConsumer(queue);
        check(isFirst(takes(one, 0, 1)), "not the first of its consumer");
        takes(one, 1, 3);
    }
}

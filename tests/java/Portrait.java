import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.Enumeration;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import javax.jms.BytesMessage;
import javax.jms.JMSException;
import javax.jms.MapMessage;
import javax.jms.Message;
import javax.jms.MessageEOFException;
import javax.jms.ObjectMessage;
import javax.jms.StreamMessage;
import javax.jms.TextMessage;
import org.apache.activemq.command.ActiveMQMessage;

/** All that a receiver can see of a message, as text that can be compared. */
final class Portrait {
    private Portrait() {}

    /** Of a message that was received, or of one that was sent and is not needed any more. */
    static String of(Message message) throws JMSException {
        TreeMap<String, Object> seen = new TreeMap<>();
        seen.put("JMSMessageID", message.getJMSMessageID());
        seen.put("JMSDestination", message.getJMSDestination());
        seen.put("JMSReplyTo", message.getJMSReplyTo());
        seen.put("JMSCorrelationID", message.getJMSCorrelationID());
        seen.put("JMSType", message.getJMSType());
        seen.put("JMSDeliveryMode", message.getJMSDeliveryMode());
        seen.put("JMSPriority", message.getJMSPriority());
        seen.put("JMSTimestamp", message.getJMSTimestamp());
        seen.put("JMSExpiration", message.getJMSExpiration());
        ActiveMQMessage ours = (ActiveMQMessage) message;
        seen.put("JMSXGroupID", ours.getGroupID());
        seen.put("JMSXGroupSeq", ours.getGroupSequence());
        for (Object name : Collections.list((Enumeration<?>) ours.getPropertyNames())) {
            seen.put("property " + name, valueOf(ours.getObjectProperty((String) name)));
        }
        return message.getClass().getSimpleName() + " " + bodyOf(message) + " " + seen;
    }

    private static Object bodyOf(Message message) throws JMSException {
        if (message instanceof TextMessage text) {
            return valueOf(text.getText());
        }
        if (message instanceof ObjectMessage object) {
            return valueOf(object.getObject());
        }
        if (message instanceof MapMessage map) {
            TreeMap<String, Object> entries = new TreeMap<>();
            for (Object name : Collections.list((Enumeration<?>) map.getMapNames())) {
                entries.put((String) name, valueOf(map.getObject((String) name)));
            }
            return entries;
        }
        if (message instanceof BytesMessage bytes) {
            bytes.reset();
            byte[] content = new byte[(int) bytes.getBodyLength()];
            bytes.readBytes(content);
            return valueOf(content);
        }
        if (message instanceof StreamMessage stream) {
            stream.reset();
            List<Object> values = new ArrayList<>();
            while (true) {
                try {
                    values.add(valueOf(stream.readObject()));
                } catch (MessageEOFException e) {
                    return values;
                }
            }
        }
        return "no body";
    }

    /** Tells apart what looks alike, such as 1 and 1L. */
    private static Object valueOf(Object value) {
        if (value instanceof byte[] bytes) {
            return bytes.length + " bytes, hash " + Arrays.hashCode(bytes);
        }
        if (value instanceof String text && text.length() > 100) {
            return text.length() + " characters, hash " + text.hashCode();
        }
        if (value instanceof Map<?, ?> map) {
            return "Map:" + map;
        }
        if (value instanceof List<?> list) {
            return "List:" + list;
        }
        return value == null ? "null" : value.getClass().getSimpleName() + ":" + value;
    }
}

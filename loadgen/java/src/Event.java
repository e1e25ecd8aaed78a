package eventdrill;

import java.nio.charset.StandardCharsets;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.common.header.Header;

/**
 * One record that a poll handed over, with what it says about itself. `attempt` is the number of its next try and `due` its instant from
 * the start of the run: a copy in a retry topic goes on counting, and knows where the event was first read.
 */
record Event(
        int id, long root, long intended, String topic, int partition, long offset, byte[] key, byte[] value, int attempt, long due,
        String copyOf) {
    static final String HEADER_ATTEMPT = "eventdrill-attempt";
    static final String HEADER_DUE = "eventdrill-due";
    static final String HEADER_ORIGIN = "eventdrill-origin";

    static Event of(ConsumerRecord<byte[], byte[]> record) {
        byte[] value = record.value();
        String attempt = text(record, HEADER_ATTEMPT);
        boolean copy = attempt != null;
        return new Event(
                (int) Records.word(value, 1), Records.word(value, 2), Records.word(value, 3), record.topic(), record.partition(),
                record.offset(), record.key(), value, copy ? Integer.parseInt(attempt) : 1,
                copy ? Long.parseLong(text(record, HEADER_DUE)) : 0, copy ? text(record, HEADER_ORIGIN) : null);
    }

    private static String text(ConsumerRecord<byte[], byte[]> record, String name) {
        Header found = record.headers().lastHeader(name);
        return found == null ? null : new String(found.value(), StandardCharsets.US_ASCII);
    }

    /** Return topic/partition/offset where the event was first read. */
    String origin() {
        return copyOf != null ? copyOf : topic + "/" + partition + "/" + offset;
    }

    /** Return the topic where the event was first read. */
    String firstTopic() {
        String origin = origin();
        return origin.substring(0, origin.lastIndexOf('/', origin.lastIndexOf('/') - 1));
    }
}

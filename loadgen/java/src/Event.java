package eventdrill;

import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.Set;
import java.util.stream.StreamSupport;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.common.header.Header;

/**
 * One record that a poll handed over, with what it says about itself. `attempt` is the number of its next try and `due` its instant from
 * the start of the run: a copy in a retry topic goes on counting, and knows where the event was first read. `ids` are the headers that
 * say what a value of the user's own does not.
 */
record Event(
        long id, long root, long intended, boolean poison, String topic, int partition, long offset, byte[] key, byte[] value, int attempt,
        long due, String copyOf, List<Header> ids) {
    static final String HEADER_RUN = "eventdrill-run";
    static final String HEADER_ID = "eventdrill-id";
    static final String HEADER_ROOT = "eventdrill-root";
    static final String HEADER_INTENDED = "eventdrill-intended";
    static final String HEADER_POISON = "eventdrill-poison";
    static final String HEADER_ATTEMPT = "eventdrill-attempt";
    static final String HEADER_DUE = "eventdrill-due";
    static final String HEADER_ORIGIN = "eventdrill-origin";

    private static final Set<String> IDS = Set.of(HEADER_RUN, HEADER_ID, HEADER_ROOT, HEADER_INTENDED, HEADER_POISON);

    /** Read an event of a run; null where the record is other people's. Only `inHeaders` may its value be the user's own. */
    static Event of(ConsumerRecord<byte[], byte[]> record, long run, boolean inHeaders) {
        byte[] value = record.value();
        if (inHeaders && String.valueOf(run).equals(text(record, HEADER_RUN))) {
            List<Header> ids = StreamSupport.stream(record.headers().spliterator(), false).filter(each -> IDS.contains(each.key())).toList();
            return of(
                    record, number(record, HEADER_ID), number(record, HEADER_ROOT), number(record, HEADER_INTENDED),
                    text(record, HEADER_POISON) != null, ids);
        }
        if (!Records.isOf(run, value)) {
            return null;
        }
        return of(record, Records.word(value, 1), Records.word(value, 2), Records.word(value, 3), Records.isPoison(value), List.of());
    }

    private static Event of(
            ConsumerRecord<byte[], byte[]> record, long id, long root, long intended, boolean poison, List<Header> ids) {
        boolean copy = text(record, HEADER_ATTEMPT) != null;
        return new Event(
                id, root, intended, poison, record.topic(), record.partition(), record.offset(), record.key(), record.value(),
                copy ? (int) number(record, HEADER_ATTEMPT) : 1, copy ? number(record, HEADER_DUE) : 0,
                copy ? text(record, HEADER_ORIGIN) : null, ids);
    }

    private static long number(ConsumerRecord<byte[], byte[]> record, String name) {
        return Long.parseLong(text(record, name));
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

package eventdrill;

import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.stream.StreamSupport;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.header.Headers;
import org.apache.kafka.common.header.internals.RecordHeader;

/**
 * One record that a poll handed over, with what it says about itself. `attempt` is the number of its next try and `due` its instant from
 * the start of the run: a copy in a retry topic goes on counting, and knows where the event was first read. `headers` are those that
 * are about the event: its ids where the value is the user's own, and how often it was sent again. `delivery` is how often it has been
 * delivered, where the brokers count that, in a share group.
 */
record Event(
        long id, long root, long intended, boolean poison, String topic, int partition, long offset, byte[] key, byte[] value, int attempt,
        long due, String copyOf, List<Header> headers, int delivery) {
    static final String HEADER_RUN = "eventdrill-run";
    static final String HEADER_ID = "eventdrill-id";
    static final String HEADER_ROOT = "eventdrill-root";
    static final String HEADER_INTENDED = "eventdrill-intended";
    static final String HEADER_POISON = "eventdrill-poison";
    static final String HEADER_ATTEMPT = "eventdrill-attempt";
    static final String HEADER_DUE = "eventdrill-due";
    static final String HEADER_ORIGIN = "eventdrill-origin";

    /** What is said of an event itself, and goes with it to every topic. */
    static final Set<String> OF_THE_EVENT = Set.of(
            HEADER_RUN, HEADER_ID, HEADER_ROOT, "eventdrill-cause", HEADER_INTENDED, "eventdrill-schema", HEADER_POISON, "eventdrill-redriven");

    /**
     * Read an event of a run; null where the record is other people's. Only `inHeaders` may its value be the user's own; in a topic of
     * `outside` each record is an event.
     */
    static Event of(ConsumerRecord<byte[], byte[]> record, long run, boolean inHeaders, Outside outside) {
        byte[] value = record.value();
        boolean named = inHeaders && String.valueOf(run).equals(text(record, HEADER_RUN));
        if (outside.writes(record.topic()) && !(named && number(record, HEADER_ID) >= Outside.FIRST)) {
            return ofOutside(record, run, outside.identity(record));
        }
        if (named) {
            return of(
                    record, number(record, HEADER_ID), number(record, HEADER_ROOT), number(record, HEADER_INTENDED),
                    text(record, HEADER_POISON) != null);
        }
        if (!Records.isOf(run, value)) {
            return null;
        }
        return of(record, Records.word(value, 1), Records.word(value, 2), Records.word(value, 3), Records.isPoison(value));
    }

    /** Return an event that a program of the user's has sent, with what ours carry to whatever topic it is handed on to. */
    private static Event ofOutside(ConsumerRecord<byte[], byte[]> record, long run, long id) {
        byte[] value = record.value() == null ? new byte[0] : record.value();
        Map<String, String> ours = Map.of(
                HEADER_RUN, String.valueOf(run), HEADER_ID, String.valueOf(id), HEADER_ROOT, String.valueOf(id), HEADER_INTENDED, "0");
        List<Header> headers = new ArrayList<>(ofTheEvent(record.headers()));
        headers.removeIf(each -> ours.containsKey(each.key()));
        ours.forEach((name, text) -> headers.add(new RecordHeader(name, text.getBytes(StandardCharsets.US_ASCII))));
        return new Event(
                id, id, 0, false, record.topic(), record.partition(), record.offset(), record.key(), value, 1, 0, null, headers, 1);
    }

    private static Event of(ConsumerRecord<byte[], byte[]> record, long id, long root, long intended, boolean poison) {
        boolean copy = text(record, HEADER_ATTEMPT) != null;
        return new Event(
                id, root, intended, poison, record.topic(), record.partition(), record.offset(), record.key(), record.value(),
                copy ? (int) number(record, HEADER_ATTEMPT) : 1, copy ? number(record, HEADER_DUE) : 0,
                copy ? text(record, HEADER_ORIGIN) : null, ofTheEvent(record.headers()), 1);
    }

    /** Return the same as it is delivered for the nth time. */
    Event deliveredTimes(int count) {
        return new Event(id, root, intended, poison, topic, partition, offset, key, value, attempt, due, copyOf, headers, count);
    }

    private static List<Header> ofTheEvent(Headers headers) {
        return headers.iterator().hasNext()
                ? StreamSupport.stream(headers.spliterator(), false).filter(each -> OF_THE_EVENT.contains(each.key())).toList()
                : List.of();
    }

    private static long number(ConsumerRecord<byte[], byte[]> record, String name) {
        return Long.parseLong(text(record, name));
    }

    static String text(ConsumerRecord<byte[], byte[]> record, String name) {
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

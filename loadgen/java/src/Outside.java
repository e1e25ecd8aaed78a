package eventdrill;

import java.util.Map;
import org.apache.kafka.clients.consumer.ConsumerRecord;

/**
 * Topics that the user's own programs write to. An event there is called by the number that its program gave it, or else by its place in the
 * log: ids beyond all others, which every process can tell by itself, whatever client it has.
 */
final class Outside {
    /** Ids of such events begin here. */
    static final long FIRST = 1L << 62;

    static final Outside NONE = new Outside(Map.of());

    private static final long NUMBERED = FIRST | 1L << 61;
    private static final int TOPIC_AT = 52;
    private static final int PARTITION_AT = 35;
    private static final int MOST_DIGITS = 18;
    private static final long SPREAD = 0x9E3779B97F4A7C15L;

    /** By topic: its number in the file. */
    private final Map<String, Object> topics;

    private Outside(Map<String, Object> topics) {
        this.topics = topics;
    }

    static Outside of(Spec spec) {
        return spec.has("outside") ? new Outside(spec.part("outside").values()) : NONE;
    }

    /** Whether any program of the user's writes. */
    boolean any() {
        return !topics.isEmpty();
    }

    /** Whether a program of the user's writes to a topic. */
    boolean writes(String topic) {
        return topics.containsKey(topic);
    }

    /** Return the id of a record in such a topic. */
    long identity(ConsumerRecord<byte[], byte[]> record) {
        String number = Event.text(record, Event.HEADER_ID);
        // With a run's header beside it the number is that of the event that the record follows from.
        if (Event.text(record, Event.HEADER_RUN) == null && number != null && number.matches("[0-9]{1," + MOST_DIGITS + "}")) {
            return ofNumber(Long.parseLong(number));
        }
        long topic = ((Number) topics.get(record.topic())).longValue();
        return ofPlace(topic, record.partition(), record.offset());
    }

    static long ofNumber(long number) {
        return NUMBERED | number;
    }

    static long ofPlace(long topic, long partition, long offset) {
        return FIRST | topic << TOPIC_AT | partition << PARTITION_AT | offset;
    }

    /** Whether an id says a number, not a place. */
    static boolean isNumbered(long id) {
        return id >= NUMBERED;
    }

    static long number(long id) {
        return id & ~NUMBERED;
    }

    static long topic(long id) {
        return (id & ~FIRST) >>> TOPIC_AT;
    }

    static long partition(long id) {
        return (id >>> PARTITION_AT) & ((1L << (TOPIC_AT - PARTITION_AT)) - 1);
    }

    static long offset(long id) {
        return id & ((1L << PARTITION_AT) - 1);
    }

    /** Return which of so many declared events stands for one: a pure function of its id. */
    static int standIn(long id, int declared) {
        return (int) ((id * SPREAD >>> 32) * declared >>> 32);
    }
}

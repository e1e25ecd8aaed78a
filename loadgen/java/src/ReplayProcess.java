package eventdrill;

import java.io.IOException;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.apache.kafka.clients.consumer.ConsumerConfig;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;

/**
 * Handles what lies in the log once more, for the action `replay`: from given offsets up to what was there when it began, with the handler
 * of the group's members. It joins no group and commits nothing. Its rows are the group's, of no member.
 */
final class ReplayProcess {
    private static final Duration WAIT = Duration.ofMillis(100);
    /** A replay that was held up does not catch up by more than this. */
    private static final long CATCH_UP_NS = 100_000_000;

    private final Child child;
    private final Handler handler;
    private final MemberRows rows;
    private final Clients clients;
    private final KafkaConsumer<byte[], byte[]> consumer;
    private final Hands hands = new Hands();
    private final long startNs;
    /** Nanoseconds from one event to the next, 0 where the handler alone sets the pace. */
    private final double everyNs;
    private double due = System.nanoTime();
    private long poll;
    private long delivered;
    private long known;

    private ReplayProcess(Child child) throws IOException {
        Spec spec = child.spec;
        this.child = child;
        this.everyNs = spec.has("rate_hz") ? 1e9 / spec.real("rate_hz") : 0;
        this.startNs = spec.number("start_ns");
        Lookup lookup = new Lookup(child);
        this.rows = new MemberRows(child, lookup);
        this.clients = new Clients(spec);
        this.handler = new Handler(child, rows, lookup, Letters.of(spec, rows, clients), null);
        handler.startNs = startNs;
        Map<String, Object> settings = spec.settings("settings");
        settings.put(ConsumerConfig.ENABLE_AUTO_COMMIT_CONFIG, "false");
        settings.put(ConsumerConfig.AUTO_OFFSET_RESET_CONFIG, "earliest");
        this.consumer = new KafkaConsumer<>(settings, new ByteArrayDeserializer(), new ByteArrayDeserializer());
    }

    public static void main(String[] arguments) throws Exception {
        Child child = Child.begin(arguments);
        ReplayProcess replay = new ReplayProcess(child);
        int left = replay.run();
        child.say("done", "delivered", replay.delivered, "known", replay.known, "left", left);
        Runtime.getRuntime().halt(0); // nothing is committed, and nothing is under way
    }

    /** Read from the given places to what is there now, and handle each event; return how many partitions are left. */
    private int run() throws IOException {
        Map<TopicPartition, Long> ends = ends();
        while (!ends.isEmpty() && !child.leaving) {
            List<Event> events = taken(ends);
            long deliveredAt = System.nanoTime();
            events.forEach(each -> rows.delivery(each, poll, deliveredAt - startNs));
            for (Event each : events) {
                if (handle(each, deliveredAt) != Handler.End.DONE) {
                    return Math.max(1, ends.size());
                }
            }
            poll += events.isEmpty() ? 0 : 1;
        }
        clients.settle();
        return ends.size();
    }

    /** Begin at the given places; return where to stop in each partition that holds something from there on. */
    private Map<TopicPartition, Long> ends() {
        Map<TopicPartition, Long> from = new HashMap<>();
        for (Object each : child.spec.list("from")) {
            List<?> place = (List<?>) each;
            from.put(new TopicPartition((String) place.get(0), ((Long) place.get(1)).intValue()), (Long) place.get(2));
        }
        Map<TopicPartition, Long> ends = new HashMap<>(consumer.endOffsets(from.keySet()));
        ends.entrySet().removeIf(each -> each.getValue() <= from.get(each.getKey()));
        consumer.assign(ends.keySet());
        ends.keySet().forEach(each -> consumer.seek(each, from.get(each)));
        return ends;
    }

    /** Take what is there; note which partitions are through. */
    private List<Event> taken(Map<TopicPartition, Long> ends) {
        List<Event> found = new ArrayList<>();
        for (ConsumerRecord<byte[], byte[]> each : consumer.poll(WAIT)) {
            Long end = ends.get(new TopicPartition(each.topic(), each.partition()));
            Event event = end != null && each.offset() < end
                    ? Event.of(each, child.spec.number("run_id"), child.spec.flag("in_headers"), Outside.of(child.spec))
                    : null;
            if (event != null) {
                found.add(event);
            }
        }
        List<TopicPartition> through = ends.keySet().stream().filter(each -> consumer.position(each) >= ends.get(each)).toList();
        consumer.pause(through);
        ends.keySet().removeAll(through);
        return found;
    }

    private Handler.End handle(Event event, long deliveredAt) throws IOException {
        if (everyNs > 0) {
            handler.sleepUntil((long) due);
            due = Math.max(due + everyNs, System.nanoTime() - CATCH_UP_NS);
        }
        delivered++;
        known += handler.knows(event) ? 1 : 0;
        hands.catchUp();
        return handler.handle(event, poll, deliveredAt, hands);
    }
}

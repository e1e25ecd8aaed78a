package eventdrill;

import java.time.Duration;
import java.util.Collection;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.common.KafkaException;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.TimeoutException;

/** The offsets that are finished and those that are committed; `mode` is the scenario's word. */
final class Commits {
    private static final Duration PATIENCE = Duration.ofSeconds(5);
    /** Answers that are there already are taken in within a fraction of this. */
    private static final long LONG_WAIT_NS = 1_000_000;

    final String mode;
    /** When `every` is due next, on the clock. */
    long dueNs;

    private final Child child;
    private final KafkaConsumer<byte[], byte[]> consumer;
    private final MemberRows rows;
    private final Runnable settle;
    private final long everyNs;
    private final Map<TopicPartition, Long> finished = new HashMap<>();
    private final Map<TopicPartition, Long> asked = new HashMap<>();
    private long startNs;

    /** `settle` waits until what follows from the finished events is in its topics. */
    Commits(Child child, KafkaConsumer<byte[], byte[]> consumer, MemberRows rows, Runnable settle) {
        this.child = child;
        this.consumer = consumer;
        this.rows = rows;
        this.settle = settle;
        this.mode = child.spec.text("commit");
        this.everyNs = child.spec.number("every_ns");
    }

    /** Start the interval of `every`: at the run's start, or when the member joins later. */
    void begin(long start, long now) {
        startNs = start;
        dueNs = Math.max(start, now) + everyNs;
    }

    /** Commit a batch that was just handed over, where the scenario wants at-most-once. */
    void beforeWork(List<Event> events) {
        if (mode.equals("before_work")) {
            events.forEach(this::finish);
            commitNow();
        }
    }

    /** Note a finished event, commit where that is due, and tell whether that took time. */
    boolean eventDone(Event event) {
        if (!mode.equals("before_work")) {
            finish(event);
        }
        if (mode.equals("after_event")) {
            commitNow();
            return true;
        }
        return atBoundary();
    }

    private void finish(Event event) {
        finished.put(new TopicPartition(event.topic(), event.partition()), event.offset() + 1);
    }

    /** Commit where that is due after a batch, and tell whether that took time. */
    boolean batchDone() {
        if (mode.equals("after_batch")) {
            commitNow();
            return true;
        }
        return false;
    }

    /** Leave behind records that are no events of the run. */
    void passOver(List<ConsumerRecord<byte[], byte[]>> records) {
        records.forEach(each -> finished.put(new TopicPartition(each.topic(), each.partition()), each.offset() + 1));
    }

    /** Commit what is finished where the interval is over; tell whether that took time: not the commit does, but what it waits for. */
    boolean atBoundary() {
        long now = System.nanoTime();
        if (!mode.equals("every") || now < dueNs) {
            return false;
        }
        dueNs = now + everyNs;
        return soon();
    }

    /** Note what several workers have finished, by the offset to go on from. */
    void finished(Map<TopicPartition, Long> moved) {
        if (!mode.equals("before_work")) {
            finished.putAll(moved);
        }
    }

    /** Note what several workers have finished, and commit in the background where that is due. */
    void ofPool(Map<TopicPartition, Long> moved) {
        finished(moved);
        if (!moved.isEmpty() && List.of("after_event", "after_batch").contains(mode)) {
            soon();
        }
        atBoundary();
    }

    /** Commit what is finished without waiting for the answer; tell whether there was anything to wait for before. */
    private boolean soon() {
        long now = System.nanoTime();
        Map<TopicPartition, OffsetAndMetadata> offsets = fresh();
        if (offsets.isEmpty()) {
            return false;
        }
        settle.run();
        boolean tookTime = System.nanoTime() - now > LONG_WAIT_NS;
        note(offsets);
        consumer.commitAsync(offsets, (answer, error) ->
                record(now, offsets, error == null ? 0 : Outcomes.ofCommit(error)));
        return tookTime;
    }

    /** Record a commit that the client made by itself (`auto`); it tells only of those that worked. Before time 0 nothing of the run was read. */
    void automatic(Map<TopicPartition, OffsetAndMetadata> offsets) {
        if (startNs != 0) {
            record(System.nanoTime(), offsets, 0);
        }
    }

    /** Commit what is finished before partitions go to another member, or on leaving; as `every` does. */
    void handingOver() {
        if (List.of("every", "after_batch", "after_event").contains(mode)) {
            commitNow();
        }
    }

    /** Drop what is known about partitions that went to another member. */
    void forget(Collection<TopicPartition> places) {
        finished.keySet().removeAll(places);
        asked.keySet().removeAll(places);
    }

    /** Commit what is finished and wait for the answer, also for a coordinator that is away. */
    private void commitNow() {
        Map<TopicPartition, OffsetAndMetadata> offsets = fresh();
        if (offsets.isEmpty()) {
            return;
        }
        settle.run();
        long began = System.nanoTime();
        int code = commit(offsets);
        while (code == Outcomes.TIMED_OUT && !child.leaving) {
            code = commit(offsets);
        }
        note(offsets);
        record(began, offsets, code);
    }

    /** Commit once; the client itself waits for a coordinator that is away, so long as we are patient. */
    private int commit(Map<TopicPartition, OffsetAndMetadata> offsets) {
        try {
            consumer.commitSync(offsets, PATIENCE);
            return 0;
        } catch (TimeoutException away) {
            return Outcomes.TIMED_OUT;
        } catch (KafkaException error) {
            return Outcomes.ofCommit(error);
        }
    }

    /** Return what is finished and not committed yet, for a transaction that commits it. */
    Map<TopicPartition, OffsetAndMetadata> takeNew() {
        Map<TopicPartition, OffsetAndMetadata> offsets = fresh();
        note(offsets);
        return offsets;
    }

    private Map<TopicPartition, OffsetAndMetadata> fresh() {
        Map<TopicPartition, OffsetAndMetadata> found = new HashMap<>();
        finished.forEach((place, offset) -> {
            if (!offset.equals(asked.get(place))) {
                found.put(place, new OffsetAndMetadata(offset));
            }
        });
        return found;
    }

    private void note(Map<TopicPartition, OffsetAndMetadata> offsets) {
        offsets.forEach((place, offset) -> asked.put(place, offset.offset()));
    }

    /** Note what came of a commit; before time 0 nothing is of the run. */
    private void record(long began, Map<TopicPartition, OffsetAndMetadata> offsets, int code) {
        long ended = System.nanoTime() - startNs;
        offsets.forEach((place, offset) -> {
            if (code != 0) {
                asked.remove(place); // so that the next one takes it up again
            }
            if (startNs != 0) {
                rows.committed(place.topic(), place.partition(), offset.offset(), began - startNs, ended, code);
            }
        });
    }
}

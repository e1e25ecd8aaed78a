package eventdrill;

import java.time.Duration;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Collection;
import java.util.Deque;
import java.util.List;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.ConsumerRecords;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.KafkaException;
import org.apache.kafka.common.TopicPartition;

/**
 * Takes records from the client, at most so many at a time. A poll of the Java client returns up to `max.poll.records`; what is beyond
 * waits here for the next time.
 */
final class Intake {
    /** A collecting member asks itself so often whether it shall leave. */
    private static final long LISTEN_EVERY_NS = 100_000_000;

    private final Child child;
    private final KafkaConsumer<byte[], byte[]> consumer;
    private final Deque<ConsumerRecord<byte[], byte[]>> spare = new ArrayDeque<>();

    Intake(Child child, KafkaConsumer<byte[], byte[]> consumer) {
        this.child = child;
        this.consumer = consumer;
    }

    /** Return what is there, at most so much; where nothing is, wait for it. */
    List<ConsumerRecord<byte[], byte[]>> take(int most, long waitNs) {
        if (spare.isEmpty()) {
            poll(waitNs).forEach(spare::add);
        }
        List<ConsumerRecord<byte[], byte[]>> taken = new ArrayList<>(Math.min(most, spare.size()));
        while (taken.size() < most && !spare.isEmpty()) {
            taken.add(spare.poll());
        }
        return taken;
    }

    /** Collect until so many are there or the timeout is over. */
    List<ConsumerRecord<byte[], byte[]>> collect(int most, long timeoutNs) {
        long until = System.nanoTime() + timeoutNs;
        List<ConsumerRecord<byte[], byte[]>> taken = new ArrayList<>();
        for (long left = timeoutNs; taken.size() < most && left > 0 && !child.asked; left = until - System.nanoTime()) {
            taken.addAll(take(most - taken.size(), Math.min(left, LISTEN_EVERY_NS)));
            taken.removeIf(each -> !consumer.assignment().contains(new TopicPartition(each.topic(), each.partition())));
        }
        return taken;
    }

    private ConsumerRecords<byte[], byte[]> poll(long waitNs) {
        try {
            return consumer.poll(Duration.ofNanos(waitNs));
        } catch (KafkaException error) { // an application that knows no better ends here, and so does this one
            child.say("client error", "at", System.nanoTime(), "code", Outcomes.ofCommit(error), "text", error.toString());
            throw error;
        }
    }

    /** Forget what waits of partitions that went to another member. */
    void drop(Collection<TopicPartition> places) {
        spare.removeIf(each -> places.contains(new TopicPartition(each.topic(), each.partition())));
    }
}

package eventdrill;

import java.time.Duration;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.common.KafkaException;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.TimeoutException;

/** `commit: transaction`: a batch's dead letters and its offsets become visible together, or not at all. */
final class Transactions {
    private static final Duration CLOSE_WITHIN = Duration.ofSeconds(5);

    private final KafkaProducer<byte[], byte[]> client;
    private final KafkaConsumer<byte[], byte[]> consumer;
    private final MemberRows rows;
    private final Map<TopicPartition, Long> before = new HashMap<>();
    private long next;

    Transactions(KafkaProducer<byte[], byte[]> client, KafkaConsumer<byte[], byte[]> consumer, MemberRows rows, long firstId) {
        this.client = client;
        this.consumer = consumer;
        this.rows = rows;
        this.next = firstId;
        client.initTransactions();
    }

    /** Begin one for some events, unless one is under way. */
    void begin(List<Event> events) {
        if (underWay()) {
            return;
        }
        before.clear();
        events.forEach(each -> before.putIfAbsent(new TopicPartition(each.topic(), each.partition()), each.offset()));
        rows.transaction = next++;
        client.beginTransaction();
    }

    boolean underWay() {
        return rows.transaction != Row.NONE;
    }

    /** Commit what was sent since `begin` together with the offsets; tell whether it took effect. */
    boolean commit(Map<TopicPartition, OffsetAndMetadata> ends, long startNs) {
        long began = System.nanoTime() - startNs;
        int code = end(ends);
        if (code != 0) {
            client.abortTransaction();
            rewind();
        }
        long ended = System.nanoTime() - startNs;
        ends.forEach((place, offset) -> rows.committed(place.topic(), place.partition(), offset.offset(), began, ended, code));
        rows.transaction = Row.NONE;
        return code == 0;
    }

    private int end(Map<TopicPartition, OffsetAndMetadata> ends) {
        int code = ends.isEmpty() ? 0 : asked(() -> client.sendOffsetsToTransaction(ends, consumer.groupMetadata()));
        return code != 0 ? code : asked(client::commitTransaction);
    }

    /** Take a step, again while brokers are away; each by itself, since after a later one the client takes an earlier one no more. */
    private static int asked(Runnable step) {
        while (true) {
            try {
                step.run();
                return 0;
            } catch (TimeoutException away) {
                continue; // the same question may be asked again
            } catch (KafkaException error) {
                return Outcomes.ofCommit(error);
            }
        }
    }

    /** Give the batch up; it will be read again by whoever owns its partitions then. */
    void abort() {
        if (underWay()) {
            client.abortTransaction();
            rows.transaction = Row.NONE;
        }
        client.close(CLOSE_WITHIN);
    }

    /** Read an aborted batch again, as far as its partitions are still ours. */
    private void rewind() {
        before.keySet().retainAll(consumer.assignment());
        before.forEach(consumer::seek);
    }
}

import java.util.AbstractList;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.apache.kafka.clients.consumer.ConsumerInterceptor;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.ConsumerRecords;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.ProducerInterceptor;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.header.Header;

/**
 * Carries EventDrill's ids from what an application reads to what it sends because of it, without a change in the application:
 *
 * <pre>
 * consumer: interceptor.classes=EventDrillIds$Read
 * producer: interceptor.classes=EventDrillIds$Sent
 * </pre>
 *
 * A record counts as caused by the one that the sending thread took last from a poll's records. Where the work is done by another thread,
 * that thread calls {@link #because} with the record first.
 */
public final class EventDrillIds {
    private static final String PREFIX = "eventdrill-";
    private static final ThreadLocal<ConsumerRecord<?, ?>> CAUSE = new ThreadLocal<>();

    private EventDrillIds() {}

    /** Let what this thread sends from now on count as caused by a record; by none where that is null. */
    public static void because(ConsumerRecord<?, ?> record) {
        CAUSE.set(record);
    }

    /** A poll's records, which say what the thread has in hand as it takes them. */
    private static final class Taken<K, V> extends AbstractList<ConsumerRecord<K, V>> {
        private final List<ConsumerRecord<K, V>> records;

        Taken(List<ConsumerRecord<K, V>> records) {
            this.records = records;
        }

        @Override
        public ConsumerRecord<K, V> get(int index) {
            because(records.get(index));
            return records.get(index);
        }

        @Override
        public int size() {
            return records.size();
        }
    }

    /** The consumer's side. */
    public static final class Read<K, V> implements ConsumerInterceptor<K, V> {
        @Override
        @SuppressWarnings({"deprecation", "removal"}) // the other constructor is newer than some clients, and adds nothing that is used here
        public ConsumerRecords<K, V> onConsume(ConsumerRecords<K, V> records) {
            Map<TopicPartition, List<ConsumerRecord<K, V>>> taken = new HashMap<>();
            records.partitions().forEach(each -> taken.put(each, new Taken<>(records.records(each))));
            return new ConsumerRecords<>(taken);
        }

        @Override
        public void onCommit(Map<TopicPartition, OffsetAndMetadata> offsets) {
            // says nothing of effects
        }

        @Override
        public void configure(Map<String, ?> settings) {
            // needs nothing
        }

        @Override
        public void close() {
            // holds nothing
        }
    }

    /** The producer's side. */
    public static final class Sent<K, V> implements ProducerInterceptor<K, V> {
        @Override
        public ProducerRecord<K, V> onSend(ProducerRecord<K, V> record) {
            ConsumerRecord<?, ?> cause = CAUSE.get();
            if (cause != null) {
                for (Header each : ids(cause)) {
                    if (record.headers().lastHeader(each.key()) == null) { // what the application has set itself stays
                        record.headers().add(each);
                    }
                }
            }
            return record;
        }

        private static List<Header> ids(ConsumerRecord<?, ?> cause) {
            List<Header> found = new ArrayList<>();
            cause.headers().forEach(each -> {
                if (each.key().startsWith(PREFIX)) {
                    found.add(each);
                }
            });
            return found;
        }

        @Override
        public void onAcknowledgement(RecordMetadata metadata, Exception error) {
            // says nothing of effects
        }

        @Override
        public void configure(Map<String, ?> settings) {
            // needs nothing
        }

        @Override
        public void close() {
            // holds nothing
        }
    }
}

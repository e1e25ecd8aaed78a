package eventdrill;

import java.util.Map;
import java.util.function.Consumer;
import org.apache.kafka.clients.consumer.ConsumerInterceptor;
import org.apache.kafka.clients.consumer.ConsumerRecords;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.common.TopicPartition;

/** Tells a member of the commits that its client makes by itself. */
public final class CommitListener implements ConsumerInterceptor<byte[], byte[]> {
    /** The name under which the listener finds whom to tell among the client's settings. */
    static final String TELL = "eventdrill.commits";

    private Consumer<Map<TopicPartition, OffsetAndMetadata>> tell;

    @Override
    @SuppressWarnings("unchecked")
    public void configure(Map<String, ?> settings) {
        tell = (Consumer<Map<TopicPartition, OffsetAndMetadata>>) settings.get(TELL);
    }

    @Override
    public ConsumerRecords<byte[], byte[]> onConsume(ConsumerRecords<byte[], byte[]> records) {
        return records;
    }

    @Override
    public void onCommit(Map<TopicPartition, OffsetAndMetadata> offsets) {
        tell.accept(offsets);
    }

    @Override
    public void close() {
        // holds nothing
    }
}

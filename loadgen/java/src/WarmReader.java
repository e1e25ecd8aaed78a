package eventdrill;

import java.time.Duration;
import java.util.List;
import java.util.Map;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;

/**
 * Reads a partition of the scratch topic during the warm-up, so that what a member runs later is compiled by then. A client and a thread
 * of its own: the member's own client stays in its group meanwhile.
 */
final class WarmReader {
    private final Spec spec;
    private final Thread thread = new Thread(this::read, "warm-up");
    private volatile boolean ended;

    WarmReader(Spec spec) {
        this.spec = spec;
        thread.setDaemon(true);
        thread.start();
    }

    private void read() {
        Map<String, Object> settings = spec.settings("connection");
        settings.put("auto.offset.reset", "earliest");
        settings.put("enable.auto.commit", "false");
        try (var consumer = new KafkaConsumer<>(settings, new ByteArrayDeserializer(), new ByteArrayDeserializer())) {
            int partition = spec.part("codes").integer("process") % spec.integer("scratch_partitions");
            consumer.assign(List.of(new TopicPartition(spec.text("scratch_topic"), partition)));
            while (!ended) {
                for (var each : consumer.poll(Duration.ofMillis(100))) {
                    Event.of(each, Records.NO_RUN, false, Outside.NONE);
                }
            }
        }
    }

    void end() {
        ended = true;
        try {
            thread.join(2_000);
        } catch (InterruptedException error) {
            Thread.currentThread().interrupt();
        }
    }
}

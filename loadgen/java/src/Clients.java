package eventdrill;

import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerConfig;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/** The producers of a member, by their settings; with transactions there is one for everything. */
final class Clients {
    private static final Map<String, Object> FORWARDING = Map.of("acks", "all", "enable.idempotence", "true", "linger.ms", "0");

    /** The one of transactions, null where the member commits in another way. */
    final KafkaProducer<byte[], byte[]> transactional;

    private final Spec spec;
    private final Map<Map<String, Object>, KafkaProducer<byte[], byte[]>> bySettings = new LinkedHashMap<>();

    Clients(Spec spec) {
        this.spec = spec;
        this.transactional = spec.text("commit").equals("transaction") ? transactional() : null;
    }

    private KafkaProducer<byte[], byte[]> transactional() {
        Map<String, Object> settings = new LinkedHashMap<>(FORWARDING);
        for (Spec each : spec.has("emits") ? spec.parts("emits") : List.<Spec>of()) {
            settings.putAll(each.settings("settings"));
        }
        settings.put(ProducerConfig.TRANSACTIONAL_ID_CONFIG, spec.text("name").replace('/', '-'));
        return open(settings);
    }

    /** Return the client with these settings. */
    KafkaProducer<byte[], byte[]> of(Map<String, Object> settings) {
        return transactional != null ? transactional : bySettings.computeIfAbsent(new TreeMap<>(settings), this::open);
    }

    /** Return the client that hands events on: retry copies and dead letters. */
    KafkaProducer<byte[], byte[]> forwarding() {
        return of(FORWARDING);
    }

    private KafkaProducer<byte[], byte[]> open(Map<String, Object> given) {
        Map<String, Object> settings = spec.settings("connection");
        settings.putAll(given);
        return new KafkaProducer<>(settings, new ByteArraySerializer(), new ByteArraySerializer());
    }

    /** Wait until everything is answered, so that a commit never runs ahead of what follows from its events. */
    void settle() {
        bySettings.values().forEach(KafkaProducer::flush);
    }
}

package eventdrill;

import java.nio.charset.StandardCharsets;
import java.util.HashMap;
import java.util.Map;
import java.util.concurrent.ExecutionException;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.KafkaException;
import org.apache.kafka.common.errors.InterruptException;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/** Sends what a group gives up to its dead-letter topic and waits for the answer. */
final class DeadLetters {
    record Place(String topic, int partition, long offset) {}

    private final MemberRows rows;
    private final String topic;
    private final String group;
    private final KafkaProducer<byte[], byte[]> client;

    DeadLetters(Child child, MemberRows rows) {
        this.rows = rows;
        this.topic = child.spec.part("failures").text("dead_letter");
        this.group = child.spec.text("group");
        Map<String, Object> settings = new HashMap<>(child.spec.settings("connection"));
        settings.putAll(Map.of("acks", "all", "enable.idempotence", "true", "linger.ms", "0"));
        this.client = new KafkaProducer<>(settings, new ByteArraySerializer(), new ByteArraySerializer());
        this.client.partitionsFor(topic); // so that the first one finds the leader known
    }

    /** Send one and wait; where the outcome is no success it is recorded, and the event counts as given up all the same. */
    void send(Event event, long poll, int attempt, long startNs) {
        long began = System.nanoTime() - startNs;
        ProducerRecord<byte[], byte[]> record = new ProducerRecord<>(topic, event.key(), event.value());
        headers(event, attempt).forEach((name, text) -> record.headers().add(name, text.getBytes(StandardCharsets.UTF_8)));
        Place where = new Place(topic, (int) Row.NONE, Row.NONE);
        int error = 0;
        try {
            RecordMetadata answer = client.send(record).get();
            where = new Place(topic, answer.partition(), answer.hasOffset() ? answer.offset() : Row.NONE);
        } catch (ExecutionException failed) {
            error = Outcomes.ofSend((Exception) failed.getCause(), true);
        } catch (KafkaException refused) {
            error = Outcomes.ofSend(refused, false);
        } catch (InterruptedException interrupted) {
            throw new InterruptException(interrupted);
        }
        Row.Outcome outcome = error == 0 ? Row.Outcome.OK : Outcomes.outcome(error, true);
        rows.deadLettered(event, poll, attempt, began, System.nanoTime() - startNs, where, error, outcome);
    }

    /** Return the headers that Kafka Connect writes, so that tools made for those read ours. */
    private Map<String, String> headers(Event event, int attempt) {
        boolean poison = Records.isPoison(event.value());
        String reason = poison ? "the value is no event" : "the handler failed";
        return Map.of(
                "__connect.errors.topic", event.topic(),
                "__connect.errors.partition", String.valueOf(event.partition()),
                "__connect.errors.offset", String.valueOf(event.offset()),
                "__connect.errors.connector.name", group,
                "__connect.errors.task.id", "0",
                "__connect.errors.stage", poison ? "VALUE_CONVERTER" : "TASK_PUT",
                "__connect.errors.class.name", Handler.class.getName(),
                "__connect.errors.exception.class.name", poison ? "PoisonError" : "HandlerError",
                "__connect.errors.exception.message", reason + ", " + attempt + " of " + attempt + " tries",
                "__connect.errors.exception.stacktrace", "");
    }
}

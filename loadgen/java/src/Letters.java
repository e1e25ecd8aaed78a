package eventdrill;

import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ExecutionException;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.KafkaException;
import org.apache.kafka.common.errors.InterruptException;

/** Retry copies and dead letters of one member: an event's own bytes with more headers, each waited for. */
final class Letters {
    private static final int MOST_TRIES = 20;

    /** Where a letter came to lie. */
    record Place(String topic, int partition, long offset) {}

    private record Answer(int error, Place where) {}

    private final MemberRows rows;
    private final Spec spec;
    private final String group;
    private final boolean byTopic;
    private final KafkaProducer<byte[], byte[]> client;

    /** Return what sends a member's letters, null where its policy sends none. */
    static Letters of(Spec spec, MemberRows rows, Clients clients) {
        return needed(spec) ? new Letters(spec, rows, clients.forwarding()) : null;
    }

    private Letters(Spec spec, MemberRows rows, KafkaProducer<byte[], byte[]> client) {
        this.spec = spec;
        this.rows = rows;
        this.client = client;
        this.group = spec.text("group");
        this.byTopic = retriesByTopic(spec);
        if (spec.part("failures").has("dead_letter")) {
            client.partitionsFor(deadLetters()); // so that the first one finds the leader known
        }
    }

    /** Whether failed events go to retry topics. */
    static boolean retriesByTopic(Spec spec) {
        Spec retry = spec.part("failures").part("retry");
        return retry.has("where") && retry.text("where").equals("topic");
    }

    /** Whether a policy sends anything anywhere. */
    private static boolean needed(Spec spec) {
        return spec.has("failures") && (spec.part("failures").has("dead_letter") || retriesByTopic(spec));
    }

    private String deadLetters() {
        return spec.part("failures").text("dead_letter");
    }

    /** Hand an event on to the topic of its next try, into the partition with the number of its own, modulo how many there are. */
    void retry(Event event, int tried, long due) {
        Map<String, byte[]> headers = new LinkedHashMap<>();
        headers.put(Event.HEADER_ATTEMPT, bytes(String.valueOf(tried + 1)));
        headers.put(Event.HEADER_DUE, bytes(String.valueOf(due)));
        headers.put(Event.HEADER_ORIGIN, bytes(event.origin()));
        String topic = spec.part("retry_topics").texts(event.firstTopic()).get(tried - 1);
        int partition = event.partition() % (int) spec.part("retry_partitions").number(event.firstTopic());
        Answer answer = send(topic, partition, event, headers);
        for (int tries = 1; answer.error != 0 && tries < MOST_TRIES; tries++) {
            answer = send(topic, partition, event, headers);
        }
        if (answer.error != 0) { // the event must be read again
            throw new KafkaException("the copy of event " + event.id() + " for " + topic + " was refused: error " + answer.error);
        }
    }

    /** Send a dead letter; where the outcome is no success it is recorded, and the event counts as given up all the same. */
    void dead(Event event, long poll, int attempt, long startNs) {
        long began = System.nanoTime() - startNs;
        Map<String, byte[]> headers = byTopic ? spring(event, attempt) : connect(event, attempt);
        headers.put(Event.HEADER_ORIGIN, bytes(event.origin()));
        Answer answer = send(deadLetters(), null, event, headers);
        Row.Outcome outcome = answer.error == 0 ? Row.Outcome.OK : Outcomes.outcome(answer.error, true);
        rows.deadLettered(event, poll, attempt, began, System.nanoTime() - startNs, answer.where, answer.error, outcome);
    }

    private Answer send(String topic, Integer partition, Event event, Map<String, byte[]> headers) {
        ProducerRecord<byte[], byte[]> record = new ProducerRecord<>(topic, partition, event.key(), event.value());
        event.headers().forEach(record.headers()::add);
        headers.forEach((name, value) -> record.headers().add(name, value));
        Place nowhere = new Place(topic, (int) Row.NONE, Row.NONE);
        try {
            RecordMetadata answer = client.send(record).get();
            return new Answer(0, new Place(topic, answer.partition(), answer.hasOffset() ? answer.offset() : Row.NONE));
        } catch (ExecutionException failed) {
            return new Answer(Outcomes.ofSend((Exception) failed.getCause(), true), nowhere);
        } catch (KafkaException refused) {
            return new Answer(Outcomes.ofSend(refused, false), nowhere);
        } catch (InterruptedException interrupted) {
            throw new InterruptException(interrupted);
        }
    }

    /** Return the headers that Kafka Connect writes, so that tools made for those read ours. */
    private Map<String, byte[]> connect(Event event, int attempt) {
        boolean poison = event.poison();
        Map<String, byte[]> found = new LinkedHashMap<>();
        found.put("__connect.errors.topic", bytes(event.topic()));
        found.put("__connect.errors.partition", bytes(String.valueOf(event.partition())));
        found.put("__connect.errors.offset", bytes(String.valueOf(event.offset())));
        found.put("__connect.errors.connector.name", bytes(group));
        found.put("__connect.errors.task.id", bytes("0"));
        found.put("__connect.errors.stage", bytes(poison ? "VALUE_CONVERTER" : "TASK_PUT"));
        found.put("__connect.errors.class.name", bytes(Handler.class.getName()));
        found.put("__connect.errors.exception.class.name", bytes(error(event)));
        found.put("__connect.errors.exception.message", bytes(reason(event, attempt)));
        found.put("__connect.errors.exception.stacktrace", bytes(""));
        return found;
    }

    /** Return the headers that Spring's retry topics write; its numbers are big-endian. */
    private Map<String, byte[]> spring(Event event, int attempt) {
        List<String> origin = List.of(event.origin().substring(event.firstTopic().length() + 1).split("/"));
        Map<String, byte[]> found = new LinkedHashMap<>();
        found.put("kafka_dlt-original-topic", bytes(event.firstTopic()));
        found.put("kafka_dlt-original-partition", ByteBuffer.allocate(4).putInt(Integer.parseInt(origin.get(0))).array());
        found.put("kafka_dlt-original-offset", ByteBuffer.allocate(8).putLong(Long.parseLong(origin.get(1))).array());
        found.put("kafka_dlt-original-consumer-group", bytes(group));
        found.put("kafka_dlt-exception-fqcn", bytes(error(event)));
        found.put("kafka_dlt-exception-message", bytes(reason(event, attempt)));
        found.put("kafka_dlt-exception-stacktrace", bytes(""));
        found.put("retry_topic-attempts", ByteBuffer.allocate(4).putInt(attempt).array());
        return found;
    }

    private static String error(Event event) {
        return event.poison() ? "PoisonError" : "HandlerError";
    }

    private static String reason(Event event, int attempt) {
        String what = event.poison() ? "the value is no event" : "the handler failed";
        return what + ", " + attempt + " of " + attempt + " tries";
    }

    private static byte[] bytes(String text) {
        return text.getBytes(StandardCharsets.UTF_8);
    }
}

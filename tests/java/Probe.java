package eventdrill;

import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.apache.kafka.clients.consumer.CommitFailedException;
import org.apache.kafka.clients.producer.BufferExhaustedException;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.common.KafkaException;
import org.apache.kafka.common.errors.NotEnoughReplicasAfterAppendException;
import org.apache.kafka.common.errors.NotEnoughReplicasException;
import org.apache.kafka.common.errors.NetworkException;
import org.apache.kafka.common.errors.RecordTooLargeException;
import org.apache.kafka.common.errors.TimeoutException;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/** Answers the tests' questions about the parts of the Java processes, a request and an answer a line. */
final class Probe {
    public static void main(String[] arguments) throws Exception {
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in));
        for (String line = in.readLine(); line != null; line = in.readLine()) {
            Spec request = new Spec(Json.object(line));
            StringBuilder answer = new StringBuilder();
            Json.write(answer, answer(request));
            System.out.println(answer);
            System.out.flush();
        }
    }

    private static Object answer(Spec request) throws Exception {
        return switch (request.text("ask")) {
            case "clock" -> System.nanoTime();
            case "echo" -> request.values().get("value");
            case "draw" -> Draw.uniform(
                    request.number("seed"), request.list("words").stream().mapToLong(each -> (Long) each).toArray());
            case "column" -> column(Column.read(Path.of(request.text("path"))));
            case "rows" -> rows(Path.of(request.text("path")), request.integer("count"), request.integer("capacity"));
            case "sends" -> sends(Path.of(request.text("path")));
            case "outcomes" -> outcomes();
            case "lateness" -> {
                Lateness late = new Lateness();
                request.list("values").forEach(each -> late.add((Long) each));
                yield List.of(late.quantile(0.5), late.quantile(0.99), late.quantile(1.0), new Lateness().quantile(0.5));
            }
            case "value" -> {
                byte[] filler = "abcde".getBytes();
                byte[] value = Records.encode(request.number("owner"), 5, 3, 1234, filler, request.integer("bytes"));
                StringBuilder hex = new StringBuilder();
                for (byte each : value) {
                    hex.append(String.format("%02x", each));
                }
                yield hex;
            }
            case "breaker" -> breaker(request);
            case "secured" -> secured(request);
            case "headers" -> List.copyOf(Event.OF_THE_EVENT);
            case "outbox" -> outbox(Path.of(request.text("folder")));
            default -> throw new IllegalArgumentException(request.text("ask"));
        };
    }

    /** Let calls end well or not, one a second; return until when the breaker is open after each. */
    private static Object breaker(Spec request) {
        Breaker breaker = new Breaker(request.number("opens_after"), request.number("stays_open_ns"), request.number("probes"), true);
        List<Object> found = new ArrayList<>();
        long now = 0;
        for (Object each : request.list("ends")) {
            now += 1_000_000_000L;
            if (breaker.opensAt(now) == Row.NEVER) {
                breaker.ended((Boolean) each, now);
            }
            found.add(breaker.opensAt(now) == Row.NEVER ? null : breaker.opensAt(now));
        }
        return found;
    }

    /** Store two events of one effect; return what is in all outboxes of the folder by now, as text. */
    private static Object outbox(Path folder) throws Exception {
        Outbox.Stored one = new Outbox.Stored(7, 1, 2, 5, 3, 0, "key".getBytes(), "value".getBytes());
        Outbox.Stored other = new Outbox.Stored(8, 1, 2, 5, 3, 1, null, new byte[0]);
        new Outbox(folder.resolve("outbox-0-1.1.outbox")).store(List.of(one, other));
        List<Object> found = new ArrayList<>();
        for (Outbox.Stored each : new Outbox.All(folder, "outbox-0-").fresh()) {
            found.add(List.of(
                    each.id(), each.root(), each.cause(), each.effect(), each.process(), each.emit(),
                    each.key() == null ? "" : new String(each.key()), new String(each.value())));
        }
        return found;
    }

    /** Open a client with security settings, which checks them all and connects nowhere; return its error, or null. */
    private static Object secured(Spec request) {
        Map<String, Object> settings = request.settings("settings");
        settings.put("bootstrap.servers", "127.0.0.1:1");
        try {
            new KafkaProducer<>(settings, new ByteArraySerializer(), new ByteArraySerializer()).close(Duration.ZERO);
            return null;
        } catch (KafkaException error) {
            Throwable cause = error;
            while (cause.getCause() != null) {
                cause = cause.getCause();
            }
            return cause.toString();
        }
    }

    private static Object column(Column column) {
        List<Object> values = new ArrayList<>();
        for (int i = 0; i < column.length; i++) {
            values.add(column.get(i));
        }
        return values;
    }

    private static Object rows(Path path, int count, int capacity) throws Exception {
        RowLog log = RowLog.ofRows(path, capacity);
        for (int i = 0; i < count; i++) {
            Row row = new Row(i % 2 == 0 ? Row.Kind.SEND : Row.Kind.COMMIT);
            row.event = 1_000_000_000_000L + i;
            row.root = 2;
            row.key = 4;
            row.offset = 5;
            row.poll = 6;
            row.retryDue = 8;
            row.intended = 9;
            row.started = 10;
            row.ended = 11;
            row.partition = 13;
            row.attempt = 40_000;
            row.eventType = 17;
            row.process = 18;
            row.group = 19;
            row.topic = 20;
            row.error = -192;
            row.outcome = Row.Outcome.UNKNOWN;
            log.append(row);
        }
        return "done";
    }

    private static Object sends(Path path) throws Exception {
        RowLog log = RowLog.ofSends(path, 10, 18, 20, 17);
        log.append(new Send(2, 10, 11, 5, 13, -192, Row.Outcome.UNKNOWN));
        return "done";
    }

    private static Object outcomes() {
        Map<String, Object> found = new LinkedHashMap<>();
        List<Exception> errors = List.of(
                new TimeoutException(), new BufferExhaustedException(""), new NetworkException(), new KafkaException("closed"),
                new NotEnoughReplicasException(), new NotEnoughReplicasAfterAppendException(""), new RecordTooLargeException());
        for (Exception each : errors) {
            for (boolean handed : new boolean[] {true, false}) {
                int code = Outcomes.ofSend(each, handed);
                String name = each.getClass().getSimpleName() + (handed ? "" : " at once");
                found.put(name, List.of(code, Outcomes.outcome(code, handed).name()));
            }
        }
        found.put("commit", Outcomes.ofCommit(new CommitFailedException()));
        return found;
    }
}

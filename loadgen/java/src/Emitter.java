package eventdrill;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.KafkaException;

/** Sends what follows from an effect; the same ids again when the effect is repeated. */
final class Emitter {
    /** One of the group's emits. */
    private record What(String topic, KafkaProducer<byte[], byte[]> client) {}

    private final MemberRows rows;
    private final Lookup lookup;
    private final long runId;
    private final byte[] filler;
    private final List<What> emits = new ArrayList<>();

    private Emitter(Spec spec, MemberRows rows, Lookup lookup, Clients clients) throws IOException {
        this.rows = rows;
        this.lookup = lookup;
        this.runId = spec.number("run_id");
        this.filler = Files.readAllBytes(Path.of(spec.text("filler")));
        for (Spec each : spec.parts("emits")) {
            What what = new What(each.text("topic"), clients.of(each.settings("settings")));
            what.client.partitionsFor(what.topic); // so that the first one finds the leaders known
            emits.add(what);
        }
    }

    /** Return what a group's members send, null where its effects emit nothing. */
    static Emitter of(Spec spec, MemberRows rows, Lookup lookup, Clients clients) throws IOException {
        return spec.has("emits") && !spec.list("emits").isEmpty() ? new Emitter(spec, rows, lookup, clients) : null;
    }

    /** Send the events that an effect emits; their intended time is the effect. */
    void emit(Event cause, long effect, long startNs) {
        for (Lookup.Emitted each : lookup.emittedBy(cause.id())) {
            long owner = lookup.poison(each.id()) ? runId | Records.POISON : runId;
            byte[] value = Records.encode(owner, each.id(), cause.root(), effect, filler, lookup.size(each.id()));
            send(emits.get(each.emit()), each.id(), cause, value, effect, startNs);
        }
    }

    private void send(What what, long id, Event cause, byte[] value, long intended, long startNs) {
        long began = System.nanoTime() - startNs;
        long transaction = rows.transaction;
        try {
            what.client.send(new ProducerRecord<>(what.topic, cause.key(), value), (where, error) -> {
                int code = error == null ? 0 : Outcomes.ofSend(error, true);
                Row.Outcome outcome = error == null ? Row.Outcome.OK : Outcomes.outcome(code, true);
                long offset = error == null && where.hasOffset() ? where.offset() : Row.NONE;
                int partition = where == null ? (int) Row.NONE : where.partition();
                Letters.Place place = new Letters.Place(what.topic, partition, offset);
                rows.sent(id, cause, place, intended, began, System.nanoTime() - startNs, transaction, code, outcome);
            });
        } catch (KafkaException refused) { // without a callback
            int code = Outcomes.ofSend(refused, false);
            Letters.Place nowhere = new Letters.Place(what.topic, (int) Row.NONE, Row.NONE);
            long ended = System.nanoTime() - startNs;
            rows.sent(id, cause, nowhere, intended, began, ended, transaction, code, Outcomes.outcome(code, false));
        }
    }
}

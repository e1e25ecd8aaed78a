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
    /** Hears where a record came to lie, the error's number and what that means. */
    interface Told {
        void of(Letters.Place where, int error, Row.Outcome outcome);
    }

    /** One of the group's emits: its topic, and the client that sends to it. */
    record What(String topic, KafkaProducer<byte[], byte[]> client) {
        static What of(Spec spec, Clients clients) {
            What what = new What(spec.text("topic"), clients.of(spec.settings("settings")));
            what.client.partitionsFor(what.topic); // so that the first one finds the leaders known
            return what;
        }

        /** Send a record, and tell what became of it. */
        void send(byte[] key, byte[] value, Told told) {
            Letters.Place nowhere = new Letters.Place(topic, (int) Row.NONE, Row.NONE);
            try {
                client.send(new ProducerRecord<>(topic, key, value), (where, error) -> {
                    int code = error == null ? 0 : Outcomes.ofSend(error, true);
                    long offset = error == null && where.hasOffset() ? where.offset() : Row.NONE;
                    Letters.Place place = where == null ? nowhere : new Letters.Place(topic, where.partition(), offset);
                    told.of(place, code, error == null ? Row.Outcome.OK : Outcomes.outcome(code, true));
                });
            } catch (KafkaException refused) { // without a callback
                int code = Outcomes.ofSend(refused, false);
                told.of(nowhere, code, Outcomes.outcome(code, false));
            }
        }
    }

    private final MemberRows rows;
    private final Lookup lookup;
    private final long runId;
    private final byte[] filler;
    /** By number of the group's emits; null where a relay sends them. */
    private final List<What> emits = new ArrayList<>();
    private final int process;
    private final Outbox outbox;

    private Emitter(Spec spec, MemberRows rows, Lookup lookup, Clients clients) throws IOException {
        this.rows = rows;
        this.lookup = lookup;
        this.runId = spec.number("run_id");
        this.filler = Files.readAllBytes(Path.of(spec.text("filler")));
        this.process = spec.part("codes").integer("process");
        this.outbox = spec.has("outbox_file") ? new Outbox(Path.of(spec.text("outbox_file"))) : null;
        for (Spec each : spec.parts("emits")) {
            emits.add(each.number("outbox") > 0 ? null : What.of(each, clients));
        }
    }

    /** Return what a group's members send, null where its effects emit nothing. */
    static Emitter of(Spec spec, MemberRows rows, Lookup lookup, Clients clients) throws IOException {
        return spec.has("emits") && !spec.list("emits").isEmpty() ? new Emitter(spec, rows, lookup, clients) : null;
    }

    /** Keep what an effect emits through the outbox: before anything else tells of the effect. */
    void store(Event cause, long effect) throws IOException {
        List<Outbox.Stored> found = new ArrayList<>();
        for (Lookup.Emitted each : lookup.emittedBy(cause.id())) {
            if (emits.get(each.emit()) == null) {
                byte[] value = value(each.id(), cause, effect);
                found.add(new Outbox.Stored(each.id(), cause.root(), cause.id(), effect, process, each.emit(), cause.key(), value));
            }
        }
        if (!found.isEmpty()) {
            outbox.store(found);
        }
    }

    /** Send the events that an effect emits, but those of the outbox; their intended time is the effect. */
    void emit(Event cause, long effect, long startNs) {
        for (Lookup.Emitted each : lookup.emittedBy(cause.id())) {
            What what = emits.get(each.emit());
            if (what != null) {
                long began = System.nanoTime() - startNs;
                long transaction = rows.transaction;
                what.send(cause.key(), value(each.id(), cause, effect), (where, error, outcome) ->
                        rows.sent(each.id(), cause, where, effect, began, System.nanoTime() - startNs, transaction, error, outcome));
            }
        }
    }

    private byte[] value(long id, Event cause, long effect) {
        long owner = lookup.poison(id) ? runId | Records.POISON : runId;
        return Records.encode(owner, id, cause.root(), effect, filler, lookup.size(id));
    }
}

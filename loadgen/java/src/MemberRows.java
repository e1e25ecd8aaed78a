package eventdrill;

import java.io.IOException;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.Map;

/** A member's rows; times are instants from the start of the run. */
final class MemberRows {
    private final RowLog log;
    private final int process;
    private final int group;
    private final Map<String, Integer> topics = new HashMap<>();
    private final Lookup lookup;
    /** The transaction under way, which tries, sends and commits belong to. */
    volatile long transaction = Row.NONE;

    MemberRows(Child child, Lookup lookup) throws IOException {
        Spec codes = child.spec.part("codes");
        log = RowLog.ofRows(Path.of(child.spec.text("rows")), child.spec.integer("capacity"));
        process = codes.integer("process");
        group = codes.integer("group");
        codes.part("topics").values().forEach((topic, code) -> topics.put(topic, ((Long) code).intValue()));
        this.lookup = lookup;
    }

    /** Record that a poll handed the event over. */
    void delivery(Event event, long poll, long at) {
        log.append(of(Row.Kind.DELIVERY, event, poll, 0, at, at));
    }

    /** Record a handler's try; `due` is when a failed one is due again. */
    void tried(Event event, long poll, int attempt, long began, long ended, long due, boolean ok) {
        Row row = of(Row.Kind.TRY, event, poll, attempt, began, ended);
        row.retryDue = due;
        row.transaction = transaction;
        row.outcome = ok ? Row.Outcome.OK : Row.Outcome.FAILED;
        log.append(row);
    }

    /** Record an event that an effect emitted, and what became of its send. */
    void sent(
            long id, Event cause, Letters.Place where, long intended, long began, long ended, long transaction, int error,
            Row.Outcome outcome) {
        log.append(of(id, cause.root(), cause.id(), process, where, intended, began, ended, transaction, error, outcome));
    }

    /** Record an event that a relay sent for the member whose effect it follows from. */
    void relayed(Outbox.Stored what, Letters.Place where, long began, long ended, int error, Row.Outcome outcome) {
        log.append(of(
                what.id(), what.root(), what.cause(), what.process(), where, what.effect(), began, ended, Row.NONE, error, outcome));
    }

    private Row of(
            long id, long root, long cause, int process, Letters.Place where, long intended, long began, long ended, long transaction,
            int error, Row.Outcome outcome) {
        Row row = new Row(Row.Kind.SEND);
        row.event = id;
        row.root = root;
        row.cause = cause;
        row.key = lookup.key(id);
        row.offset = where.offset();
        row.transaction = transaction;
        row.intended = intended;
        row.started = began;
        row.ended = ended;
        row.partition = where.partition();
        row.attempt = 1;
        row.eventType = lookup.type(id);
        row.process = process;
        row.group = group;
        row.topic = topics.get(where.topic());
        row.error = error;
        row.outcome = outcome;
        return row;
    }

    /** Record that the handler gave the event up. */
    void skipped(Event event, long poll, int attempt, long at) {
        log.append(of(Row.Kind.SKIP, event, poll, attempt, at, at));
    }

    /** Record a dead letter with its own topic, partition and offset. */
    void deadLettered(
            Event event, long poll, int attempt, long began, long ended, Letters.Place where, int error, Row.Outcome outcome) {
        Row row = of(Row.Kind.DEAD_LETTER, event, poll, attempt, began, ended);
        row.topic = topics.get(where.topic());
        row.partition = where.partition();
        row.offset = where.offset();
        row.error = error;
        row.outcome = outcome;
        log.append(row);
    }

    /** Record the commit of a partition's offset. */
    void committed(String topic, int partition, long offset, long began, long ended, int error) {
        Row row = new Row(Row.Kind.COMMIT);
        row.transaction = transaction;
        row.offset = offset;
        row.started = began;
        row.ended = ended;
        row.partition = partition;
        row.process = process;
        row.group = group;
        row.topic = topics.get(topic);
        row.error = error;
        row.outcome = error == 0 ? Row.Outcome.OK : Row.Outcome.FAILED;
        log.append(row);
    }

    private Row of(Row.Kind kind, Event event, long poll, int attempt, long began, long ended) {
        Row row = new Row(kind);
        row.event = event.id();
        row.root = event.root();
        row.key = lookup.key(event.id());
        row.offset = event.offset();
        row.poll = poll;
        row.intended = event.intended();
        row.started = began;
        row.ended = ended;
        row.partition = event.partition();
        row.attempt = attempt;
        row.eventType = lookup.type(event.id());
        row.process = process;
        row.group = group;
        row.topic = topics.get(event.topic());
        return row;
    }
}

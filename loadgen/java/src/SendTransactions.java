package eventdrill;

import java.util.ArrayList;
import java.util.List;
import java.util.function.BooleanSupplier;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.common.KafkaException;
import org.apache.kafka.common.errors.TimeoutException;

/** Transactions of a producer: what is due when one begins takes effect together, or not at all; what comes due meanwhile is the next one. */
final class SendTransactions {
    private static final int PROCESS_BITS = 40;
    private static final int INCARNATION_BITS = 32;

    private final KafkaProducer<byte[], byte[]> client;
    private final RowLog rows;
    private final Spec codes;
    private final BooleanSupplier leaving;
    /** Rows of the one that is open, each with the number of its own error; the client's thread adds to them. */
    private final List<Row> open = new ArrayList<>();
    private long next;
    private boolean isOpen;
    private long dueBy;

    /** Let the brokers know the client; what an earlier one of its id has left open is aborted. */
    SendTransactions(KafkaProducer<byte[], byte[]> client, RowLog rows, Spec codes, long incarnation, BooleanSupplier leaving) {
        this.client = client;
        this.rows = rows;
        this.codes = codes;
        this.leaving = leaving;
        this.next = (codes.number("process") << PROCESS_BITS) + (incarnation << INCARNATION_BITS);
        client.initTransactions();
    }

    /** Begin one that takes what is due by now, unless one is open. */
    void begin(long now) {
        if (!isOpen) {
            client.beginTransaction();
            isOpen = true;
            dueBy = now;
        }
    }

    /** End the one that is open if the next event was not due when it began. */
    void endBefore(long due, long startNs) {
        if (isOpen && due > dueBy) {
            end(startNs);
        }
    }

    /** Keep what became of a send until its transaction has ended; what the client did not take is part of none. */
    void answered(Send send, boolean taken, long key, long intended) {
        Row row = new Row(Row.Kind.SEND);
        row.event = row.root = send.event();
        row.key = key;
        row.offset = send.offset();
        row.intended = intended;
        row.started = send.started();
        row.ended = send.ended();
        row.partition = send.partition();
        row.attempt = 1;
        row.eventType = codes.integer("event_type");
        row.process = codes.integer("process");
        row.topic = codes.integer("topic");
        row.error = send.error();
        row.outcome = send.outcome();
        synchronized (open) {
            if (taken) {
                open.add(row);
            } else {
                rows.append(row);
            }
        }
    }

    /** Commit the one that is open, or abort it where one of its sends has failed; all its sends have the same end. */
    void end(long startNs) {
        if (!isOpen) {
            return;
        }
        int failed = leaving.getAsBoolean() ? Outcomes.GIVEN_UP : asked(client::commitTransaction);
        Row.Outcome outcome = Row.Outcome.OK;
        if (failed != 0) {
            outcome = asked(client::abortTransaction) == 0 ? Row.Outcome.FAILED : Row.Outcome.UNKNOWN;
        }
        long ended = System.nanoTime() - startNs;
        synchronized (open) {
            int code = open.stream().mapToInt(each -> each.error).filter(each -> each != 0).findFirst().orElse(failed);
            for (Row row : open) {
                row.transaction = next;
                row.ended = ended;
                row.outcome = outcome;
                row.error = code;
                row.offset = outcome == Row.Outcome.OK ? row.offset : Row.NONE;
                rows.append(row);
            }
            open.clear();
        }
        next++;
        isOpen = false;
    }

    /** Take a step, again while brokers are away and the process stays; return the number of what it failed with, or 0. */
    private int asked(Runnable step) {
        while (true) {
            try {
                step.run();
                return 0;
            } catch (TimeoutException away) {
                if (leaving.getAsBoolean()) {
                    return Outcomes.TIMED_OUT;
                }
            } catch (KafkaException error) {
                return Outcomes.ofCommit(error);
            }
        }
    }
}

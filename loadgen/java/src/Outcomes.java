package eventdrill;

import java.util.Set;
import org.apache.kafka.clients.consumer.CommitFailedException;
import org.apache.kafka.clients.producer.BufferExhaustedException;
import org.apache.kafka.common.errors.TimeoutException;
import org.apache.kafka.common.errors.UnknownServerException;
import org.apache.kafka.common.protocol.Errors;

/** What an exception of the client says about a record: kept out for certain, or perhaps written; and its number in the rows. */
final class Outcomes {
    // Numbers that Kafka does not have are those by which librdkafka calls the same thing.
    static final int BUFFER_FULL = -184;
    static final int TIMED_OUT = -185;
    static final int RECORD_TIMED_OUT = -192;
    static final int GIVEN_UP = -151;
    static final int FAILED = -196;

    private static final Set<Integer> MAY_BE_WRITTEN = Set.of(RECORD_TIMED_OUT, TIMED_OUT, GIVEN_UP, 7, 13, 20, -1);

    private Outcomes() {}

    /** Return the number of what a send failed with; `handed` is whether the client had taken the record. */
    static int ofSend(Exception error, boolean handed) {
        if (error instanceof BufferExhaustedException) {
            return BUFFER_FULL;
        }
        if (error instanceof TimeoutException) {
            return handed ? RECORD_TIMED_OUT : TIMED_OUT;
        }
        Errors known = Errors.forException(error);
        if (known == Errors.UNKNOWN_SERVER_ERROR && !(error instanceof UnknownServerException)) {
            return handed ? GIVEN_UP : FAILED; // the client itself, without a number for it
        }
        return known.code();
    }

    /** Return how a send ended, from its number; a record that the client never took was never written. */
    static Row.Outcome outcome(int code, boolean handed) {
        return handed && MAY_BE_WRITTEN.contains(code) ? Row.Outcome.UNKNOWN : Row.Outcome.FAILED;
    }

    /** Return the number of what a commit failed with. */
    static int ofCommit(Exception error) {
        if (error instanceof CommitFailedException) {
            return Errors.ILLEGAL_GENERATION.code(); // the group has gone on without this member
        }
        return error instanceof TimeoutException ? TIMED_OUT : Errors.forException(error).code();
    }
}

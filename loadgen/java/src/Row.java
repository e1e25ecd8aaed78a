package eventdrill;

import java.nio.ByteBuffer;

/** One row of `operations`: the driver's layout, field by field, each at its empty value until it is set. */
final class Row implements RowLog.Writable {
    static final long NONE = -1;
    static final long NEVER = Long.MAX_VALUE;
    static final long UNTIMED = Long.MIN_VALUE;
    static final int BYTES = 120;

    /** What a client did, in the driver's order. */
    enum Kind { SEND, DELIVERY, TRY, SKIP, DEAD_LETTER, COMMIT }

    /** How an operation ended, in the driver's order. */
    enum Outcome { OK, FAILED, UNKNOWN }

    long event = NONE;
    long root = NONE;
    long cause = NONE;
    long key = NONE;
    long offset = NONE;
    long poll = NONE;
    long transaction = NONE;
    long retryDue = UNTIMED;
    long intended;
    long started;
    long ended = NEVER;
    int partition = (int) NONE;
    int attempt;
    int eventType;
    int process;
    int group = (int) NONE;
    int topic = (int) NONE;
    int error;
    final Kind kind;
    Outcome outcome = Outcome.OK;

    Row(Kind kind) {
        this.kind = kind;
    }

    @Override
    public void write(ByteBuffer to, int at) {
        to.putLong(at, event).putLong(at + 8, root).putLong(at + 16, cause).putLong(at + 24, key);
        to.putLong(at + 32, offset).putLong(at + 40, poll).putLong(at + 48, transaction).putLong(at + 56, retryDue);
        to.putLong(at + 64, intended).putLong(at + 72, started).putLong(at + 80, ended);
        to.putInt(at + 88, (int) NONE).putInt(at + 92, partition);
        to.putShort(at + 96, (short) Math.min(attempt, Short.MAX_VALUE));
        to.putShort(at + 98, (short) 0).putShort(at + 100, (short) 1).putShort(at + 102, (short) eventType);
        to.putShort(at + 104, (short) process).putShort(at + 106, (short) group).putShort(at + 108, (short) topic);
        to.putShort(at + 110, (short) error).put(at + 112, (byte) kind.ordinal()).put(at + 113, (byte) outcome.ordinal());
    }
}

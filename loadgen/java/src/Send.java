package eventdrill;

import java.nio.ByteBuffer;

/** What a producer process says of a send; the plan and the log's header know the rest of its row in `operations`. */
record Send(long event, long started, long ended, long offset, int partition, int error, Row.Outcome outcome) implements RowLog.Writable {
    static final int BYTES = 40;

    @Override
    public void write(ByteBuffer to, int at) {
        to.putLong(at, event).putLong(at + 8, started).putLong(at + 16, ended).putLong(at + 24, offset);
        to.putInt(at + 32, partition).putShort(at + 36, (short) error).put(at + 38, (byte) outcome.ordinal());
    }
}

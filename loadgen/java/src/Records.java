package eventdrill;

import java.lang.invoke.MethodHandles;
import java.lang.invoke.VarHandle;
import java.nio.ByteOrder;

/** What EventDrill's own records hold: run id, event id, root id and intended time, 64 bits each, then filler. */
final class Records {
    static final int HEADER_BYTES = 32;
    /** Set in the run id of a value that no handler can decode; the ids stay readable for the bookkeeping. */
    static final long POISON = 1L << 63;
    /** Run id of records that belong to no run, such as those of the warm-up. */
    static final long NO_RUN = 0;

    private static final VarHandle WORD = MethodHandles.byteArrayViewVarHandle(long[].class, ByteOrder.LITTLE_ENDIAN);

    private Records() {}

    /** Return a record's value of so many bytes. */
    static byte[] encode(long owner, long event, long root, long intended, byte[] filler, int bytes) {
        byte[] value = new byte[bytes];
        WORD.set(value, 0, owner);
        WORD.set(value, 8, event);
        WORD.set(value, 16, root);
        WORD.set(value, 24, intended);
        for (int at = HEADER_BYTES; at < bytes; at += filler.length) {
            System.arraycopy(filler, 0, value, at, Math.min(filler.length, bytes - at));
        }
        return value;
    }

    /** Whether a value was made by the run, as an event or as poison. */
    static boolean isOf(long run, byte[] value) {
        return value != null && value.length >= HEADER_BYTES && (word(value, 0) & ~POISON) == run;
    }

    static boolean isPoison(byte[] value) {
        return (word(value, 0) & POISON) != 0;
    }

    /** Return the nth word of the header. */
    static long word(byte[] value, int number) {
        return (long) WORD.get(value, number * 8);
    }
}

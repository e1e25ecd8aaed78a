package eventdrill;

import java.util.Arrays;

/** Latencies of one window of the warm-up; added by the client's thread and taken by ours. */
final class Latencies {
    private long[] values = new long[1024];
    private int count;

    synchronized void add(long value) {
        if (count == values.length) {
            values = Arrays.copyOf(values, 2 * count);
        }
        values[count++] = value;
    }

    /** Return what has come since the last call, sorted. */
    synchronized long[] take() {
        long[] taken = Arrays.copyOf(values, count);
        Arrays.sort(taken);
        count = 0;
        return taken;
    }
}

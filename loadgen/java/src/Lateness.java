package eventdrill;

/** How late planned ends were met, counted by doubling steps from 10 microseconds; from any thread. */
final class Lateness {
    private static final int STEPS = 20;

    private final long[] counts = new long[STEPS + 1];

    private static long edge(int step) {
        return 10_000L << Math.min(step, STEPS - 1);
    }

    synchronized void add(long late) {
        int step = 0;
        while (step < STEPS && late > edge(step)) {
            step++;
        }
        counts[step]++;
    }

    /** Return the upper edge of the step that holds the quantile. */
    synchronized long quantile(double q) {
        long all = 0;
        for (long count : counts) {
            all += count;
        }
        long seen = 0;
        for (int step = 0; step < counts.length; step++) {
            seen += counts[step];
            if (seen >= q * all && counts[step] > 0) {
                return edge(step);
            }
        }
        return 0;
    }
}

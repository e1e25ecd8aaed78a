package eventdrill;

/** The driver's hashed draws: one number in (0, 1), a pure function of the seed and the words (SplitMix64 finalisers). */
final class Draw {
    private Draw() {}

    static double uniform(long seed, long... words) {
        long state = seed;
        for (long word : words) {
            state = mix(state ^ mix(word + 0x9E3779B97F4A7C15L));
        }
        return ((state >>> 11) + 0.5) * 0x1p-53;
    }

    private static long mix(long given) {
        long z = (given ^ (given >>> 30)) * 0xBF58476D1CE4E5B9L;
        z = (z ^ (z >>> 27)) * 0x94D049BB133111EBL;
        return z ^ (z >>> 31);
    }
}

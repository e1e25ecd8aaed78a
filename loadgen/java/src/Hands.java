package eventdrill;

/**
 * One pair of hands that works on events one after another. `busyUntil` is the planned end of the last try: the next one begins there,
 * however late the sleep woke, so that overshoot never adds to the load.
 */
final class Hands {
    long busyUntil;

    /** Begin no earlier than an instant. */
    void notBefore(long at) {
        busyUntil = Math.max(busyUntil, at);
    }

    /** Begin no earlier than now: what came before took time of the handler. */
    void catchUp() {
        notBefore(System.nanoTime());
    }
}

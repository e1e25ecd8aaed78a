package eventdrill;

/** A circuit breaker: opens after failures in a row; after a while a few calls ask whether it can close. */
final class Breaker {
    /** Whether the member waits while it is open, instead of failing. */
    final boolean waits;

    private final long opensAfter;
    private final long staysOpenNs;
    private final long probes;
    private long failures;
    private long opened = Row.NEVER;
    private long goodProbes;

    Breaker(long opensAfter, long staysOpenNs, long probes, boolean waits) {
        this.opensAfter = opensAfter;
        this.staysOpenNs = staysOpenNs;
        this.probes = probes;
        this.waits = waits;
    }

    static Breaker of(Spec spec) {
        return new Breaker(spec.number("opens_after"), spec.number("stays_open_ns"), spec.number("probes"), spec.flag("waits"));
    }

    /** Return when it will let calls through again; Row.NEVER where it does now. */
    synchronized long opensAt(long now) {
        return opened == Row.NEVER || now >= opened + staysOpenNs ? Row.NEVER : opened + staysOpenNs;
    }

    /** Note how a call ended. */
    synchronized void ended(boolean ok, long now) {
        if (opened != Row.NEVER) { // a probe
            goodProbes = ok ? goodProbes + 1 : 0;
            if (!ok) {
                opened = now;
            } else if (goodProbes >= probes) {
                opened = Row.NEVER;
                failures = 0;
                goodProbes = 0;
            }
            return;
        }
        failures = ok ? 0 : failures + 1;
        if (failures >= opensAfter) {
            opened = now;
            goodProbes = 0;
        }
    }
}

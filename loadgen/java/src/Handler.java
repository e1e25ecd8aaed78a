package eventdrill;

import java.io.IOException;
import java.util.List;
import java.util.concurrent.locks.LockSupport;

/**
 * Works on events one after another. `busyUntil` is the planned end of the last try: the next one begins there, however late the sleep
 * woke, so that overshoot never adds to the load.
 */
final class Handler {
    /** How an event's handling ended. */
    enum End { DONE, STOPPED, LEAVING }

    private static final long NO_RETRY = Row.UNTIMED;

    /** A stretch of the run in which tries are slower, or a share of them fails. */
    private record Interval(long begin, long end, double factor, long plus, double share) {
        static Interval of(Spec spec) {
            return new Interval(
                    spec.number("begin_ns"), spec.number("end_ns"), spec.real("factor"), spec.number("plus_ns"), spec.real("share"));
        }

        boolean holds(long at) {
            return begin <= at && at < end;
        }
    }

    final Lateness late = new Lateness();
    long startNs;
    long busyUntil;

    private final Child child;
    private final MemberRows rows;
    private final boolean busy;
    private final Column work;
    private final Column failingTries;
    private final List<Interval> slow;
    private final List<Interval> failing;
    private final long seed;
    private final long group;
    private final List<Interval> stalls;
    /** Whether this version of the handler decodes whatever the plan says; it was told a schema version of its own. */
    private final boolean decodesAll;
    private final Column undecodable;
    private final Policy policy;
    private final Letters letters;
    private final Memory memory;

    /** What a handler does about failures; null where there is no policy, and it tries again without end. */
    private record Policy(long attempts, long backoff, double factor, boolean byTopic, String then) {
        static Policy of(Spec spec) {
            if (!spec.has("failures")) {
                return null;
            }
            Spec failures = spec.part("failures");
            Spec retry = failures.part("retry");
            return new Policy(
                    retry.number("attempts"), retry.number("backoff_ns"), retry.real("factor"), Letters.retriesByTopic(spec),
                    failures.text("then"));
        }
    }

    Handler(Child child, MemberRows rows, Letters letters) throws IOException {
        Spec spec = child.spec;
        this.child = child;
        this.rows = rows;
        this.busy = spec.flag("busy");
        this.work = child.column("work_ns");
        this.failingTries = child.column("failing_tries");
        this.slow = spec.parts("slow").stream().map(Interval::of).toList();
        this.failing = spec.parts("failing").stream().map(Interval::of).toList();
        this.seed = spec.number("seed");
        this.group = spec.part("codes").number("group");
        this.policy = Policy.of(spec);
        this.stalls = spec.has("stalls") ? spec.parts("stalls").stream().map(Interval::of).toList() : List.of();
        this.decodesAll = spec.has("decodes");
        this.undecodable = child.columnOrNull("undecodable");
        this.letters = letters;
        this.memory = Memory.of(spec);
    }

    /** Return when a stall of the handler is over, Row.NEVER where there is none. */
    private long stalledUntil(long now) {
        long end = stalls.stream().filter(each -> each.holds(now - startNs)).mapToLong(Interval::end).max().orElse(-1);
        return end < 0 ? Row.NEVER : startNs + end;
    }

    /** Hang while the scenario lets the handler hang: it does not even poll. */
    void stall(long now) {
        long until = stalls.isEmpty() ? Row.NEVER : stalledUntil(now);
        if (until != Row.NEVER) {
            sleepUntil(until);
            busyUntil = Math.max(busyUntil, until);
        }
    }

    /** Try until it works or the policy gives the event up; what ends otherwise than DONE leaves the event unfinished. */
    End handle(Event event, long poll, long deliveredAt) throws IOException {
        if (memory != null && memory.knows(event.id(), System.nanoTime() - startNs)) {
            return End.DONE; // it has had its effect
        }
        for (int attempt = event.attempt(); ; attempt++) {
            stall(Math.max(System.nanoTime(), busyUntil));
            long begin = busyUntil;
            work(begin, event.id());
            long ended = System.nanoTime() - startNs;
            long began = Math.max(begin, deliveredAt) - startNs;
            if (works(event, attempt, begin - startNs)) {
                if (memory != null) {
                    memory.remember(event.id(), ended);
                }
                rows.tried(event, poll, attempt, began, ended, NO_RETRY, true);
                return End.DONE;
            }
            long due = nextTry(attempt);
            rows.tried(event, poll, attempt, began, ended, due == NO_RETRY ? due : due - startNs, false);
            if (due == NO_RETRY) {
                return giveUp(event, poll, attempt);
            }
            if (policy != null && policy.byTopic()) {
                letters.retry(event, attempt, due - startNs);
                busyUntil = System.nanoTime();
                return End.DONE;
            }
            sleepUntil(due);
            busyUntil = due;
            if (child.leaving) {
                return End.LEAVING;
            }
        }
    }

    private void work(long begin, int event) {
        long planned = work.get(event);
        long takes = planned;
        for (Interval each : slow) {
            if (each.holds(begin - startNs)) {
                takes = (long) Math.rint(takes * each.factor()) + each.plus();
            }
        }
        long due = begin + takes;
        while (System.nanoTime() < due) {
            if (busy) {
                Thread.onSpinWait();
            } else {
                LockSupport.parkNanos(due - System.nanoTime());
            }
        }
        if (takes > 0) { // without work there is no planned end to be late for
            late.add(System.nanoTime() - due);
        }
        busyUntil = due;
    }

    /** Sleep in short stretches, so that a member that shall leave does not wait for a long backoff. */
    private void sleepUntil(long due) {
        for (long left = due - System.nanoTime(); left > 0 && !child.leaving; left = due - System.nanoTime()) {
            LockSupport.parkNanos(Math.min(left, 100_000_000L));
        }
    }

    private boolean works(Event event, int attempt, long began) {
        boolean planned = undecodable != null && !decodesAll && undecodable.get(event.id()) != 0;
        if (planned || Records.isPoison(event.value()) || attempt <= failingTries.get(event.id())) {
            return false;
        }
        double share = failing.stream().filter(each -> each.holds(began)).mapToDouble(Interval::share).max().orElse(0);
        // The same number as the simulator's for a first delivery.
        return share == 0 || Draw.uniform(seed, 0, group, event.id(), attempt, 1) >= share;
    }

    private long nextTry(int attempt) {
        if (policy == null) {
            return busyUntil; // no error handling: again at once, without end
        }
        if (attempt >= policy.attempts()) {
            return NO_RETRY;
        }
        return busyUntil + (long) Math.rint(policy.backoff() * Math.pow(policy.factor(), attempt - 1));
    }

    private End giveUp(Event event, long poll, int attempt) {
        switch (policy.then()) {
            case "skip" -> rows.skipped(event, poll, attempt, System.nanoTime() - startNs);
            case "stop" -> {
                return End.STOPPED;
            }
            default -> {
                letters.dead(event, poll, attempt, startNs);
                busyUntil = System.nanoTime();
            }
        }
        return End.DONE;
    }
}

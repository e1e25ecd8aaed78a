package eventdrill;

import java.io.IOException;
import java.util.List;
import java.util.concurrent.locks.LockSupport;

/** Works on events, each in somebody's hands; with several workers they are in different hands at the same time. */
final class Handler {
    /** How an event's handling ended. */
    enum End { DONE, RELEASED, STOPPED, LEAVING }

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
    volatile long startNs;

    private final Child child;
    private final MemberRows rows;
    private final Lookup lookup;
    private final boolean busy;
    private final long warmUpNs;
    private final List<Interval> slow;
    private final List<Interval> failing;
    private final long seed;
    private final long group;
    private final List<Interval> stalls;
    private final Policy policy;
    private final Letters letters;
    private final Memory memory;
    private final Calls calls;
    private final Emitter emitter;

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

    /** What it sends, where the scenario lets it send anything: `letters` and `emitter` are null where it does not. */
    Handler(Child child, MemberRows rows, Lookup lookup, Letters letters, Emitter emitter) throws IOException {
        Spec spec = child.spec;
        this.child = child;
        this.rows = rows;
        this.lookup = lookup;
        this.busy = spec.flag("busy");
        this.warmUpNs = spec.number("warm_up_ns");
        this.slow = spec.parts("slow").stream().map(Interval::of).toList();
        this.failing = spec.parts("failing").stream().map(Interval::of).toList();
        this.seed = spec.number("seed");
        this.group = spec.part("codes").number("group");
        this.policy = Policy.of(spec);
        this.stalls = spec.has("stalls") ? spec.parts("stalls").stream().map(Interval::of).toList() : List.of();
        this.letters = letters;
        this.emitter = emitter;
        this.memory = Memory.of(spec);
        this.calls = Calls.of(child);
    }

    /** Return when a stall of the handler is over, Row.NEVER where there is none. */
    private long stalledUntil(long now) {
        long end = stalls.stream().filter(each -> each.holds(now - startNs)).mapToLong(Interval::end).max().orElse(-1);
        return end < 0 ? Row.NEVER : startNs + end;
    }

    /** Hang while the scenario lets the handler hang: it does not even poll. */
    void stall(Hands hands, long now) {
        long until = stalls.isEmpty() ? Row.NEVER : stalledUntil(now);
        if (until != Row.NEVER) {
            sleepUntil(until);
            hands.notBefore(until);
        }
    }

    /** Whether it remembers an effect of the event. */
    boolean knows(Event event) {
        return memory != null && memory.knows(event.id(), System.nanoTime() - startNs);
    }

    /** Try until it works or the policy gives the event up; what ends otherwise than DONE leaves the event unfinished. */
    End handle(Event event, long poll, long deliveredAt, Hands hands) throws IOException {
        if (knows(event)) {
            return End.DONE; // it has had its effect
        }
        for (int attempt = event.attempt(); ; attempt++) {
            stall(hands, Math.max(System.nanoTime(), hands.busyUntil));
            long begin = hands.busyUntil;
            work(hands, begin, event.id());
            boolean called = calls == null || callAll(event, attempt, hands);
            if (!called && child.leaving) {
                return End.LEAVING;
            }
            long ended = System.nanoTime() - startNs;
            long began = Math.max(begin, deliveredAt) - startNs;
            if (called && works(event, attempt, begin - startNs)) {
                tookEffect(event, poll, attempt, began, ended);
                return End.DONE;
            }
            long due = nextTry(attempt, hands);
            rows.tried(event, poll, attempt, began, ended, due == NO_RETRY ? due : due - startNs, false);
            if (due == NO_RETRY) {
                return giveUp(event, poll, attempt, hands);
            }
            if (policy != null && policy.byTopic()) {
                letters.retry(event, attempt, due - startNs);
                hands.busyUntil = System.nanoTime();
                return End.DONE;
            }
            sleepUntil(due);
            hands.busyUntil = due;
            if (child.leaving) {
                return End.LEAVING;
            }
        }
    }

    private void tookEffect(Event event, long poll, int attempt, long began, long ended) throws IOException {
        if (emitter != null) {
            emitter.store(event, ended);
        }
        if (memory != null) { // as if in one transaction: what is remembered is stored, and counts as done if this process dies before its row
            memory.remember(event.id(), ended);
        }
        rows.tried(event, poll, attempt, began, ended, NO_RETRY, true);
        if (emitter != null) {
            emitter.emit(event, ended, startNs);
        }
    }

    /** Call each dependency in turn; tell whether all went well. */
    private boolean callAll(Event event, int attempt, Hands hands) throws IOException {
        boolean ok = true;
        for (int call = 0; ok && call < calls.count(); call++) {
            for (long until = calls.heldUntil(call, System.nanoTime()); until != Row.NEVER; ) {
                sleepUntil(until);
                if (child.leaving) {
                    return false;
                }
                until = calls.heldUntil(call, System.nanoTime());
            }
            ok = calls.call(call, event.id(), attempt);
        }
        hands.catchUp();
        return ok;
    }

    private void work(Hands hands, long begin, long event) {
        long takes = lookup.work(event);
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
        if (takes > 0 && due >= startNs + warmUpNs) { // without work there is no planned end to be late for
            late.add(System.nanoTime() - due);
        }
        hands.busyUntil = due;
    }

    /** Sleep in short stretches, so that a member that shall leave does not wait for a long backoff. */
    void sleepUntil(long due) {
        for (long left = due - System.nanoTime(); left > 0 && !child.leaving; left = due - System.nanoTime()) {
            LockSupport.parkNanos(Math.min(left, 100_000_000L));
        }
    }

    private boolean works(Event event, int attempt, long began) {
        if (lookup.undecodable(event.id()) || event.poison() || attempt <= lookup.failingTries(event.id())) {
            return false;
        }
        double share = failing.stream().filter(each -> each.holds(began)).mapToDouble(Interval::share).max().orElse(0);
        // The same number as the simulator's for this delivery where the brokers count them, or else for a first one.
        return share == 0 || Draw.uniform(seed, 0, group, event.id(), attempt, event.delivery()) >= share;
    }

    private long nextTry(int attempt, Hands hands) {
        if (policy == null) {
            return hands.busyUntil; // no error handling: again at once, without end
        }
        if (attempt >= policy.attempts()) {
            return NO_RETRY;
        }
        return hands.busyUntil + (long) Math.rint(policy.backoff() * Math.pow(policy.factor(), attempt - 1));
    }

    private End giveUp(Event event, long poll, int attempt, Hands hands) {
        switch (policy.then()) {
            case "skip" -> rows.skipped(event, poll, attempt, System.nanoTime() - startNs);
            case "stop" -> {
                return End.STOPPED;
            }
            case "release" -> {
                return End.RELEASED;
            }
            default -> {
                letters.dead(event, poll, attempt, startNs);
                hands.busyUntil = System.nanoTime();
            }
        }
        return End.DONE;
    }
}

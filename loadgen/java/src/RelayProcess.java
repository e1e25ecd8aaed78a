package eventdrill;

import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.concurrent.locks.LockSupport;

/**
 * The relay of a group's outbox: looks at an interval for what members have stored, and sends it. Its rows are the members': of the one
 * whose effect an event follows from. SIGTERM makes it look once more and end when all of it is answered.
 */
final class RelayProcess {
    private static final long NAP_NS = 20_000_000;

    /** One of the group's emits that goes through the outbox, when its events are looked for next, and those seen meanwhile. */
    private static final class Box {
        final Emitter.What what;
        final int emit;
        final long every;
        long due;
        List<Outbox.Stored> waiting = new ArrayList<>();

        Box(Emitter.What what, int emit, long every) {
            this.what = what;
            this.emit = emit;
            this.every = every;
            this.due = System.nanoTime() + every;
        }
    }

    private final Child child;
    private final Clients clients;
    private final MemberRows rows;
    private final Outbox.All outboxes;
    private final List<Box> boxes = new ArrayList<>();
    private final Set<Long> relayed = new HashSet<>();
    /** Whether the group does everything once: what a member stored, and was killed before it was remembered, is stored again. */
    private final boolean once;
    private long startNs;

    private RelayProcess(Child child) throws IOException {
        Spec spec = child.spec;
        this.child = child;
        this.clients = new Clients(spec);
        this.rows = new MemberRows(child, new Lookup(child));
        this.outboxes = new Outbox.All(Path.of(spec.text("outbox_folder")), spec.text("outbox"));
        this.once = spec.flag("once");
        List<Spec> emits = spec.parts("emits");
        for (int emit = 0; emit < emits.size(); emit++) {
            long every = emits.get(emit).number("outbox");
            if (every > 0) {
                boxes.add(new Box(Emitter.What.of(emits.get(emit), clients), emit, every));
            }
        }
    }

    public static void main(String[] arguments) throws Exception {
        Child child = Child.begin(arguments);
        RelayProcess relay = new RelayProcess(child);
        child.say("ready", "at", System.nanoTime());
        relay.run();
        child.say("bye", "at", System.nanoTime());
        Runtime.getRuntime().halt(0); // all is answered
    }

    private void run() throws IOException {
        while (!child.leaving) {
            for (Spec request = child.hear(); request != null; request = child.hear()) {
                if (request.text("do").equals("start")) {
                    startNs = request.number("at_ns");
                }
            }
            long next = Long.MAX_VALUE;
            for (Box box : boxes) {
                if (box.due <= System.nanoTime()) {
                    box.due += box.every;
                    relay(box);
                }
                next = Math.min(next, box.due);
            }
            LockSupport.parkNanos(Math.min(next - System.nanoTime(), NAP_NS));
        }
        for (Box box : boxes) {
            relay(box);
        }
        clients.settle();
    }

    /** Send what was stored of one of the emits. */
    private void relay(Box box) throws IOException {
        for (Outbox.Stored each : outboxes.fresh()) {
            boxes.stream().filter(other -> other.emit == each.emit()).forEach(other -> other.waiting.add(each));
        }
        List<Outbox.Stored> found = box.waiting;
        box.waiting = new ArrayList<>();
        for (Outbox.Stored each : found) {
            if (once && !relayed.add(each.id())) {
                continue;
            }
            long began = System.nanoTime() - startNs;
            box.what.send(each.key(), each.value(), (where, error, outcome) ->
                    rows.relayed(each, where, began, System.nanoTime() - startNs, error, outcome));
        }
    }
}

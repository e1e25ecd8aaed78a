package eventdrill;

import java.io.IOException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.DatagramChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/** A member's calls of dependencies by datagram, and the breakers in front of them; a thread takes in the answers. */
final class Calls {
    private static final int CALL_BYTES = 32; // number, dependency (4), two draws, 1 where the caller withdraws (4)
    private static final int REPLY_BYTES = 12; // number, how it ended (4)
    private static final int OK = 0;
    private static final long LOOK_AGAIN_MS = 100;

    /** One of the group's calls. */
    private record What(int dependency, long stream, long timeoutNs, Breaker breaker) {
        static What of(Spec spec) {
            return new What(
                    spec.integer("number"), spec.number("stream"), spec.has("timeout_ns") ? spec.number("timeout_ns") : Row.NEVER,
                    spec.has("breaker") ? Breaker.of(spec.part("breaker")) : null);
        }
    }

    private final Child child;
    private final List<What> calls;
    private final long seed;
    private final Path port;
    private final Map<Long, Integer> answers = new HashMap<>();
    private DatagramChannel channel;
    private long number;

    Calls(Child child) {
        this.child = child;
        this.calls = child.spec.parts("calls").stream().map(What::of).toList();
        this.seed = child.spec.number("seed");
        this.port = Path.of(child.spec.text("dependencies") + ".port");
    }

    /** Return the calls of a group, null where it has none. */
    static Calls of(Child child) {
        return child.spec.has("calls") && !child.spec.list("calls").isEmpty() ? new Calls(child) : null;
    }

    int count() {
        return calls.size();
    }

    /** Return when the breaker lets a call through that would wait for it; Row.NEVER where it does now, or fails it at once. */
    long heldUntil(int call, long now) {
        Breaker breaker = calls.get(call).breaker();
        return breaker != null && breaker.waits ? breaker.opensAt(now) : Row.NEVER;
    }

    /** Call, and wait for the answer; tell whether it went well. A member that is to leave gets false. */
    boolean call(int call, long event, int attempt) throws IOException {
        What what = calls.get(call);
        long now = System.nanoTime();
        if (what.breaker() != null && what.breaker().opensAt(now) != Row.NEVER) {
            return false;
        }
        long own = ask(what, event, attempt);
        boolean ok = answer(own, what.timeoutNs() == Row.NEVER ? Row.NEVER : now + what.timeoutNs());
        if (what.breaker() != null) {
            what.breaker().ended(ok, System.nanoTime());
        }
        return ok;
    }

    private synchronized long ask(What what, long event, int attempt) throws IOException {
        if (channel == null) {
            open();
        }
        number++;
        try {
            send(number, what.dependency(), draw(what, event, attempt, 0), draw(what, event, attempt, 1), 0);
        } catch (IOException gone) { // as a service that does not answer
            answers.put(number, 1);
        }
        return number;
    }

    private double draw(What what, long event, int attempt, int which) {
        return Draw.uniform(seed, what.stream(), event, attempt, which);
    }

    private void open() throws IOException {
        int at = Integer.parseInt(Files.readString(port).strip());
        channel = DatagramChannel.open();
        channel.connect(new InetSocketAddress(InetAddress.getLoopbackAddress(), at));
        child.daemon("answers", this::receive);
    }

    private void send(long own, int dependency, double time, double failure, int withdraws) throws IOException {
        ByteBuffer call = ByteBuffer.allocate(CALL_BYTES).order(ByteOrder.LITTLE_ENDIAN);
        call.putLong(own).putInt(dependency).putDouble(time).putDouble(failure).putInt(withdraws).flip();
        channel.write(call);
    }

    private synchronized boolean answer(long own, long until) throws IOException {
        while (!answers.containsKey(own)) {
            long left = until == Row.NEVER ? LOOK_AGAIN_MS : (until - System.nanoTime()) / 1_000_000;
            if (left <= 0 && System.nanoTime() >= until) {
                send(own, 0, 0, 0, 1);
                return false;
            }
            try {
                wait(Math.max(1, Math.min(left, LOOK_AGAIN_MS)));
            } catch (InterruptedException error) {
                Thread.currentThread().interrupt();
                return false;
            }
            if (child.leaving) {
                return false;
            }
        }
        return answers.remove(own) == OK;
    }

    private void receive() {
        ByteBuffer reply = ByteBuffer.allocate(REPLY_BYTES).order(ByteOrder.LITTLE_ENDIAN);
        while (true) {
            try {
                reply.clear();
                if (channel.read(reply) == REPLY_BYTES) {
                    note(reply.getLong(0), reply.getInt(8));
                }
            } catch (IOException error) {
                if (!channel.isOpen()) {
                    return;
                } // else a service that is gone: its calls run into their timeouts
            }
        }
    }

    private synchronized void note(long own, int outcome) {
        answers.put(own, outcome);
        notifyAll();
    }
}

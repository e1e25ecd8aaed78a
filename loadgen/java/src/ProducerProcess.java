package eventdrill;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Arrays;
import java.util.Map;
import java.util.concurrent.atomic.AtomicLong;
import java.util.concurrent.locks.LockSupport;
import org.apache.kafka.clients.producer.Callback;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.KafkaException;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/**
 * One producer process: sends its share of the plan at the planned instants, open loop. What is late goes out at once and keeps its
 * intended time; only a `send` that blocks, as the Java client's does, holds it up.
 */
final class ProducerProcess {
    private static final long CONNECT_WITHIN_NS = 30_000_000_000L;
    private static final long WINDOW_NS = 5_000_000_000L;
    /** Shorter sleeps cost more than they are worth: at high rates events go out in groups, and at most so late. */
    private static final long LEAST_NAP_NS = 100_000L;

    private final Child child;
    private final Spec spec;
    private final Thread main = Thread.currentThread();
    private final KafkaProducer<byte[], byte[]> client;
    private final RowLog rows;
    /** What is due together and takes effect together; null without a `transactional.id`. */
    private final SendTransactions transactions;
    private final Blocked blocked;
    private final String topic;
    private final long runId;
    private final long spinNs;
    private final long leastNapNs;
    /** Events in the order in which they are handed over; one that is sent again is in it twice. */
    private final Column events;
    /** When each of them is due, where that is not its intended time; else null. */
    private final Column due;
    /** Which of them are sent again; null where none is. */
    private final Column again;
    /** Whether the process was started again after a crash. */
    private final boolean isBack;
    private final Column intended;
    private final Column size;
    private final Column key;
    private final Column poison;
    private final Column started;
    /** The user's own values, sent in turn, ids then go into headers; null where values are ours. */
    private final Payload payload;
    private final WrongClock wrongClock;
    private final byte[] keyPrefix;
    private final byte[] filler;
    private final AtomicLong answered = new AtomicLong();
    private final Latencies warmLatencies = new Latencies();
    private long handed;
    private long startNs;
    private boolean sending;
    private boolean ended;
    private boolean halted;
    private boolean warming;
    /** What the thread spent from time 0 until all was acknowledged. */
    private double runCpuS;

    private ProducerProcess(Child child) throws IOException {
        this.child = child;
        this.spec = child.spec;
        Map<String, Object> settings = spec.settings("settings");
        this.client = new KafkaProducer<>(settings, new ByteArraySerializer(), new ByteArraySerializer());
        this.blocked = new Blocked(child, client);
        this.topic = spec.text("topic");
        this.runId = spec.number("run_id");
        this.spinNs = spec.number("spin_ns");
        this.leastNapNs = spinNs > 0 ? 0 : LEAST_NAP_NS;
        this.events = child.column("events");
        this.due = child.columnOrNull("due_ns");
        this.again = child.columnOrNull("again");
        this.isBack = spec.has("incarnation") && spec.number("incarnation") > 1;
        this.intended = child.column("intended_ns");
        this.size = child.column("size_bytes");
        this.key = child.column("key");
        this.poison = child.column("poison");
        this.started = Column.write(Path.of(spec.part("arrays").text("started_ns")));
        this.payload = Payload.of(child);
        this.wrongClock = WrongClock.of(spec);
        this.keyPrefix = spec.has("key_prefix") ? spec.text("key_prefix").getBytes() : null;
        this.filler = Files.readAllBytes(Path.of(spec.text("filler")));
        Spec codes = spec.part("codes");
        Path path = Path.of(spec.text("rows"));
        if (settings.containsKey("transactional.id")) {
            this.rows = RowLog.ofRows(path, spec.integer("capacity"));
            this.transactions = new SendTransactions(client, rows, codes, spec.number("incarnation"), this::isLeaving);
        } else {
            this.rows = RowLog.ofSends(
                    path, spec.integer("capacity"), codes.integer("process"), codes.integer("topic"), codes.integer("event_type"));
            this.transactions = null;
        }
    }

    /** Hear the driver, and tell whether it wants the process to end. */
    private boolean isLeaving() {
        listen();
        return ended || child.leaving;
    }

    public static void main(String[] arguments) throws Exception {
        Child child = Child.begin(arguments);
        ProducerProcess process = new ProducerProcess(child);
        process.connect();
        child.say("ready", "at", System.nanoTime());
        process.serve();
        child.say(
                "bye", "buffer_errors", 0, "cpu_s", Child.processCpuS(), "thread_cpu_s", Child.threadCpuS(), "run_cpu_s", process.runCpuS);
        Runtime.getRuntime().halt(0); // all is said, and the client's threads hold nothing any more
    }

    // ---- acknowledgements ------------------------------------------------------------------------------------------

    /** Records what became of one event; the client calls it from its own thread, or from within a send that it refuses. */
    private final class Answer implements Callback {
        private final int event;
        private final long begun;

        Answer(int event, long begun) {
            this.event = event;
            this.begun = begun;
        }

        @Override
        public void onCompletion(RecordMetadata where, Exception error) {
            long now = System.nanoTime();
            record(event, begun, now, where, error, !(sending && Thread.currentThread() == main));
        }
    }

    private void record(int event, long begun, long now, RecordMetadata where, Exception error, boolean taken) {
        int code = error == null ? 0 : Outcomes.ofSend(error, taken);
        Row.Outcome outcome = error == null ? Row.Outcome.OK : Outcomes.outcome(code, taken);
        long offset = where != null && error == null && where.hasOffset() ? where.offset() : Row.NONE;
        int partition = where == null ? (int) Row.NONE : where.partition();
        Send send = new Send(event, begun, now - startNs, offset, partition, code, outcome);
        if (transactions == null) {
            rows.append(send);
        } else {
            transactions.answered(send, taken, key.get(event), intended.get(event));
        }
        answered.incrementAndGet();
    }

    // ---- before the run --------------------------------------------------------------------------------------------

    /** Learn the topic's leaders, and get the connections and ids that the first sends need, on the scratch topic. */
    private void connect() throws InterruptedException {
        long until = System.nanoTime() + CONNECT_WITHIN_NS;
        while (!hasLeaders()) {
            if (System.nanoTime() > until) {
                throw new IllegalStateException("no leaders of " + topic + " within 30 s");
            }
            Thread.sleep(20);
        }
        for (int partition = 0; partition < spec.integer("scratch_partitions"); partition++) {
            sendScratch(partition);
        }
        client.flush();
        warmLatencies.take();
    }

    private boolean hasLeaders() {
        try {
            var known = client.partitionsFor(topic);
            return !known.isEmpty() && known.stream().allMatch(each -> each.leader() != null && !each.leader().isEmpty());
        } catch (KafkaException error) {
            return false; // asked again
        }
    }

    private void sendScratch(int number) {
        long now = System.nanoTime();
        int bytes = Records.HEADER_BYTES + spec.integer("scratch_bytes");
        byte[] value = Records.encode(Records.NO_RUN, number, number, now, filler, bytes);
        int partition = number % spec.integer("scratch_partitions");
        if (transactions != null) {
            client.beginTransaction();
        }
        client.send(new ProducerRecord<>(spec.text("scratch_topic"), partition, null, value), (where, error) ->
                warmLatencies.add(System.nanoTime() - now));
        if (transactions != null) {
            client.commitTransaction();
        }
    }

    /** Send to the scratch topic at an even rate until the driver has heard enough, and tell it the latencies. */
    private void warm(double rateHz) {
        warming = true;
        long begin = System.nanoTime();
        long windowEnd = begin + WINDOW_NS;
        for (int number = 0; warming; number++) {
            waitUntil(begin + (long) (number * 1e9 / rateHz));
            sendScratch(number);
            if (System.nanoTime() >= windowEnd) {
                windowEnd += WINDOW_NS;
                long[] latencies = warmLatencies.take();
                long p95 = latencies.length == 0 ? WINDOW_NS : latencies[latencies.length * 95 / 100];
                child.say("window", "p95_ns", p95, "count", latencies.length);
            }
            listen();
        }
        client.flush();
        warmLatencies.take();
    }

    // ---- the run ---------------------------------------------------------------------------------------------------

    /** Do what the driver asks until it ends the process. */
    private void serve() throws InterruptedException {
        while (true) {
            Spec request = child.hear(50);
            if (child.leaving) {
                return;
            }
            switch (request == null ? "" : request.text("do")) {
                case "", "halt" -> { }
                case "warm" -> {
                    warm(request.real("rate_hz"));
                    child.say("warm");
                }
                case "start" -> {
                    startNs = request.number("at_ns");
                    run();
                    return;
                }
                case "stop" -> {
                    return;
                }
                default -> throw new IllegalArgumentException("a producer process knows no request " + request.text("do"));
            }
        }
    }

    private void run() throws InterruptedException {
        double began = Child.threadCpuS();
        sendAll();
        blocked.tell();
        child.say("sent");
        boolean told = false;
        while (!ended && !child.leaving) {
            if (!told && answered.get() == handed) {
                told = true;
                runCpuS = Child.threadCpuS() - began;
                child.say("finished");
            }
            Thread.sleep(told ? 20 : 2);
            listen();
        }
        client.close(Duration.ZERO); // gives up what is not acknowledged: its outcome is unknown
    }

    /** Send every event of this process at its instant. */
    private void sendAll() {
        blocked.forget();
        for (int i = 0; i < events.length; i++) {
            int event = (int) events.get(i);
            long at = startNs + (due == null ? intended.get(event) : due.get(i));
            boolean repeated = again != null && again.get(i) != 0;
            if (transactions != null) {
                transactions.endBefore(at, startNs);
            }
            long now = System.nanoTime();
            if (isBack && (repeated ? at < now : started.get(event) != Row.NONE)) {
                continue; // it was handed over before the crash
            }
            if (now < at) {
                waitUntil(at);
                now = System.nanoTime();
            }
            if ((i & 63) == 0) {
                listen(); // one that is always late must still hear
            }
            if (ended || halted || child.leaving) {
                break;
            }
            if (transactions != null) {
                transactions.begin(now);
            }
            if (!repeated) {
                started.put(event, now - startNs);
            }
            send(event, now);
        }
        if (transactions != null) {
            transactions.end(startNs);
        }
    }

    private void send(int event, long now) {
        ProducerRecord<byte[], byte[]> record = wrongClock.stamped(recordOf(event), now - startNs);
        handed++;
        sending = true;
        try {
            client.send(record, new Answer(event, now - startNs));
        } catch (KafkaException | IllegalStateException error) { // refused without a callback
            record(event, now - startNs, System.nanoTime(), null, error, false);
        } finally {
            sending = false;
        }
        blocked.took(now, System.nanoTime());
    }

    private ProducerRecord<byte[], byte[]> recordOf(int event) {
        boolean poisoned = poison.get(event) != 0;
        byte[] name = keyPrefix == null ? null : keyOf(key.get(event));
        if (payload != null) {
            return payload.record(topic, name, runId, event, intended.get(event), poisoned);
        }
        long owner = poisoned ? runId | Records.POISON : runId;
        byte[] value = Records.encode(owner, event, event, intended.get(event), filler, (int) size.get(event));
        return new ProducerRecord<>(topic, name, value);
    }

    /** Return a key's text, such as `shop-17`. */
    private byte[] keyOf(long number) {
        int digits = 1;
        for (long rest = number; rest >= 10; rest /= 10) {
            digits++;
        }
        byte[] text = Arrays.copyOf(keyPrefix, keyPrefix.length + digits);
        long rest = number;
        for (int at = text.length - 1; at >= keyPrefix.length; at--, rest /= 10) {
            text[at] = (byte) ('0' + rest % 10);
        }
        return text;
    }

    /** Sleep until `due`, in stretches so that requests are heard; the last one is a spin where cores allow it. */
    private void waitUntil(long due) {
        long remaining = due - System.nanoTime();
        while (remaining > spinNs) {
            LockSupport.parkNanos(Math.min(Math.max(remaining - spinNs, leastNapNs), 50_000_000L));
            listen();
            if (ended || halted || child.leaving) {
                return;
            }
            remaining = due - System.nanoTime();
        }
        while (System.nanoTime() < due) {
            Thread.onSpinWait();
        }
    }

    private void listen() {
        for (Spec request = child.hear(); request != null; request = child.hear()) {
            switch (request.text("do")) {
                case "halt" -> {
                    warming = false;
                    halted = startNs != 0;
                }
                case "stop" -> ended = true;
                default -> throw new IllegalArgumentException("a producer process knows no request " + request.text("do"));
            }
        }
        if (child.leaving) {
            warming = false;
        }
    }
}

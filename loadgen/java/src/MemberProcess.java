package eventdrill;

import java.io.IOException;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Collection;
import java.util.List;
import java.util.Map;
import java.util.TreeSet;
import java.util.function.Consumer;
import org.apache.kafka.clients.consumer.ConsumerConfig;
import org.apache.kafka.clients.consumer.ConsumerRebalanceListener;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.ConsumerRecords;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerConfig;
import org.apache.kafka.common.KafkaException;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/**
 * One member of a group: polls, works, commits and gives up as the scenario says. SIGTERM makes it finish its event, commit by its mode
 * and leave; SIGKILL is a crash.
 */
final class MemberProcess implements ConsumerRebalanceListener {
    /** Longest wait of one poll, so that requests of the driver are heard. */
    private static final long IDLE_WAIT_NS = 100_000_000;
    private static final Duration CLOSE_WITHIN = Duration.ofSeconds(15);

    private final Child child;
    private final Spec spec;
    private final long runId;
    private final KafkaConsumer<byte[], byte[]> consumer;
    private final Commits commits;
    private final MemberRows rows;
    private final Handler handler;
    private final Transactions transactions;
    private final Held held;
    private final TreeSet<TopicPartition> owned = new TreeSet<>(MemberProcess::byName);
    private long poll;
    private long startNs;
    private long deliveredAt;
    /** What the thread had spent at time 0. */
    private double beganCpuS;
    private WarmReader warmReader;

    private MemberProcess(Child child) throws IOException {
        this.child = child;
        this.spec = child.spec;
        this.runId = spec.number("run_id");
        this.poll = spec.number("first_poll_id") - 1;
        this.rows = new MemberRows(child);
        this.consumer = new KafkaConsumer<>(settings(), new ByteArrayDeserializer(), new ByteArrayDeserializer());
        this.commits = new Commits(child, consumer, rows);
        boolean transactional = spec.text("commit").equals("transaction");
        KafkaProducer<byte[], byte[]> sender = transactional || Letters.needed(spec) ? sender(transactional) : null;
        this.transactions = transactional ? new Transactions(sender, consumer, rows, firstTransaction()) : null;
        this.handler = new Handler(child, rows, Letters.needed(spec) ? new Letters(spec, rows, sender) : null);
        this.held = new Held(consumer);
        if (spec.has("start_ns")) {
            start(spec.number("start_ns"));
        }
        consumer.subscribe(spec.texts("topics"), this);
    }

    /** Return the client that sends what the member gives up or hands on. */
    private KafkaProducer<byte[], byte[]> sender(boolean transactional) {
        Map<String, Object> settings = spec.settings("connection");
        settings.putAll(Map.of("acks", "all", "enable.idempotence", "true", "linger.ms", "0"));
        if (transactional) {
            settings.put(ProducerConfig.TRANSACTIONAL_ID_CONFIG, spec.text("name").replace('/', '-'));
        }
        return new KafkaProducer<>(settings, new ByteArraySerializer(), new ByteArraySerializer());
    }

    /** Return the number of its first transaction: no other process, and no other incarnation of this one, has the same. */
    private long firstTransaction() {
        return (spec.part("codes").number("process") << 40) + (spec.number("incarnation") << 32);
    }

    private Map<String, Object> settings() {
        Map<String, Object> settings = spec.settings("settings");
        if (spec.text("commit").equals("auto")) {
            // The listener sees only what the client commits by itself: our own commits record themselves.
            Object users = settings.get(ConsumerConfig.INTERCEPTOR_CLASSES_CONFIG);
            String ours = CommitListener.class.getName();
            settings.put(ConsumerConfig.INTERCEPTOR_CLASSES_CONFIG, users == null ? ours : users + "," + ours);
            Consumer<Map<TopicPartition, OffsetAndMetadata>> tell = offsets -> commits().automatic(offsets);
            settings.put(CommitListener.TELL, tell);
        }
        return settings;
    }

    private Commits commits() {
        return commits;
    }

    private static int byName(TopicPartition one, TopicPartition other) {
        int byTopic = one.topic().compareTo(other.topic());
        return byTopic != 0 ? byTopic : Integer.compare(one.partition(), other.partition());
    }

    public static void main(String[] arguments) throws Exception {
        Child child = Child.begin(arguments);
        MemberProcess member = new MemberProcess(child);
        child.say("ready", "at", System.nanoTime());
        boolean stopped = member.run();
        member.leave();
        child.say(
                "bye", "at", System.nanoTime(), "stopped", stopped, "late_p50_ns", member.handler.late.quantile(0.5),
                "late_p99_ns", member.handler.late.quantile(0.99), "cpu_s", Child.processCpuS(), "thread_cpu_s", Child.threadCpuS(),
                "run_cpu_s", Child.threadCpuS() - member.beganCpuS);
        Runtime.getRuntime().halt(0); // all is said, and the clients' threads hold nothing any more
    }

    private void start(long at) {
        startNs = at;
        handler.startNs = at;
        commits.begin(at, System.nanoTime());
        beganCpuS = Child.threadCpuS();
    }

    // ---- assignments -----------------------------------------------------------------------------------------------

    @Override
    public void onPartitionsAssigned(Collection<TopicPartition> partitions) {
        owned.addAll(partitions);
        sayOwned("assignment");
    }

    @Override
    public void onPartitionsRevoked(Collection<TopicPartition> partitions) {
        commits.handingOver();
        givenUp(partitions, "revocation");
    }

    @Override
    public void onPartitionsLost(Collection<TopicPartition> partitions) {
        givenUp(partitions, "lost");
    }

    private void givenUp(Collection<TopicPartition> partitions, String what) {
        owned.removeAll(partitions);
        commits.forget(partitions);
        held.drop(partitions);
        sayOwned(what);
    }

    private void sayOwned(String event) {
        List<List<Object>> places = new ArrayList<>();
        owned.forEach(each -> places.add(List.of(each.topic(), each.partition())));
        child.say(event, "at", System.nanoTime(), "partitions", places, "member_id", consumer.groupMetadata().memberId());
    }

    // ---- the loop --------------------------------------------------------------------------------------------------

    /** Poll and work until asked to leave; return whether the policy has ended the member. */
    private boolean run() throws IOException {
        while (!child.leaving) {
            listen();
            handler.stall(System.nanoTime());
            Handler.End end = workOnHeld();
            if (end == Handler.End.DONE) {
                List<Event> events = poll();
                end = events.isEmpty() ? end : batch(events);
            }
            if (end == Handler.End.STOPPED) {
                return true;
            }
        }
        return false;
    }

    /** Work on copies in retry topics that are due now. */
    private Handler.End workOnHeld() throws IOException {
        for (var next = held.take(now()); next != null && !child.leaving; next = held.take(now())) {
            long due = next.event().due() + startNs;
            handler.busyUntil = Math.max(handler.busyUntil, due);
            beginTransaction(List.of(next.event()));
            Handler.End end = handle(next.event(), next.poll(), due);
            if (end != Handler.End.DONE) {
                return end;
            }
            batchDone();
        }
        return Handler.End.DONE;
    }

    private long now() {
        return System.nanoTime() - startNs;
    }

    private void listen() {
        for (Spec request = child.hear(); request != null; request = child.hear()) {
            switch (request.text("do")) {
                case "warm" -> warmReader = new WarmReader(spec);
                case "halt" -> endWarmUp();
                case "start" -> {
                    endWarmUp();
                    start(request.number("at_ns"));
                }
                case "wind up" -> {
                    commits.handingOver();
                    child.say("wound up");
                }
                default -> throw new IllegalArgumentException("a member knows no request " + request.text("do"));
            }
        }
    }

    private void endWarmUp() {
        if (warmReader != null) {
            warmReader.end();
            warmReader = null;
        }
    }

    /** Take what is there; an idle member waits for a first record, and then takes what has come with it. */
    private List<Event> poll() {
        ConsumerRecords<byte[], byte[]> records = ask(0);
        boolean idle = records.isEmpty();
        if (idle) {
            commits.atBoundary();
            records = ask(idleWaitNs());
        }
        commits.atBoundary();
        deliveredAt = System.nanoTime();
        if (idle) {
            handler.busyUntil = deliveredAt;
        }
        List<Event> events = new ArrayList<>(records.count());
        for (ConsumerRecord<byte[], byte[]> each : records) {
            if (Records.isOf(runId, each.value())) { // other people's records are passed over
                events.add(Event.of(each));
            }
        }
        return events;
    }

    private ConsumerRecords<byte[], byte[]> ask(long waitNs) {
        try {
            return consumer.poll(Duration.ofNanos(waitNs));
        } catch (KafkaException error) { // an application that knows no better ends here, and so does this one
            child.say("client error", "at", System.nanoTime(), "code", Outcomes.ofCommit(error), "text", error.toString());
            throw error;
        }
    }

    private long idleWaitNs() {
        long wait = IDLE_WAIT_NS;
        if (commits.mode.equals("every")) {
            wait = Math.min(wait, Math.max(0, commits.dueNs - System.nanoTime()) + 1_000_000);
        }
        long due = held.nextDue();
        return due == Row.NEVER ? wait : Math.min(wait, Math.max(0, due - now()));
    }

    private Handler.End batch(List<Event> events) throws IOException {
        poll++;
        for (Event event : events) {
            rows.delivery(event, poll, deliveredAt - startNs);
        }
        commits.beforeWork(events);
        if (commits.mode.equals("before_work")) {
            handler.busyUntil = System.nanoTime();
        }
        beginTransaction(events);
        for (Event event : events) {
            if (child.leaving) {
                break;
            }
            if (held.mustWait(event, now())) {
                held.hold(event, poll);
                continue;
            }
            Handler.End end = handle(event, poll, deliveredAt);
            if (end != Handler.End.DONE) {
                return end;
            }
        }
        batchDone();
        return Handler.End.DONE;
    }

    private void beginTransaction(List<Event> events) {
        if (transactions != null) {
            transactions.begin(events);
        }
    }

    private Handler.End handle(Event event, long number, long delivered) throws IOException {
        Handler.End end = handler.handle(event, number, delivered);
        if (end == Handler.End.DONE && commits.eventDone(event)) {
            catchUp();
        }
        return end;
    }

    private void batchDone() {
        if (transactions != null && transactions.underWay()) {
            var ends = commits.takeNew();
            if (!transactions.commit(ends, startNs)) {
                commits.forget(ends.keySet());
            }
            catchUp();
        } else if (!child.leaving && commits.batchDone()) {
            catchUp();
        }
    }

    /** Let the next try begin no earlier than now: what came before took time of the handler. */
    private void catchUp() {
        handler.busyUntil = Math.max(handler.busyUntil, System.nanoTime());
    }

    /** Commit what is finished, by the mode, and leave the group. */
    @SuppressWarnings("deprecation") // what replaces it is newer than the oldest client that can be named
    private void leave() {
        endWarmUp();
        if (transactions != null) {
            transactions.abort();
        }
        commits.handingOver();
        consumer.close(CLOSE_WITHIN);
    }
}

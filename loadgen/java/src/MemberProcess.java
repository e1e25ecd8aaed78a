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
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;

/**
 * One member of a group: polls, works, commits and gives up as the scenario says. SIGTERM makes it finish what it has in hand, commit by
 * its mode and leave; SIGKILL is a crash.
 */
final class MemberProcess implements ConsumerRebalanceListener, Requests.Member {
    /** Longest wait of one poll, so that requests of the driver are heard. */
    private static final long IDLE_WAIT_NS = 100_000_000;
    private static final Duration CLOSE_WITHIN = Duration.ofSeconds(15);
    /** What is there is returned within a fraction of this. */
    private static final long LONG_POLL_NS = 1_000_000;
    /** With events in several workers' hands the member looks so often for what they have finished. */
    private static final long LOOK_EVERY_NS = 2_000_000;

    private final Child child;
    private final Spec spec;
    private final long runId;
    private final boolean inHeaders;
    private final Outside outside;
    /** At most so many records are taken at a time, and how long is waited for them; 0 where a poll takes what is there. */
    private final int most;
    private final long collectNs;
    private final int inHand;
    private final KafkaConsumer<byte[], byte[]> consumer;
    private final Intake intake;
    private final Commits commits;
    private final MemberRows rows;
    private final Handler handler;
    private final Clients clients;
    private final Transactions transactions;
    private final Held held;
    /** Several workers, null where the polling thread works itself; those are its own hands. */
    private final Pool pool;
    private final Hands hands = new Hands();
    private final Requests requests;
    private final TreeSet<TopicPartition> owned = new TreeSet<>(MemberProcess::byName);
    private long poll;
    private long startNs;
    private long deliveredAt;

    private MemberProcess(Child child) throws IOException {
        this.child = child;
        this.spec = child.spec;
        this.runId = spec.number("run_id");
        this.inHeaders = spec.flag("in_headers");
        this.outside = Outside.of(spec);
        this.poll = spec.number("first_poll_id") - 1;
        Spec reads = spec.part("reads");
        this.collectNs = reads.has("events") ? reads.number("timeout_ns") : 0;
        this.most = reads.has("events") ? reads.integer("events") : spec.integer("max_poll_records");
        this.inHand = spec.integer("in_hand");
        Lookup lookup = new Lookup(child);
        this.rows = new MemberRows(child, lookup);
        this.consumer = new KafkaConsumer<>(settings(), new ByteArrayDeserializer(), new ByteArrayDeserializer());
        this.intake = new Intake(child, consumer);
        this.clients = new Clients(spec);
        this.commits = new Commits(child, consumer, rows, clients::settle);
        this.transactions =
                clients.transactional == null ? null : new Transactions(clients.transactional, consumer, rows, firstTransaction());
        this.handler = new Handler(child, rows, lookup, Letters.of(spec, rows, clients), Emitter.of(spec, rows, lookup, clients));
        this.held = new Held(consumer);
        int workers = spec.integer("workers");
        this.pool = workers > 1 ? new Pool(child, handler, workers, spec.text("ordered_by")) : null;
        this.requests = new Requests(child, handler, this);
        consumer.subscribe(spec.texts("topics"), this);
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
        member.requests.goodbye(stopped);
    }

    @Override
    public void start(long at) {
        startNs = at;
        commits.begin(at, System.nanoTime());
    }

    @Override
    public void windUp() {
        noteMoved();
        commits.handingOver();
    }

    // ---- assignments -----------------------------------------------------------------------------------------------

    @Override
    public void onPartitionsAssigned(Collection<TopicPartition> partitions) {
        owned.addAll(partitions);
        sayOwned("assignment");
    }

    @Override
    public void onPartitionsRevoked(Collection<TopicPartition> partitions) {
        noteMoved();
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
        intake.drop(partitions);
        if (pool != null) {
            pool.drop(partitions);
        }
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
        while (!child.asked) {
            requests.listen();
            handler.stall(hands, System.nanoTime());
            Handler.End end = pool == null ? work() : feed();
            if (end == Handler.End.STOPPED) {
                return true;
            }
        }
        if (pool == null) {
            return false;
        }
        pool.finish(Requests.FINISH_WITHIN_MS);
        return pool.stopped();
    }

    private long now() {
        return System.nanoTime() - startNs;
    }

    private long idleWaitNs() {
        long wait = IDLE_WAIT_NS;
        if (commits.mode.equals("every")) {
            wait = Math.min(wait, Math.max(0, commits.dueNs - System.nanoTime()) + 1_000_000);
        }
        long due = held.nextDue();
        return due == Row.NEVER ? wait : Math.min(wait, Math.max(0, due - now()));
    }

    private List<Event> eventsOf(List<ConsumerRecord<byte[], byte[]>> records) {
        if (startNs == 0 && outside.any()) {
            requests.listen();
            if (startNs == 0) { // what own programs have written before time 0 is no backlog of the run
                commits.passOver(records);
                return List.of();
            }
        }
        List<Event> events = new ArrayList<>(records.size());
        for (ConsumerRecord<byte[], byte[]> each : records) {
            Event event = Event.of(each, runId, inHeaders, outside);
            if (event != null) { // other people's records are passed over
                events.add(event);
            }
        }
        return events;
    }

    /** Record that a poll handed over some events of this run. */
    private void delivered(List<Event> events) {
        if (startNs == 0) {
            requests.listen(); // events come after time 0, and it was told before: a long poll has not heard it yet
        }
        poll++;
        for (Event event : events) {
            rows.delivery(event, poll, deliveredAt - startNs);
        }
        commits.beforeWork(events);
    }

    // ---- with one's own hands --------------------------------------------------------------------------------------

    private Handler.End work() throws IOException {
        Handler.End end = workOnHeld();
        if (end != Handler.End.DONE) {
            return end;
        }
        List<Event> events = collectNs > 0 ? collect() : poll();
        return events.isEmpty() ? end : batch(events);
    }

    /** Work on copies in retry topics that are due now. */
    private Handler.End workOnHeld() throws IOException {
        for (var next = held.take(now()); next != null && !child.leaving; next = held.take(now())) {
            long due = next.event().due() + startNs;
            hands.notBefore(due);
            beginTransaction(List.of(next.event()));
            Handler.End end = handle(next.event(), next.poll(), due);
            if (end != Handler.End.DONE) {
                return end;
            }
            batchDone();
        }
        return Handler.End.DONE;
    }

    /** Take what is there; an idle member waits for a first record, and then takes what has come with it. */
    private List<Event> poll() {
        long began = System.nanoTime();
        List<ConsumerRecord<byte[], byte[]>> records = intake.take(most, 0);
        boolean idle = records.isEmpty();
        if (idle) {
            commits.atBoundary();
            records = intake.take(most, idleWaitNs());
        }
        return handedOver(records, began, idle);
    }

    /** Wait until so many records are there or the timeout is over. */
    private List<Event> collect() {
        long began = System.nanoTime();
        return handedOver(intake.collect(most, collectNs), began, false);
    }

    /**
     * Take over what a poll returned. In one that took its time the client has committed, joined its group anew or read a long answer:
     * as after waiting for records, that is no lateness of the handler, which begins anew.
     */
    private List<Event> handedOver(List<ConsumerRecord<byte[], byte[]>> records, long began, boolean idle) {
        deliveredAt = System.nanoTime();
        if (idle || deliveredAt - began > LONG_POLL_NS) {
            hands.busyUntil = deliveredAt;
        }
        if (commits.atBoundary()) {
            hands.catchUp();
        }
        return eventsOf(records);
    }

    private Handler.End batch(List<Event> events) throws IOException {
        delivered(events);
        if (commits.mode.equals("before_work")) {
            hands.busyUntil = System.nanoTime();
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
        Handler.End end = handler.handle(event, number, delivered, hands);
        if (end == Handler.End.DONE && commits.eventDone(event)) {
            hands.catchUp();
        }
        return end;
    }

    private void batchDone() {
        if (transactions != null && transactions.underWay()) {
            var ends = commits.takeNew();
            if (!transactions.commit(ends, startNs)) {
                commits.forget(ends.keySet());
            }
            hands.catchUp();
        } else if (!child.leaving && commits.batchDone()) {
            hands.catchUp();
        }
    }

    // ---- with several workers --------------------------------------------------------------------------------------

    /** Note what the workers have finished, and fetch more for them while they have room for it. */
    private Handler.End feed() {
        for (var next = held.take(now()); next != null; next = held.take(now())) {
            pool.take(List.of(next.event()), next.poll(), next.event().due() + startNs);
        }
        int busy = pool.inHand();
        commits.ofPool(pool.moved(busy < inHand ? 0 : LOOK_EVERY_NS / 1_000_000));
        if (pool.stopped()) {
            return Handler.End.STOPPED;
        }
        if (busy < inHand) {
            long wait = busy == 0 ? idleWaitNs() : Math.min(idleWaitNs(), LOOK_EVERY_NS);
            List<ConsumerRecord<byte[], byte[]>> records = intake.take(Math.min(most, inHand - busy), wait);
            deliveredAt = System.nanoTime();
            handOut(eventsOf(records));
        }
        return Handler.End.DONE;
    }

    private void handOut(List<Event> events) {
        if (events.isEmpty()) {
            return;
        }
        delivered(events);
        List<Event> now = new ArrayList<>(events.size());
        for (Event event : events) {
            if (held.mustWait(event, now())) {
                held.hold(event, poll);
            } else {
                now.add(event);
            }
        }
        pool.take(now, poll, deliveredAt);
    }

    private void noteMoved() {
        if (pool != null) {
            commits.finished(pool.moved(0));
        }
    }

    // ---- the end ---------------------------------------------------------------------------------------------------

    /** Commit what is finished, by the mode, and leave the group. */
    @SuppressWarnings("deprecation") // what replaces it is newer than the oldest client that can be named
    private void leave() {
        requests.endWarmUp();
        if (transactions != null) {
            transactions.abort();
        }
        if (pool != null) {
            pool.finish(Requests.FINISH_WITHIN_MS);
        }
        noteMoved();
        commits.handingOver();
        consumer.close(CLOSE_WITHIN);
    }
}

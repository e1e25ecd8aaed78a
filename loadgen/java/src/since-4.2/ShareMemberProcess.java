package eventdrill;

import java.io.IOException;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.ExecutionException;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.ShareMemberDescription;
import org.apache.kafka.clients.consumer.AcknowledgeType;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaShareConsumer;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;

/**
 * One member of a share group: takes records of whatever partition, works on them, and acknowledges each one, after the event or with
 * its batch. SIGTERM makes it finish what it has in hand, and leave; SIGKILL is a crash.
 */
final class ShareMemberProcess implements Requests.Member {
    private static final Duration IDLE_WAIT = Duration.ofMillis(100);
    private static final Duration CLOSE_WITHIN = Duration.ofSeconds(15);
    private static final long ASK_EVERY_MS = 300;
    private static final long LOOK_EVERY_MS = 2;

    private final Child child;
    private final Spec spec;
    private final boolean inHeaders;
    private final Outside outside;
    private final boolean eachEvent;
    private final KafkaShareConsumer<byte[], byte[]> consumer;
    private final MemberRows rows;
    private final Handler handler;
    private final Clients clients;
    /** Several workers, null where the polling thread works itself; those are its own hands. */
    private final Pool pool;
    private final Hands hands = new Hands();
    private final Requests requests;
    private long poll;
    private long startNs;

    private ShareMemberProcess(Child child) throws IOException {
        this.child = child;
        this.spec = child.spec;
        this.inHeaders = spec.flag("in_headers");
        this.outside = Outside.of(spec);
        this.eachEvent = spec.text("commit").equals("after_event");
        this.poll = spec.number("first_poll_id") - 1;
        Lookup lookup = new Lookup(child);
        this.rows = new MemberRows(child, lookup);
        Map<String, Object> settings = spec.settings("settings");
        settings.put("share.acknowledgement.mode", "explicit");
        this.consumer = new KafkaShareConsumer<>(settings, new ByteArrayDeserializer(), new ByteArrayDeserializer());
        this.clients = new Clients(spec);
        this.handler = new Handler(child, rows, lookup, Letters.of(spec, rows, clients), Emitter.of(spec, rows, lookup, clients));
        int workers = spec.integer("workers");
        this.pool = workers > 1 ? new Pool(child, handler, workers, "none") : null;
        this.requests = new Requests(child, handler, this);
        consumer.subscribe(spec.texts("topics"));
        child.daemon("assignment", this::tellAssignment);
    }

    public static void main(String[] arguments) throws Exception {
        Child child = Child.begin(arguments);
        ShareMemberProcess member = new ShareMemberProcess(child);
        child.say("ready", "at", System.nanoTime());
        boolean stopped = member.run();
        member.requests.endWarmUp();
        member.consumer.close(CLOSE_WITHIN); // gives back what is not acknowledged
        member.requests.goodbye(stopped);
    }

    @Override
    public void start(long at) {
        startNs = at;
    }

    @Override
    public void windUp() {
        // nothing is left open between two batches
    }

    /** Tell once which partitions the coordinator lets this member read: its client does not say. */
    private void tellAssignment() {
        try (Admin admin = Admin.create(spec.settings("connection"))) {
            while (true) {
                Thread.sleep(ASK_EVERY_MS);
                for (ShareMemberDescription each : members(admin)) {
                    if (each.clientId().equals(spec.part("settings").text("client.id")) && !each.assignment().topicPartitions().isEmpty()) {
                        List<List<Object>> places = new ArrayList<>();
                        each.assignment().topicPartitions().forEach(place -> places.add(List.of(place.topic(), place.partition())));
                        child.say("assignment", "at", System.nanoTime(), "partitions", places, "member_id", each.consumerId());
                        return;
                    }
                }
            }
        } catch (InterruptedException error) {
            Thread.currentThread().interrupt();
        }
    }

    private Iterable<ShareMemberDescription> members(Admin admin) throws InterruptedException {
        try {
            String group = spec.text("group");
            return admin.describeShareGroups(List.of(group)).describedGroups().get(group).get().members();
        } catch (ExecutionException notYet) {
            return List.of();
        }
    }

    // ---- the loop --------------------------------------------------------------------------------------------------

    private boolean run() throws IOException {
        while (!child.asked) {
            requests.listen();
            handler.stall(hands, System.nanoTime());
            List<ConsumerRecord<byte[], byte[]>> records = new ArrayList<>();
            consumer.poll(IDLE_WAIT).forEach(records::add);
            if (!records.isEmpty() && batch(records) == Handler.End.STOPPED) {
                return true;
            }
        }
        return false;
    }

    /** Work on what a poll handed over, and acknowledge it; what is left unfinished goes back to the group. */
    private Handler.End batch(List<ConsumerRecord<byte[], byte[]>> records) throws IOException {
        long deliveredAt = System.nanoTime();
        if (startNs == 0 && outside.any()) {
            requests.listen();
        }
        if (startNs == 0 && outside.any()) { // what own programs have written before time 0 is no backlog of the run
            records.forEach(each -> acknowledge(each, true));
            commit();
            return Handler.End.DONE;
        }
        hands.busyUntil = deliveredAt;
        List<Event> events = new ArrayList<>(records.size());
        records.forEach(each -> events.add(event(each)));
        poll++;
        events.stream().filter(each -> each != null).forEach(each -> rows.delivery(each, poll, deliveredAt - startNs));
        Handler.End end = pool == null ? oneByOne(records, events, deliveredAt) : sideBySide(records, events, deliveredAt);
        commit();
        return end;
    }

    /** Read an event; null where the record is other people's. */
    private Event event(ConsumerRecord<byte[], byte[]> record) {
        Event event = Event.of(record, spec.number("run_id"), inHeaders, outside);
        return event == null ? null : event.deliveredTimes(record.deliveryCount().map(Short::intValue).orElse(1));
    }

    private Handler.End oneByOne(List<ConsumerRecord<byte[], byte[]>> records, List<Event> events, long deliveredAt) throws IOException {
        Handler.End end = Handler.End.DONE;
        for (int i = 0; i < records.size(); i++) {
            if (end == Handler.End.DONE && child.leaving) {
                end = Handler.End.LEAVING;
            }
            boolean released = false;
            if (end == Handler.End.DONE && events.get(i) != null) { // other people's records are passed over
                Handler.End its = handler.handle(events.get(i), poll, deliveredAt, hands);
                released = its == Handler.End.RELEASED;
                end = released ? Handler.End.DONE : its;
            }
            acknowledge(records.get(i), end == Handler.End.DONE && !released);
        }
        return end;
    }

    /** Let the workers finish a whole batch: the client wants every record acknowledged before it takes more. */
    private Handler.End sideBySide(List<ConsumerRecord<byte[], byte[]>> records, List<Event> events, long deliveredAt) {
        pool.take(events.stream().filter(each -> each != null).toList(), poll, deliveredAt);
        while (pool.inHand() > 0 && !pool.stopped() && !child.leaving) {
            pool.moved(LOOK_EVERY_MS);
        }
        pool.finish(CLOSE_WITHIN.toMillis());
        Set<Event> unfinished = pool.unfinished();
        Set<Event> released = pool.released();
        for (int i = 0; i < records.size(); i++) {
            acknowledge(records.get(i), !unfinished.contains(events.get(i)) && !released.contains(events.get(i)));
        }
        return pool.stopped() ? Handler.End.STOPPED : unfinished.isEmpty() ? Handler.End.DONE : Handler.End.LEAVING;
    }

    private void acknowledge(ConsumerRecord<byte[], byte[]> record, boolean done) {
        consumer.acknowledge(record, done ? AcknowledgeType.ACCEPT : AcknowledgeType.RELEASE);
        if (eachEvent && done) {
            commit();
        }
    }

    private void commit() {
        clients.settle();
        consumer.commitSync();
        hands.catchUp();
    }
}

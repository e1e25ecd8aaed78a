package eventdrill;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayDeque;
import java.util.Collection;
import java.util.Collections;
import java.util.Comparator;
import java.util.Deque;
import java.util.HashMap;
import java.util.HashSet;
import java.util.IdentityHashMap;
import java.util.Iterator;
import java.util.List;
import java.util.Map;
import java.util.PriorityQueue;
import java.util.Set;
import java.util.concurrent.LinkedBlockingQueue;
import org.apache.kafka.common.TopicPartition;

/** Several workers of one member, a thread each; what is ordered waits for its turn. */
final class Pool {
    /** An event in hand; `lane` is what is worked on one after another. */
    private record Task(Event event, long poll, long deliveredAt, Object lane) {
        TopicPartition place() {
            return new TopicPartition(event.topic(), event.partition());
        }
    }

    /** What of a partition is finished: offsets in order, each with whether it is done. */
    private static final class Progress {
        private final Deque<Long> offsets = new ArrayDeque<>();
        private final Set<Long> done = new HashSet<>();

        /** Note a finished offset; return the one to go on from, Row.NONE where that has not moved. */
        long finish(long offset) {
            done.add(offset);
            long end = Row.NONE;
            while (!offsets.isEmpty() && done.remove(offsets.peek())) {
                end = offsets.poll() + 1;
            }
            return end;
        }
    }

    private final Child child;
    private final Handler handler;
    private final String orderedBy;
    private final PriorityQueue<Hands> free = new PriorityQueue<>(Comparator.comparingLong(each -> each.busyUntil));
    private final Map<Object, Deque<Task>> lanes = new HashMap<>();
    /** Lanes whose first task can begin; one that was dropped meanwhile, or is there twice, is passed over. */
    private final LinkedBlockingQueue<Object> ready = new LinkedBlockingQueue<>();
    private final Map<Object, Long> laneFreeAt = new HashMap<>();
    private final Map<TopicPartition, Progress> progress = new HashMap<>();
    private final Map<TopicPartition, Long> moved = new HashMap<>();
    private final Set<Task> working = Collections.newSetFromMap(new IdentityHashMap<>());
    private long serial;
    private int inHand;
    private boolean stopped;
    private Throwable failure;
    /** By identity: events that were finished by giving them back. */
    private final Set<Event> released = Collections.newSetFromMap(new IdentityHashMap<>());

    Pool(Child child, Handler handler, int workers, String orderedBy) {
        this.child = child;
        this.handler = handler;
        this.orderedBy = orderedBy;
        for (int i = 0; i < workers; i++) {
            free.add(new Hands());
            child.daemon("worker-" + i, this::work);
        }
    }

    // ---- what the polling thread does ------------------------------------------------------------------------------

    /** Take events that a poll handed over. */
    synchronized void take(List<Event> events, long poll, long deliveredAt) {
        for (Event event : events) {
            Task task = new Task(event, poll, deliveredAt, lane(event));
            progress.computeIfAbsent(task.place(), each -> new Progress()).offsets.add(event.offset());
            Deque<Task> waiting = lanes.computeIfAbsent(task.lane, each -> new ArrayDeque<>());
            waiting.add(task);
            inHand++;
            if (waiting.size() == 1) {
                ready.add(task.lane);
            }
        }
    }

    private Object lane(Event event) {
        return switch (orderedBy) {
            case "partition" -> new TopicPartition(event.topic(), event.partition());
            case "key" -> event.key() == null ? (Object) serial++ : new String(event.key(), StandardCharsets.ISO_8859_1);
            default -> serial++;
        };
    }

    /** Return how many events are not finished. */
    synchronized int inHand() {
        return inHand;
    }

    /** Whether the handler's policy has ended the member; what ended a worker otherwise is thrown. */
    synchronized boolean stopped() {
        if (failure != null) {
            throw new IllegalStateException("a worker ended", failure);
        }
        return stopped;
    }

    /** Return the offsets to go on from, of partitions where they have moved since the last time; wait a little for the first one. */
    synchronized Map<TopicPartition, Long> moved(long waitMs) {
        if (moved.isEmpty() && waitMs > 0 && inHand > 0) {
            try {
                wait(waitMs);
            } catch (InterruptedException error) {
                Thread.currentThread().interrupt();
            }
        }
        Map<TopicPartition, Long> found = new HashMap<>(moved);
        moved.clear();
        return found;
    }

    /** Forget what waits of partitions that went to another member; what somebody works on comes to its end, and counts no more. */
    synchronized void drop(Collection<TopicPartition> places) {
        for (Iterator<Deque<Task>> each = lanes.values().iterator(); each.hasNext(); ) {
            Deque<Task> waiting = each.next();
            int before = waiting.size();
            waiting.removeIf(task -> places.contains(task.place()) && !working.contains(task));
            inHand -= before - waiting.size();
            if (waiting.isEmpty()) {
                each.remove();
            }
        }
        progress.keySet().removeAll(places);
        moved.keySet().removeAll(places);
    }

    /** Return the events in hand that are not finished. */
    synchronized Set<Event> unfinished() {
        Set<Event> found = Collections.newSetFromMap(new IdentityHashMap<>());
        lanes.values().forEach(waiting -> waiting.forEach(task -> found.add(task.event)));
        return found;
    }

    /** Return the events that go back to their share group, of those that were finished since the last time. */
    synchronized Set<Event> released() {
        Set<Event> found = Collections.newSetFromMap(new IdentityHashMap<>());
        found.addAll(released);
        released.clear();
        return found;
    }

    /** Wait until everything in hand is finished; where the member shall end now, until nobody works on anything. */
    synchronized void finish(long withinMs) {
        long until = System.nanoTime() + withinMs * 1_000_000;
        try {
            for (long left = withinMs; isBusy() && left > 0; left = (until - System.nanoTime()) / 1_000_000) {
                wait(left);
            }
        } catch (InterruptedException error) {
            Thread.currentThread().interrupt();
        }
    }

    private boolean isBusy() {
        return child.leaving || stopped || failure != null ? !working.isEmpty() : inHand > 0;
    }

    // ---- what each worker does -------------------------------------------------------------------------------------

    private void work() {
        try {
            while (true) {
                Object lane = ready.take();
                Hands hands = begin(lane);
                if (hands != null) {
                    Task task = first(lane);
                    ended(task, hands, child.leaving ? Handler.End.LEAVING : handler.handle(task.event, task.poll, task.deliveredAt, hands));
                }
            }
        } catch (InterruptedException | IOException | RuntimeException error) {
            fail(error);
        }
    }

    private synchronized Task first(Object lane) {
        return lanes.get(lane).peek();
    }

    /** Take the first task of a lane into free hands; null where somebody has it. */
    private synchronized Hands begin(Object lane) {
        Deque<Task> waiting = lanes.get(lane);
        if (waiting == null || !working.add(waiting.peek())) {
            return null;
        }
        // The hands that were free first: their planned end, not the moment at which that was noticed.
        Hands hands = free.poll();
        hands.notBefore(waiting.peek().deliveredAt);
        Long freeAt = laneFreeAt.remove(lane);
        hands.notBefore(freeAt == null ? 0 : freeAt);
        return hands;
    }

    private synchronized void fail(Throwable error) {
        failure = error;
        notifyAll();
    }

    private synchronized void ended(Task task, Hands hands, Handler.End end) {
        notifyAll(); // the polling thread, as soon as this is noted
        working.remove(task);
        free.add(hands);
        stopped |= end == Handler.End.STOPPED;
        if (end == Handler.End.RELEASED) {
            released.add(task.event);
        }
        Deque<Task> waiting = lanes.get(task.lane);
        boolean over = end == Handler.End.DONE || end == Handler.End.RELEASED;
        if (!over || waiting == null || waiting.peek() != task) {
            return; // its lane stands still, or is no longer ours
        }
        waiting.poll();
        inHand--;
        if (waiting.isEmpty()) {
            lanes.remove(task.lane);
        } else {
            laneFreeAt.put(task.lane, hands.busyUntil);
            ready.add(task.lane);
        }
        Progress own = progress.get(task.place());
        long reached = own == null ? Row.NONE : own.finish(task.event.offset());
        if (reached != Row.NONE) {
            moved.put(task.place(), reached);
        }
    }
}

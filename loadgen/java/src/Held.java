package eventdrill;

import java.util.ArrayDeque;
import java.util.Collection;
import java.util.Deque;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.TopicPartition;

/**
 * Events that are not due yet: copies in retry topics, kept while their partitions are paused. By partition, in the order of the log: a
 * later copy never overtakes an earlier one of its partition.
 */
final class Held {
    record Waiting(Event event, long poll) {}

    private final KafkaConsumer<byte[], byte[]> consumer;
    private final Map<TopicPartition, Deque<Waiting>> events = new LinkedHashMap<>();

    Held(KafkaConsumer<byte[], byte[]> consumer) {
        this.consumer = consumer;
    }

    private static TopicPartition place(Event event) {
        return new TopicPartition(event.topic(), event.partition());
    }

    /** Whether an event is not due yet, or stands behind one that waits. */
    boolean mustWait(Event event, long now) {
        return event.due() > now || !events.isEmpty() && events.containsKey(place(event));
    }

    /** Keep an event until it is due; the first one of a partition pauses it. */
    void hold(Event event, long poll) {
        TopicPartition place = place(event);
        if (!events.containsKey(place)) {
            events.put(place, new ArrayDeque<>());
            consumer.pause(List.of(place));
        }
        events.get(place).add(new Waiting(event, poll));
    }

    /** Return when the next event is due, from the start of the run; Row.NEVER where none waits. */
    long nextDue() {
        return events.values().stream().mapToLong(each -> each.peek().event.due()).min().orElse(Row.NEVER);
    }

    /** Take the next event that is due, null where there is none; a partition with none left goes on being read. */
    Waiting take(long now) {
        for (Map.Entry<TopicPartition, Deque<Waiting>> each : events.entrySet()) {
            if (each.getValue().peek().event.due() <= now) {
                Waiting taken = each.getValue().poll();
                if (each.getValue().isEmpty()) {
                    events.remove(each.getKey());
                    consumer.resume(List.of(each.getKey()));
                }
                return taken;
            }
        }
        return null;
    }

    /** Forget what waits in partitions that went to another member. */
    void drop(Collection<TopicPartition> places) {
        events.keySet().removeAll(places);
    }
}

package eventdrill;

import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.common.Metric;

/**
 * When `send` held up the sender because the client's buffer was full or it knew no leader: what an application sees, and no fault of
 * this driver. The client's own metrics tell it from a thread that merely did not run.
 */
final class Blocked {
    private static final long SLOW_NS = 1_000_000;
    private static final long APART_NS = 50_000_000;
    private static final long TELL_AFTER_NS = 1_000_000_000;
    /** A thread that merely does not run for a moment may do so while it looks at the metadata; real waits for those are longer. */
    private static final long LEAST_METADATA_WAIT_NS = 100_000_000;

    private static final int FORGET_EVERY = 4096;

    private final Child child;
    private final Wait buffer;
    private final Wait metadata;
    private int quick;
    private long begin;
    private long end;
    private long total;

    Blocked(Child child, KafkaProducer<?, ?> client) {
        this.child = child;
        this.buffer = new Wait(client, "bufferpool-wait-time-ns-total");
        this.metadata = new Wait(client, "metadata-wait-time-ns-total");
    }

    /** One of the client's own sums of waiting. */
    private static final class Wait {
        private final Metric metric;
        private double seen;

        Wait(KafkaProducer<?, ?> client, String name) {
            metric = client.metrics().values().stream().filter(each -> each.metricName().name().equals(name)).findFirst().orElseThrow();
        }

        /** Return how long sends have waited since the last call. */
        double since() {
            double before = seen;
            seen = (Double) metric.metricValue();
            return seen - before;
        }
    }

    /** Begin anew: what waited before is no send of the run. */
    void forget() {
        buffer.since();
        metadata.since();
        quick = 0;
    }

    /** Note how long a send took. */
    void took(long began, long ended) {
        if (ended - began < SLOW_NS) {
            if (++quick == FORGET_EVERY) { // sends that did not wait add a microsecond each
                forget();
            }
            return;
        }
        double forBuffer = buffer.since();
        double forMetadata = metadata.since();
        quick = 0;
        if (forBuffer < (ended - began) / 2.0 && forMetadata < LEAST_METADATA_WAIT_NS) {
            return;
        }
        if (total > 0 && began - end > APART_NS) {
            tell();
        }
        if (total == 0) {
            begin = began;
        }
        total += ended - began;
        end = ended;
        if (end - begin > TELL_AFTER_NS) {
            tell();
        }
    }

    /** Tell the driver of the last stretch; near ones are one. */
    void tell() {
        if (total > 0) {
            child.say("blocked", "at", begin, "until", end, "total_ns", total);
            total = 0;
        }
    }
}

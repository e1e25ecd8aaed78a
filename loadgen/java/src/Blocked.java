package eventdrill;

import java.util.ArrayList;
import java.util.List;
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
    private static final List<String> WAITS = List.of("bufferpool-wait-time-ns-total", "metadata-wait-time-ns-total");

    private final Child child;
    private final List<Metric> metrics;
    private double waited;
    private long begin;
    private long end;
    private long total;

    Blocked(Child child, KafkaProducer<?, ?> client) {
        this.child = child;
        this.metrics = new ArrayList<>(client.metrics().values());
        this.metrics.removeIf(each -> !WAITS.contains(each.metricName().name()));
        this.waited = waited();
    }

    private double waited() {
        return metrics.stream().mapToDouble(each -> (Double) each.metricValue()).sum();
    }

    /** Note how long a send took. */
    void took(long began, long ended) {
        if (ended - began < SLOW_NS) {
            return;
        }
        double before = waited;
        waited = waited();
        if (waited - before < (ended - began) / 2.0) {
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

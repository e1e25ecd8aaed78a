package eventdrill;

import java.util.List;
import org.apache.kafka.clients.producer.ProducerRecord;

/** The clock of a producer's machine where the scenario lets it be wrong: records then carry its time. */
record WrongClock(List<Skew> skews) {
    /** A stretch of the run in which the clock is off. */
    private record Skew(long begin, long end, long by) {
        @SuppressWarnings("unchecked")
        static Skew of(Object three) {
            List<Long> numbers = (List<Long>) three;
            return new Skew(numbers.get(0), numbers.get(1), numbers.get(2));
        }
    }

    static WrongClock of(Spec spec) {
        return new WrongClock(spec.list("skews").stream().map(Skew::of).toList());
    }

    /** Return a record with the time that the clock shows at an instant of the run; the record itself where it is right. */
    ProducerRecord<byte[], byte[]> stamped(ProducerRecord<byte[], byte[]> record, long at) {
        for (Skew each : skews) {
            if (each.begin <= at && at < each.end) {
                long shown = System.currentTimeMillis() + Math.floorDiv(each.by, 1_000_000L);
                return new ProducerRecord<>(record.topic(), record.partition(), shown, record.key(), record.value(), record.headers());
            }
        }
        return record;
    }
}

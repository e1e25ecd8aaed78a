package eventdrill;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import org.apache.kafka.clients.producer.ProducerRecord;

/** Values of the user's own, one after another in a file, the last one unreadable; ids and times of events then travel in headers. */
final class Payload {
    private final byte[][] values;

    private Payload(byte[] all, Column ends) {
        values = new byte[ends.length][];
        for (int i = 0; i < ends.length; i++) {
            values[i] = Arrays.copyOfRange(all, i == 0 ? 0 : (int) ends.get(i - 1), (int) ends.get(i));
        }
    }

    /** Read the values of a producer, null where it sends ours. */
    static Payload of(Child child) throws IOException {
        Column ends = child.columnOrNull("payload_ends");
        return ends == null ? null : new Payload(Files.readAllBytes(Path.of(child.spec.text("payload"))), ends);
    }

    /** Return what is sent for an event. */
    ProducerRecord<byte[], byte[]> record(String topic, byte[] key, long run, int event, long intended, boolean poison) {
        byte[] value = values[poison ? values.length - 1 : event % (values.length - 1)];
        ProducerRecord<byte[], byte[]> record = new ProducerRecord<>(topic, key, value);
        add(record, Event.HEADER_RUN, run);
        add(record, Event.HEADER_ID, event);
        add(record, Event.HEADER_ROOT, event);
        add(record, Event.HEADER_INTENDED, intended);
        if (poison) {
            add(record, Event.HEADER_POISON, 1);
        }
        return record;
    }

    private static void add(ProducerRecord<byte[], byte[]> record, String name, long value) {
        record.headers().add(name, String.valueOf(value).getBytes(StandardCharsets.US_ASCII));
    }
}

package users;

import java.util.Map;
import java.util.concurrent.atomic.AtomicLong;
import org.apache.kafka.clients.producer.ProducerInterceptor;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;

/** An interceptor as a user may have one: counts what is sent, in a header, and prints more than it should. */
public final class Stamp implements ProducerInterceptor<byte[], byte[]> {
    private final AtomicLong count = new AtomicLong();

    @Override
    public ProducerRecord<byte[], byte[]> onSend(ProducerRecord<byte[], byte[]> record) {
        record.headers().add("stamp", Long.toString(count.incrementAndGet()).getBytes());
        return record;
    }

    @Override
    public void onAcknowledgement(RecordMetadata metadata, Exception error) {
        if (count.get() == 1) {
            System.out.println("{\"event\": \"bye\"}");
        }
    }

    @Override
    public void configure(Map<String, ?> settings) {
        // needs nothing
    }

    @Override
    public void close() {
        // holds nothing
    }
}

package users;

import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

/** A program as a user has one, which knows nothing of EventDrill: reads orders, ships them and says so in another topic. */
public final class OrdersApp {
    public static void main(String[] arguments) {
        Properties common = new Properties();
        common.put("bootstrap.servers", arguments[0]);
        Properties reading = new Properties();
        reading.putAll(common);
        reading.putAll(Map.of(
                "group.id", "app", "auto.offset.reset", "earliest", "enable.auto.commit", "false", "metadata.max.age.ms", "500",
                "interceptor.classes", arguments[1]));
        Properties sending = new Properties();
        sending.putAll(common);
        sending.putAll(Map.of("linger.ms", "0", "interceptor.classes", arguments[2]));
        try (var consumer = new KafkaConsumer<>(reading, new StringDeserializer(), new StringDeserializer());
                var producer = new KafkaProducer<>(sending, new StringSerializer(), new StringSerializer())) {
            consumer.subscribe(List.of("orders"));
            System.out.println("up");
            while (true) {
                for (ConsumerRecord<String, String> order : consumer.poll(Duration.ofMillis(100))) {
                    producer.send(new ProducerRecord<>("orders.done", order.key(), order.value().replace("order", "shipment")));
                }
                producer.flush();
                consumer.commitSync();
            }
        }
    }
}

import java.time.Duration;
import java.util.Properties;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

/** Where the broker is and who we are, from the environment; and clients made from it. */
final class Settings {
    static final String PREFIX = System.getenv("LG_PREFIX");
    static final Duration DEADLINE = Duration.ofSeconds(60);

    private Settings() {}

    static String get(String name, String otherwise) {
        String value = System.getenv(name);
        return value == null ? otherwise : value;
    }

    static Properties base() {
        Properties settings = new Properties();
        settings.put("bootstrap.servers", System.getenv("LG_BOOTSTRAP"));
        settings.put("security.protocol", "SASL_SSL");
        settings.put("ssl.truststore.type", "PEM");
        settings.put("ssl.truststore.location", System.getenv("LG_CA"));
        settings.put("sasl.mechanism", get("LG_MECHANISM", "SCRAM-SHA-512"));
        settings.put(
                "sasl.jaas.config",
                String.format(
                        "org.apache.kafka.common.security.scram.ScramLoginModule required username=\"%s\" password=\"%s\";",
                        System.getenv("LG_USER"), System.getenv("LG_PASSWORD")));
        return settings;
    }

    /** The base settings with more; names and values take turns. */
    static Properties with(String... more) {
        Properties settings = base();
        for (int at = 0; at < more.length; at += 2) {
            settings.put(more[at], more[at + 1]);
        }
        return settings;
    }

    static KafkaProducer<String, String> producer(String... more) {
        return new KafkaProducer<>(with(more), new StringSerializer(), new StringSerializer());
    }

    static KafkaProducer<byte[], byte[]> binaryProducer(String... more) {
        return new KafkaProducer<>(with(more), new ByteArraySerializer(), new ByteArraySerializer());
    }

    static KafkaConsumer<String, String> consumer(String group, String... more) {
        Properties settings = with(more);
        settings.putIfAbsent("enable.auto.commit", "false");
        settings.putIfAbsent("auto.offset.reset", "earliest");
        settings.put("group.id", PREFIX + group);
        return new KafkaConsumer<>(settings, new StringDeserializer(), new StringDeserializer());
    }

    static KafkaConsumer<byte[], byte[]> binaryConsumer(String group) {
        Properties settings = with("enable.auto.commit", "false", "auto.offset.reset", "earliest");
        settings.put("group.id", PREFIX + group);
        return new KafkaConsumer<>(settings, new ByteArrayDeserializer(), new ByteArrayDeserializer());
    }

    static Admin admin() {
        return Admin.create(base());
    }

    static void check(boolean holds, String what) {
        if (!holds) {
            throw new AssertionError(what);
        }
    }

    interface Condition {
        boolean holds() throws Exception;
    }

    static void until(String what, Condition condition) throws Exception {
        long end = System.nanoTime() + DEADLINE.toNanos();
        while (!condition.holds()) {
            check(System.nanoTime() < end, "waited in vain: " + what);
            Thread.sleep(20);
        }
    }
}

import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.LongDeserializer;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.kstream.Grouped;
import org.apache.kafka.streams.kstream.Materialized;
import org.apache.kafka.streams.kstream.Produced;

/**
 * Counts records by key with Kafka Streams, exactly once: {@code run STATE-FOLDER} counts until it is killed, {@code feed
 * COUNT} writes records of ten keys, {@code check COUNT} waits until each key's counts are 1, 2, 3 … without a gap or a
 * repetition.
 */
public final class Counting {
    private static final int KEYS = 10;
    private static final String PREFIX = System.getenv("LG_PREFIX");
    private static final String IN = PREFIX + "counted-in";
    private static final String OUT = PREFIX + "counted-out";

    private Counting() {}

    public static void main(String[] args) throws Exception {
        switch (args[0]) {
            case "run": run(args[1]); break;
            case "feed": feed(Integer.parseInt(args[1])); break;
            default: check(Integer.parseInt(args[1]));
        }
    }

    private static Properties base() {
        Properties settings = new Properties();
        settings.put("bootstrap.servers", System.getenv("LG_BOOTSTRAP"));
        settings.put("security.protocol", "SASL_SSL");
        settings.put("ssl.truststore.type", "PEM");
        settings.put("ssl.truststore.location", System.getenv("LG_CA"));
        settings.put("sasl.mechanism", "SCRAM-SHA-512");
        settings.put("sasl.jaas.config", String.format(
                "org.apache.kafka.common.security.scram.ScramLoginModule required username=\"%s\" password=\"%s\";",
                System.getenv("LG_USER"), System.getenv("LG_PASSWORD")));
        return settings;
    }

    private static void run(String folder) throws Exception {
        Properties settings = base();
        settings.put(StreamsConfig.APPLICATION_ID_CONFIG, PREFIX + "counting");
        settings.put(StreamsConfig.PROCESSING_GUARANTEE_CONFIG, StreamsConfig.EXACTLY_ONCE_V2);
        settings.put(StreamsConfig.STATE_DIR_CONFIG, folder);
        settings.put(StreamsConfig.COMMIT_INTERVAL_MS_CONFIG, "100");
        // Each record is counted in the output, not only the last of a while.
        settings.put("statestore.cache.max.bytes", "0");
        settings.put(StreamsConfig.consumerPrefix("session.timeout.ms"), "6000");
        settings.put(StreamsConfig.consumerPrefix("auto.offset.reset"), "earliest");
        settings.put(StreamsConfig.producerPrefix("transaction.timeout.ms"), "10000");
        StreamsBuilder builder = new StreamsBuilder();
        builder.stream(IN, Consumed.with(Serdes.String(), Serdes.String()))
                .groupByKey(Grouped.with(Serdes.String(), Serdes.String()))
                .count(Materialized.as("counts"))
                .toStream()
                .to(OUT, Produced.with(Serdes.String(), Serdes.Long()));
        KafkaStreams streams = new KafkaStreams(builder.build(), settings);
        streams.start();
        Thread.currentThread().join();
    }

    private static void feed(int count) throws Exception {
        Properties settings = base();
        settings.put("enable.idempotence", "true");
        try (KafkaProducer<String, String> producer =
                new KafkaProducer<>(settings, new StringSerializer(), new StringSerializer())) {
            for (int i = 0; i < count; i++) {
                producer.send(new ProducerRecord<>(IN, "key-" + i % KEYS, "" + i));
                Thread.sleep(2);
            }
        }
    }

    private static void check(int count) throws Exception {
        Properties settings = base();
        settings.put("isolation.level", "read_committed");
        settings.put("auto.offset.reset", "earliest");
        Map<String, List<Long>> counts = new HashMap<>();
        int seen = 0;
        long end = System.nanoTime() + Duration.ofSeconds(120).toNanos();
        try (KafkaConsumer<String, Long> consumer =
                new KafkaConsumer<>(settings, new StringDeserializer(), new LongDeserializer())) {
            List<TopicPartition> all = new ArrayList<>();
            consumer.partitionsFor(OUT).forEach(info -> all.add(new TopicPartition(OUT, info.partition())));
            consumer.assign(all);
            consumer.seekToBeginning(all);
            // A while longer than it takes, so that a repetition would be seen.
            for (int quiet = 0; quiet < 10 && System.nanoTime() < end; ) {
                int before = seen;
                for (ConsumerRecord<String, Long> record : consumer.poll(Duration.ofMillis(200))) {
                    counts.computeIfAbsent(record.key(), key -> new ArrayList<>()).add(record.value());
                    seen++;
                }
                quiet = seen >= count && seen == before ? quiet + 1 : 0;
            }
        }
        for (Map.Entry<String, List<Long>> one : counts.entrySet()) {
            for (int at = 0; at < one.getValue().size(); at++) {
                if (one.getValue().get(at) != at + 1) {
                    throw new AssertionError(one.getKey() + " is counted " + one.getValue().get(at) + " after " + at);
                }
            }
        }
        if (seen != count || counts.size() != KEYS) {
            throw new AssertionError(seen + " counts of " + counts.size() + " keys instead of " + count);
        }
        System.out.println(seen + " counted");
    }
}

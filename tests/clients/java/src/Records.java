import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.concurrent.Future;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.header.internals.RecordHeader;

/** Records come back as they went, in every codec, and once each from an idempotent producer whose connections are cut. */
final class Records {
    private static final List<String> CODECS = Arrays.asList("none", "gzip", "snappy", "lz4", "zstd");
    private static final int COUNT = 200;
    private static final int IDEMPOTENT_COUNT = 300;

    private Records() {}

    static String codecs() throws Exception {
        String padding = String.join("", Collections.nCopies(200, "x"));
        for (String codec : CODECS) {
            TopicPartition place = new TopicPartition(Settings.PREFIX + "codec-" + codec, 0);
            try (KafkaProducer<byte[], byte[]> producer =
                    Settings.binaryProducer("compression.type", codec, "linger.ms", "50")) {
                List<Future<RecordMetadata>> sent = new ArrayList<>();
                for (int i = 0; i < COUNT; i++) {
                    List<Header> headers =
                            Arrays.asList(new RecordHeader("h", bytes("" + i)), new RecordHeader("h", bytes("again")));
                    sent.add(producer.send(new ProducerRecord<>(
                            place.topic(), 0, bytes("key-" + i), bytes("value-" + i + "-" + padding), headers)));
                }
                for (Future<RecordMetadata> one : sent) {
                    one.get();
                }
            }
            List<ConsumerRecord<byte[], byte[]>> seen = read(place, COUNT);
            for (int i = 0; i < COUNT; i++) {
                ConsumerRecord<byte[], byte[]> record = seen.get(i);
                Settings.check(record.offset() == i, "offset " + record.offset() + " instead of " + i);
                Settings.check(text(record.key()).equals("key-" + i), codec + ": key of record " + i);
                Settings.check(text(record.value()).equals("value-" + i + "-" + padding), codec + ": value of " + i);
                Header[] headers = record.headers().toArray();
                boolean same = headers.length == 2
                        && text(headers[0].value()).equals("" + i)
                        && text(headers[1].value()).equals("again");
                Settings.check(same, codec + ": headers of record " + i);
            }
        }
        return CODECS.toString();
    }

    static String idempotent() throws Exception {
        TopicPartition place = new TopicPartition(Settings.PREFIX + "idempotent", 0);
        String cut = Settings.get("LG_CUT", System.getenv("LG_BOOTSTRAP"));
        String[] impatient = {
            "bootstrap.servers", cut, "enable.idempotence", "true", "acks", "all", "linger.ms", "5",
            "reconnect.backoff.ms", "10", "reconnect.backoff.max.ms", "50", "retry.backoff.ms", "10",
        };
        try (KafkaProducer<byte[], byte[]> producer = Settings.binaryProducer(impatient)) {
            List<Future<RecordMetadata>> sent = new ArrayList<>();
            for (int i = 0; i < IDEMPOTENT_COUNT; i++) {
                sent.add(producer.send(new ProducerRecord<>(place.topic(), 0, null, bytes("" + i))));
                Thread.sleep(8);
            }
            for (Future<RecordMetadata> one : sent) {
                one.get();
            }
        }
        List<ConsumerRecord<byte[], byte[]>> seen = read(place, IDEMPOTENT_COUNT);
        for (int i = 0; i < IDEMPOTENT_COUNT; i++) {
            Settings.check(text(seen.get(i).value()).equals("" + i), "record " + i + " is " + text(seen.get(i).value()));
        }
        return IDEMPOTENT_COUNT + " acknowledged";
    }

    /** So many records of a partition, and no more. */
    private static List<ConsumerRecord<byte[], byte[]>> read(TopicPartition place, int count) throws Exception {
        List<ConsumerRecord<byte[], byte[]>> seen = new ArrayList<>();
        try (KafkaConsumer<byte[], byte[]> consumer = Settings.binaryConsumer("reader")) {
            consumer.assign(Collections.singleton(place));
            consumer.seekToBeginning(Collections.singleton(place));
            Settings.until("records of " + place, () -> {
                consumer.poll(Duration.ofMillis(200)).forEach(seen::add);
                return seen.size() >= count;
            });
            long end = consumer.endOffsets(Collections.singleton(place)).get(place);
            Settings.check(end == count, place + " ends at " + end + " instead of " + count);
        }
        return seen;
    }

    private static byte[] bytes(String text) {
        return text.getBytes(StandardCharsets.UTF_8);
    }

    private static String text(byte[] bytes) {
        return new String(bytes, StandardCharsets.UTF_8);
    }
}

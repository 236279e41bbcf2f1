import java.time.Duration;
import java.util.ArrayList;
import java.util.Collections;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.ConsumerRecords;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.InvalidProducerEpochException;
import org.apache.kafka.common.errors.ProducerFencedException;

/** Transactions commit, abort and fence; a consume-transform-produce loop moves records and offsets together. */
final class Transactions {
    private Transactions() {}

    private static KafkaProducer<String, String> producer(String id) {
        KafkaProducer<String, String> producer =
                Settings.producer("transactional.id", Settings.PREFIX + id, "transaction.timeout.ms", "30000");
        producer.initTransactions();
        return producer;
    }

    private static void send(KafkaProducer<String, String> producer, String topic, int first, int count) {
        for (int i = first; i < first + count; i++) {
            producer.send(new ProducerRecord<>(topic, i % 3, null, "" + i));
        }
    }

    /** Values of a topic up to its end, as a consumer of that isolation level sees it. */
    private static List<String> read(String topic, String isolation) throws Exception {
        List<String> values = new ArrayList<>();
        try (KafkaConsumer<String, String> consumer = Settings.consumer("reader", "isolation.level", isolation)) {
            List<TopicPartition> all = new ArrayList<>();
            consumer.partitionsFor(topic).forEach(info -> all.add(new TopicPartition(topic, info.partition())));
            consumer.assign(all);
            consumer.seekToBeginning(all);
            Map<TopicPartition, Long> ends = consumer.endOffsets(all);
            Settings.until("the end of " + topic, () -> {
                for (ConsumerRecord<String, String> record : consumer.poll(Duration.ofMillis(200))) {
                    values.add(record.value());
                }
                return all.stream().allMatch(place -> consumer.position(place) >= ends.get(place));
            });
        }
        values.sort((one, other) -> Integer.parseInt(one) - Integer.parseInt(other));
        return values;
    }

    private static List<String> numbers(int first, int count) {
        List<String> numbers = new ArrayList<>();
        for (int i = first; i < first + count; i++) {
            numbers.add("" + i);
        }
        return numbers;
    }

    static String commitAndAbort() throws Exception {
        String topic = Settings.PREFIX + "plain";
        try (KafkaProducer<String, String> producer = producer("plain")) {
            producer.beginTransaction();
            send(producer, topic, 0, 30);
            producer.commitTransaction();
            producer.beginTransaction();
            send(producer, topic, 30, 30);
            // What is not sent yet, an abort drops.
            producer.flush();
            producer.abortTransaction();
            producer.beginTransaction();
            send(producer, topic, 60, 30);
            producer.flush();
            Settings.check(read(topic, "read_committed").equals(numbers(0, 30)), "an open transaction shows");
            Settings.check(read(topic, "read_uncommitted").size() == 90, "read_uncommitted does not see all");
            producer.commitTransaction();
        }
        List<String> expected = numbers(0, 30);
        expected.addAll(numbers(60, 30));
        Settings.check(read(topic, "read_committed").equals(expected), "not what was committed");
        return "committed and aborted";
    }

    static String fencing() throws Exception {
        String topic = Settings.PREFIX + "fenced";
        try (KafkaProducer<String, String> old = producer("fenced")) {
            old.beginTransaction();
            send(old, topic, 0, 10);
            old.flush();
            try (KafkaProducer<String, String> heir = producer("fenced")) {
                boolean fenced = false;
                try {
                    old.commitTransaction();
                } catch (ProducerFencedException | InvalidProducerEpochException expected) {
                    fenced = true;
                }
                Settings.check(fenced, "the old producer commits");
                heir.beginTransaction();
                send(heir, topic, 10, 10);
                heir.commitTransaction();
            }
        }
        Settings.check(read(topic, "read_committed").equals(numbers(10, 10)), "not what the heir committed");
        return "fenced";
    }

    static String consumeTransformProduce() throws Exception {
        String source = Settings.PREFIX + "offsets-in";
        String sink = Settings.PREFIX + "offsets-out";
        try (KafkaProducer<String, String> feeder = Settings.producer()) {
            send(feeder, source, 0, 90);
            feeder.flush();
        }
        int done = 0;
        int transactions = 0;
        try (KafkaProducer<String, String> producer = producer("offsets");
                KafkaConsumer<String, String> consumer =
                        Settings.consumer("offsets", "isolation.level", "read_committed", "max.poll.records", "20")) {
            consumer.subscribe(Collections.singleton(source));
            long end = System.nanoTime() + Settings.DEADLINE.toNanos();
            while (done < 90) {
                Settings.check(System.nanoTime() < end, "only " + done + " records were moved");
                ConsumerRecords<String, String> records = consumer.poll(Duration.ofMillis(200));
                if (records.isEmpty()) {
                    continue;
                }
                producer.beginTransaction();
                Map<TopicPartition, OffsetAndMetadata> next = new HashMap<>();
                for (ConsumerRecord<String, String> record : records) {
                    producer.send(new ProducerRecord<>(sink, record.partition(), null, record.value()));
                    next.put(
                            new TopicPartition(source, record.partition()), new OffsetAndMetadata(record.offset() + 1));
                }
                producer.sendOffsetsToTransaction(next, consumer.groupMetadata());
                // Each third attempt fails, and is made again from what was committed.
                if (transactions++ % 3 == 1) {
                    producer.abortTransaction();
                    consumer.assignment().forEach(place -> {
                        OffsetAndMetadata committed = consumer.committed(Collections.singleton(place)).get(place);
                        consumer.seek(place, committed == null ? 0 : committed.offset());
                    });
                } else {
                    producer.commitTransaction();
                    done += records.count();
                }
            }
        }
        Settings.check(read(sink, "read_committed").equals(numbers(0, 90)), "lost or repeated: " + read(sink, "read_committed"));
        return transactions + " transactions";
    }
}

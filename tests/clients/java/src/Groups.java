import java.time.Duration;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.TreeSet;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.atomic.AtomicBoolean;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.ConsumerRecords;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;

/** Members come and go; every record is consumed once, and the next member goes on where the last one committed. */
final class Groups {
    private static final String TOPIC = Settings.PREFIX + "group";
    private static final String[] CLASSIC = {"session.timeout.ms", "10000", "heartbeat.interval.ms", "300"};

    private Groups() {}

    static String classic() throws Exception {
        return rebalances("group", CLASSIC);
    }

    static String consumerProtocol() throws Exception {
        return rebalances("group-848", "group.protocol", "consumer");
    }

    /** One member on its own thread. */
    private static final class Member extends Thread {
        final List<String> values = new CopyOnWriteArrayList<>();
        volatile int assigned;
        volatile Throwable error;
        private final AtomicBoolean leaves = new AtomicBoolean();
        private final String group;
        private final String[] settings;

        Member(String group, String... settings) {
            this.group = group;
            this.settings = settings;
            setDaemon(true);
            start();
        }

        @Override
        public void run() {
            try (KafkaConsumer<String, String> consumer = Settings.consumer(group, settings)) {
                consumer.subscribe(Collections.singleton(TOPIC));
                while (!leaves.get()) {
                    ConsumerRecords<String, String> records = consumer.poll(Duration.ofMillis(100));
                    assigned = consumer.assignment().size();
                    if (!records.isEmpty()) {
                        consumer.commitSync();
                        for (ConsumerRecord<String, String> record : records) {
                            values.add(record.value());
                        }
                    }
                }
            } catch (Throwable failure) {
                error = failure;
            }
        }

        void leave() throws Exception {
            leaves.set(true);
            join(Settings.DEADLINE.toMillis());
            check();
        }

        void check() throws Exception {
            if (error != null) {
                throw new Exception("a member failed", error);
            }
        }
    }

    private static void produce(int first, int count) throws Exception {
        try (KafkaProducer<String, String> producer = Settings.producer()) {
            for (int i = first; i < first + count; i++) {
                producer.send(new ProducerRecord<>(TOPIC, i % 4, null, "" + i));
            }
            producer.flush();
        }
    }

    private static void wait(String what, Settings.Condition condition, Member... members) throws Exception {
        Settings.until(what, () -> {
            for (Member member : members) {
                member.check();
            }
            return condition.holds();
        });
    }

    private static String rebalances(String group, String... settings) throws Exception {
        // Another protocol may have been here before; its group does not know of these records.
        long before = drained(group);
        produce(0, 100);
        Member a = new Member(group, settings);
        wait("A has 100 records", () -> a.values.size() >= 100, a);
        Member b = new Member(group, settings);
        wait("both have two partitions", () -> a.assigned == 2 && b.assigned == 2, a, b);
        produce(100, 100);
        wait("all 200 records", () -> a.values.size() + b.values.size() >= 200, a, b);
        Settings.check(b.values.size() == 50, "B has " + b.values.size() + " records");
        b.leave();
        wait("A has all partitions again", () -> a.assigned == 4, a);
        a.leave();
        List<String> both = new ArrayList<>(a.values);
        both.addAll(b.values);
        check(both, 0, 200);
        produce(200, 40);
        Member c = new Member(group, settings);
        wait("C has 40 records", () -> c.values.size() >= 40, c);
        c.leave();
        check(c.values, 200, 40);
        return "rebalanced and resumed, after " + before + " older records";
    }

    /** Commits the end of the topic for a group. */
    private static long drained(String group) {
        try (KafkaConsumer<String, String> consumer = Settings.consumer(group)) {
            List<org.apache.kafka.common.TopicPartition> all = new ArrayList<>();
            consumer.partitionsFor(TOPIC).forEach(
                    info -> all.add(new org.apache.kafka.common.TopicPartition(info.topic(), info.partition())));
            consumer.assign(all);
            consumer.seekToEnd(all);
            long sum = 0;
            for (org.apache.kafka.common.TopicPartition place : all) {
                sum += consumer.position(place);
            }
            consumer.commitSync();
            return sum;
        }
    }

    private static void check(List<String> values, int first, int count) {
        TreeSet<Integer> different = new TreeSet<>();
        values.forEach(value -> different.add(Integer.parseInt(value)));
        Settings.check(values.size() == count, values.size() + " records instead of " + count);
        Settings.check(different.size() == count && different.first() == first, "repeated or lost: " + different);
    }

    /** A static member that comes back within its session gets what it had, without a rebalance for the other. */
    static String staticMember() throws Exception {
        drained("static");
        Member a = new Member("static", settings("a"));
        Member b = new Member("static", settings("b"));
        wait("both have two partitions", () -> a.assigned == 2 && b.assigned == 2, a, b);
        b.leave();
        Member again = new Member("static", settings("b"));
        wait("b is back", () -> again.assigned == 2, a, again);
        Settings.check(a.assigned == 2, "the other member has " + a.assigned + " partitions");
        again.leave();
        a.leave();
        return "came back";
    }

    private static String[] settings(String instance) {
        return new String[] {"session.timeout.ms", "20000", "heartbeat.interval.ms", "300", "group.instance.id", instance};
    }
}

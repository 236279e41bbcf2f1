"""confluent-kafka (librdkafka) and kafka-python with transactions, and exactly-once under a broker that keeps dying."""

import os
import threading
import time
import uuid

import confluent_kafka as ck

import scenarios as s

# Exactly-once: inputs, and workers that transform them.
LONGER = int(os.environ.get("LG_LONGER", "1"))
INPUTS = 1500 * LONGER
WORKERS = 3


def settings(**extra):
    base = {
        "bootstrap.servers": s.BOOTSTRAP,
        "security.protocol": "SASL_SSL",
        "ssl.ca.location": s.CA,
        "sasl.mechanism": s.MECHANISM,
        "sasl.username": s.USER,
        "sasl.password": s.PASSWORD,
        "log_level": 2,
        "reconnect.backoff.ms": 20,
        "reconnect.backoff.max.ms": 200,
    }
    return base | {key.replace("_", "."): value for key, value in extra.items()}


def producer(name, **extra):
    # librdkafka wants the timeout of its messages within that of its transactions.
    extra = {"transaction_timeout_ms": 30000, "message_timeout_ms": 20000} | extra
    made = ck.Producer(settings(transactional_id=s.PREFIX + name, **extra))
    made.init_transactions(30)
    return made


def read(topic, isolation="read_committed"):
    """Every value of a topic, up to where a reader of this isolation may go."""
    consumer = ck.Consumer(
        settings(
            group_id=s.PREFIX + str(uuid.uuid4()),
            auto_offset_reset="earliest",
            isolation_level=isolation,
            enable_partition_eof=True,
            enable_auto_commit=False,
        )
    )
    partitions = consumer.list_topics(topic, 20).topics[topic].partitions
    consumer.assign([ck.TopicPartition(topic, index, ck.OFFSET_BEGINNING) for index in partitions])
    values, ended = [], set()
    end = time.monotonic() + s.DEADLINE
    while len(ended) < len(partitions):
        assert time.monotonic() < end, f"{topic} is not read to its end: {ended}"
        message = consumer.poll(1.0)
        if message is None:
            continue
        if message.error() is None:
            values.append(message.value())
        elif message.error().code() == ck.KafkaError._PARTITION_EOF:
            ended.add(message.partition())
        else:
            raise ck.KafkaException(message.error())
    consumer.close()
    return values


def send(made, topic, values):
    for value in values:
        made.produce(topic, value)
    made.flush(20)


def commit_and_abort():
    topic = s.PREFIX + "plain"
    made = producer("plain")
    for round in range(10):
        made.begin_transaction()
        send(made, topic, [f"{round}-{i}".encode() for i in range(20)])
        if round == 0:
            assert read(topic) == [], "nothing is committed yet"
            assert len(read(topic, "read_uncommitted")) == 20
        if round % 2 == 0:
            made.commit_transaction(20)
        else:
            made.abort_transaction(20)
    want = sorted(f"{round}-{i}".encode() for round in range(0, 10, 2) for i in range(20))
    assert sorted(read(topic)) == want
    assert len(read(topic, "read_uncommitted")) == 200


def fencing():
    topic = s.PREFIX + "fenced"
    old = producer("fenced")
    old.begin_transaction()
    send(old, topic, [b"lost"])
    new = producer("fenced")
    new.begin_transaction()
    send(new, topic, [b"kept"])
    new.commit_transaction(20)
    try:
        old.commit_transaction(20)
    except ck.KafkaException as error:
        assert error.args[0].fatal(), error
        assert error.args[0].code() in (ck.KafkaError._FENCED, ck.KafkaError.PRODUCER_FENCED), error
    else:
        raise AssertionError("the old instance could commit")
    assert read(topic) == [b"kept"]


def timeout():
    topic = s.PREFIX + "timeout"
    made = producer("timeout", transaction_timeout_ms=2000, message_timeout_ms=1500)
    made.begin_transaction()
    send(made, topic, [b"too late"])
    assert len(read(topic, "read_uncommitted")) == 1
    time.sleep(4)
    try:
        made.commit_transaction(20)
    except ck.KafkaException:
        pass
    else:
        raise AssertionError("a transaction that timed out could be committed")
    again = producer("timeout")
    again.begin_transaction()
    send(again, topic, [b"in time"])
    again.commit_transaction(20)
    assert read(topic) == [b"in time"]


def offsets():
    """Offsets of a transaction count when it is committed, and not when it is aborted."""
    source, sink, group = s.PREFIX + "offsets-in", s.PREFIX + "offsets-out", s.PREFIX + "offsets"
    feeder = ck.Producer(settings())
    send(feeder, source, [b"one"])
    made = producer("offsets")
    consumer = ck.Consumer(
        settings(group_id=group, auto_offset_reset="earliest", enable_auto_commit=False, isolation_level="read_committed")
    )
    consumer.subscribe([source])
    message = None
    end = time.monotonic() + s.DEADLINE
    while message is None:
        assert time.monotonic() < end, "nothing came"
        message = consumer.poll(1.0)
    place = ck.TopicPartition(source, message.partition(), message.offset() + 1)

    def committed():
        return consumer.committed([ck.TopicPartition(source, message.partition())], 20)[0].offset

    for outcome, want in (("abort", ck.OFFSET_INVALID), ("commit", message.offset() + 1)):
        made.begin_transaction()
        send(made, sink, [outcome.encode()])
        made.send_offsets_to_transaction([place], consumer.consumer_group_metadata(), 20)
        getattr(made, outcome + "_transaction")(20)
        assert committed() == want, f"after {outcome} the offset is {committed()}"
    assert read(sink) == [b"commit"]
    consumer.close()


def kafka_python():
    import kafka

    topic = s.PREFIX + "kafka-python"
    common = {
        "bootstrap_servers": s.BOOTSTRAP,
        "security_protocol": "SASL_SSL",
        "ssl_cafile": s.CA,
        "sasl_mechanism": s.MECHANISM,
        "sasl_plain_username": s.USER,
        "sasl_plain_password": s.PASSWORD,
    }
    made = kafka.KafkaProducer(transactional_id=s.PREFIX + "kafka-python", **common)
    made.init_transactions()
    for outcome in ("commit", "abort", "commit"):
        made.begin_transaction()
        for i in range(5):
            made.send(topic, f"{outcome}-{i}".encode())
        made.flush()
        getattr(made, outcome + "_transaction")()
    made.close()
    consumer = kafka.KafkaConsumer(
        topic, isolation_level="read_committed", auto_offset_reset="earliest", consumer_timeout_ms=6000, **common
    )
    values = [message.value for message in consumer]
    consumer.close()
    assert len(values) == 10 and all(value.startswith(b"commit") for value in values), values


class Worker(threading.Thread):
    """Consumes, transforms and produces in transactions; begins anew after whatever went wrong."""

    def __init__(self, number, done):
        super().__init__(daemon=True)
        self.number, self.done, self.transactions = number, done, 0

    def run(self):
        while not self.done.is_set():
            try:
                self.work()
            except ck.KafkaException as error:
                self.last = error
                time.sleep(0.1)

    def work(self):
        made = producer(f"worker-{self.number}")
        consumer = ck.Consumer(
            settings(
                group_id=s.PREFIX + "eos",
                auto_offset_reset="earliest",
                enable_auto_commit=False,
                isolation_level="read_committed",
                session_timeout_ms=10000,
            )
        )
        try:
            consumer.subscribe([s.PREFIX + "eos-in"])
            while not self.done.is_set():
                messages = [m for m in consumer.consume(30, timeout=0.3) if m.error() is None]
                if messages:
                    self.transform(made, consumer, messages)
        finally:
            consumer.close()

    def transform(self, made, consumer, messages):
        made.begin_transaction()
        try:
            for message in messages:
                made.produce(s.PREFIX + "eos-out", message.value())
            ends = {(m.topic(), m.partition()): m.offset() + 1 for m in messages}
            places = [ck.TopicPartition(topic, index, offset) for (topic, index), offset in ends.items()]
            made.send_offsets_to_transaction(places, consumer.consumer_group_metadata(), 20)
            commit(made)
            self.transactions += 1
        except ck.KafkaException as error:
            if not error.args[0].fatal():
                made.abort_transaction(20)
            raise


def commit(made):
    end = time.monotonic() + 30
    while True:
        try:
            return made.commit_transaction(10)
        except ck.KafkaException as error:
            if not error.args[0].retriable() or time.monotonic() > end:
                raise


def exactly_once():
    """The broker is killed again and again while this runs."""
    source, sink = s.PREFIX + "eos-in", s.PREFIX + "eos-out"
    done = threading.Event()
    workers = [Worker(number, done) for number in range(WORKERS)]
    for worker in workers:
        worker.start()
    feeder = ck.Producer(settings(enable_idempotence=True, linger_ms=5))
    for i in range(INPUTS):
        feeder.produce(source, str(i).encode())
        feeder.poll(0)
        time.sleep(0.01)
    assert feeder.flush(s.DEADLINE) == 0, "the input could not be written"
    want = sorted(str(i).encode() for i in range(INPUTS))
    end = time.monotonic() + 2 * s.DEADLINE * LONGER
    while True:
        try:
            found = sorted(read(sink))
        except (ck.KafkaException, AssertionError):
            found = []
        if len(found) >= len(want) or time.monotonic() > end:
            break
        time.sleep(1)
    done.set()
    for worker in workers:
        worker.join(30)
    found = sorted(read(sink))
    assert found == want, f"{len(found)} outputs for {len(want)} inputs, {len(set(found))} of them different"
    transactions = sum(worker.transactions for worker in workers)
    assert transactions > WORKERS, "there were hardly any transactions"


s.run(
    {
        "commit_and_abort": commit_and_abort,
        "fencing": fencing,
        "timeout": timeout,
        "offsets": offsets,
        "kafka_python": kafka_python,
        "exactly_once": exactly_once,
    }
)

"""confluent-kafka under a quota: how many bytes per second go through, and that nothing times out."""

import os
import time

import confluent_kafka as ck

import scenarios as s

SECONDS = 30
# Until the rate has settled: a bucket begins full.
SETTLING = 2
RECORD = 10 << 10
FILL = 48 << 20

errors = []


def settings(**extra):
    base = {
        "bootstrap.servers": s.BOOTSTRAP,
        "security.protocol": "SASL_SSL",
        "ssl.ca.location": s.CA,
        "sasl.mechanism": s.MECHANISM,
        "sasl.username": s.USER,
        "sasl.password": s.PASSWORD,
        "log_level": 2,
        "error_cb": lambda error: errors.append(str(error)),
    }
    return base | {key.replace("_", "."): value for key, value in extra.items()}


def rate(seen, began):
    measured = [size for at, size in seen if SETTLING <= at - began < SETTLING + SECONDS]
    assert not errors, errors[0]
    return {"rate": sum(measured) / SECONDS, "records": len(seen)}


def fill():
    producer = ck.Producer(settings(linger_ms=20))
    for _ in range(FILL // RECORD):
        producer.produce(s.PREFIX + "full", os.urandom(RECORD), partition=0)
        producer.poll(0)
    assert producer.flush(s.DEADLINE) == 0, "records were left in the queue"
    return {}


def produce():
    seen, failed = [], []

    def delivered(error, message):
        if error:
            failed.append(str(error))
        else:
            seen.append((time.monotonic(), len(message.value())))

    producer = ck.Producer(settings(linger_ms=20, queue_buffering_max_kbytes=4096, batch_size=128 << 10))
    value, began = os.urandom(RECORD), time.monotonic()
    while time.monotonic() - began < SETTLING + SECONDS:
        try:
            producer.produce(s.PREFIX + "empty", value, partition=0, on_delivery=delivered)
        except BufferError:
            producer.poll(0.05)
        producer.poll(0)
    assert producer.flush(s.DEADLINE) == 0, "records were left in the queue"
    assert not failed, failed[0]
    return rate(seen, began)


def consume():
    consumer = ck.Consumer(settings(group_id=s.PREFIX + "reader", enable_auto_commit=False))
    consumer.assign([ck.TopicPartition(s.PREFIX + "full", 0, 0)])
    seen, began = [], time.monotonic()
    while time.monotonic() - began < SETTLING + SECONDS:
        for message in consumer.consume(500, timeout=0.1):
            if message.error():
                raise ck.KafkaException(message.error())
            seen.append((time.monotonic(), len(message.value())))
    consumer.close()
    return rate(seen, began)


s.run({"fill": fill, "produce": produce, "consume": consume})

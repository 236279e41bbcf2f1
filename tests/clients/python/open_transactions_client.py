"""confluent-kafka leaves a transaction open for an operator to find; aiokafka's own transactions beside it."""

import asyncio
import ssl
import time

import aiokafka
import confluent_kafka as ck

import scenarios as s

TOPIC = s.PREFIX + "hanging"
AIO_TOPIC = s.PREFIX + "aiokafka"
# Longer than the test, so that no timeout ends what the operator is to end.
LONG_MS = 600_000


def settings(**extra):
    base = {
        "bootstrap.servers": s.BOOTSTRAP,
        "security.protocol": "SASL_SSL",
        "ssl.ca.location": s.CA,
        "sasl.mechanism": s.MECHANISM,
        "sasl.username": s.USER,
        "sasl.password": s.PASSWORD,
    }
    return base | extra


def leave_open():
    """Writes in a transaction and goes away without ending it; a record outside of any transaction comes behind it."""
    left = ck.Producer(settings(**{"transactional.id": s.PREFIX + "left", "transaction.timeout.ms": LONG_MS}))
    left.init_transactions(30)
    left.begin_transaction()
    left.produce(TOPIC, b"never committed", partition=0)
    assert left.flush(20) == 0
    plain = ck.Producer(settings())
    plain.produce(TOPIC, b"behind", partition=0)
    assert plain.flush(20) == 0


def values(isolation):
    """What a consumer of this isolation sees up to where it may read."""
    consumer = ck.Consumer(
        settings(
            **{
                "group.id": s.PREFIX + "reader",
                "isolation.level": isolation,
                "enable.partition.eof": True,
                "enable.auto.commit": False,
            }
        )
    )
    consumer.assign([ck.TopicPartition(TOPIC, 0, ck.OFFSET_BEGINNING)])
    found, end = [], time.monotonic() + s.DEADLINE
    while True:
        assert time.monotonic() < end, f"the end is not reached: {found}"
        message = consumer.poll(1.0)
        if message is None:
            continue
        if message.error() is None:
            found.append(message.value().decode())
        elif message.error().code() == ck.KafkaError._PARTITION_EOF:
            consumer.close()
            return found
        else:
            raise ck.KafkaException(message.error())


def held_up():
    assert values("read_uncommitted") == ["never committed", "behind"]
    assert values("read_committed") == [], "nothing may be read past an open transaction"


def freed():
    assert values("read_committed") == ["behind"]


async def aiokafka_transactions():
    common = dict(
        bootstrap_servers=s.BOOTSTRAP,
        security_protocol="SASL_SSL",
        ssl_context=ssl.create_default_context(cafile=s.CA),
        sasl_mechanism=s.MECHANISM,
        sasl_plain_username=s.USER,
        sasl_plain_password=s.PASSWORD,
    )
    producer = aiokafka.AIOKafkaProducer(transactional_id=s.PREFIX + "aiokafka", **common)
    await producer.start()
    for outcome in ("commit", "abort", "commit"):
        await producer.begin_transaction()
        for i in range(5):
            await producer.send_and_wait(AIO_TOPIC, f"{outcome}-{i}".encode(), partition=0)
        await getattr(producer, outcome + "_transaction")()
    await producer.stop()
    consumer = aiokafka.AIOKafkaConsumer(isolation_level="read_committed", enable_auto_commit=False, **common)
    await consumer.start()
    partition = aiokafka.TopicPartition(AIO_TOPIC, 0)
    consumer.assign([partition])
    await consumer.seek_to_beginning(partition)
    found, end = [], time.monotonic() + s.DEADLINE
    while len(found) < 10 and time.monotonic() < end:
        for batch in (await consumer.getmany(timeout_ms=200)).values():
            found.extend(record.value.decode() for record in batch)
    # One poll more, in which anything that was aborted would come.
    for batch in (await consumer.getmany(timeout_ms=1000)).values():
        found.extend(record.value.decode() for record in batch)
    await consumer.stop()
    assert found == [f"commit-{i}" for i in range(5)] * 2, found


s.run(
    {
        "leave_open": leave_open,
        "held_up": held_up,
        "freed": freed,
        "aiokafka_transactions": lambda: asyncio.run(aiokafka_transactions()),
    }
)

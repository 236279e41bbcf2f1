"""aiokafka against the broker."""

import asyncio
import ssl
import time

import aiokafka
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

import scenarios as s


def settings(bootstrap=s.BOOTSTRAP, **extra):
    base = dict(
        bootstrap_servers=bootstrap,
        security_protocol="SASL_SSL",
        ssl_context=ssl.create_default_context(cafile=s.CA),
        sasl_mechanism=s.MECHANISM,
        sasl_plain_username=s.USER,
        sasl_plain_password=s.PASSWORD,
    )
    return base | extra


async def read(topic, count):
    consumer = aiokafka.AIOKafkaConsumer(**settings(enable_auto_commit=False, auto_offset_reset="earliest"))
    await consumer.start()
    partition = aiokafka.TopicPartition(topic, 0)
    consumer.assign([partition])
    await consumer.seek_to_beginning(partition)
    records, end = [], time.monotonic() + s.DEADLINE
    while len(records) < count and time.monotonic() < end:
        for batch in (await consumer.getmany(timeout_ms=200)).values():
            records.extend(batch)
    high = (await consumer.end_offsets([partition]))[partition]
    await consumer.stop()
    return records, high


async def codecs():
    for codec in s.CODECS:
        topic = s.PREFIX + "codec-" + codec
        producer = aiokafka.AIOKafkaProducer(**settings(compression_type=None if codec == "none" else codec, linger_ms=50))
        await producer.start()
        futures = []
        for i in range(s.CODEC_RECORDS):
            key, value, headers = s.codec_record(i)
            futures.append(await producer.send(topic, value, key, partition=0, headers=headers))
        await asyncio.gather(*futures)
        await producer.stop()
        records, _ = await read(topic, s.CODEC_RECORDS)
        s.check_codec_records([(r.key, r.value, r.headers) for r in records])
    return {"codecs": s.CODECS}


class Member:
    def __init__(self):
        self.values, self.stopping = [], False
        self.consumer = aiokafka.AIOKafkaConsumer(
            s.PREFIX + "group",
            **settings(
                group_id=s.PREFIX + "group", enable_auto_commit=False, auto_offset_reset="earliest",
                session_timeout_ms=10000, heartbeat_interval_ms=300,
            ),
        )
        self.task = asyncio.create_task(self.run())

    async def run(self):
        await self.consumer.start()
        while not self.stopping:
            batches = await self.consumer.getmany(timeout_ms=100)
            if batches:
                await self.consumer.commit()
                self.values.extend(record.value for batch in batches.values() for record in batch)
        await self.consumer.stop()

    @property
    def assigned(self):
        return len(self.consumer.assignment())

    async def leave(self):
        self.stopping = True
        await asyncio.wait_for(self.task, s.DEADLINE)


async def until(condition, what, *members):
    end = time.monotonic() + s.DEADLINE
    while not condition():
        for member in members:
            if member.task.done():
                member.task.result()
        assert time.monotonic() < end, f"waited in vain until {what}"
        await asyncio.sleep(0.02)


async def group():
    producer = aiokafka.AIOKafkaProducer(**settings())
    await producer.start()

    async def produce(first, count):
        await asyncio.gather(
            *[
                await producer.send(s.PREFIX + "group", str(i).encode(), partition=i % 4)
                for i in range(first, first + count)
            ]
        )

    await produce(0, 100)
    a = Member()
    await until(lambda: len(a.values) >= 100, "A has 100 records", a)
    b = Member()
    await until(lambda: (a.assigned, b.assigned) == (2, 2), "both have two partitions", a, b)
    await produce(100, 100)
    await until(lambda: len(a.values) + len(b.values) >= 200, "all 200 records", a, b)
    assert len(b.values) == 50, f"B has {len(b.values)} records"
    await b.leave()
    await until(lambda: a.assigned == 4, "A has all partitions again", a)
    await a.leave()
    assert sorted(a.values + b.values, key=int) == [str(i).encode() for i in range(200)], "lost or repeated records"
    await produce(200, 40)
    c = Member()
    await until(lambda: len(c.values) >= 40, "C has 40 records", c)
    await c.leave()
    assert sorted(c.values, key=int) == [str(i).encode() for i in range(200, 240)], "did not resume from the commits"
    await producer.stop()
    return {"rebalanced": True, "resumed": True}


async def idempotent():
    topic = s.PREFIX + "idempotent"
    producer = aiokafka.AIOKafkaProducer(**settings(s.CUT, enable_idempotence=True, linger_ms=5, retry_backoff_ms=20))
    # Unlike the other clients this one does not try again while it starts.
    for attempt in range(50):
        try:
            await producer.start()
            break
        except aiokafka.errors.KafkaError:
            if attempt == 49:
                raise
            await asyncio.sleep(0.05)
    futures = []
    for i in range(s.IDEMPOTENT_RECORDS):
        futures.append(await producer.send(topic, str(i).encode(), partition=0))
        await asyncio.sleep(s.IDEMPOTENT_PAUSE)
    await asyncio.wait_for(asyncio.gather(*futures), s.DEADLINE)
    await producer.stop()
    records, high = await read(topic, s.IDEMPOTENT_RECORDS)
    s.check_idempotent([r.value for r in records], high)
    return {"acknowledged": s.IDEMPOTENT_RECORDS}


async def admin():
    client = AIOKafkaAdminClient(**settings())
    await client.start()
    topic = s.PREFIX + "admin"
    await client.create_topics([NewTopic(topic, 2, 1, topic_configs={"retention.ms": "60000"})])

    async def partitions():
        return len((await client.describe_topics([topic]))[0]["partitions"])

    async def soon(condition, what):
        end = time.monotonic() + s.DEADLINE
        while not await condition():
            assert time.monotonic() < end, f"waited in vain until {what}"
            await asyncio.sleep(0.05)

    async def listed():
        return topic in await client.list_topics()

    async def three():
        return await partitions() == 3

    async def gone():
        return not await listed()

    await soon(listed, "the topic is listed")
    await client.create_partitions({topic: NewPartitions(3)})
    await soon(three, "there are three partitions")
    resource = ConfigResource(ConfigResourceType.TOPIC, topic)
    assert "60000" in str(await client.describe_configs([resource]))
    await client.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, configs={"retention.ms": "120000"})])
    assert "120000" in str(await client.describe_configs([resource]))
    await client.delete_topics([topic])
    await soon(gone, "the topic is gone")
    await client.close()
    return {}


def awaited(scenario):
    return lambda: asyncio.run(asyncio.wait_for(scenario(), 120))


s.run({name: awaited(f) for name, f in dict(admin=admin, codecs=codecs, group=group, idempotent=idempotent).items()})

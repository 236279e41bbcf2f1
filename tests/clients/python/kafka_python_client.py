"""kafka-python against the broker."""

import time

import kafka
from kafka import admin as ka

import scenarios as s


def settings(bootstrap=s.BOOTSTRAP, **extra):
    base = dict(
        bootstrap_servers=bootstrap,
        security_protocol="SASL_SSL",
        ssl_cafile=s.CA,
        sasl_mechanism=s.MECHANISM,
        sasl_plain_username=s.USER,
        sasl_plain_password=s.PASSWORD,
    )
    return base | extra


def read(topic, count):
    consumer = kafka.KafkaConsumer(**settings(auto_offset_reset="earliest", enable_auto_commit=False))
    partition = kafka.TopicPartition(topic, 0)
    consumer.assign([partition])
    consumer.seek_to_beginning(partition)
    records, end = [], time.monotonic() + s.DEADLINE
    while len(records) < count and time.monotonic() < end:
        for batch in consumer.poll(200).values():
            records.extend(batch)
    high = consumer.end_offsets([partition])[partition]
    consumer.close()
    return records, high


def codecs():
    for codec in s.CODECS:
        topic = s.PREFIX + "codec-" + codec
        producer = kafka.KafkaProducer(**settings(compression_type=None if codec == "none" else codec, linger_ms=50))
        futures = []
        for i in range(s.CODEC_RECORDS):
            key, value, headers = s.codec_record(i)
            futures.append(producer.send(topic, value, key, headers, partition=0))
        producer.flush(s.DEADLINE)
        for future in futures:
            future.get(s.DEADLINE)
        producer.close()
        records, _ = read(topic, s.CODEC_RECORDS)
        s.check_codec_records([(r.key, r.value, r.headers) for r in records])
    return {"codecs": s.CODECS}


class GroupConsumer:
    def __init__(self):
        self.inner = kafka.KafkaConsumer(
            s.PREFIX + "group",
            **settings(
                group_id=s.PREFIX + "group",
                enable_auto_commit=False,
                auto_offset_reset="earliest",
                session_timeout_ms=10000,
                heartbeat_interval_ms=300,
            ),
        )

    def poll(self):
        return [record.value for batch in self.inner.poll(100).values() for record in batch]

    def commit(self):
        self.inner.commit()

    def assigned(self):
        return len(self.inner.assignment())

    def close(self):
        self.inner.close()


def group():
    producer = kafka.KafkaProducer(**settings())

    def produce(first, count):
        futures = [
            producer.send(s.PREFIX + "group", str(i).encode(), partition=i % 4) for i in range(first, first + count)
        ]
        for future in futures:
            future.get(s.DEADLINE)

    return s.group_scenario(lambda: s.Member(GroupConsumer()), produce)


def idempotent():
    topic = s.PREFIX + "idempotent"
    producer = kafka.KafkaProducer(
        **settings(
            s.CUT, enable_idempotence=True, linger_ms=5, reconnect_backoff_ms=10, reconnect_backoff_max_ms=50,
            retry_backoff_ms=20,
        )
    )
    futures = []
    for i in range(s.IDEMPOTENT_RECORDS):
        futures.append(producer.send(topic, str(i).encode(), partition=0))
        time.sleep(s.IDEMPOTENT_PAUSE)
    for future in futures:
        future.get(s.DEADLINE)
    records, high = read(topic, s.IDEMPOTENT_RECORDS)
    s.check_idempotent([r.value for r in records], high)
    return {"acknowledged": s.IDEMPOTENT_RECORDS}


def admin():
    client = ka.KafkaAdminClient(**settings())
    topic = s.PREFIX + "admin"
    client.create_topics([ka.NewTopic(topic, 2, 1, topic_configs={"retention.ms": "60000"})])
    assert topic in client.list_topics()
    client.create_partitions({topic: ka.NewPartitions(3)})
    described = client.describe_topics([topic])[0]
    assert len(described["partitions"]) == 3, described
    resource = ka.ConfigResource(ka.ConfigResourceType.TOPIC, topic)
    assert "60000" in str(client.describe_configs([resource]))
    client.alter_configs([ka.ConfigResource(ka.ConfigResourceType.TOPIC, topic, configs={"retention.ms": "120000"})])
    assert "120000" in str(client.describe_configs([resource]))

    producer = kafka.KafkaProducer(**settings())
    for i in range(10):
        producer.send(topic, str(i).encode(), partition=0).get(20)
    client.delete_records({kafka.TopicPartition(topic, 0): 4})
    consumer = kafka.KafkaConsumer(**settings())
    partition = kafka.TopicPartition(topic, 0)
    assert consumer.beginning_offsets([partition])[partition] == 4
    consumer.close()

    acl = ka.ACL(
        "User:" + s.PREFIX + "user", "*", ka.ACLOperation.READ, ka.ACLPermissionType.ALLOW,
        ka.ResourcePattern(ka.ResourceType.TOPIC, topic),
    )
    assert not client.create_acls([acl])["failed"]
    any_acl = ka.ACLFilter(
        None, None, ka.ACLOperation.ANY, ka.ACLPermissionType.ANY,
        ka.ResourcePatternFilter(ka.ResourceType.TOPIC, topic, ka.ACLResourcePatternType.LITERAL),
    )
    assert len(client.describe_acls(any_acl)[0]) == 1
    client.delete_acls([any_acl])
    assert len(client.describe_acls(any_acl)[0]) == 0

    client.delete_topics([topic])
    s.wait_until(lambda: topic not in client.list_topics(), lambda: "the topic is gone")
    client.close()
    return {}


s.run({"admin": admin, "codecs": codecs, "group": group, "idempotent": idempotent})

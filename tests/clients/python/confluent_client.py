"""confluent-kafka (librdkafka) against the broker."""

import time

import confluent_kafka as ck
from confluent_kafka import admin as ca

import scenarios as s


def settings(bootstrap=s.BOOTSTRAP, **extra):
    base = {
        "bootstrap.servers": bootstrap,
        "security.protocol": "SASL_SSL",
        "ssl.ca.location": s.CA,
        "sasl.mechanism": s.MECHANISM,
        "sasl.username": s.USER,
        "sasl.password": s.PASSWORD,
        "log_level": 2,
    }
    return base | {key.replace("_", "."): value for key, value in extra.items()}


def read(topic, count):
    consumer = ck.Consumer(settings(group_id=s.PREFIX + "reader", enable_auto_commit=False))
    consumer.assign([ck.TopicPartition(topic, 0, 0)])
    messages, end = [], time.monotonic() + s.DEADLINE
    while len(messages) < count and time.monotonic() < end:
        for message in consumer.consume(500, timeout=0.2):
            if message.error():
                raise ck.KafkaException(message.error())
            messages.append(message)
    _, high = consumer.get_watermark_offsets(ck.TopicPartition(topic, 0), timeout=10)
    consumer.close()
    return messages, high


def codecs():
    for codec in s.CODECS:
        topic = s.PREFIX + "codec-" + codec
        producer = ck.Producer(settings(compression_type=codec, linger_ms=50))
        errors = []
        for i in range(s.CODEC_RECORDS):
            key, value, headers = s.codec_record(i)
            producer.produce(
                topic, value, key, partition=0, headers=headers, on_delivery=lambda e, _: e and errors.append(str(e))
            )
        assert producer.flush(s.DEADLINE) == 0, "records were left in the queue"
        assert not errors, errors[0]
        messages, _ = read(topic, s.CODEC_RECORDS)
        s.check_codec_records([(m.key(), m.value(), m.headers()) for m in messages])
    return {"codecs": s.CODECS}


class GroupConsumer:
    def __init__(self):
        self.inner = ck.Consumer(
            settings(
                group_id=s.PREFIX + "group",
                enable_auto_commit=False,
                auto_offset_reset="earliest",
                session_timeout_ms=10000,
                heartbeat_interval_ms=300,
            )
        )
        self.inner.subscribe([s.PREFIX + "group"])

    def poll(self):
        messages = self.inner.consume(100, timeout=0.1)
        for message in messages:
            if message.error():
                raise ck.KafkaException(message.error())
        return [message.value() for message in messages]

    def commit(self):
        self.inner.commit(asynchronous=False)

    def assigned(self):
        return len(self.inner.assignment())

    def close(self):
        self.inner.close()


def group():
    producer = ck.Producer(settings())

    def produce(first, count):
        for i in range(first, first + count):
            producer.produce(s.PREFIX + "group", str(i).encode(), partition=i % 4)
        assert producer.flush(s.DEADLINE) == 0

    return s.group_scenario(lambda: s.Member(GroupConsumer()), produce)


def idempotent():
    topic = s.PREFIX + "idempotent"
    # With one broker every cut would mean a new bootstrap, which librdkafka tries once a second: it would then meet the
    # cuts more often than the broker.
    producer = ck.Producer(
        settings(
            s.CUT,
            enable_idempotence=True,
            linger_ms=5,
            reconnect_backoff_ms=10,
            reconnect_backoff_max_ms=50,
            metadata_recovery_strategy="none",
        )
    )
    errors = []
    for i in range(s.IDEMPOTENT_RECORDS):
        producer.produce(topic, str(i).encode(), partition=0, on_delivery=lambda e, _: e and errors.append(str(e)))
        producer.poll(0)
        time.sleep(s.IDEMPOTENT_PAUSE)
    assert producer.flush(s.DEADLINE) == 0, "records were left in the queue"
    assert not errors, errors[0]
    messages, high = read(topic, s.IDEMPOTENT_RECORDS)
    s.check_idempotent([m.value() for m in messages], high)
    return {"acknowledged": s.IDEMPOTENT_RECORDS}


def admin():
    client = ca.AdminClient(settings())
    topic, user = s.PREFIX + "admin", s.PREFIX + "user"
    client.create_topics([ca.NewTopic(topic, 2, 1, config={"retention.ms": "60000"})])[topic].result(20)
    resource = ca.ConfigResource(ca.ConfigResource.Type.TOPIC, topic)
    assert client.describe_configs([resource])[resource].result(20)["retention.ms"].value == "60000"
    change = ca.ConfigResource(
        ca.ConfigResource.Type.TOPIC,
        topic,
        incremental_configs=[
            ca.ConfigEntry("retention.ms", "120000", incremental_operation=ca.AlterConfigOpType.SET)
        ],
    )
    client.incremental_alter_configs([change])[change].result(20)
    assert client.describe_configs([resource])[resource].result(20)["retention.ms"].value == "120000"
    client.create_partitions([ca.NewPartitions(topic, 3)])[topic].result(20)
    described = client.describe_topics(ck.TopicCollection([topic]))[topic].result(20)
    assert len(described.partitions) == 3, described.partitions
    assert topic in client.list_topics(timeout=20).topics

    producer = ck.Producer(settings())
    for i in range(10):
        producer.produce(topic, str(i).encode(), partition=0)
    assert producer.flush(s.DEADLINE) == 0
    partition = ck.TopicPartition(topic, 0)
    latest = client.list_offsets({partition: ca.OffsetSpec.latest()})[partition].result(20)
    assert latest.offset == 10, latest.offset
    cut = ck.TopicPartition(topic, 0, 4)
    deleted = client.delete_records([cut])[cut].result(20)
    assert deleted.low_watermark == 4, deleted.low_watermark

    binding = ca.AclBinding(
        ca.ResourceType.TOPIC, topic, ca.ResourcePatternType.LITERAL, "User:" + user, "*",
        ca.AclOperation.READ, ca.AclPermissionType.ALLOW,
    )
    client.create_acls([binding])[binding].result(20)
    found = ca.AclBindingFilter(
        ca.ResourceType.TOPIC, topic, ca.ResourcePatternType.LITERAL, None, None,
        ca.AclOperation.ANY, ca.AclPermissionType.ANY,
    )
    assert client.describe_acls(found).result(20) == [binding]
    assert client.delete_acls([found])[found].result(20) == [binding]
    assert client.describe_acls(found).result(20) == []

    scram = ca.ScramCredentialInfo(ca.ScramMechanism.SCRAM_SHA_512, 8192)
    client.alter_user_scram_credentials([ca.UserScramCredentialUpsertion(user, scram, b"a password")])[user].result(20)
    infos = client.describe_user_scram_credentials([user])[user].result(20).scram_credential_infos
    assert [(i.mechanism, i.iterations) for i in infos] == [(ca.ScramMechanism.SCRAM_SHA_512, 8192)]
    deletion = ca.UserScramCredentialDeletion(user, ca.ScramMechanism.SCRAM_SHA_512)
    client.alter_user_scram_credentials([deletion])[user].result(20)

    group_id = s.PREFIX + "admin-group"
    consumer = ck.Consumer(settings(group_id=group_id))
    consumer.commit(offsets=[ck.TopicPartition(topic, 0, 7)], asynchronous=False)
    consumer.close()
    offsets = client.list_consumer_group_offsets([ck.ConsumerGroupTopicPartitions(group_id)])[group_id].result(20)
    assert [(p.topic, p.partition, p.offset) for p in offsets.topic_partitions] == [(topic, 0, 7)]
    assert group_id in [g.group_id for g in client.list_consumer_groups().result(20).valid]
    assert client.describe_consumer_groups([group_id])[group_id].result(20).state == ck.ConsumerGroupState.EMPTY
    client.delete_consumer_groups([group_id])[group_id].result(20)
    cluster = client.describe_cluster().result(20)
    assert cluster.cluster_id and len(cluster.nodes) == 1
    client.delete_topics([topic])[topic].result(20)
    s.wait_until(lambda: topic not in client.list_topics(timeout=20).topics, lambda: "the topic is gone")
    return {"cluster": cluster.cluster_id}


s.run({"admin": admin, "codecs": codecs, "group": group, "idempotent": idempotent})

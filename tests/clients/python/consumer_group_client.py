"""confluent-kafka (librdkafka) with the consumer group protocol (KIP-848)."""

import time

import confluent_kafka as ck
from confluent_kafka import admin as ca

import scenarios as s

PARTITIONS = 4


def settings(**extra):
    base = {
        "bootstrap.servers": s.BOOTSTRAP,
        "security.protocol": "SASL_SSL",
        "ssl.ca.location": s.CA,
        "sasl.mechanism": s.MECHANISM,
        "sasl.username": s.USER,
        "sasl.password": s.PASSWORD,
        "log_level": 2,
        "topic.metadata.refresh.interval.ms": 1000,
    }
    return base | {key.replace("_", "."): value for key, value in extra.items()}


class Consumer:
    """A member, and what happened to its assignment."""

    def __init__(self, group, topics, **extra):
        protocol = {"group_protocol": "consumer"} if extra.get("group_protocol") is None else {}
        self.events = []
        self.inner = ck.Consumer(
            settings(group_id=s.PREFIX + group, enable_auto_commit=False, auto_offset_reset="earliest", **protocol, **extra)
        )
        self.inner.subscribe(
            topics,
            on_assign=lambda _, parts: self.note("assign", parts),
            on_revoke=lambda _, parts: self.note("revoke", parts),
            on_lost=lambda _, parts: self.note("lost", parts),
        )

    def note(self, what, parts):
        self.events.append((what, sorted((p.topic.removeprefix(s.PREFIX), p.partition) for p in parts)))

    def poll(self):
        messages = self.inner.consume(100, timeout=0.1)
        values = []
        for message in messages:
            # While the broker is away, brokers are down and members have nothing to say.
            if message.error() is None:
                values.append(message.value())
            elif message.error().fatal():
                raise ck.KafkaException(message.error())
        return values

    def commit(self):
        end = time.monotonic() + s.DEADLINE
        while True:
            try:
                return self.inner.commit(asynchronous=False)
            except ck.KafkaException as error:
                # While the member is between two epochs its commits wait for the next heartbeat's answer.
                if error.args[0].code() == ck.KafkaError._NO_OFFSET:
                    return None
                assert time.monotonic() < end, error
                time.sleep(0.1)

    def assigned(self):
        # Asked by the thread that polls: two threads in one consumer may wait for each other for ever.
        self.held = sorted((p.topic, p.partition) for p in self.inner.assignment())
        return len(self.held)

    def close(self):
        self.inner.close()


def member(group, topics, **extra):
    return s.Member(Consumer(group, topics, **extra))


def wait(members, condition, what):
    s.wait_until(lambda: any(m.error for m in members) or condition(), what)
    for m in members:
        assert m.error is None, m.error


def produce(topic, first, count):
    producer = ck.Producer(settings())
    errors = []
    for i in range(first, first + count):
        producer.produce(
            s.PREFIX + topic, str(i).encode(), partition=i % PARTITIONS, on_delivery=lambda e, _: e and errors.append(str(e))
        )
    assert producer.flush(s.DEADLINE) == 0
    assert not errors, errors[0]


def described(group):
    client = ca.AdminClient(settings())
    name = s.PREFIX + group
    return client.describe_consumer_groups([name])[name].result(20)


def kinds():
    client = ca.AdminClient(settings())
    listed = client.list_consumer_groups().result(20).valid
    return {g.group_id.removeprefix(s.PREFIX): g.type.name for g in listed}


def group():
    """Three members come and go, and resume from their commits."""

    detail = s.group_scenario(
        lambda: member("new", [s.PREFIX + "new"]), lambda first, count: produce("new", first, count)
    )
    c = member("new", [s.PREFIX + "new"])
    others = [member("new", [s.PREFIX + "new"], **{"group_remote_assignor": "range"}) for _ in range(2)]
    members = [c, *others]
    wait(members, lambda: sorted(m.assigned for m in members) == [1, 1, 2], lambda: [m.assigned for m in members])
    found = described("new")
    assert found.state == ck.ConsumerGroupState.STABLE and len(found.members) == 3, (found.state, found.members)
    assert found.partition_assignor == "range", found.partition_assignor
    assert sum(len(m.assignment.topic_partitions) for m in found.members) == PARTITIONS
    assert kinds()["new"] == "CONSUMER", kinds()
    client, name = ca.AdminClient(settings()), s.PREFIX + "new"
    try:
        client.delete_consumer_groups([name])[name].result(20)
        raise AssertionError("a group with members was deleted")
    except ck.KafkaException as error:
        assert error.args[0].code() == ck.KafkaError.NON_EMPTY_GROUP, error
    for m in members:
        m.leave()
    s.wait_until(lambda: described("new").state == ck.ConsumerGroupState.EMPTY, lambda: "the group is empty")
    return detail


def regex():
    """An expression finds topics that come later, and none that may not be seen."""
    m = member("regex", ["^.*re-[0-9]+"])
    wait([m], lambda: m.assigned == 1, lambda: f"the first topic is found: {m.assigned}")
    produce("re-1", 0, 1)
    # Made meanwhile by the test.
    wait([m], lambda: m.assigned == 3, lambda: f"the second topic is found: {m.consumer.events}")
    topics = {topic for topic, _ in m.consumer.held}
    assert topics == {s.PREFIX + "re-1", s.PREFIX + "re-2"}, topics
    m.leave()
    return {"events": len(m.consumer.events)}


def static_member():
    """A static member that comes back has its partitions, and nobody else notices."""
    fixed = {"group_instance_id": "fixed"}
    a, b = member("static", [s.PREFIX + "static"], **fixed), member("static", [s.PREFIX + "static"])
    wait([a, b], lambda: (a.assigned, b.assigned) == (2, 2), lambda: (a.assigned, b.assigned))
    had, seen = a.consumer.held, len(b.consumer.events)
    a.leave()
    a = member("static", [s.PREFIX + "static"], **fixed)
    wait([a, b], lambda: a.assigned == 2, lambda: f"the static member is back: {a.assigned}")
    assert a.consumer.held == had
    assert len(b.consumer.events) == seen, b.consumer.events
    a.leave()
    b.leave()
    return {"partitions": had}


def survives():
    """The broker is killed and comes back: nobody is fenced, nothing is lost or repeated."""
    members = [member("survives", [s.PREFIX + "survives"]) for _ in range(2)]
    wait(members, lambda: [m.assigned for m in members] == [2, 2], lambda: [m.assigned for m in members])
    produce("survives", 0, 100)
    wait(members, lambda: sum(len(m.values) for m in members) >= 100, lambda: [len(m.values) for m in members])
    before = [list(m.consumer.events) for m in members]
    # The test kills the broker when it sees this group, and makes the topic when the broker is back.
    client = ca.AdminClient(settings())

    def is_back():
        try:
            return s.PREFIX + "back" in client.list_topics(timeout=2).topics
        except ck.KafkaException:
            return False

    s.wait_until(is_back, lambda: "the broker is back")
    produce("survives", 100, 100)
    wait(members, lambda: sum(len(m.values) for m in members) >= 200, lambda: [len(m.values) for m in members])
    time.sleep(2)
    assert [m.consumer.events for m in members] == before, [m.consumer.events for m in members]
    values = sorted((v for m in members for v in m.values), key=int)
    assert values == [str(i).encode() for i in range(200)], "lost or repeated records"
    for m in members:
        m.leave()
    return {"events": before}


def upgrade():
    """A classic member and a new one in one group; then the classic one alone again."""
    classic = {
        "group_protocol": "classic",
        "partition_assignment_strategy": "cooperative-sticky",
        "session_timeout_ms": 10000,
        "heartbeat_interval_ms": 300,
    }
    old = member("mixed", [s.PREFIX + "mixed"], **classic)
    wait([old], lambda: old.assigned == 4, lambda: f"the classic member has all: {old.assigned}")
    produce("mixed", 0, 100)
    wait([old], lambda: len(old.values) >= 100, lambda: f"the classic member has read all: {len(old.values)}")
    assert kinds()["mixed"] == "CLASSIC", kinds()
    new = member("mixed", [s.PREFIX + "mixed"])
    both = [old, new]
    wait(both, lambda: (old.assigned, new.assigned) == (2, 2), lambda: (old.assigned, new.assigned))
    assert kinds()["mixed"] == "CONSUMER", kinds()
    produce("mixed", 100, 100)
    wait(both, lambda: len(old.values) + len(new.values) >= 200, lambda: (len(old.values), len(new.values)))
    assert len(new.values) == 50, len(new.values)
    new.leave()
    wait([old], lambda: old.assigned == 4, lambda: f"the classic member has all again: {old.assigned}")
    assert kinds()["mixed"] == "CLASSIC", kinds()
    produce("mixed", 200, 40)
    wait([old], lambda: len(old.values) + len(new.values) >= 240, lambda: (len(old.values), len(new.values)))
    old.leave()
    values = sorted(old.values + new.values, key=int)
    assert values == [str(i).encode() for i in range(240)], "lost or repeated records"
    return {"old": len(old.values), "new": len(new.values)}


s.run({"group": group, "regex": regex, "static_member": static_member, "survives": survives, "upgrade": upgrade})

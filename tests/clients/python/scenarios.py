"""What every Python client is put through, and how it reports: one JSON line per scenario.

The environment says where the broker is: LG_BOOTSTRAP, LG_CA, LG_USER, LG_PASSWORD, LG_MECHANISM, LG_PREFIX (of topics
and groups) and, for the scenario `idempotent`, LG_CUT (an address whose connections are cut now and then).
"""

import json
import os
import sys
import threading
import time
import traceback

CODECS = ["none", "gzip", "snappy", "lz4", "zstd"]
BOOTSTRAP = os.environ["LG_BOOTSTRAP"]
CUT = os.environ.get("LG_CUT", BOOTSTRAP)
CA = os.environ["LG_CA"]
USER = os.environ["LG_USER"]
PASSWORD = os.environ["LG_PASSWORD"]
MECHANISM = os.environ.get("LG_MECHANISM", "SCRAM-SHA-256")
PREFIX = os.environ["LG_PREFIX"]

CODEC_RECORDS = 200
IDEMPOTENT_RECORDS = 300
IDEMPOTENT_PAUSE = 0.008
DEADLINE = 40.0


def codec_record(i):
    """Key, value and headers of the i-th record: compressible, with a repeated header key."""
    return f"key-{i}".encode(), f"value-{i}-".encode() + b"x" * 200, [("h", str(i).encode()), ("h", b"again")]


def check_codec_records(seen):
    """`seen`: list of (key, value, headers) in log order."""
    assert len(seen) == CODEC_RECORDS, f"{len(seen)} records instead of {CODEC_RECORDS}"
    for i, (key, value, headers) in enumerate(seen):
        assert (key, value, [tuple(h) for h in headers]) == codec_record(i), f"record {i} differs: {key} {headers}"


def check_idempotent(values, end_offset):
    expected = [str(i).encode() for i in range(IDEMPOTENT_RECORDS)]
    assert values == expected, f"{len(values)} records, first difference at {first_difference(values, expected)}"
    assert end_offset == IDEMPOTENT_RECORDS, f"the log ends at {end_offset}"


def first_difference(left, right):
    return next((i for i, (a, b) in enumerate(zip(left, right)) if a != b), min(len(left), len(right)))


def wait_until(condition, what, deadline=DEADLINE):
    end = time.monotonic() + deadline
    while not condition():
        assert time.monotonic() < end, f"waited in vain until {what()}"
        time.sleep(0.02)


class Member(threading.Thread):
    """A group member with its own thread. `consumer` offers poll() -> [value], commit(), assigned() -> int, close()."""

    def __init__(self, consumer):
        super().__init__(daemon=True)
        self.consumer = consumer
        self.values = []
        self.assigned = 0
        self.stopping = threading.Event()
        self.error = None
        self.start()

    def run(self):
        try:
            while not self.stopping.is_set():
                values = self.consumer.poll()
                self.assigned = self.consumer.assigned()
                if values:
                    self.consumer.commit()
                    self.values.extend(values)
            self.consumer.close()
        except BaseException:
            self.error = traceback.format_exc()

    def leave(self):
        self.stopping.set()
        self.join(DEADLINE)
        assert self.error is None, self.error


def group_scenario(make_member, produce):
    """`make_member() -> Member`; `produce(first, count)` spreads values over the topic's four partitions."""
    produce(0, 100)
    a = make_member()
    wait_until(lambda: len(a.values) >= 100 or a.error, lambda: f"A has 100 records: {len(a.values)}")
    assert a.error is None, a.error
    b = make_member()
    wait_until(
        lambda: (a.assigned, b.assigned) == (2, 2) or a.error or b.error,
        lambda: f"both have two partitions: {a.assigned}, {b.assigned}",
    )
    assert not (a.error or b.error), a.error or b.error
    produce(100, 100)
    wait_until(
        lambda: len(a.values) + len(b.values) >= 200 or a.error or b.error,
        lambda: f"all 200 records: {len(a.values)} and {len(b.values)}",
    )
    assert len(b.values) == 50, f"B has {len(b.values)} records"
    b.leave()
    wait_until(lambda: a.assigned == 4 or a.error, lambda: f"A has all partitions again: {a.assigned}")
    a.leave()
    assert sorted(a.values + b.values, key=int) == [str(i).encode() for i in range(200)], "lost or repeated records"
    produce(200, 40)
    c = make_member()
    wait_until(lambda: len(c.values) >= 40 or c.error, lambda: f"C has 40 records: {len(c.values)}")
    c.leave()
    assert sorted(c.values, key=int) == [str(i).encode() for i in range(200, 240)], "did not resume from the commits"
    return {"rebalanced": True, "resumed": True}


def run(scenarios):
    """Runs the scenarios named on the command line; `scenarios` maps name to function -> detail."""
    failed = False
    for name in sys.argv[1:]:
        started = time.monotonic()
        try:
            verdict = {"scenario": name, "ok": True, "detail": scenarios[name]()}
        except BaseException:
            failed = True
            verdict = {"scenario": name, "ok": False, "detail": traceback.format_exc()}
        verdict["seconds"] = round(time.monotonic() - started, 2)
        print(json.dumps(verdict), flush=True)
    sys.exit(1 if failed else 0)

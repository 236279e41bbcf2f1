"""kcat (Debian's, on librdkafka 2.0) against the broker, driven through its command line."""

import re
import signal
import subprocess
import threading
import time

import scenarios as s


def kcat(*args, bootstrap=s.BOOTSTRAP):
    return [
        "kcat", "-b", bootstrap, "-X", "security.protocol=SASL_SSL", "-X", "ssl.ca.location=" + s.CA,
        "-X", "sasl.mechanism=" + s.MECHANISM, "-X", "sasl.username=" + s.USER, "-X", "sasl.password=" + s.PASSWORD,
        *args,
    ]


def call(*args, lines=None, bootstrap=s.BOOTSTRAP):
    done = subprocess.run(
        kcat(*args, bootstrap=bootstrap), input=lines, capture_output=True, text=True, timeout=s.DEADLINE
    )
    assert done.returncode == 0, f"kcat {args} ended with {done.returncode}: {done.stderr[-2000:]}"
    return done.stdout


def read(topic, form, partition=0):
    return call("-C", "-t", topic, "-p", str(partition), "-o", "beginning", "-e", "-q", "-f", form + "\n").splitlines()


def codecs():
    for codec in s.CODECS:
        topic = s.PREFIX + "codec-" + codec
        lines = "".join(f"key-{i}|value-{i}-{'x' * 200}\n" for i in range(s.CODEC_RECORDS))
        call(
            "-P", "-t", topic, "-p", "0", "-K", "|", "-H", "h=one", "-z", codec, "-X", "linger.ms=50", lines=lines
        )
        seen = read(topic, "%k|%s|%h")
        expected = [f"key-{i}|value-{i}-{'x' * 200}|h=one" for i in range(s.CODEC_RECORDS)]
        assert seen == expected, f"{len(seen)} records, first difference at {s.first_difference(seen, expected)}"
    return {"codecs": s.CODECS}


class Member:
    """A `kcat -G` process; offsets are committed every 50 ms and when it stops."""

    def __init__(self):
        self.values, self.assigned, self.error = [], 0, None
        self.process = subprocess.Popen(
            kcat(
                "-G", s.PREFIX + "group", "-u", "-f", "%s\n", "-X", "auto.offset.reset=earliest",
                "-X", "auto.commit.interval.ms=50", "-X", "session.timeout.ms=10000", "-X", "heartbeat.interval.ms=300",
                s.PREFIX + "group",
            ),
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        threading.Thread(target=self.collect, daemon=True).start()
        threading.Thread(target=self.watch, daemon=True).start()

    def collect(self):
        for line in self.process.stdout:
            self.values.append(line.strip().encode())

    def watch(self):
        for line in self.process.stderr:
            if "assigned:" in line:
                self.assigned = len(re.findall(r"\[\d+\]", line))
            elif "revoked:" in line:
                self.assigned = 0

    def leave(self):
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(s.DEADLINE) == 0, "kcat -G did not end well"


def group():
    def produce(first, count):
        for partition in range(4):
            lines = "".join(f"{i}\n" for i in range(first, first + count) if i % 4 == partition)
            call("-P", "-t", s.PREFIX + "group", "-p", str(partition), lines=lines)

    return s.group_scenario(Member, produce)


def idempotent():
    topic = s.PREFIX + "idempotent"
    process = subprocess.Popen(
        kcat(
            "-P", "-E", "-t", topic, "-p", "0", "-X", "enable.idempotence=true", "-X", "linger.ms=5",
            "-X", "reconnect.backoff.ms=10", "-X", "reconnect.backoff.max.ms=50", bootstrap=s.CUT,
        ),
        stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )
    # -E: being cut off is no reason to give up. Its complaints must not fill the pipe.
    threading.Thread(target=process.stderr.read, daemon=True).start()
    for i in range(s.IDEMPOTENT_RECORDS):
        process.stdin.write(f"{i}\n")
        process.stdin.flush()
        time.sleep(s.IDEMPOTENT_PAUSE)
    process.stdin.close()
    assert process.wait(s.DEADLINE) == 0, "kcat could not deliver everything"
    end = int(call("-Q", "-t", f"{topic}:0:-1").split()[-1])
    s.check_idempotent([value.encode() for value in read(topic, "%s")], end)
    return {"acknowledged": s.IDEMPOTENT_RECORDS}


def admin():
    """kcat can only list."""
    listing = call("-L")
    assert f'topic "{s.PREFIX}group" with 4 partitions' in listing, listing
    assert "1 brokers:" in listing, listing
    return {}


s.run({"admin": admin, "codecs": codecs, "group": group, "idempotent": idempotent})

"""Clients that log in with tokens, and that authenticate again when their session is about to end.

Besides what scenarios.py wants, LG_TOKEN_URL says where tokens are.
"""

import json
import os
import time
import urllib.request

import confluent_kafka as ck
import kafka
from kafka.net.sasl.oauth import AbstractTokenProvider

import scenarios as s

TOKEN_URL = os.environ.get("LG_TOKEN_URL", "")
TOPIC = s.PREFIX + "tokens"
# Longer than several of the sessions that the tests allow.
SECONDS = float(os.environ.get("LG_SECONDS", "16"))


def fetch():
    """A token and when it ends."""
    with urllib.request.urlopen(urllib.request.Request(TOKEN_URL, data=b"", method="POST"), timeout=10) as answer:
        token = json.load(answer)
    return token["access_token"], time.time() + token["expires_in"]


def confluent(errors, **extra):
    base = {
        "bootstrap.servers": s.BOOTSTRAP,
        "security.protocol": "SASL_SSL",
        "ssl.ca.location": s.CA,
        "log_level": 2,
        "error_cb": lambda error: errors.append(str(error)),
    }
    return base | extra


def produce_for_a_while(settings):
    """Produces all the time while sessions end and begin anew; every record arrives once and no error is seen."""
    errors = []
    producer = ck.Producer(confluent(errors, **settings) | {"linger.ms": 5, "enable.idempotence": True, "retries": 0x7FFF})
    sent, end = 0, time.monotonic() + SECONDS
    while time.monotonic() < end:
        producer.produce(TOPIC, str(sent).encode(), partition=0, on_delivery=lambda e, _: e and errors.append(str(e)))
        sent += 1
        producer.poll(0)
        time.sleep(0.002)
    assert producer.flush(s.DEADLINE) == 0, "records were left in the queue"
    assert not errors, errors
    _, high = producer_offsets(settings)
    assert high == sent, f"{high} records instead of {sent}"
    return {"sent": sent}


def producer_offsets(settings):
    consumer = ck.Consumer(confluent([], **settings) | {"group.id": s.PREFIX + "tokens"})
    # Tokens are fetched while the consumer polls.
    consumer.poll(1)
    offsets = consumer.get_watermark_offsets(ck.TopicPartition(TOPIC, 0), timeout=20)
    consumer.close()
    return offsets


def callback():
    return produce_for_a_while({"sasl.mechanism": "OAUTHBEARER", "oauth_cb": lambda _: fetch()})


def oidc():
    return produce_for_a_while(
        {
            "sasl.mechanism": "OAUTHBEARER",
            "sasl.oauthbearer.method": "oidc",
            "sasl.oauthbearer.client.id": "app",
            "sasl.oauthbearer.client.secret": "a secret of the issuer's",
            "sasl.oauthbearer.token.endpoint.url": TOKEN_URL,
            "sasl.oauthbearer.extensions": "traceId=123",
        }
    )


def scram():
    return produce_for_a_while({"sasl.mechanism": s.MECHANISM, "sasl.username": s.USER, "sasl.password": s.PASSWORD})


class Tokens(AbstractTokenProvider):
    def token(self):
        return fetch()[0]

    def extensions(self):
        return {"traceId": "123"}


def kafka_python():
    producer = kafka.KafkaProducer(
        bootstrap_servers=s.BOOTSTRAP,
        security_protocol="SASL_SSL",
        ssl_cafile=s.CA,
        sasl_mechanism="OAUTHBEARER",
        sasl_oauth_token_provider=Tokens(),
    )
    futures, end = [], time.monotonic() + SECONDS
    while time.monotonic() < end:
        futures.append(producer.send(TOPIC, str(len(futures)).encode(), partition=0))
        time.sleep(0.01)
    offsets = [future.get(s.DEADLINE).offset for future in futures]
    producer.close()
    assert offsets == list(range(offsets[0], offsets[0] + len(futures))), "records are missing or out of order"
    return {"sent": len(futures)}


s.run({"callback": callback, "oidc": oidc, "kafka_python": kafka_python, "scram": scram})

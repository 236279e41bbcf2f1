"""Points kafka-python's fixtures at a running Lockgate instead of one that they start themselves.

The tests stay as they are. What is replaced: how a broker is started (it runs already), how its clients authenticate
(TLS and SASL where the originals use plaintext) and the one call of a command line tool of Apache Kafka.

Reads LG_PORT (TLS and SASL), LG_TLS_PORT (TLS only), LG_CA_FOLDER (with `ca-cert`), LG_USER and LG_PASSWORD.
"""

import os

from kafka import KafkaAdminClient
from test.integration.fixtures import KafkaFixture

DEFAULT_MECHANISM = "SCRAM-SHA-512"


def instance(cls, broker_id, transport="PLAINTEXT", sasl_mechanism=None, **_):
    """The fixture of the running broker, with TLS whatever was asked for."""
    if transport == "SSL":
        port = os.environ["LG_TLS_PORT"]
    else:
        port, transport = os.environ["LG_PORT"], "SASL_SSL"
        sasl_mechanism = sasl_mechanism or DEFAULT_MECHANISM
    fixture = cls(
        "localhost",
        int(port),
        broker_id,
        transport=transport,
        sasl_mechanism=sasl_mechanism,
        partitions=4,
        external=True,
    )
    fixture.ssl_dir = os.environ["LG_CA_FOLDER"]
    return fixture


def get_topic_names(self):
    with KafkaAdminClient(**self._enrich_client_params({})) as admin:
        return admin.list_topics()


def nothing(self):
    pass


def pytest_configure(config):
    KafkaFixture.broker_user = os.environ["LG_USER"]
    KafkaFixture.broker_password = os.environ["LG_PASSWORD"]
    KafkaFixture.instance = classmethod(instance)
    KafkaFixture.get_topic_names = get_topic_names
    KafkaFixture.start = nothing
    KafkaFixture.close = nothing

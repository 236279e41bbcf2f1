"""The module `test.service` that kafka-python's fixtures import and its source distribution leaves out.

The original starts brokers. Here one runs already, and these classes only answer what the fixtures ask of a service.
"""


class ExternalService:
    """A broker that somebody else started and will stop."""

    def __init__(self, host, port):
        self.host = host
        self.port = port

    def open(self):
        pass

    def start(self):
        pass

    def stop(self):
        pass

    def dump_logs(self):
        pass


class SpawnedService:
    """Starting a process of Apache Kafka is not possible here, and must not go unnoticed."""

    def __init__(self, *args, **kwargs):
        raise RuntimeError("this run judges a broker that runs already")

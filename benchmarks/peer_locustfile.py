"""The Kafka user that people write for Locust, as a peer of the benchmarks: send one, flush, report, again."""

import os
import time

from confluent_kafka import Producer
from locust import User, task


class KafkaUser(User):
    def __init__(self, environment: object) -> None:
        super().__init__(environment)
        self.client = Producer({"bootstrap.servers": os.environ["BENCH_BOOTSTRAP"], "acks": 1})

    @task
    def send(self) -> None:
        began = time.perf_counter()
        self.client.produce("locust", b"x" * 100)
        self.client.flush()
        self.environment.events.request.fire(
            request_type="KAFKA",
            name="locust",
            response_time=(time.perf_counter() - began) * 1000,
            response_length=100,
            exception=None,
            context={},
        )

"""The work that brokers are compared by: each row is one kind of load, run once per broker and round."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from bench.brokers import Broker
from kafkax._core.load import Load
from kafkax._core.load_connection import Target
from kafkax.cli.perf.bootstrap import Topic
from kafkax.cli.perf.measure import connect
from kafkax.cli.perf.options import FETCH, PRODUCE
from kafkax.cli.perf.workload import api_versions_target, fetch_target, produce_target, record_batch, spread

Figures = dict[str, float]
"""What one run measured: ``per_second``, ``p50_ms``, ``p99_ms``, ``cpu_us`` (per request), ``cpu_s_per_gb``."""

RECORD_SIZE = 100
PARTITIONS = 6
CONNECTIONS = 6
RUN_BYTES = 1 << 30
"""A run ends when it has moved so much, so that its writes stay in the page cache."""


@dataclass(frozen=True)
class Goal:
    """What a figure has to reach: ``figure`` of kafkax over that of ``against`` at least or at most ``limit``."""

    figure: str
    against: str
    limit: float
    at_least: bool = False

    def met(self, ratio: float) -> bool:
        return ratio >= self.limit if self.at_least else ratio <= self.limit

    def __str__(self) -> str:
        return f"{'>=' if self.at_least else '<='} {self.limit:g} x {self.against}"


@dataclass(frozen=True)
class Row:
    """One kind of work.

    Attributes:
        name: what ``--rows`` takes.
        title: what the table says.
        run: does the work for about so many seconds and says what it measured.
        unit: what ``per_second`` counts.
        goals: what kafkax is held to.
        configs: topic configs for kafkax (the others run with their defaults).
        floor: whether the floor can do it.
    """

    name: str
    title: str
    run: Callable[[Broker, str, Mapping[str, str], float], Figures]
    unit: str = "requests"
    goals: tuple[Goal, ...] = ()
    configs: Mapping[str, str] = field(default_factory=dict)
    floor: bool = True


def measured(broker: Broker, load: Load) -> Figures:
    """Run a load and put the broker's processor time beside it; raises RuntimeError when the broker refused anything."""
    before = broker.cpu_seconds()
    load.run()
    used = broker.cpu_seconds() - before
    if load.failed:
        raise RuntimeError(f"{broker.name} answered errors {load.errors}")
    return {
        "requests_per_second": load.requests / load.elapsed,
        "records_per_second": load.records / load.elapsed,
        "p50_ms": load.latency.percentile(50) / 1e6,
        "p99_ms": load.latency.percentile(99) / 1e6,
        "cpu_us": used / load.requests * 1e6,
        "cpu_s_per_gb": used / max(load.bytes, 1) * 1e9,
    }


def drive(broker: Broker, targets: list[list[Target]], in_flight: int, seconds: float, requests: int = 0) -> Figures:
    """A closed loop over as many connections as there are lists of targets."""
    opened = [connect(broker.address, each) for each in targets]
    try:
        return measured(broker, Load(opened, in_flight=in_flight, duration=seconds, max_requests=requests))
    finally:
        for sock, _ in opened:
            sock.close()


def producing(
    records: int,
    *,
    acks: int = 1,
    connections: int = CONNECTIONS,
    in_flight: int = 5,
    partitions: int = PARTITIONS,
    record_size: int = RECORD_SIZE,
) -> Callable[[Broker, str, Mapping[str, str], float], Figures]:
    """Produce batches of so many records."""

    def run(broker: Broker, name: str, configs: Mapping[str, str], seconds: float) -> Figures:
        topic = broker.create_topic(name, partitions, dict(configs))
        batch = record_batch(records, record_size)
        version = broker.versions()[PRODUCE]
        targets = [
            [produce_target(topic, index, batch, records, version=version, acks=acks) for index in indexes]
            for indexes in spread(partitions, connections)
        ]
        try:
            return drive(broker, targets, in_flight, seconds, RUN_BYTES // len(batch))
        finally:
            broker.delete_topic(name)

    return run


def fill(broker: Broker, topic: Topic, partitions: int, size: int) -> None:
    """Write so many bytes to each partition."""
    batch = record_batch(100, RECORD_SIZE)
    version = broker.versions()[PRODUCE]
    targets = [[produce_target(topic, index, batch, 100, version=version)] for index in range(partitions)]
    drive(broker, targets, 5, 60, partitions * size // len(batch))
    # What was written becomes readable once it counts as committed, with kafkax after the flush of what nobody waits for.
    time.sleep(2)


def fetching(broker: Broker, name: str, configs: Mapping[str, str], seconds: float) -> Figures:
    """Read what is in the page cache, 1 MiB a request, over and over."""
    topic = broker.create_topic(name, PARTITIONS, dict(configs))
    fill(broker, topic, PARTITIONS, 32 << 20)
    version = broker.versions()[FETCH]
    targets = [[fetch_target(topic, index, version=version, first=0)] for index in range(PARTITIONS)]
    try:
        return drive(broker, targets, 1, seconds)
    finally:
        broker.delete_topic(name)


def asking(broker: Broker, name: str, configs: Mapping[str, str], seconds: float) -> Figures:
    """ApiVersions, pipelined."""
    return drive(broker, [[api_versions_target()] for _ in range(CONNECTIONS)], 5, seconds)


def end_to_end(broker: Broker, name: str, configs: Mapping[str, str], seconds: float) -> Figures:
    """One record at a time from confluent-kafka's producer to its consumer."""
    from confluent_kafka import Consumer, Producer, TopicPartition

    broker.create_topic(name, 1, dict(configs))
    servers = f"{broker.address[0]}:{broker.address[1]}"
    producer = Producer({"bootstrap.servers": servers, "linger.ms": 0, "acks": "all"})
    consumer = Consumer({"bootstrap.servers": servers, "group.id": name, "enable.auto.commit": False, "fetch.wait.max.ms": 500})
    consumer.assign([TopicPartition(name, 0, 0)])
    waits: list[float] = []
    try:
        deadline = time.monotonic() + seconds + 5
        while time.monotonic() < deadline - (5 if len(waits) > 50 else 0):
            sent = time.perf_counter()
            producer.produce(name, b"x" * RECORD_SIZE)
            message = consumer.poll(10)
            if message is None or message.error():
                raise RuntimeError(f"{broker.name}: no record within 10 s: {message and message.error()}")
            waits.append(time.perf_counter() - sent)
            producer.poll(0)
    finally:
        consumer.close()
        producer.flush(10)
        broker.delete_topic(name)
    # The first records wait for connections and metadata.
    ordered = sorted(waits[20:])
    return {
        "requests_per_second": 1 / (sum(ordered) / len(ordered)),
        "p50_ms": ordered[len(ordered) // 2] * 1e3,
        "p99_ms": ordered[len(ordered) * 99 // 100] * 1e3,
    }


FLUSHED, REPLICATED = {"kafkax.durability": "flushed"}, {"kafkax.durability": "replicated"}

ROWS = (
    Row("produce-1", "produce, 1 record a request", producing(1), "requests", (
        Goal("requests_per_second", "kafka", 3, at_least=True), Goal("cpu_us", "kafka", 1 / 4), Goal("cpu_us", "floor", 2),
    )),
    Row("produce-100", "produce, 100 a batch", producing(100), "records", (
        Goal("records_per_second", "kafka", 3, at_least=True), Goal("cpu_us", "kafka", 1 / 4), Goal("cpu_us", "floor", 2),
    )),
    Row("produce-1000", "produce, 1000 a batch", producing(1000), "records", (
        Goal("records_per_second", "kafka", 3, at_least=True),
        Goal("cpu_s_per_gb", "kafka", 1 / 3), Goal("cpu_s_per_gb", "floor", 2),
    )),
    Row("fetch", "fetch from the page cache", fetching, "records", (
        Goal("cpu_s_per_gb", "kafka", 3 / 4), Goal("cpu_s_per_gb", "floor", 1.5),
    )),
    Row("latency", "produce, one connection, one in flight", producing(1, connections=1, in_flight=1, partitions=1), "requests", (
        Goal("p50_ms", "kafka", 1 / 2), Goal("p99_ms", "kafka", 1 / 2), Goal("p50_ms", "floor", 2), Goal("p99_ms", "floor", 2),
    )),
    Row("api-versions", "ApiVersions, pipelined", asking, "requests", (Goal("requests_per_second", "kafka", 5, at_least=True),)),
    Row("acks-all", "produce acks=all, flushed (Kafka: unflushed), 100 a batch", producing(100, acks=-1), "records", (
        Goal("records_per_second", "kafka", 1.5, at_least=True),
    ), FLUSHED, floor=False),
    Row("e2e-flushed", "end to end, confluent-kafka, flushed (Kafka: unflushed)", end_to_end, "requests", (), FLUSHED,
        floor=False),
    Row("e2e-replicated", "end to end, confluent-kafka, replicated", end_to_end, "requests", (Goal("p50_ms", "kafka", 2 / 3),),
        REPLICATED, floor=False),
)  # fmt: skip

"""What producers were told, and whether it is true: nothing lost, doubled or out of order, replicas byte for byte the same."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from kafkax.protocol.records import RecordBatch, iter_batches


class Acknowledged(NamedTuple):
    """What a producer was told; ``value`` grows with each record sent to the partition."""

    partition: int
    offset: int
    value: int


class ReplicaLog(NamedTuple):
    """A replica's log as its files hold it."""

    data: bytes
    records: dict[int, int]
    """Values by offset, in the order of the log."""


def read_replica(folder: Path) -> ReplicaLog:
    """Read a partition's folder."""
    data = b"".join(path.read_bytes() for path in sorted(folder.glob("*.log")))
    records: dict[int, int] = {}
    for batch in iter_batches(data):
        assert isinstance(batch, RecordBatch)
        batch.check()
        for record in batch.records():
            records[record.offset] = int(record.value or b"-1")
    return ReplicaLog(data, records)


def problems(acknowledged: list[Acknowledged], replicas: Mapping[int, Mapping[int, ReplicaLog]]) -> list[str]:
    """What is wrong with a partition's replicas (by partition, then by broker), given what was acknowledged."""
    found: list[str] = []
    for told in acknowledged:
        for broker, log in replicas[told.partition].items():
            value = log.records.get(told.offset)
            if value != told.value:
                found.append(f"lost: {told} is {value} on broker {broker}")
    for partition, copies in replicas.items():
        first, *others = copies.items()
        for broker, log in others:
            if log.data != first[1].data:
                found.append(f"diverged: partition {partition} on brokers {first[0]} and {broker}")
        for broker, log in copies.items():
            values = list(log.records.values())
            if len(set(values)) < len(values):
                found.append(f"doubled: partition {partition} on broker {broker}")
            if values != sorted(values):
                found.append(f"out of order: partition {partition} on broker {broker}")
    return found


class Workload:
    """Idempotent producers of confluent-kafka that go on through everything, one for each partition of a topic."""

    def __init__(self, bootstrap: str, topic: str, partitions: int, **configs: object) -> None:
        self.topic = topic
        self.acknowledged: list[Acknowledged] = []
        self.errors: list[str] = []
        self.longest_gap = 0.0
        self._last = 0.0
        self._bootstrap = bootstrap
        self._configs = configs
        self._lock = threading.Lock()
        self._ending = threading.Event()
        self._patience = 120.0
        self._threads = [threading.Thread(target=self._produce, args=(number,), daemon=True) for number in range(partitions)]
        for thread in self._threads:
            thread.start()

    def _produce(self, partition: int) -> None:
        from confluent_kafka import KafkaException

        try:
            self._go_on(partition)
        except KafkaException as fatal:
            with self._lock:
                self.errors.append(str(fatal))

    def _go_on(self, partition: int) -> None:
        from confluent_kafka import Producer

        settings = {
            "bootstrap.servers": self._bootstrap,
            "enable.idempotence": True,
            "linger.ms": 2,
            "message.timeout.ms": 120_000,
            "topic.metadata.refresh.interval.ms": 5000,
            "log_level": 0,
            **self._configs,
        }
        producer = Producer(settings)
        value = 0
        while not self._ending.is_set():
            if len(producer) < 500:
                for number in range(value, value + 10):
                    producer.produce(self.topic, value=b"%d" % number, partition=partition, on_delivery=self._delivered)
                value += 10
            producer.poll(0.01)
        producer.flush(self._patience)

    def _delivered(self, error: object, message: object) -> None:
        with self._lock:
            if error is not None:
                self.errors.append(str(error))
                return
            told = Acknowledged(message.partition(), message.offset(), int(message.value()))  # type: ignore[attr-defined]
            self.acknowledged.append(told)
            now = time.monotonic()
            if self._last:
                self.longest_gap = max(self.longest_gap, now - self._last)
            self._last = now

    def more(self, count: int = 200) -> bool:
        """Whether ``count`` more records were acknowledged since the last call that said so."""
        with self._lock:
            mark = getattr(self, "_mark", 0)
            if len(self.acknowledged) < mark + count:
                return False
            self._mark = len(self.acknowledged)
            return True

    def renew_mark(self) -> None:
        """Let :meth:`more` count from here."""
        with self._lock:
            self._mark = len(self.acknowledged)
            self.longest_gap, self._last = 0.0, time.monotonic()

    def abandon(self) -> None:
        """Stop without waiting for answers."""
        self._patience = 0.0
        self._ending.set()

    def finish(self) -> None:
        """Stop producing and wait for the last answers."""
        self._ending.set()
        for thread in self._threads:
            thread.join(150)
        assert not any(thread.is_alive() for thread in self._threads)


class Readers:
    """Consumers of confluent-kafka in one group that read a topic from its start and go on through everything."""

    def __init__(self, bootstrap: str, topic: str, members: int = 2, **configs: object) -> None:
        self.seen: dict[int, dict[int, int]] = {}
        """Values by offset, by partition."""
        self.changed: list[str] = []
        """Offsets that were read twice with different values."""
        self._bootstrap = bootstrap
        self._configs = configs
        self._topic = topic
        self._lock = threading.Lock()
        self._ending = threading.Event()
        self._threads = [threading.Thread(target=self._consume, daemon=True) for _ in range(members)]
        for thread in self._threads:
            thread.start()

    def _consume(self) -> None:
        from confluent_kafka import Consumer

        consumer = Consumer(
            {
                "bootstrap.servers": self._bootstrap,
                "group.id": "readers",
                "auto.offset.reset": "earliest",
                "session.timeout.ms": 20_000,
                "auto.commit.interval.ms": 500,
                "log_level": 0,
                **self._configs,
            }
        )
        consumer.subscribe([self._topic])
        while not self._ending.is_set():
            for message in consumer.consume(500, 0.2):
                if message.error() is None:
                    self._note(message.partition(), message.offset(), int(message.value()))
        consumer.close()

    def _note(self, partition: int, offset: int, value: int) -> None:
        with self._lock:
            known = self.seen.setdefault(partition, {}).setdefault(offset, value)
            if known != value:
                self.changed.append(f"partition {partition} offset {offset}: {known}, then {value}")

    def has_all(self, acknowledged: list[Acknowledged]) -> bool:
        """Whether everything that producers were told was read."""
        with self._lock:
            return all(self.seen.get(told.partition, {}).get(told.offset) == told.value for told in acknowledged)

    def end(self) -> None:
        """Leave the group."""
        self._ending.set()

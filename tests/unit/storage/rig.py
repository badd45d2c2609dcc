"""A log manager with real configs over temporary directories, at a time that the test sets."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from pathlib import Path

from kafkax.config import BrokerConfig, TopicConfig
from kafkax.model import TopicPartition
from kafkax.protocol.record import Record
from kafkax.protocol.records import build_batch
from kafkax.storage.directory import LogDirectory
from kafkax.storage.loading import LoadProgress
from kafkax.storage.manager import LogManager
from kafkax.storage.partition_log import PartitionLog

__all__ = ["NOW", "FakeClock", "Rig", "batch"]

NOW = 1_700_000_000_000


class FakeClock:
    """Time that only moves when told."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now

    def wall_ms(self) -> int:
        return NOW + int((self.now - 100.0) * 1000)


def batch(*keys: bytes | None, value: bytes | None = b"value", timestamp: int = NOW, **fields: object) -> bytes:
    """A batch with a record for each key."""
    return build_batch([Record(key, value, [], timestamp) for key in keys], **fields)  # type: ignore[arg-type]


class Rig:
    """One broker's storage; ``topics`` maps a topic to its overrides."""

    def __init__(self, root: Path, count: int = 1, **broker: str) -> None:
        self.clock = FakeClock()
        self.dirs = [root / f"d{number}" for number in range(count)]
        self.broker = BrokerConfig({"node.id": "1", "log.dirs": ",".join(map(str, self.dirs)), **broker})
        self.topics: dict[str, dict[str, str]] = {}
        self.lost: list[tuple[LogDirectory, list[PartitionLog]]] = []
        self.progress = LoadProgress()
        self.manager = self._manager()

    def _manager(self) -> LogManager:
        return LogManager(
            [str(path) for path in self.dirs],
            self.broker,
            lambda topic: TopicConfig(self.topics.get(topic, {}), self.broker),
            self.clock,
            on_offline=lambda directory, logs: self.lost.append((directory, logs)),
        )

    def open(self) -> LogManager:
        self.progress = LoadProgress()
        self.manager.load("cluster", 1, self.progress)
        return self.manager

    def restart(self, *, clean: bool = True) -> LogManager:
        """Stop in order, or as after a crash: without flush, checkpoints and marker."""
        if clean:
            self.manager.shutdown()
        else:
            self.crash()
        self.manager = self._manager()
        return self.open()

    def crash(self) -> None:
        """Let go of the directories and leave them as they are."""
        for directory in self.manager.directories:
            directory.close()

    def create(self, topic: str, partition: int = 0, topic_id: uuid.UUID | None = None, **overrides: str) -> PartitionLog:
        if overrides:
            self.topics[topic] = {name.replace("_", "."): value for name, value in overrides.items()}
        return self.manager.create(TopicPartition(topic, partition), topic_id or uuid.uuid5(uuid.NAMESPACE_DNS, topic))

    def append(self, hosted: PartitionLog, batches: Iterable[bytes]) -> None:
        for data in batches:
            hosted.log.append(data, now_ms=self.clock.wall_ms())
        hosted.log.flush()
        hosted.log.high_watermark = hosted.log.log_end_offset

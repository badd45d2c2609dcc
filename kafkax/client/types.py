"""Values that clients take and give back."""

from __future__ import annotations

from collections.abc import Iterable

from kafkax.errors import KafkaError

__all__ = [
    "OFFSET_BEGINNING",
    "OFFSET_END",
    "OFFSET_INVALID",
    "OFFSET_STORED",
    "TIMESTAMP_CREATE_TIME",
    "TIMESTAMP_LOG_APPEND_TIME",
    "TIMESTAMP_NOT_AVAILABLE",
    "TopicPartition",
    "by_topic",
]

OFFSET_BEGINNING, OFFSET_END, OFFSET_STORED, OFFSET_INVALID = -2, -1, -1000, -1001
"""Offsets with a meaning: the first one, the one after the last, the committed one, none."""
TIMESTAMP_NOT_AVAILABLE, TIMESTAMP_CREATE_TIME, TIMESTAMP_LOG_APPEND_TIME = 0, 1, 2
"""What a record's timestamp is: absent, set by the producer, set by the broker."""


class TopicPartition:
    """A partition with an offset and what belongs to it; equal and ordered by topic and partition.

    Args:
        topic: its name.
        partition: its number; -1 for none.
        offset: an offset or one of ``OFFSET_*``.
        metadata: text committed with the offset.
        leader_epoch: of the record before the offset, -1 when not known.
    """

    __slots__ = ("error", "leader_epoch", "metadata", "offset", "partition", "topic")

    def __init__(
        self, topic: str, partition: int = -1, offset: int = OFFSET_INVALID, metadata: str | None = None, leader_epoch: int = -1
    ) -> None:
        self.topic = topic
        self.partition = partition
        self.offset = offset
        self.metadata = metadata
        self.leader_epoch = leader_epoch
        self.error: KafkaError | None = None

    @property
    def key(self) -> tuple[str, int]:
        """Topic and partition."""
        return (self.topic, self.partition)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, TopicPartition) and self.key == other.key

    def __lt__(self, other: TopicPartition) -> bool:
        return self.key < other.key

    def __hash__(self) -> int:
        return hash(self.key)

    def __repr__(self) -> str:
        offset = "" if self.offset == OFFSET_INVALID else f", offset={self.offset}"
        error = "" if self.error is None else f", error={self.error!r}"
        return f"TopicPartition({self.topic!r}, {self.partition}{offset}{error})"

    def __str__(self) -> str:
        return f"{self.topic}-{self.partition}"


def by_topic(partitions: Iterable[tuple[str, int]]) -> dict[str, list[int]]:
    """Partition numbers grouped by topic, in the order they come."""
    grouped: dict[str, list[int]] = {}
    for topic, partition in partitions:
        grouped.setdefault(topic, []).append(partition)
    return grouped

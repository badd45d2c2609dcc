"""What groups must know of topics: how many partitions there are, under which id, and in which racks."""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b
from typing import NamedTuple, Protocol
from uuid import UUID

__all__ = ["NoTopics", "TopicInfo", "TopicView", "metadata_hash"]


class TopicInfo(NamedTuple):
    """A topic.

    Attributes:
        name: its name.
        topic_id: its id.
        partitions: how many it has.
        racks: for each partition the racks of its replicas; empty when brokers have none.
    """

    name: str
    topic_id: UUID
    partitions: int
    racks: tuple[frozenset[str], ...] = ()


class TopicView(Protocol):
    """The topics of the cluster as they are now."""

    def by_name(self, name: str) -> TopicInfo | None:
        """The topic of that name."""

    def by_id(self, topic_id: UUID) -> TopicInfo | None:
        """The topic of that id."""

    def names(self) -> Iterable[str]:
        """Every topic's name."""


class NoTopics:
    """A cluster without topics."""

    def by_name(self, name: str) -> TopicInfo | None:
        """None."""
        return None

    def by_id(self, topic_id: UUID) -> TopicInfo | None:
        """None."""
        return None

    def names(self) -> Iterable[str]:
        """Nothing."""
        return ()


def metadata_hash(topics: Iterable[TopicInfo]) -> int:
    """A number (int64) that changes whenever a topic of the set, its partition count or its racks change; 0 for none."""
    digest = blake2b(digest_size=8)
    ordered = sorted(topics)
    for topic in ordered:
        racks = ";".join(",".join(sorted(each)) for each in topic.racks)
        digest.update(f"{topic.name}\0{topic.topic_id}\0{topic.partitions}\0{racks}\n".encode())
    return int.from_bytes(digest.digest(), "big", signed=True) if ordered else 0

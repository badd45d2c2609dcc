"""What a client knows of its cluster: brokers, topics, partitions and their leaders."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple
from uuid import UUID

from kafkax.errors import KafkaError, error_code
from kafkax.protocol.messages.metadata import MetadataResponse, MetadataResponseTopic
from kafkax.protocol.schema import ZERO_UUID

__all__ = ["BrokerMetadata", "ClusterMetadata", "PartitionMetadata", "TopicMetadata"]


class BrokerMetadata(NamedTuple):
    """A broker and the address that it advertises."""

    id: int
    host: str
    port: int
    rack: str | None = None

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


class PartitionMetadata(NamedTuple):
    """A partition: its leader (-1: none), leader epoch, replicas, in-sync and offline replicas by broker id."""

    id: int
    leader: int
    replicas: list[int]
    isrs: list[int]
    leader_epoch: int = -1
    offline: Sequence[int] = ()
    error: KafkaError | None = None


class TopicMetadata(NamedTuple):
    """A topic: its partitions by number, its id (also as the bytes that go out) and what is wrong with it."""

    topic: str
    partitions: dict[int, PartitionMetadata]
    error: KafkaError | None = None
    topic_id: UUID = ZERO_UUID
    is_internal: bool = False
    raw_id: bytes = ZERO_UUID.bytes


class ClusterMetadata:
    """The cluster as the last answers described it.

    Attributes:
        cluster_id: None before the first answer.
        controller_id: -1 when there is none.
        brokers: by id.
        topics: by name; only those that were asked for, or all.
    """

    def __init__(self) -> None:
        self.cluster_id: str | None = None
        self.controller_id = -1
        self.brokers: dict[int, BrokerMetadata] = {}
        self.topics: dict[str, TopicMetadata] = {}
        self.names: dict[UUID, str] = {}
        self.names_by_bytes: dict[bytes, str] = {}
        self.version = 0

    def update(self, answer: MetadataResponse) -> None:
        """Take over an answer; topics that it does not speak of stay."""
        self.version += 1
        self.cluster_id = answer.cluster_id
        self.controller_id = answer.controller_id
        if answer.brokers:
            self.brokers = {
                each.node_id: BrokerMetadata(each.node_id, each.host, each.port, each.rack) for each in answer.brokers
            }
        for topic in answer.topics:
            if topic.name is not None:
                self._update_topic(topic.name, topic)

    def _update_topic(self, name: str, topic: MetadataResponseTopic) -> None:
        known = self.topics.get(name)
        partitions = {}
        for each in topic.partitions:
            new = PartitionMetadata(
                each.partition_index,
                each.leader_id,
                each.replica_nodes,
                each.isr_nodes,
                each.leader_epoch,
                each.offline_replicas,
                _error(each.error_code, f"{name}-{each.partition_index}"),
            )
            # A broker that lags behind may answer what was true before: an epoch never goes back.
            old = known.partitions.get(new.id) if known is not None and known.topic_id == topic.topic_id else None
            partitions[new.id] = old if old is not None and old.leader_epoch > new.leader_epoch else new
        error = _error(topic.error_code, f"topic {name}")
        raw = topic.topic_id.bytes
        self.topics[name] = TopicMetadata(
            name, dict(sorted(partitions.items())), error, topic.topic_id, topic.is_internal, raw
        )
        if topic.topic_id != ZERO_UUID:
            self.names[topic.topic_id] = self.names_by_bytes[raw] = name

    def forget(self, topics: set[str]) -> None:
        """Drop topics that the cluster does not have any more."""
        for name in topics:
            gone = self.topics.pop(name, None)
            if gone is not None:
                self.names.pop(gone.topic_id, None)
                self.names_by_bytes.pop(gone.topic_id.bytes, None)

    def leader(self, topic: str, partition: int) -> int:
        """Broker id of a partition's leader, -1 when it is not known."""
        known = self.topics.get(topic)
        found = known.partitions.get(partition) if known is not None else None
        return found.leader if found is not None else -1


def _error(code: int, what: str) -> KafkaError | None:
    if not code:
        return None
    known = error_code(code)
    return KafkaError(known, f"{what}: {known.message}")

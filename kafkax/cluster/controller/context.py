"""What the active controller knows: a copy of the coordination store's facts, plus what brokers reported.  No I/O."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple
from uuid import UUID

from kafkax.cluster.znodes import NO_LEADER, BrokerRegistration, PartitionState, ReplicaAssignment
from kafkax.model import TopicPartition

__all__ = ["Context", "Leadership", "LiveBroker", "Topic"]


class LiveBroker(NamedTuple):
    """A registered broker."""

    registration: BrokerRegistration
    epoch: int
    """Transaction that created its id znode; a restarted broker has a greater one (KIP-380)."""


class Leadership(NamedTuple):
    """A partition's state and the version of the znode that holds it, the partition epoch."""

    state: PartitionState
    version: int


class Topic:
    """A topic: its id, its replicas, and the version of the znode that holds both."""

    __slots__ = ("name", "partitions", "topic_id", "version")

    def __init__(self, name: str, topic_id: UUID, partitions: dict[int, ReplicaAssignment], version: int) -> None:
        self.name = name
        self.topic_id = topic_id
        self.partitions = partitions
        self.version = version


class Context:
    """The facts that elections and requests are derived from.

    ``leaderships`` holds the partitions that ever had a leader; one without an entry is new.
    """

    def __init__(self, broker_id: int) -> None:
        self.broker_id = broker_id
        self.epoch = 0
        """Controller epoch."""
        self.epoch_version = 0
        """Version of the controller-epoch znode, the fence of every write."""
        self.brokers: dict[int, LiveBroker] = {}
        self.shutting_down: set[int] = set()
        self.topics: dict[str, Topic] = {}
        self.names: dict[UUID, str] = {}
        self.leaderships: dict[TopicPartition, Leadership] = {}
        self.offline: dict[int, set[TopicPartition]] = {}
        """By broker, the replicas whose log directory failed."""
        self.deleting: set[str] = set()
        """Topics marked for deletion."""

    def put_topic(self, topic: Topic) -> None:
        """Add a topic or replace what is known of it."""
        self.topics[topic.name] = topic
        self.names[topic.topic_id] = topic.name

    def forget_topic(self, name: str) -> None:
        """Drop a topic and all its partitions."""
        topic = self.topics.pop(name, None)
        self.deleting.discard(name)
        if topic is None:
            return
        self.names.pop(topic.topic_id, None)
        for index in topic.partitions:
            key = TopicPartition(name, index)
            self.leaderships.pop(key, None)
            for replicas in self.offline.values():
                replicas.discard(key)

    def assignment(self, partition: TopicPartition) -> ReplicaAssignment | None:
        """The replicas of a partition, None when there is no such partition."""
        topic = self.topics.get(partition.topic)
        return None if topic is None else topic.partitions.get(partition.partition)

    def partitions(self) -> Iterator[tuple[TopicPartition, ReplicaAssignment]]:
        """Every partition with its replicas."""
        for name, topic in self.topics.items():
            for index, assignment in topic.partitions.items():
                yield TopicPartition(name, index), assignment

    def partitions_on(self, brokers: Iterable[int]) -> list[TopicPartition]:
        """The partitions that have a replica on one of the brokers."""
        wanted = frozenset(brokers)
        return [partition for partition, assignment in self.partitions() if not wanted.isdisjoint(assignment.replicas)]

    def is_online(self, broker_id: int, partition: TopicPartition) -> bool:
        """Whether the broker lives, is not stopping, and its replica's log directory works."""
        return broker_id not in self.shutting_down and self.is_alive(broker_id, partition)

    def is_alive(self, broker_id: int, partition: TopicPartition) -> bool:
        """Whether the broker lives, if only to stop soon, and its replica's log directory works."""
        return broker_id in self.brokers and partition not in self.offline.get(broker_id, ())

    def leader(self, partition: TopicPartition) -> int:
        """The partition's leader, :data:`NO_LEADER` when it has none."""
        leadership = self.leaderships.get(partition)
        return NO_LEADER if leadership is None else leadership.state.leader

    def lacks_leader(self, partition: TopicPartition) -> bool:
        """Whether the partition has no leader that could serve it; one that a reassignment dropped is none."""
        leader, assignment = self.leader(partition), self.assignment(partition)
        return assignment is None or leader not in assignment.replicas or not self.is_alive(leader, partition)

    def leaderless(self) -> list[TopicPartition]:
        """The partitions without a serving leader, except those of topics that are being deleted."""
        return [
            partition
            for partition, _ in self.partitions()
            if partition.topic not in self.deleting and self.lacks_leader(partition)
        ]

    def new_partitions(self) -> list[TopicPartition]:
        """The partitions that never had a leader, except those of topics that are being deleted."""
        return [
            partition
            for partition, _ in self.partitions()
            if partition not in self.leaderships and partition.topic not in self.deleting
        ]

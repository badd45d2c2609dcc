"""What administration takes and gives back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import IntEnum
from typing import NamedTuple
from uuid import UUID

from kafkax.errors import KafkaError

__all__ = [
    "ConfigAlteration",
    "ConfigEntry",
    "ConfigOperation",
    "ConfigResource",
    "CreatedTopic",
    "GroupDescription",
    "GroupListing",
    "LogDirectory",
    "MemberDescription",
    "NewPartitions",
    "NewTopic",
    "OffsetSpec",
    "OffsetSpecResult",
    "Reassignment",
    "ReplicaInLogDirectory",
    "ResourceType",
]


class ResourceType(IntEnum):
    """What has configs, numbered as on the wire."""

    TOPIC = 2
    BROKER = 4
    BROKER_LOGGER = 8
    CLIENT_METRICS = 16
    GROUP = 32


class ConfigOperation(IntEnum):
    """What to do with one config (KIP-339)."""

    SET = 0
    DELETE = 1
    APPEND = 2
    SUBTRACT = 3


class NewTopic(NamedTuple):
    """A topic to be created.

    Attributes:
        topic: its name.
        num_partitions: -1 for the cluster's default.
        replication_factor: -1 for the cluster's default.
        replica_assignment: broker ids per partition, instead of the two counts.
        config: configs that differ from the defaults.
    """

    topic: str
    num_partitions: int = -1
    replication_factor: int = -1
    replica_assignment: Sequence[Sequence[int]] | None = None
    config: Mapping[str, str] = {}


class NewPartitions(NamedTuple):
    """More partitions for a topic: how many there shall be, and the broker ids of each new one."""

    topic: str
    new_total_count: int
    replica_assignment: Sequence[Sequence[int]] | None = None


class CreatedTopic(NamedTuple):
    """A topic as it was created; counts are -1 and the id zero where the broker does not say."""

    topic: str
    topic_id: UUID
    num_partitions: int
    replication_factor: int


class ConfigResource(NamedTuple):
    """What has configs: its type, and its name (a broker's is its id; empty for the default of all)."""

    restype: ResourceType
    name: str


class ConfigAlteration(NamedTuple):
    """One change of a config."""

    name: str
    operation: ConfigOperation
    value: str | None = None


class ConfigEntry(NamedTuple):
    """A config as a broker describes it.

    Attributes:
        value: None where there is none, or where it is a secret.
        source: ``DYNAMIC_TOPIC_CONFIG``, ``STATIC_BROKER_CONFIG``, ``DEFAULT_CONFIG``, ...
        synonyms: name, value and source of everything that could give the value, the first one does.
    """

    name: str
    value: str | None
    source: str
    is_read_only: bool
    is_sensitive: bool
    synonyms: list[tuple[str, str | None, str]]
    documentation: str | None

    @property
    def is_default(self) -> bool:
        """Whether nobody set it."""
        return self.source == "DEFAULT_CONFIG"


class OffsetSpec(IntEnum):
    """Which offset to look up; any number from 0 on is a timestamp in milliseconds instead."""

    LATEST = -1
    EARLIEST = -2
    MAX_TIMESTAMP = -3
    EARLIEST_LOCAL = -4
    LATEST_TIERED = -5


class OffsetSpecResult(NamedTuple):
    """An offset that was found, -1 when there is none; its timestamp and leader epoch are -1 where not known."""

    offset: int
    timestamp: int
    leader_epoch: int


class GroupListing(NamedTuple):
    """A group in a list; state and type are empty with brokers too old to tell."""

    group_id: str
    protocol_type: str
    state: str
    type: str


class MemberDescription(NamedTuple):
    """A member of a group and the partitions assigned to it; epoch and target are those of consumer groups (KIP-848)."""

    member_id: str
    group_instance_id: str | None
    client_id: str
    host: str
    assignment: list[tuple[str, int]]
    epoch: int | None = None
    target_assignment: list[tuple[str, int]] | None = None


class GroupDescription(NamedTuple):
    """A group: its state, its assignor, its coordinator's broker id and its members; epochs are those of consumer groups."""

    group_id: str
    state: str
    type: str
    protocol_type: str
    partition_assignor: str
    coordinator: int
    members: list[MemberDescription]
    epoch: int | None = None
    target_epoch: int | None = None


class ReplicaInLogDirectory(NamedTuple):
    """A replica in a log directory: bytes, and how many offsets it lacks."""

    topic: str
    partition: int
    size: int
    offset_lag: int
    is_future: bool


class LogDirectory(NamedTuple):
    """A log directory of a broker; -1 bytes where the broker does not say."""

    broker: int
    path: str
    error: KafkaError | None
    total_bytes: int
    usable_bytes: int
    replicas: list[ReplicaInLogDirectory]


class Reassignment(NamedTuple):
    """A move of a partition that is under way; replicas by broker id."""

    topic: str
    partition: int
    replicas: list[int]
    adding: list[int]
    removing: list[int]

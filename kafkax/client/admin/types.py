"""What administration takes and gives back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import IntEnum
from typing import NamedTuple
from uuid import UUID

from kafkax.client.metadata import BrokerMetadata
from kafkax.client.types import TopicPartition
from kafkax.errors import KafkaError
from kafkax.protocol.acl import AclOperation

__all__ = [
    "AclBinding",
    "AclBindingFilter",
    "AclOperation",
    "AclPermissionType",
    "AclResourceType",
    "ConfigAlteration",
    "ConfigEntry",
    "ConfigOperation",
    "ConfigResource",
    "ConsumerGroupTopicPartitions",
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
    "ResourcePatternType",
    "ResourceType",
    "ScramCredentialInfo",
    "ScramMechanism",
    "TopicDescription",
    "TopicPartitionInfo",
    "UserScramCredentialDeletion",
    "UserScramCredentialUpsertion",
    "UserScramCredentialsDescription",
]


class ResourceType(IntEnum):
    """What has configs, numbered as on the wire."""

    TOPIC = 2
    BROKER = 4
    BROKER_LOGGER = 8
    CLIENT_METRICS = 16
    GROUP = 32


class AclResourceType(IntEnum):
    """What access control entries are about, numbered as on the wire; ``ANY`` in filters only."""

    UNKNOWN = 0
    ANY = 1
    TOPIC = 2
    GROUP = 3
    CLUSTER = 4
    TRANSACTIONAL_ID = 5
    DELEGATION_TOKEN = 6
    USER = 7


class ResourcePatternType(IntEnum):
    """How the name of an access control entry is meant (KIP-290); ``ANY`` and ``MATCH`` in filters only."""

    UNKNOWN = 0
    ANY = 1
    MATCH = 2
    LITERAL = 3
    PREFIXED = 4


class AclPermissionType(IntEnum):
    """Whether an access control entry allows or denies; ``ANY`` in filters only."""

    UNKNOWN = 0
    ANY = 1
    DENY = 2
    ALLOW = 3


class AclBinding(NamedTuple):
    """An access control entry: who (``User:name``) may, or may not, do what with which resource from which host (``*``: any)."""

    restype: AclResourceType
    name: str
    resource_pattern_type: ResourcePatternType
    principal: str
    host: str
    operation: AclOperation
    permission_type: AclPermissionType


class AclBindingFilter(NamedTuple):
    """Which access control entries are meant; None, and ``ANY``, match everything."""

    restype: AclResourceType
    name: str | None
    resource_pattern_type: ResourcePatternType
    principal: str | None
    host: str | None
    operation: AclOperation
    permission_type: AclPermissionType


class ScramMechanism(IntEnum):
    """Mechanisms of SCRAM, numbered as on the wire."""

    UNKNOWN = 0
    SCRAM_SHA_256 = 1
    SCRAM_SHA_512 = 2


class ScramCredentialInfo(NamedTuple):
    """A credential without its secret."""

    mechanism: ScramMechanism
    iterations: int


class UserScramCredentialsDescription(NamedTuple):
    """The credentials that a user has."""

    user: str
    scram_credential_infos: list[ScramCredentialInfo]


class UserScramCredentialUpsertion(NamedTuple):
    """A credential to be set; the salt is random where none is given."""

    user: str
    scram_credential_info: ScramCredentialInfo
    password: bytes | str
    salt: bytes | None = None


class UserScramCredentialDeletion(NamedTuple):
    """A credential to be deleted."""

    user: str
    mechanism: ScramMechanism


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


class ConfigAlteration(NamedTuple):
    """One change of a config."""

    name: str
    operation: ConfigOperation
    value: str | None = None


class ConfigResource:
    """What has configs; equal to another of the same type and name.

    Args:
        restype: its type, or the type's name.
        name: a broker's is its id; empty for the default of all.
        set_config: what :meth:`~kafkax.AdminClient.alter_configs` is to leave it with.
        incremental_configs: changes for :meth:`~kafkax.AdminClient.incremental_alter_configs`.
    """

    __slots__ = ("incremental_configs", "name", "restype", "set_config")

    def __init__(
        self,
        restype: ResourceType | str,
        name: str,
        set_config: Mapping[str, str | None] | None = None,
        incremental_configs: Sequence[ConfigAlteration] | None = None,
    ) -> None:
        self.restype = ResourceType[restype.upper()] if isinstance(restype, str) else ResourceType(restype)
        self.name = name
        self.set_config = dict(set_config or {})
        self.incremental_configs = list(incremental_configs or ())

    @property
    def key(self) -> tuple[ResourceType, str]:
        """Type and name."""
        return (self.restype, self.name)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ConfigResource) and self.key == other.key

    def __hash__(self) -> int:
        return hash(self.key)

    def __repr__(self) -> str:
        return f"ConfigResource({self.restype.name}, {self.name!r})"


class ConsumerGroupTopicPartitions(NamedTuple):
    """A group, and partitions with offsets of it; None stands for all that it has committed."""

    group_id: str
    topic_partitions: list[TopicPartition] | None = None


class TopicDescription(NamedTuple):
    """A topic as :meth:`~kafkax.AdminClient.describe_topics` gives it."""

    name: str
    topic_id: UUID
    is_internal: bool
    partitions: list[TopicPartitionInfo]


class TopicPartitionInfo(NamedTuple):
    """A partition of a topic; ``leader`` is None while it has none. Brokers that are gone are left out."""

    id: int
    leader: BrokerMetadata | None
    replicas: list[BrokerMetadata]
    isr: list[BrokerMetadata]


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

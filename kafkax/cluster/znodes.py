"""Every znode of a cluster: its path and its JSON, in Apache Kafka 3.9's layout, and nowhere else.

A record here is what a node holds; ``encode`` gives the node's bytes and ``decode`` reads them.  Fields that Kafka of another
version wrote and that mean nothing here are ignored.  Source: the layout of Kafka 3.9 in ZooKeeper mode; KIP-35, 390, 455, 516.
"""

from __future__ import annotations

import base64
import uuid
from collections.abc import Mapping
from typing import Any, NamedTuple, TypeVar
from urllib.parse import quote, unquote

import msgspec

__all__ = [
    "ADMIN_DELETE_TOPICS",
    "BROKER_DEFAULT",
    "BROKER_IDS",
    "BROKER_SEQUENCE",
    "CLUSTER_ID",
    "CONFIG_CHANGES",
    "CONSUMERS",
    "CONTROLLER",
    "CONTROLLER_EPOCH",
    "ENTITY_DEFAULT",
    "FEATURE",
    "ISR_CHANGES",
    "LOG_DIR_EVENTS",
    "NO_LEADER",
    "PERSISTENT_PATHS",
    "PREFERRED_ELECTION",
    "PRODUCER_ID_BLOCK",
    "REASSIGN_PARTITIONS",
    "SECRETS",
    "TOPICS",
    "BrokerRegistration",
    "ControllerRegistration",
    "Endpoint",
    "PartitionState",
    "ProducerIdBlock",
    "ReplicaAssignment",
    "TopicAssignment",
    "ZnodeFormatError",
]

BROKER_IDS = "/brokers/ids"
BROKER_SEQUENCE = "/brokers/seqid"
TOPICS = "/brokers/topics"
CONTROLLER = "/controller"
CONTROLLER_EPOCH = "/controller_epoch"
CLUSTER_ID = "/cluster/id"
CONFIG_CHANGES = "/config/changes"
CONFIG_CHANGE_PREFIX = "/config/changes/config_change_"
ADMIN_DELETE_TOPICS = "/admin/delete_topics"
PREFERRED_ELECTION = "/admin/preferred_replica_election"
REASSIGN_PARTITIONS = "/admin/reassign_partitions"
ISR_CHANGES = "/isr_change_notification"
LOG_DIR_EVENTS = "/log_dir_event_notification"
LOG_DIR_EVENT_PREFIX = "/log_dir_event_notification/log_dir_event_"
PRODUCER_ID_BLOCK = "/latest_producer_id_block"
FEATURE = "/feature"

CONSUMERS = "/consumers"
SECRETS = ("/config/users", "/config/brokers", "/delegation_token/tokens")
"""Roots of what only brokers may read, where znodes have ACLs."""

BROKER_DEFAULT = "<default>"
"""The entity name under /config/brokers whose configs hold for every broker."""

ENTITY_DEFAULT = "<default>"
"""The name under /config/users, clients and ips whose quotas hold for whoever has none of his own."""

NO_LEADER = -1

PERSISTENT_PATHS = (
    CONSUMERS,
    BROKER_IDS,
    TOPICS,
    BROKER_SEQUENCE,
    CONFIG_CHANGES,
    "/config/topics",
    "/config/clients",
    "/config/users",
    "/config/brokers",
    "/config/ips",
    ADMIN_DELETE_TOPICS,
    ISR_CHANGES,
    LOG_DIR_EVENTS,
    PRODUCER_ID_BLOCK,
    "/cluster",
)
"""What must exist before anything else can."""


class ZnodeFormatError(ValueError):
    """A znode does not hold what it should."""


def broker_id_path(broker_id: int) -> str:
    """Where a living broker registers."""
    return f"{BROKER_IDS}/{broker_id}"


def topic_path(topic: str) -> str:
    """Where a topic's id and replica assignment stand."""
    return f"{TOPICS}/{topic}"


def partitions_path(topic: str) -> str:
    """Parent of a topic's partitions."""
    return f"{TOPICS}/{topic}/partitions"


def partition_path(topic: str, partition: int) -> str:
    """Parent of a partition's state."""
    return f"{TOPICS}/{topic}/partitions/{partition}"


def state_path(topic: str, partition: int) -> str:
    """Where a partition's leader and ISR stand."""
    return f"{TOPICS}/{topic}/partitions/{partition}/state"


def delete_topic_path(topic: str) -> str:
    """Marks a topic for deletion."""
    return f"{ADMIN_DELETE_TOPICS}/{topic}"


def config_path(entity_type: str, name: str) -> str:
    """Where the dynamic configs of an entity stand.

    Types are ``topics``, ``brokers``, ``clients``, ``users``, ``ips``, and beyond those of Kafka 3.9 ``groups`` and
    ``client-metrics``.  Names are as they stand in the path: see :func:`sanitized` and :func:`user_client`.
    """
    return f"/config/{entity_type}/{name}"


def user_clients_path(user: str) -> str:
    """Parent of what holds for one user with certain client ids."""
    return f"/config/users/{user}/clients"


def user_client(user: str, client: str) -> str:
    """The name, below ``users``, of a user with a client id."""
    return f"{user}/clients/{client}"


def sanitized(name: str) -> str:
    """A user's, client's or group's name as it may stand in a path."""
    return quote(name, safe="").replace("~", "%7E")


def unsanitized(name: str) -> str:
    """The name behind :func:`sanitized`."""
    return unquote(name)


_T = TypeVar("_T")


def _load(decoder: msgspec.json.Decoder[_T], data: bytes, what: str) -> _T:
    try:
        return decoder.decode(data)
    except msgspec.MsgspecError as error:
        raise ZnodeFormatError(f"{what}: {error} in {data[:200]!r}") from None


def _decoder(type_: type[_T]) -> msgspec.json.Decoder[_T]:
    return msgspec.json.Decoder(type_)


def encode_id(id_: uuid.UUID) -> str:
    """A topic or cluster id as text: 22 characters of URL-safe base64."""
    return base64.urlsafe_b64encode(id_.bytes).decode().rstrip("=")


def decode_id(text: str) -> uuid.UUID:
    """The id behind 22 characters of base64.

    Raises:
        ZnodeFormatError: it is none.
    """
    try:
        return uuid.UUID(bytes=base64.urlsafe_b64decode(text + "=="))
    except ValueError:
        raise ZnodeFormatError(f"{text!r} is not an id of 22 base64 characters") from None


# /brokers/ids/N


class Endpoint(NamedTuple):
    """Where a broker listens."""

    listener: str
    host: str
    port: int
    security_protocol: str
    """``PLAINTEXT``, ``SSL``, ``SASL_PLAINTEXT`` or ``SASL_SSL``."""


class _BrokerJson(msgspec.Struct):
    endpoints: list[str] = []
    listener_security_protocol_map: dict[str, str] = {}
    rack: str | None = None
    timestamp: str = "0"
    jmx_port: int = -1


_broker = _decoder(_BrokerJson)


class BrokerRegistration(NamedTuple):
    """A living broker."""

    broker_id: int
    endpoints: tuple[Endpoint, ...]
    rack: str | None = None
    timestamp_ms: int = 0

    def encode(self) -> bytes:
        """The node's bytes."""
        first = self.endpoints[0]
        plain = next((e for e in self.endpoints if e.security_protocol == "PLAINTEXT"), None)
        content: dict[str, Any] = {
            "features": {},
            "listener_security_protocol_map": {e.listener: e.security_protocol for e in self.endpoints},
            "endpoints": [f"{e.listener}://{_bracketed(e.host)}:{e.port}" for e in self.endpoints],
            "jmx_port": -1,
            # Only a plaintext listener is shown to readers from before endpoints.
            "port": first.port if plain is None else plain.port,
            "host": None if plain is None else plain.host,
            "version": 5,
            "timestamp": str(self.timestamp_ms),
        }
        if plain is None:
            content["port"] = -1
        if self.rack is not None:
            content["rack"] = self.rack
        return msgspec.json.encode(content)

    @classmethod
    def decode(cls, broker_id: int, data: bytes) -> BrokerRegistration:
        """Read the node of a broker."""
        content = _load(_broker, data, broker_id_path(broker_id))
        endpoints = []
        for text in content.endpoints:
            listener, _, address = text.partition("://")
            host, _, port = address.rpartition(":")
            if not port.isdigit():
                raise ZnodeFormatError(f"{broker_id_path(broker_id)}: endpoint {text!r} has no port")
            protocol = content.listener_security_protocol_map.get(listener, listener)
            endpoints.append(Endpoint(listener, host.strip("[]"), int(port), protocol))
        return cls(broker_id, tuple(endpoints), content.rack, int(content.timestamp))


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


# /controller, /controller_epoch


class _ControllerJson(msgspec.Struct):
    brokerid: int


_controller = _decoder(_ControllerJson)


class ControllerRegistration(NamedTuple):
    """Which broker was elected controller."""

    broker_id: int
    timestamp_ms: int

    def encode(self) -> bytes:
        """The node's bytes."""
        content = {"version": 2, "brokerid": self.broker_id, "timestamp": str(self.timestamp_ms), "kraftControllerEpoch": -1}
        return msgspec.json.encode(content)


def decode_controller(data: bytes) -> int:
    """Broker id of the controller in ``/controller``."""
    return _load(_controller, data, CONTROLLER).brokerid


def decode_controller_epoch(data: bytes) -> int:
    """The epoch in ``/controller_epoch``."""
    if not data.isdigit():
        raise ZnodeFormatError(f"{CONTROLLER_EPOCH}: {data!r} is not a number")
    return int(data)


# /brokers/topics/T


class _TopicJson(msgspec.Struct):
    partitions: dict[int, list[int]]
    topic_id: str | None = None
    adding_replicas: dict[int, list[int]] = {}
    removing_replicas: dict[int, list[int]] = {}


_topic = _decoder(_TopicJson)


class ReplicaAssignment(NamedTuple):
    """Which brokers hold a partition; the first is the preferred leader."""

    replicas: tuple[int, ...]
    adding: tuple[int, ...] = ()
    """Those of ``replicas`` that a reassignment is adding (KIP-455)."""
    removing: tuple[int, ...] = ()
    """Those of ``replicas`` that it will remove."""

    @property
    def reassigning(self) -> bool:
        """Whether a reassignment is under way."""
        return bool(self.adding or self.removing)

    @property
    def target(self) -> tuple[int, ...]:
        """The replicas when the reassignment is done."""
        return tuple(replica for replica in self.replicas if replica not in self.removing)

    @property
    def origin(self) -> tuple[int, ...]:
        """The replicas before the reassignment began, which a cancelled one goes back to."""
        return tuple(replica for replica in self.replicas if replica not in self.adding)


class TopicAssignment(NamedTuple):
    """A topic's id (None: Kafka older than 2.8 made it) and the replicas of its partitions."""

    topic_id: uuid.UUID | None
    partitions: dict[int, ReplicaAssignment]

    def encode(self) -> bytes:
        """The node's bytes."""
        items = self.partitions.items()
        content: dict[str, Any] = {"partitions": {str(index): list(a.replicas) for index, a in items}}
        if self.topic_id is not None:
            content["topic_id"] = encode_id(self.topic_id)
        content["adding_replicas"] = {str(index): list(a.adding) for index, a in items if a.adding}
        content["removing_replicas"] = {str(index): list(a.removing) for index, a in items if a.removing}
        content["version"] = 3
        return msgspec.json.encode(content)

    @classmethod
    def decode(cls, topic: str, data: bytes) -> TopicAssignment:
        """Read a topic's node."""
        content = _load(_topic, data, topic_path(topic))
        adding, removing = content.adding_replicas, content.removing_replicas
        partitions = {
            index: ReplicaAssignment(tuple(replicas), tuple(adding.get(index, ())), tuple(removing.get(index, ())))
            for index, replicas in sorted(content.partitions.items())
        }
        return cls(None if content.topic_id is None else decode_id(content.topic_id), partitions)


# /brokers/topics/T/partitions/P/state


class _StateJson(msgspec.Struct):
    leader: int
    leader_epoch: int
    isr: list[int]
    controller_epoch: int
    leader_recovery_state: int = 0


_state = _decoder(_StateJson)


class PartitionState(NamedTuple):
    """Who leads a partition.  The version of the node is the partition epoch."""

    leader: int
    """Broker id, or :data:`NO_LEADER`."""
    leader_epoch: int
    isr: tuple[int, ...]
    controller_epoch: int
    """Epoch of the controller that wrote it."""
    recovering: bool = False
    """Whether the leader was elected from outside the ISR and has not yet recovered (KIP-704)."""

    def encode(self) -> bytes:
        """The node's bytes."""
        content: dict[str, Any] = {
            "controller_epoch": self.controller_epoch,
            "leader": self.leader,
            "version": 1,
            "leader_epoch": self.leader_epoch,
            "isr": self.isr,
        }
        if self.recovering:
            content["leader_recovery_state"] = 1
        return msgspec.json.encode(content)

    @classmethod
    def decode(cls, path: str, data: bytes) -> PartitionState:
        """Read a partition's state; the path is for the error."""
        content = _load(_state, data, path)
        return cls(
            content.leader, content.leader_epoch, tuple(content.isr), content.controller_epoch, content.leader_recovery_state == 1
        )


# /config


class _ConfigJson(msgspec.Struct):
    config: dict[str, str] = {}


class _ConfigChangeJson(msgspec.Struct):
    entity_path: str | None = None
    entity_type: str | None = None
    entity_name: str | None = None


_config = _decoder(_ConfigJson)
_config_change = _decoder(_ConfigChangeJson)


def encode_config(config: dict[str, str]) -> bytes:
    """Bytes of a node below ``/config/<type>``."""
    return msgspec.json.encode({"version": 1, "config": config})


def decode_config(path: str, data: bytes) -> dict[str, str]:
    """The dynamic configs in a node below ``/config/<type>``; an empty node holds none."""
    return _load(_config, data, path).config if data else {}


def encode_config_change(entity_type: str, name: str) -> bytes:
    """Bytes of a notification that an entity's configs changed."""
    return msgspec.json.encode({"version": 2, "entity_path": f"{entity_type}/{name}"})


def decode_config_change(path: str, data: bytes) -> tuple[str, str]:
    """Type and name of the entity whose configs changed (version 2; version 1 of Kafka 0.9 too)."""
    content = _load(_config_change, data, path)
    if content.entity_path is not None:
        entity_type, _, name = content.entity_path.partition("/")
        return entity_type, name
    if content.entity_type is None or content.entity_name is None:
        raise ZnodeFormatError(f"{path}: names no entity: {data!r}")
    return content.entity_type, content.entity_name


# /admin, notifications


class _PartitionJson(msgspec.Struct):
    topic: str
    partition: int
    replicas: list[int] = []


class _PartitionsJson(msgspec.Struct):
    partitions: list[_PartitionJson] = []


class _LogDirEventJson(msgspec.Struct):
    broker: int


_partitions = _decoder(_PartitionsJson)
_log_dir_event = _decoder(_LogDirEventJson)


def decode_partitions(path: str, data: bytes) -> list[tuple[str, int]]:
    """The partitions in ``/admin/preferred_replica_election`` or below ``/isr_change_notification``."""
    return [(item.topic, item.partition) for item in _load(_partitions, data, path).partitions]


def decode_reassignments(data: bytes) -> dict[tuple[str, int], tuple[int, ...]]:
    """Target replicas by (topic, partition) in ``/admin/reassign_partitions``."""
    items = _load(_partitions, data, REASSIGN_PARTITIONS).partitions
    return {(item.topic, item.partition): tuple(item.replicas) for item in items}


def encode_reassignments(targets: dict[tuple[str, int], tuple[int, ...]]) -> bytes:
    """Bytes of ``/admin/reassign_partitions``."""
    items = [{"topic": topic, "partition": index, "replicas": replicas} for (topic, index), replicas in targets.items()]
    return msgspec.json.encode({"version": 1, "partitions": items})


def encode_log_dir_event(broker_id: int) -> bytes:
    """Bytes of a notification that a log directory of a broker failed."""
    return msgspec.json.encode({"version": 1, "broker": broker_id, "event": 1})


def decode_log_dir_event(path: str, data: bytes) -> int:
    """The broker that has lost a log directory."""
    return _load(_log_dir_event, data, path).broker


# /latest_producer_id_block, /cluster/id, /feature


class _BlockJson(msgspec.Struct):
    broker: int
    block_start: str
    block_end: str


_block = _decoder(_BlockJson)


class ProducerIdBlock(NamedTuple):
    """The block of producer ids that was given out last; both ends belong to it."""

    broker_id: int
    first: int
    last: int

    def encode(self) -> bytes:
        """The node's bytes."""
        content = {"version": 1, "broker": self.broker_id, "block_start": str(self.first), "block_end": str(self.last)}
        return msgspec.json.encode(content)

    @classmethod
    def decode(cls, data: bytes) -> ProducerIdBlock | None:
        """Read the node; None when no block was given out yet."""
        if not data:
            return None
        content = _load(_block, data, PRODUCER_ID_BLOCK)
        return cls(content.broker, int(content.block_start), int(content.block_end))


class _ClusterJson(msgspec.Struct):
    id: str


_cluster = _decoder(_ClusterJson)


def encode_cluster_id(cluster_id: str) -> bytes:
    """Bytes of ``/cluster/id``."""
    return msgspec.json.encode({"version": "1", "id": cluster_id})


def decode_cluster_id(data: bytes) -> str:
    """The cluster id in ``/cluster/id``."""
    return _load(_cluster, data, CLUSTER_ID).id


class _FeatureJson(msgspec.Struct):
    features: dict[str, int] = {}


_feature = _decoder(_FeatureJson)


def encode_feature(levels: Mapping[str, int] | None = None) -> bytes:
    """Bytes of ``/feature``: versioning of features enabled, and the finalized levels, by default none (KIP-584)."""
    return msgspec.json.encode({"features": dict(levels or {}), "version": 2, "status": 1})


def decode_feature(data: bytes) -> dict[str, int]:
    """The finalized levels in ``/feature``."""
    return _load(_feature, data, FEATURE).features

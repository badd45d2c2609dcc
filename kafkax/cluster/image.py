"""What a broker knows of the cluster: an immutable snapshot, replaced as the controller and the config znodes tell more.

A handler takes :attr:`MetadataCache.image` once and answers from it, however long it takes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple, TypeVar
from uuid import UUID

from kafkax.cluster.znodes import BROKER_DEFAULT, NO_LEADER, Endpoint
from kafkax.model import TopicPartition
from kafkax.protocol.messages.update_metadata import UpdateMetadataRequest, UpdateMetadataTopicState

__all__ = [
    "FULL_UPDATE",
    "LEADER_DURING_DELETE",
    "BrokerImage",
    "ImageDelta",
    "MetadataCache",
    "MetadataImage",
    "PartitionImage",
    "TopicImage",
]

FULL_UPDATE = 2
"""As the type of UpdateMetadata: what it doesn't name does not exist."""
LEADER_DURING_DELETE = -2
"""As a leader in UpdateMetadata: the topic is being deleted, forget the partition."""
_PROTOCOL_NAMES = ("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL")
_NO_CONFIG: Mapping[str, str] = {}
_Key = TypeVar("_Key")


class PartitionImage(NamedTuple):
    """A partition: brokers are named by id."""

    leader: int
    """:data:`~kafkax.cluster.znodes.NO_LEADER` when there is none.  May have died meanwhile: see :meth:`MetadataImage.leader`."""
    leader_epoch: int
    replicas: tuple[int, ...]
    isr: tuple[int, ...]
    offline: tuple[int, ...]
    """Replicas whose broker or log directory is down."""
    partition_epoch: int


class TopicImage(NamedTuple):
    """A topic and its partitions by index, ascending."""

    name: str
    topic_id: UUID
    partitions: dict[int, PartitionImage]


class BrokerImage(NamedTuple):
    """A living broker; ``endpoints`` by listener name."""

    broker_id: int
    endpoints: Mapping[str, Endpoint]
    rack: str | None


class MetadataImage(NamedTuple):
    """The cluster at one moment.  Nothing in it is ever changed."""

    cluster_id: str
    controller_id: int
    """Broker id of the controller, -1 before the first one is known."""
    brokers: Mapping[int, BrokerImage]
    topics: Mapping[str, TopicImage]
    names: Mapping[UUID, str]
    topic_configs: Mapping[str, Mapping[str, str]]
    """Dynamic configs of topics that have any, as text."""
    broker_configs: Mapping[str, Mapping[str, str]]
    """Dynamic configs by broker id (as text), and of all brokers under ``<default>``."""
    entity_configs: Mapping[tuple[str, str], Mapping[str, str]] = {}
    """What is kept of users, client ids, addresses, groups and client metrics, by type and name (see ``znodes``)."""

    def topic_by_id(self, topic_id: UUID) -> TopicImage | None:
        """The topic of that id."""
        name = self.names.get(topic_id)
        return None if name is None else self.topics[name]

    def partition(self, topic: str, index: int) -> PartitionImage | None:
        """A partition, None when there is none."""
        found = self.topics.get(topic)
        return None if found is None else found.partitions.get(index)

    def leader(self, partition: PartitionImage) -> BrokerImage | None:
        """The partition's leader if it lives."""
        return self.brokers.get(partition.leader)

    def topic_config(self, topic: str) -> Mapping[str, str]:
        """Dynamic configs of a topic."""
        return self.topic_configs.get(topic, _NO_CONFIG)

    def broker_config(self, broker_id: int) -> Mapping[str, str]:
        """Dynamic configs of a broker itself, without those of all brokers."""
        return self.broker_configs.get(str(broker_id), _NO_CONFIG)

    @property
    def default_broker_config(self) -> Mapping[str, str]:
        """Dynamic configs of all brokers."""
        return self.broker_configs.get(BROKER_DEFAULT, _NO_CONFIG)

    def entity_config(self, entity_type: str, name: str) -> Mapping[str, str]:
        """What is kept of an entity that is neither topic nor broker."""
        return self.entity_configs.get((entity_type, name), _NO_CONFIG)


class ImageDelta(NamedTuple):
    """What one update changed."""

    topics: frozenset[str] = frozenset()
    """Topics that are new or whose partitions changed."""
    deleted_topics: frozenset[str] = frozenset()
    brokers: bool = False
    configs: frozenset[tuple[str, str]] = frozenset()
    """(type, name) of entities whose dynamic configs changed."""


Listener = Callable[[MetadataImage, ImageDelta], None]


class MetadataCache:
    """Holds the present image and tells listeners of each new one, on the event loop."""

    def __init__(self, cluster_id: str) -> None:
        self.image = MetadataImage(cluster_id, -1, {}, {}, {}, {}, {})
        self._listeners: list[Listener] = []
        self._tuples: dict[tuple[int, ...], tuple[int, ...]] = {}

    def add_listener(self, listener: Listener) -> None:
        """Have ``listener`` called after each change; it must not block."""
        self._listeners.append(listener)

    def remove_listener(self, listener: Listener) -> None:
        """End that."""
        self._listeners.remove(listener)

    async def wait_for(self, condition: Callable[[MetadataImage], bool], timeout: float) -> bool:
        """Wait until an image fulfils a condition; false when ``timeout`` seconds passed first."""
        if condition(self.image):
            return True
        loop = asyncio.get_running_loop()
        fulfilled: asyncio.Future[bool] = loop.create_future()

        def check(image: MetadataImage, _: ImageDelta) -> None:
            if not fulfilled.done() and condition(image):
                fulfilled.set_result(True)

        def expire() -> None:
            if not fulfilled.done():
                fulfilled.set_result(False)

        self.add_listener(check)
        timer = loop.call_later(max(timeout, 0), expire)
        try:
            return await fulfilled
        finally:
            timer.cancel()
            self.remove_listener(check)

    def update(self, request: UpdateMetadataRequest) -> ImageDelta:
        """Take over what the controller says: all living brokers, and some partitions. The caller has checked the epochs."""
        image = self.image
        brokers = {
            broker.id: BrokerImage(
                broker.id,
                {
                    e.listener: Endpoint(e.listener, e.host, e.port, _PROTOCOL_NAMES[e.security_protocol])
                    for e in broker.endpoints
                },
                broker.rack,
            )
            for broker in sorted(request.live_brokers, key=lambda broker: broker.id)
        }
        topics, names = dict(image.topics), dict(image.names)
        changed: set[str] = set()
        deleted: set[str] = set()
        if request.type == FULL_UPDATE:
            # While this broker was cut off, topics may have been deleted without its hearing of it.
            deleted = topics.keys() - {state.topic_name for state in request.topic_states}
            for name in deleted:
                names.pop(topics.pop(name).topic_id, None)
        for state in request.topic_states:
            after = self._topic(topics.get(state.topic_name), state)
            before = topics.pop(state.topic_name, None)
            if before is not None:
                names.pop(before.topic_id, None)
            if after.partitions:
                topics[state.topic_name] = after
                names[after.topic_id] = state.topic_name
                changed.add(state.topic_name)
            elif before is not None:
                deleted.add(state.topic_name)
        moved = brokers != image.brokers or request.controller_id != image.controller_id
        delta = ImageDelta(frozenset(changed), frozenset(deleted), moved)
        self._replace(image._replace(controller_id=request.controller_id, brokers=brokers, topics=topics, names=names), delta)
        return delta

    def _topic(self, before: TopicImage | None, state: UpdateMetadataTopicState) -> TopicImage:
        # A topic of another id is another topic: nothing of the former one is left.
        same = before is not None and before.topic_id == state.topic_id
        partitions = dict(before.partitions) if before is not None and same else {}
        grown = False
        for p in state.partition_states:
            if p.leader == LEADER_DURING_DELETE:
                partitions.pop(p.partition_index, None)
                continue
            grown = grown or p.partition_index not in partitions
            partitions[p.partition_index] = PartitionImage(
                p.leader if p.leader >= 0 else NO_LEADER,
                p.leader_epoch,
                self._shared(p.replicas),
                self._shared(p.isr),
                self._shared(p.offline_replicas),
                p.zk_version,
            )
        if grown:
            partitions = dict(sorted(partitions.items()))
        return TopicImage(state.topic_name, state.topic_id, partitions)

    def _shared(self, brokers: Iterable[int]) -> tuple[int, ...]:
        """One tuple for all partitions on the same brokers."""
        key = tuple(brokers)
        return self._tuples.setdefault(key, key)

    def set_configs(self, configs: Mapping[tuple[str, str], Mapping[str, str]]) -> None:
        """Replace the dynamic configs of (type, name) entities."""
        image = self.image
        topics, brokers, others = dict(image.topic_configs), dict(image.broker_configs), dict(image.entity_configs)
        changed = set()
        for entity, config in configs.items():
            entity_type, name = entity
            if entity_type == "topics":
                differs = _put(topics, name, config)
            elif entity_type == "brokers":
                differs = _put(brokers, name, config)
            else:
                differs = _put(others, entity, config)
            if differs:
                changed.add(entity)
        if changed:
            after = image._replace(topic_configs=topics, broker_configs=brokers, entity_configs=others)
            self._replace(after, ImageDelta(configs=frozenset(changed)))

    def _replace(self, image: MetadataImage, delta: ImageDelta) -> None:
        self.image = image
        for listener in tuple(self._listeners):
            listener(image, delta)


def _put(held: dict[_Key, Mapping[str, str]], key: _Key, config: Mapping[str, str]) -> bool:
    """Replace what is held of a key, nothing of one that sets nothing; whether that is a change."""
    if held.get(key, _NO_CONFIG) == config:
        return False
    if config:
        held[key] = dict(config)
    else:
        held.pop(key, None)
    return True


def has_leaders(image: MetadataImage, partitions: Iterable[TopicPartition]) -> bool:
    """Whether every one of the partitions is known and has a living leader."""
    for topic, index in partitions:
        found = image.partition(topic, index)
        if found is None or image.leader(found) is None:
            return False
    return True

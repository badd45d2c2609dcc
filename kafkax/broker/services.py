"""What the API handlers work with: the broker's parts, and the look-ups that several handlers share."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING
from uuid import UUID

from kafkax.cluster.topic_admin import INTERNAL_TOPICS as COORDINATED_TOPICS
from kafkax.config import BrokerConfig, TopicConfig
from kafkax.errors import ErrorCode, KafkaError
from kafkax.model import valid_topic_name

if TYPE_CHECKING:
    from kafkax._core.partition import Partition
    from kafkax._core.registry import Registry
    from kafkax.broker.administration import Administration
    from kafkax.broker.cluster_member import ClusterMember
    from kafkax.broker.group_service import GroupService
    from kafkax.broker.purgatory import Purgatory
    from kafkax.broker.topic_configs import TopicConfigs
    from kafkax.clock import Clock
    from kafkax.cluster.config_admin import ConfigAdmin
    from kafkax.cluster.image import BrokerImage, MetadataCache, MetadataImage
    from kafkax.cluster.producer_ids import ProducerIds
    from kafkax.cluster.topic_admin import TopicAdmin
    from kafkax.cluster.znodes import Endpoint
    from kafkax.storage.manager import LogManager
    from kafkax.storage.moves import Moves

__all__ = ["INTERNAL_TOPICS", "Services"]

INTERNAL_TOPICS = COORDINATED_TOPICS | {"__share_group_state"}
"""Topics that brokers keep their own state in; clients may read them."""


@dataclass
class Services:
    """The parts of a running broker."""

    node_id: int
    config: BrokerConfig
    clock: Clock
    cache: MetadataCache
    topic_configs: TopicConfigs
    registry: Registry
    logs: LogManager
    purgatory: Purgatory
    producer_ids: ProducerIds
    topics: TopicAdmin
    configs: ConfigAdmin
    groups: GroupService
    admin: Administration
    member: ClusterMember
    moves: Moves

    @property
    def image(self) -> MetadataImage:
        """The cluster as this broker knows it now."""
        return self.cache.image

    @property
    def cluster_id(self) -> str:
        """The cluster's id: 22 characters of base64."""
        return self.cache.image.cluster_id

    def is_internal(self, topic: str) -> bool:
        """Whether brokers keep their own state in the topic."""
        return topic in INTERNAL_TOPICS

    def partition(self, topic: str, index: int) -> Partition:
        """A partition that this broker hosts.

        Raises:
            KafkaError: NOT_LEADER_OR_FOLLOWER when another broker hosts it, UNKNOWN_TOPIC_OR_PARTITION when none does.
        """
        partition = self.registry.get(topic, index)
        if partition is not None:
            return partition
        known = self.image.partition(topic, index)
        if known is None:
            raise KafkaError(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION)
        # it is ours but out of service: its log directory failed
        raise KafkaError(
            ErrorCode.KAFKA_STORAGE_ERROR if self.node_id in known.offline else ErrorCode.NOT_LEADER_OR_FOLLOWER
        )

    def partition_by_id(self, topic_id: UUID, index: int) -> Partition:
        """A partition that this broker hosts, of the topic with that id.

        Raises:
            KafkaError: UNKNOWN_TOPIC_ID when there is no such topic; otherwise as :meth:`partition`.
        """
        partition = self.registry.get_by_id(topic_id, index)
        if partition is not None:
            return partition
        topic = self.image.topic_by_id(topic_id)
        if topic is None:
            raise KafkaError(ErrorCode.UNKNOWN_TOPIC_ID)
        return self.partition(topic.name, index)

    def topic_config(self, topic: str) -> TopicConfig:
        """The configs of an existing topic.

        Raises:
            KafkaError: INVALID_TOPIC_EXCEPTION or UNKNOWN_TOPIC_OR_PARTITION.
        """
        if topic not in self.image.topics:
            if not valid_topic_name(topic):
                raise KafkaError(ErrorCode.INVALID_TOPIC_EXCEPTION, f"topic {topic!r} cannot exist: the name is not allowed")
            raise KafkaError(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, f"topic {topic!r} does not exist")
        return self.topic_configs(topic)

    def brokers_on(self, listener: str) -> Iterator[tuple[BrokerImage, Endpoint]]:
        """The living brokers that have a listener of that name, with its address."""
        for broker in self.image.brokers.values():
            endpoint = broker.endpoints.get(listener)
            if endpoint is not None:
                yield broker, endpoint

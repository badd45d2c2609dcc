"""What the core tells clients that asked the wrong broker (KIP-951), or for what is nowhere, is what the image says.

The reference path asks the image itself: see :mod:`kafkax.broker.current_leader` and :class:`kafkax.broker.services.Services`.
"""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING

from kafkax._core.leaders import Leaders, leadership
from kafkax.cluster.image import ImageDelta

if TYPE_CHECKING:
    from kafkax._core.reactor import Reactor
    from kafkax.cluster.image import MetadataCache, MetadataImage, TopicImage

__all__ = ["CoreLeaders"]

_NO_PARTITION = -1


class CoreLeaders:
    """Follows the image.

    Args:
        cache: holds it.
        reactor: its answers tell of leaders; all its listeners are open.
        node_id: this broker's id.
    """

    def __init__(self, cache: MetadataCache, reactor: Reactor, node_id: int) -> None:
        self._node_id = node_id
        self._listeners = reactor.listeners
        self._leaders = Leaders()
        reactor.tell_leaders(self._leaders)
        cache.add_listener(self._image_changed)
        self._image_changed(cache.image, ImageDelta(topics=frozenset(cache.image.topics), brokers=True))

    def _image_changed(self, image: MetadataImage, delta: ImageDelta) -> None:
        for name in delta.topics | delta.deleted_topics:
            topic = image.topics.get(name)
            if topic is None:
                self._leaders.forget_topic(name)
            else:
                self._leaders.set_topic(name, topic.topic_id, _leaders_of(topic), _failed(topic, self._node_id))
        for number, listener in enumerate(self._listeners if delta.brokers else ()):
            self._leaders.set_nodes(
                number,
                (
                    (broker.broker_id, endpoint.host, endpoint.port, broker.rack)
                    for broker in image.brokers.values()
                    if (endpoint := broker.endpoints.get(listener)) is not None
                ),
            )


def _leaders_of(topic: TopicImage) -> array[int]:
    """Who leads each partition, by index."""
    partitions = topic.partitions
    leaders = array("q", [_NO_PARTITION]) * (max(partitions, default=-1) + 1)
    for index, partition in partitions.items():
        leaders[index] = leadership(partition.leader, partition.leader_epoch)
    return leaders


def _failed(topic: TopicImage, node_id: int) -> bytes:
    """By index, 1 where the replica on this broker is out of service; empty where none is."""
    failed = [index for index, partition in topic.partitions.items() if node_id in partition.offline]
    marks = bytearray(max(topic.partitions) + 1 if failed else 0)
    for index in failed:
        marks[index] = 1
    return bytes(marks)

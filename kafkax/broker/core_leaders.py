"""What the core tells clients that asked the wrong broker (KIP-951) is what the image says.

The reference path asks the image itself: see :mod:`kafkax.broker.current_leader`.
"""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING

from kafkax._core.leaders import Leaders, leadership
from kafkax.cluster.image import ImageDelta

if TYPE_CHECKING:
    from uuid import UUID

    from kafkax._core.reactor import Reactor
    from kafkax.cluster.image import MetadataCache, MetadataImage, TopicImage

__all__ = ["CoreLeaders"]

_NO_PARTITION = -1


class CoreLeaders:
    """Follows the image.

    Args:
        cache: holds it.
        reactor: its answers tell of leaders; all its listeners are open.
    """

    def __init__(self, cache: MetadataCache, reactor: Reactor) -> None:
        self._listeners = reactor.listeners
        self._leaders = Leaders()
        self._ids: dict[str, UUID] = {}
        reactor.tell_leaders(self._leaders)
        cache.add_listener(self._image_changed)
        self._image_changed(cache.image, ImageDelta(topics=frozenset(cache.image.topics), brokers=True))

    def _image_changed(self, image: MetadataImage, delta: ImageDelta) -> None:
        for name in delta.topics | delta.deleted_topics:
            topic, former = image.topics.get(name), self._ids.pop(name, None)
            if former is not None and (topic is None or topic.topic_id != former):
                self._leaders.forget_topic(former)
            if topic is not None:
                self._ids[name] = topic.topic_id
                self._leaders.set_topic(topic.topic_id, _leaders_of(topic))
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

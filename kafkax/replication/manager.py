"""Replication in a broker: the partitions that it follows, and those that it leads."""

from __future__ import annotations

from collections.abc import Iterable

from kafkax.cluster.image import ImageDelta, MetadataCache, MetadataImage
from kafkax.model import TopicPartition
from kafkax.replication.followers import Followers
from kafkax.replication.isr_requests import IsrRequestQueue
from kafkax.replication.leaders import Leaders
from kafkax.replication.replica import Replica

__all__ = ["Replication"]


class Replication:
    """What the replica manager tells, handed to who fetches and to who minds in-sync replicas.

    Args:
        cache: tells where brokers are.
    """

    def __init__(self, leaders: Leaders, followers: Followers, cache: MetadataCache) -> None:
        self.leaders = leaders
        self.followers = followers
        self._cache = cache
        self._requests: IsrRequestQueue | None = None
        cache.add_listener(self._image_changed)

    def start(self, requests: IsrRequestQueue) -> None:
        """Begin to change in-sync replicas."""
        self._requests = requests
        self.leaders.start(requests)

    def follow(self, replicas: Iterable[Replica]) -> None:
        """Fetch from each replica's leader from now on; the partitions are followers already."""
        known = list(replicas)
        self.leaders.forget([replica.key for replica in known])
        self.followers.follow(known)

    def lead(self, replicas: Iterable[Replica]) -> None:
        """Stop fetching for these and mind their ISR; called with each newer state of a partition that is led, too."""
        known = list(replicas)
        self.followers.forget([replica.key for replica in known])
        self.leaders.lead(known)

    def forget(self, partitions: Iterable[TopicPartition]) -> None:
        """Have nothing to do with these any more; returns when no fetch can append to them."""
        known = list(partitions)
        self.followers.forget(known)
        self.leaders.forget(known)

    async def close(self) -> None:
        """Stop."""
        self._cache.remove_listener(self._image_changed)
        if self._requests is not None:
            await self._requests.close()
        await self.leaders.close()
        await self.followers.close()

    def _image_changed(self, _: MetadataImage, delta: ImageDelta) -> None:
        if delta.brokers:
            self.followers.brokers_changed()

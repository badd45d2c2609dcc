"""Who fetches for the replicas that follow: partitions spread over fetchers, several to a leader (``num.replica.fetchers``)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, NamedTuple
from zlib import crc32

from kafkax.model import TopicPartition
from kafkax.net.outbound import BrokerLink
from kafkax.replication.fetcher import Fetcher, FetcherSettings, Followed
from kafkax.replication.following import Following
from kafkax.replication.replica import Replica

if TYPE_CHECKING:
    from kafkax.storage.manager import LogManager

__all__ = ["Followers"]

_log = logging.getLogger(__name__)


class _Route(NamedTuple):
    """One fetcher: a leader where it is reached now, and a number."""

    host: str
    port: int
    number: int


class Followers:
    """Fetches for partitions that other brokers lead.  All of it runs on the event loop.

    Args:
        broker_epoch: gives this broker's present epoch.
        address: where a broker is reached by the listener between brokers, None while it is not known.
        connect: a link to an address.
        flushed: whether a partition's ``kafkax.durability`` is ``flushed``.
        fetchers: ``num.replica.fetchers``.
        logs: where logs are cut; None: each log by itself.
    """

    def __init__(
        self,
        settings: FetcherSettings,
        broker_epoch: Callable[[], int],
        address: Callable[[int], tuple[str, int] | None],
        connect: Callable[[str, int], BrokerLink],
        flushed: Callable[[TopicPartition], bool],
        fetchers: int,
        logs: LogManager | None = None,
    ) -> None:
        self._logs = logs
        self._settings = settings
        self._broker_epoch = broker_epoch
        self._address = address
        self._connect = connect
        self._flushed = flushed
        self._count = fetchers
        self._fetchers: dict[_Route, Fetcher] = {}
        self._routes: dict[TopicPartition, _Route] = {}
        self._unreached: dict[TopicPartition, Replica] = {}
        self._followed: dict[TopicPartition, Replica] = {}
        self._closing: set[asyncio.Task[None]] = set()

    def follow(self, replicas: Iterable[Replica]) -> None:
        """Fetch from each replica's leader from now on."""
        for replica in replicas:
            key = replica.key
            known = self._followed.get(key)
            if known is not None and (known.leader, known.leader_epoch) == (replica.leader, replica.leader_epoch):
                self._followed[key] = replica
                continue
            self.forget([key])
            self._followed[key] = replica
            self._begin(key, replica)

    def _begin(self, key: TopicPartition, replica: Replica) -> None:
        if replica.leader < 0:
            return
        address = self._address(replica.leader)
        if address is None:
            self._unreached[key] = replica
            return
        route = _Route(*address, crc32(f"{key.topic}-{key.partition}".encode()) % self._count)
        fetcher = self._fetchers.get(route)
        if fetcher is None:
            link = self._connect(route.host, route.port)
            fetcher = self._fetchers[route] = Fetcher(link, self._settings, self._broker_epoch)
        self._routes[key] = route
        following = Following(replica.leader, replica.leader_epoch)
        fetcher.add(Followed(replica.partition, following, flush=self._flushed(key), logs=self._logs))

    def forget(self, partitions: Iterable[TopicPartition]) -> None:
        """Follow these no longer; when this returns nothing more is appended to them."""
        for key in partitions:
            self._followed.pop(key, None)
            self._unreached.pop(key, None)
            route = self._routes.pop(key, None)
            if route is None:
                continue
            fetcher = self._fetchers[route]
            fetcher.remove([key])
            if not len(fetcher):
                del self._fetchers[route]
                task = asyncio.get_running_loop().create_task(fetcher.close())
                self._closing.add(task)
                task.add_done_callback(self._closing.discard)

    def brokers_changed(self) -> None:
        """Brokers appeared or moved: reach the leaders where they are now."""
        for key, replica in list(self._unreached.items()):
            del self._unreached[key]
            self._begin(key, replica)
        for key, route in list(self._routes.items()):
            replica = self._followed[key]
            address = self._address(replica.leader)
            if address is not None and address != (route.host, route.port):
                self.forget([key])
                self.follow([replica])

    async def close(self) -> None:
        """Stop fetching."""
        self.forget(list(self._followed))
        if self._closing:
            await asyncio.wait(self._closing)

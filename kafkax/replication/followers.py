"""Who fetches for the replicas that follow: partitions spread over fetchers, several to a leader (``num.replica.fetchers``).

A Fetch names all its partitions and is answered when one of them has something.  Where there are many, those that get data are
therefore fetched apart from those that do not, so that an append costs what it concerns and not what there is.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING, NamedTuple
from zlib import crc32

from kafkax.model import TopicPartition
from kafkax.net.outbound import BrokerLink
from kafkax.replication.fetcher import Fetcher, FetcherSettings, Followed
from kafkax.replication.following import Following
from kafkax.replication.replica import Replica
from kafkax.replication.throttles import Throttles

if TYPE_CHECKING:
    from kafkax.storage.manager import LogManager

__all__ = ["Followers"]

_log = logging.getLogger(__name__)


_MANY = 100
"""Partitions that one fetcher looks after before those that get data are fetched apart."""
_IDLE_SECONDS = 5.0
"""Without records for so long a partition goes back to the many."""
_BUSY_WAIT_MS = 20
"""How long a fetch of busy partitions waits: one that becomes busy meanwhile has to wait for its end."""


class _Pair:
    """The fetchers of one leader: ``main`` for all partitions while they are few, and for the idle ones when they are many.

    Args:
        fetcher: makes a fetcher, given how long its fetches wait and what it calls after each answer.
    """

    def __init__(self, fetcher: Callable[[int | None, Callable[[], None]], Fetcher]) -> None:
        self._make = fetcher
        self.main = fetcher(None, self._part)
        self.busy: Fetcher | None = None

    def _part(self) -> None:
        """Hand what just brought records to the fetcher of the busy ones."""
        if len(self.main) <= _MANY:
            return
        now = asyncio.get_running_loop().time()
        found = [f.key for f in self.main.followed() if f.busy_at and now - f.busy_at < _IDLE_SECONDS]
        if not found:
            return
        if self.busy is None:
            self.busy = self._make(_BUSY_WAIT_MS, self._rest)
        for followed in self.main.release(found):
            self.busy.add(followed)

    def _rest(self) -> None:
        """Take back what brought nothing for a while."""
        assert self.busy is not None
        now = asyncio.get_running_loop().time()
        idle = [f.key for f in self.busy.followed() if now - f.busy_at > _IDLE_SECONDS]
        for followed in self.busy.release(idle):
            self.main.add(followed, soon=False)

    def fetchers(self) -> list[Fetcher]:
        """Both."""
        return [self.main] if self.busy is None else [self.main, self.busy]

    def __len__(self) -> int:
        return sum(map(len, self.fetchers()))

    def remove(self, partition: TopicPartition) -> None:
        """Look after a partition no longer; when this returns nothing more is appended to it."""
        for fetcher in self.fetchers():
            fetcher.remove([partition])

    def renew(self, followed: Followed) -> None:
        """Go on with a partition in another epoch of the same leader."""
        for fetcher in self.fetchers():
            fetcher.renew(followed)

    async def close(self) -> None:
        """Stop both."""
        for fetcher in self.fetchers():
            await fetcher.close()


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
        throttles: this broker's replication quotas.
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
        throttles: Throttles,
        logs: LogManager | None = None,
    ) -> None:
        self._throttles = throttles
        self._logs = logs
        self._settings = settings
        self._broker_epoch = broker_epoch
        self._address = address
        self._connect = connect
        self._flushed = flushed
        self._count = fetchers
        self._fetchers: dict[_Route, _Pair] = {}
        self._routes: dict[TopicPartition, _Route] = {}
        self._unreached: dict[TopicPartition, Replica] = {}
        self._followed: dict[TopicPartition, Replica] = {}
        self._closing: set[asyncio.Task[None]] = set()

    def follow(self, replicas: Iterable[Replica]) -> None:
        """Fetch from each replica's leader from now on."""
        for replica in replicas:
            key = replica.key
            known = self._followed.get(key)
            if known is not None and known.partition is replica.partition and known.leader == replica.leader:
                self._followed[key] = replica
                route = self._routes.get(key)
                if known.leader_epoch != replica.leader_epoch and route is not None:
                    self._fetchers[route].renew(self._to_follow(replica))
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
        pair = self._fetchers.get(route)
        if pair is None:
            pair = self._fetchers[route] = _Pair(partial(self._fetcher, route))
        self._routes[key] = route
        pair.main.add(self._to_follow(replica))

    def _to_follow(self, replica: Replica) -> Followed:
        following = Following(replica.leader, replica.leader_epoch)
        followed = Followed(replica.partition, following, flush=self._flushed(replica.key), logs=self._logs)
        followed.in_sync = self._settings.replica_id in replica.isr
        return followed

    def _fetcher(self, route: _Route, wait_max_ms: int | None, answered: Callable[[], None]) -> Fetcher:
        link = self._connect(route.host, route.port)
        settings = self._settings if wait_max_ms is None else self._settings._replace(wait_max_ms=wait_max_ms)
        return Fetcher(link, settings, self._broker_epoch, self._throttles, answered)

    def forget(self, partitions: Iterable[TopicPartition]) -> None:
        """Follow these no longer; when this returns nothing more is appended to them."""
        for key in partitions:
            self._followed.pop(key, None)
            self._unreached.pop(key, None)
            route = self._routes.pop(key, None)
            if route is None:
                continue
            pair = self._fetchers[route]
            pair.remove(key)
            if not len(pair):
                del self._fetchers[route]
                task = asyncio.get_running_loop().create_task(pair.close())
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

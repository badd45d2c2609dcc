"""What the members of classic groups and of those of KIP-848 have in common; on the I/O thread.

Heartbeats go on whatever the caller does.  Where the caller has rebalance functions, these run in its own ``poll``, and a
rebalance waits for them at most ``max.poll.interval.ms``, with heartbeats; without any, rebalances need nothing of the caller.
"""

from __future__ import annotations

import asyncio
import re
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Collection, Coroutine, Iterable, Mapping
from typing import Any, Protocol, TypeVar

from kafkax.client.cluster import GROUP, Cluster
from kafkax.client.keepalive import StandIn
from kafkax.client.offsets import commit_offsets, fetch_offsets
from kafkax.client.types import OFFSET_STORED, TopicPartition
from kafkax.errors import ErrorCode, KafkaError

__all__ = ["MOVED", "Membership", "Owner"]

Key = tuple[str, int]
T = TypeVar("T")
MOVED = frozenset({ErrorCode.NOT_COORDINATOR, ErrorCode.COORDINATOR_NOT_AVAILABLE, ErrorCode.NETWORK_EXCEPTION})
"""Errors after which another broker may be the coordinator."""


class Owner(Protocol):
    """What the membership needs of the consumer."""

    def owned(self) -> list[Key]:
        """Partitions that the consumer has."""

    async def revoke(self, partitions: list[Key], lost: bool) -> None:
        """Give partitions up, after their offsets are committed and the caller was told."""

    async def take(self, offsets: Mapping[Key, int]) -> None:
        """Take partitions, each to begin at its committed offset or OFFSET_STORED where there is none."""

    def progress(self) -> bool:
        """Whether the caller has polled within max.poll.interval.ms."""


class Membership(ABC):
    """A member of a group.

    Args:
        cluster: connections and metadata.
        owner: the consumer.

    Attributes:
        generation: of the group, or epoch of the member (KIP-848); -1 outside of it.
    """

    def __init__(self, cluster: Cluster, owner: Owner) -> None:
        config = cluster.config
        self._cluster = cluster
        self._config = config
        self._owner = owner
        self.group: str = config["group.id"]
        self.instance_id: str | None = config["group.instance.id"]
        self.member_id = ""
        self.generation = -1
        self._topics: list[str] = []
        self._patterns: list[re.Pattern[str]] = []
        self._rejoin = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._joined: Collection[str] = ()
        self.stand_in = StandIn(cluster)
        cluster.on_metadata.append(self._metadata_came)

    # subscription

    def subscribe(self, topics: Iterable[str]) -> None:
        """Want these topics from now on; ``^`` begins a regular expression."""
        names = list(topics)
        self._topics = [name for name in names if not name.startswith("^")]
        self._patterns = [re.compile(name) for name in names if name.startswith("^")]
        self._cluster.watched.update(self._topics)
        self._cluster.watch_all = bool(self._patterns)
        self._cluster.refresh_soon()
        self._rejoin.set()
        if self._task is None:
            self._task = self._cluster.io.spawn(self._run())

    def wanted(self) -> list[str]:
        """Names of the topics that are subscribed to and known."""
        matching = [
            name
            for name, topic in self._cluster.metadata.topics.items()
            if not topic.is_internal and any(pattern.match(name) for pattern in self._patterns)
        ]
        return sorted({*self._topics, *matching})

    @abstractmethod
    def _metadata_came(self) -> None:
        """Act on what changed in the metadata."""

    def _counts(self, names: Iterable[str]) -> dict[str, int]:
        topics = self._cluster.metadata.topics
        return {name: len(topics[name].partitions) for name in names if name in topics and topics[name].error is None}

    # the member's life

    @abstractmethod
    async def _run(self) -> None:
        """Join, stay and join again, until cancelled."""

    @abstractmethod
    async def _beat(self) -> None:
        """Send a heartbeat."""

    @abstractmethod
    def _interval(self) -> float:
        """Seconds between heartbeats."""

    async def _beating(self, work: Coroutine[Any, Any, None]) -> None:
        """Do something that may wait for the caller, and go on with heartbeats meanwhile."""
        task = self._cluster.io.spawn(work)
        failure: KafkaError | None = None
        try:
            while not (await asyncio.wait([task], timeout=self._interval()))[0]:
                if self.generation >= 0 and failure is None and self._owner.progress():
                    try:
                        await self._beat()
                    except KafkaError as error:
                        failure = error
            task.result()
        finally:
            task.cancel()
        if failure is not None:
            raise failure

    def fatal(self, error: KafkaError) -> None:
        """Tell the caller's next poll of an error that retrying alone will not mend; the consumer replaces this."""
        self._cluster.report(error)

    async def _too_slow(self) -> None:
        """Leave the group, since the caller has not polled for max.poll.interval.ms; join again when it does."""
        self.stand_in.rest()
        await self.leave()
        await self._owner.revoke(self._owner.owned(), True)
        limit = self._config["max.poll.interval.ms"]
        text = f"no poll for {limit} ms (max.poll.interval.ms): left group {self.group}; poll more often, or raise it"
        self._cluster.report(KafkaError(ErrorCode.REQUEST_TIMED_OUT, text))
        while not self._owner.progress():
            await asyncio.sleep(0.1)

    async def _ask(self, request: Any, response: Any, timeout: float | None = None) -> Any:
        node = await self._cluster.coordinator(GROUP, self.group)
        return await self._cluster.request(request, response, node, timeout)

    def _rebalance_timeout(self) -> float:
        return float(self._config["max.poll.interval.ms"] / 1000 + self._cluster.timeout)

    # offsets

    async def committed(self, keys: list[Key]) -> dict[Key, int]:
        """Committed offsets; OFFSET_STORED where there is none."""

        async def attempt() -> dict[Key, int]:
            found = await self._of_coordinator(
                lambda node: fetch_offsets(
                    self._cluster, node, self.group, keys, stable=self._config["isolation.level"] == "read_committed"
                )
            )
            return {each.key: each.offset if each.offset >= 0 else OFFSET_STORED for each in found}

        return await self._cluster.retry(attempt, self._cluster.deadline(None), "committed offsets")

    async def commit(self, offsets: list[TopicPartition], timeout: float | None = None) -> dict[Key, KafkaError | None]:
        """Commit offsets as this member; gives None or an error by partition."""

        async def attempt() -> dict[Key, KafkaError | None]:
            return await self._of_coordinator(
                lambda node: commit_offsets(
                    self._cluster,
                    node,
                    self.group,
                    offsets,
                    self.generation,
                    self.member_id if self.generation >= 0 else "",
                    self.instance_id if self.generation >= 0 else None,
                )
            )

        return await self._cluster.retry(attempt, self._cluster.deadline(timeout), "commit")

    async def _of_coordinator(self, ask: Callable[[int], Awaitable[T]]) -> T:
        node = await self._cluster.coordinator(GROUP, self.group)
        try:
            return await ask(node)
        except KafkaError as error:
            if error.code in MOVED:
                self._cluster.lost_coordinator(GROUP, self.group)
            raise

    # the end

    @abstractmethod
    async def leave(self) -> None:
        """Leave the group at once; a static member stays, so that its next life takes over (KIP-345)."""

    async def stop(self, *, leave: bool = True) -> None:
        """Stop heartbeats and leave."""
        self.stand_in.rest()
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
        self._topics, self._patterns = [], []
        if leave:
            await self.leave()

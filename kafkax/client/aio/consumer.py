"""The consumer for asyncio."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

from kafkax._core.message import Message
from kafkax.client.batch import Batch
from kafkax.client.consumer import Consumer as BlockingConsumer
from kafkax.client.consumer import Rebalance
from kafkax.client.metadata import ClusterMetadata
from kafkax.client.metrics import ConsumerMetrics
from kafkax.client.transactions import GroupMetadata
from kafkax.client.types import TopicPartition
from kafkax.errors import ErrorCode

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["Consumer"]

T = TypeVar("T")


class Consumer:
    """Reads records in coroutines: ``async for record in consumer``.

    Heartbeats, fetches and rebalances go on in the consumer's own thread, whatever the event loop does.

    Args:
        config: as for :class:`kafkax.Consumer`.

    Raises:
        ConfigError: a config is not known or not allowed.
        RuntimeError: no event loop runs.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        self._loop = asyncio.get_running_loop()
        self._core = BlockingConsumer(config)
        self._changed = asyncio.Event()
        self._core._inbox.listener = self._wake

    def _wake(self) -> None:
        """Tell the loop that something came; called on the I/O thread."""
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._changed.set)

    async def _wait_for(self, look: Callable[[], T | None], timeout: float | None) -> T | None:
        end = None if timeout is None else time.monotonic() + timeout
        while True:
            self._changed.clear()
            found = self._core.look(look)
            if found is not None:
                return found
            left = None if end is None else end - time.monotonic()
            if left is not None and left <= 0:
                return None
            try:
                await asyncio.wait_for(self._changed.wait(), left)
            except (TimeoutError, asyncio.TimeoutError):
                return None

    async def poll(self, timeout: float | None = None) -> Message | None:
        """The next record or event; None when none came within ``timeout`` seconds (None: no limit)."""
        interceptors = self._core._interceptors
        while True:
            batch = self._core._batch
            message = batch.next() if batch is not None else None
            if message is None:
                message = await self._wait_for(self._core._one, timeout)
            if interceptors is None or message is None or message.error() is not None:
                return message
            if shown := interceptors.consume([message]):
                return shown[0]

    async def consume(self, num_messages: int = 500, timeout: float | None = None) -> list[Message]:
        """What there is, at least one record and at most ``num_messages``; empty when none came within ``timeout`` seconds."""
        first = await self.poll(timeout)
        if first is None:
            return []
        taken = [first]
        while len(taken) < num_messages:
            batch = self._core._batch
            if batch is not None and batch.take(num_messages - len(taken), taken):
                continue
            message = self._core.look(self._core._one)
            if message is None:
                break
            taken.append(message)
        interceptors = self._core._interceptors
        return taken if interceptors is None else taken[:1] + interceptors.consume(taken[1:])

    async def batches(self, timeout: float | None = None) -> AsyncIterator[Batch]:
        """Whole batches as they were fetched, until none comes for ``timeout`` seconds (None: for ever)."""
        while True:
            batch = await self._wait_for(self._core._whole, timeout)
            if batch is None:
                return
            yield batch

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Message:
        message = await self.poll()
        assert message is not None
        error = message.error()
        if error is not None and error.code is not ErrorCode.NONE:
            raise error
        return message

    def subscribe(
        self,
        topics: Sequence[str],
        on_assign: Rebalance | None = None,
        on_revoke: Rebalance | None = None,
        on_lost: Rebalance | None = None,
    ) -> None:
        """See :meth:`kafkax.Consumer.subscribe`; the functions run on the event loop, within ``poll``."""
        self._core.subscribe(topics, on_assign, on_revoke, on_lost)

    async def assign(self, partitions: Sequence[TopicPartition]) -> None:
        """See :meth:`kafkax.Consumer.assign`."""
        await asyncio.to_thread(self._core.assign, partitions)

    async def unassign(self) -> None:
        """Read nothing."""
        await self.assign([])

    async def incremental_assign(self, partitions: Sequence[TopicPartition]) -> None:
        """See :meth:`kafkax.Consumer.incremental_assign`."""
        await asyncio.to_thread(self._core.incremental_assign, partitions)

    async def incremental_unassign(self, partitions: Sequence[TopicPartition]) -> None:
        """See :meth:`kafkax.Consumer.incremental_unassign`."""
        await asyncio.to_thread(self._core.incremental_unassign, partitions)

    async def unsubscribe(self) -> None:
        """Leave the group and give all partitions up."""
        await asyncio.to_thread(self._core.unsubscribe)

    def assignment(self) -> list[TopicPartition]:
        """Partitions that the consumer has."""
        return self._core.assignment()

    def subscription(self) -> list[str]:
        """What was subscribed to."""
        return self._core.subscription()

    def memberid(self) -> str | None:
        """Id that the group gave this member; None without one."""
        return self._core.memberid()

    async def commit(
        self, message: Message | None = None, offsets: Sequence[TopicPartition] | None = None
    ) -> list[TopicPartition] | None:
        """Commit and wait for it, see :meth:`kafkax.Consumer.commit`."""
        return await asyncio.to_thread(self._core.commit, message, offsets, False)

    def store_offsets(self, message: Message | None = None, offsets: Sequence[TopicPartition] | None = None) -> None:
        """Say what the next automatic commit shall commit, see :meth:`kafkax.Consumer.store_offsets`."""
        self._core.store_offsets(message, offsets)

    async def committed(self, partitions: Sequence[TopicPartition]) -> list[TopicPartition]:
        """Committed offsets."""
        return await asyncio.to_thread(self._core.committed, partitions)

    def position(self, partitions: Sequence[TopicPartition]) -> list[TopicPartition]:
        """Offsets after the last records that were read."""
        return self._core.position(partitions)

    def consumer_group_metadata(self) -> GroupMetadata:
        """Who this consumer is in its group, for :meth:`kafkax.aio.Producer.send_offsets_to_transaction`."""
        return self._core.consumer_group_metadata()

    async def seek(self, partition: TopicPartition) -> None:
        """Go on from ``partition.offset``."""
        await asyncio.to_thread(self._core.seek, partition)

    async def pause(self, partitions: Sequence[TopicPartition]) -> None:
        """Give out no records of these partitions until :meth:`resume`."""
        await asyncio.to_thread(self._core.pause, partitions)

    async def resume(self, partitions: Sequence[TopicPartition]) -> None:
        """Undo :meth:`pause`."""
        await asyncio.to_thread(self._core.resume, partitions)

    async def offsets_for_times(self, partitions: Sequence[TopicPartition], timeout: float = 30.0) -> list[TopicPartition]:
        """The first offsets at or after times, see :meth:`kafkax.Consumer.offsets_for_times`."""
        return await asyncio.to_thread(self._core.offsets_for_times, partitions, timeout)

    async def get_watermark_offsets(
        self, partition: TopicPartition, timeout: float = 30.0, cached: bool = False
    ) -> tuple[int, int] | None:
        """First offset and the one after the last, see :meth:`kafkax.Consumer.get_watermark_offsets`."""
        return await asyncio.to_thread(self._core.get_watermark_offsets, partition, timeout, cached)

    def lag(self) -> dict[tuple[str, int], int]:
        """Records between where this consumer stands and the end, by partition, as last seen."""
        return self._core.lag()

    @property
    def metrics(self) -> ConsumerMetrics:
        """What this consumer did, and how far behind it is."""
        return self._core.metrics

    async def cluster_id(self, timeout: float = -1) -> str | None:
        """Id of the cluster."""
        return await asyncio.to_thread(self._core.cluster_id, timeout)

    def set_sasl_credentials(self, username: str, password: str) -> None:
        """Authenticate with these from the next connection on."""
        self._core.set_sasl_credentials(username, password)

    async def list_topics(self, topic: str | None = None, timeout: float = 30.0) -> ClusterMetadata:
        """Brokers and topics as the cluster describes them now."""
        return await asyncio.to_thread(self._core.list_topics, topic, timeout)

    async def close(self, timeout: float = 10.0) -> None:
        """Commit (if automatic), leave the group and end the consumer's thread, within ``timeout`` seconds."""
        await asyncio.to_thread(self._core.close, timeout)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.close()

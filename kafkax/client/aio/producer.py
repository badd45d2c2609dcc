"""The producer for asyncio."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any

from kafkax._core.message import Message
from kafkax._core.produced import ProducedBatch
from kafkax.client.metadata import ClusterMetadata
from kafkax.client.producer import Producer as BlockingProducer

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["Producer"]


class _Core(BlockingProducer):
    """A producer that hands finished batches to an event loop."""

    def __init__(self, config: Mapping[str, Any], owner: Producer) -> None:
        self._owner = owner
        super().__init__(config)

    def _done(self, batch: ProducedBatch) -> None:
        self._owner._finished(batch)


class Producer:
    """Sends records from coroutines; there is no penalty for sending one at a time, since they are batched underneath.

    Args:
        config: as for :class:`kafkax.Producer`.

    Raises:
        ConfigError: a config is not known or not allowed.
        RuntimeError: no event loop runs.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        self._loop = asyncio.get_running_loop()
        self._core = _Core(config, self)
        self._changed = asyncio.Event()

    def _finished(self, batch: ProducedBatch) -> None:
        """Take a batch from the I/O thread."""
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._settle, batch)

    def _settle(self, batch: ProducedBatch) -> None:
        error = batch.error
        for future, message in batch.each():
            if future is None or future.done():  # type: ignore[attr-defined]
                continue
            if error is None:
                future.set_result(message)  # type: ignore[attr-defined]
            else:
                future.set_exception(error)  # type: ignore[attr-defined]
                # Whoever wants it awaits it; nobody else is to be told at exit.
                future.exception()  # type: ignore[attr-defined]
        self._core.done(batch.count, batch.payload)
        self._changed.set()

    async def send(
        self,
        topic: str,
        value: Any = None,
        key: Any = None,
        partition: int = -1,
        timestamp: int = 0,
        headers: Mapping[str, Any] | Sequence[tuple[str, Any]] | None = None,
    ) -> asyncio.Future[Message]:
        """Take a record to be sent in the background; waits only while the queue is full.

        Returns:
            A future that gives the delivered record with its offset, or the KafkaError of its delivery.

        Raises:
            KafkaError: the record is refused at once.
            RuntimeError: the producer is closed.
        """
        future: asyncio.Future[Message] = self._loop.create_future()
        while True:
            try:
                self._core.produce(topic, value, key, partition, future, timestamp, headers)  # type: ignore[arg-type]
                return future
            except BufferError:
                self._changed.clear()
                await self._changed.wait()

    async def send_and_wait(self, topic: str, value: Any = None, key: Any = None, **options: Any) -> Message:
        """Send a record and wait until it is delivered.

        Raises:
            KafkaError: it was not.
        """
        return await (await self.send(topic, value, key, **options))

    async def flush(self) -> None:
        """Send everything now and wait until it is delivered or has failed, which ``delivery.timeout.ms`` bounds."""
        self._core._io.call(self._core._flushing, 1)
        try:
            while self._core.outstanding:
                self._changed.clear()
                await self._changed.wait()
        finally:
            self._core._io.call(self._core._flushing, -1)

    async def list_topics(self, topic: str | None = None, timeout: float = 30.0) -> ClusterMetadata:
        """Brokers and topics as the cluster describes them now."""
        return await asyncio.to_thread(self._core.list_topics, topic, timeout)

    def __len__(self) -> int:
        """Records that were taken and are not delivered yet."""
        return self._core.outstanding

    def __bool__(self) -> bool:
        return True

    async def close(self, timeout: float = 30.0) -> None:
        """Flush for at most ``timeout`` seconds, then end the producer's thread."""
        if self._core._io.closed:
            return
        try:
            await asyncio.wait_for(self.flush(), timeout)
        except (TimeoutError, asyncio.TimeoutError):
            self._core.refuse(RuntimeError("this producer is closed"))
        await asyncio.to_thread(self._core.close, 0)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.close()

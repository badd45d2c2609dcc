"""The producer for asyncio."""

from __future__ import annotations

import asyncio
import contextlib
import select
import threading
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any

from kafkax._core.channel import Channel
from kafkax._core.message import Message
from kafkax._core.produced import Delivery, ProducedBatch
from kafkax.client.interceptors import ProducerRecord
from kafkax.client.metadata import ClusterMetadata
from kafkax.client.metrics import ProducerMetrics
from kafkax.client.producer import Producer as BlockingProducer
from kafkax.client.transactions import GroupMetadata
from kafkax.client.types import TopicPartition
from kafkax.config import ConfigError

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["Producer"]


class _Core(BlockingProducer):
    """A producer that hands finished batches to an event loop."""

    # What the loop's tasks send in one turn goes out together.
    _shared = False

    def __init__(self, config: Mapping[str, Any], owner: Producer) -> None:
        self._owner = owner
        super().__init__(config)

    def finished(self, batch: ProducedBatch) -> None:
        """Take a batch that is done; on the I/O thread or the loop's."""
        self._owner._finished(batch)


class _Change:
    """What coroutines wait on for something to become true; of any event loop, in any thread.

    Attributes:
        turn: another one after each :meth:`tell`.
    """

    def __init__(self) -> None:
        self.turn = 0
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def wait_for(self, done: Callable[[], object]) -> None:
        """Wait until something is true; it is looked at whenever :meth:`tell` was called."""
        while not done():
            future = asyncio.get_running_loop().create_future()
            self._waiting.append(future)
            # It may have come true before anybody knew that this one waits.
            if done():
                return
            await future

    async def next_turn(self, turn: int) -> None:
        """Wait until :meth:`tell` was called after it was ``turn``."""
        await self.wait_for(lambda: self.turn != turn)

    def tell(self) -> None:
        """Have everybody look; called on any thread."""
        self.turn += 1
        while self._waiting:
            future = self._waiting.popleft()
            loop = future.get_loop()
            if not loop.is_closed():
                loop.call_soon_threadsafe(_look, future)


def _look(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


class Producer:
    """Sends records from coroutines; there is no penalty for sending one at a time, since they are batched underneath.

    The event loop that runs when it is made serves it. Coroutines of other loops, in other threads, may use it as well.

    Args:
        config: as for :class:`kafkax.Producer`.

    Raises:
        ConfigError: a config is not known or not allowed.
        RuntimeError: no event loop runs.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        self._loop = asyncio.get_running_loop()
        if config.get("on_delivery") is not None:
            raise ConfigError("on_delivery is for kafkax.Producer; here, what send() gives is awaited for the delivery")
        self._core = _Core(config, self)
        self._core.hurry = self._hurry
        self._intercepts = bool(self._core._config["interceptors"])
        self._core.when_full = self._full
        if not self._intercepts:
            setattr(self, "send", self._core.send)  # noqa: B010 - the method of the core, without a detour
        self._changed = _Change()
        self._hurried = False
        self._thread = threading.get_ident()
        # Where the loop takes answers itself, and the descriptors that it watches for that.
        self._channels: list[Channel] = []
        self._watched: dict[Channel, int] = {}
        self._arrivals = select.epoll()
        self._loop.add_reader(self._arrivals, self._receive)

    def _finished(self, batch: ProducedBatch) -> None:
        """Take a batch; what waits for it goes on later, since whoever sends holds a lock."""
        if self._loop.is_closed():
            self._settle(batch, None)
        elif threading.get_ident() == self._thread:
            self._loop.call_soon(self._settle, batch, self._loop)
        else:
            self._loop.call_soon_threadsafe(self._settle, batch, self._loop)

    def _settle(self, batch: ProducedBatch, loop: asyncio.AbstractEventLoop | None) -> None:
        batch.settle(loop, self._send_now)
        self._core.done(batch.count, batch.payload)
        self._changed.tell()

    def _hurry(self) -> None:
        """Somebody waits: send as soon as all that can run on the loop now has sent what it wants to send."""
        if asyncio.get_running_loop() is not self._loop:
            self._core._sender.ask()
        elif not self._hurried:
            self._hurried = True
            self._loop.call_soon(self._send_now)

    def _send_now(self) -> None:
        self._hurried = False
        sender = self._core._sender
        sender.filled()
        if sender.channels is not self._channels:
            self._watch(sender.channels)
        for channel in self._watched:
            channel.take_over()

    def _watch(self, channels: list[Channel]) -> None:
        """Take answers on the loop: who waits for them goes on there anyway, so that the I/O thread need not wake for them."""
        self._channels = channels
        self._forget_ended()
        for channel in channels:
            if channel not in self._watched:
                with channel.lock:  # under which it would be closed
                    if channel.shared_fd >= 0:
                        self._arrivals.register(channel.shared_fd, select.EPOLLIN)
                        self._watched[channel] = channel.shared_fd

    def _receive(self) -> None:
        self._forget_ended()
        for channel in list(self._watched):
            if channel.shared_fd >= 0:
                channel.take_over()
                channel.receive()

    def _forget_ended(self) -> None:
        for channel, descriptor in list(self._watched.items()):
            if channel.shared_fd < 0:
                del self._watched[channel]
                if descriptor not in self._watched.values():
                    with contextlib.suppress(OSError):  # closed already
                        self._arrivals.unregister(descriptor)

    def send(
        self,
        topic: str,
        value: Any = None,
        key: Any = None,
        partition: int = -1,
        timestamp: int = 0,
        headers: Mapping[str, Any] | Sequence[tuple[str, Any]] | None = None,
    ) -> Awaitable[Delivery]:
        """Take a record to be sent in the background; to be awaited, which waits only while the queue is full.

        Returns:
            A delivery: awaiting it gives the delivered record with its offset, or raises the KafkaError of its failure.

        Raises:
            KafkaError: the record is refused at once.
            RuntimeError: the producer is closed.
        """
        return self._intercepted(ProducerRecord(topic, value, key, partition, timestamp, headers))

    def _full(self, *record: Any) -> Awaitable[Delivery]:
        return self._when_there_is_room(ProducerRecord(*record))

    async def _when_there_is_room(self, record: ProducerRecord) -> Delivery:
        topic, value, key, partition, timestamp, headers = record
        while True:
            turn = self._changed.turn
            try:
                return self._core.deliver(topic, value, key, partition, timestamp, headers)
            except BufferError:
                await self._changed.next_turn(turn)

    async def _intercepted(self, record: ProducerRecord) -> Delivery:
        interceptors = self._core.interceptors
        delivery = await self._when_there_is_room(interceptors.send(record))

        def acknowledge(done: Delivery) -> None:
            interceptors.acknowledge(done.exception(), done.message())

        delivery.add_done_callback(acknowledge)
        return delivery

    def send_and_wait(
        self,
        topic: str,
        value: Any = None,
        key: Any = None,
        partition: int = -1,
        timestamp: int = 0,
        headers: Mapping[str, Any] | Sequence[tuple[str, Any]] | None = None,
    ) -> Awaitable[Message]:
        """Send a record; to be awaited, which gives the delivered record. What is awaited does not linger.

        Raises:
            KafkaError: it was not delivered.
        """
        if self._intercepts:
            return self._wait(ProducerRecord(topic, value, key, partition, timestamp, headers))
        try:
            return self._core.deliver(topic, value, key, partition, timestamp, headers)
        except BufferError:
            return self._wait(ProducerRecord(topic, value, key, partition, timestamp, headers))

    async def _wait(self, record: ProducerRecord) -> Message:
        return await (await (self._intercepted(record) if self._intercepts else self._when_there_is_room(record)))

    async def flush(self) -> None:
        """Send everything now and wait until it is delivered or has failed, which ``delivery.timeout.ms`` bounds."""
        self._core._io.check()
        with self._core._sender.hurry():
            await self._changed.wait_for(lambda: not self._core.outstanding)

    async def purge(self, in_queue: bool = True, in_flight: bool = True) -> None:
        """Give records up, see :meth:`kafkax.Producer.purge`; whoever awaits their delivery gets the error."""
        await asyncio.to_thread(self._core.purge, in_queue, in_flight)

    # transactions

    async def init_transactions(self, timeout: float = -1) -> None:
        """Register ``transactional.id``, see :meth:`kafkax.Producer.init_transactions`."""
        await asyncio.to_thread(self._core.init_transactions, timeout)

    async def begin_transaction(self) -> None:
        """Begin a transaction: what is sent from now on belongs to it."""
        self._core.begin_transaction()

    async def send_offsets_to_transaction(
        self, positions: Sequence[TopicPartition], group_metadata: GroupMetadata, timeout: float = -1
    ) -> None:
        """Commit a consumer's offsets with the transaction, see :meth:`kafkax.Producer.send_offsets_to_transaction`."""
        await asyncio.to_thread(self._core.send_offsets_to_transaction, positions, group_metadata, timeout)

    async def commit_transaction(self, timeout: float = -1) -> None:
        """Send and settle everything, then commit, see :meth:`kafkax.Producer.commit_transaction`."""
        await asyncio.to_thread(self._core.commit_transaction, timeout)

    async def abort_transaction(self, timeout: float = -1) -> None:
        """Give up what is queued and abort, see :meth:`kafkax.Producer.abort_transaction`."""
        await asyncio.to_thread(self._core.abort_transaction, timeout)

    async def cluster_id(self, timeout: float = -1) -> str | None:
        """Id of the cluster."""
        return await asyncio.to_thread(self._core.cluster_id, timeout)

    def set_sasl_credentials(self, username: str, password: str) -> None:
        """Authenticate with these from the next connection on."""
        self._core.set_sasl_credentials(username, password)

    async def list_topics(self, topic: str | None = None, timeout: float = 30.0) -> ClusterMetadata:
        """Brokers and topics as the cluster describes them now."""
        return await asyncio.to_thread(self._core.list_topics, topic, timeout)

    @property
    def metrics(self) -> ProducerMetrics:
        """What this producer did."""
        return self._core.metrics

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
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._unwatch)

    def _unwatch(self) -> None:
        self._loop.remove_reader(self._arrivals)
        self._arrivals.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.close()

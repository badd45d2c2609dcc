"""The consumer."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

from kafkax._core.assigned import Assigned, Fetched
from kafkax._core.message import Message
from kafkax.client.base import BaseClient
from kafkax.client.batch import Batch
from kafkax.client.consumer_group import ConsumerGroupMember
from kafkax.client.fetcher import Fetcher
from kafkax.client.group import GroupMember
from kafkax.client.interceptors import Interceptors
from kafkax.client.membership import Membership
from kafkax.client.metrics import ConsumerMetrics
from kafkax.client.offsets import list_offsets
from kafkax.client.subscription import Inbox
from kafkax.client.transactions import GroupMetadata
from kafkax.client.types import OFFSET_END, OFFSET_INVALID, OFFSET_STORED, TopicPartition
from kafkax.config import ConfigError
from kafkax.errors import ErrorCode, KafkaError
from kafkax.protocol.schema import ZERO_UUID

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["Consumer"]

Key = tuple[str, int]
T = TypeVar("T")
Rebalance = Callable[["Consumer", list[TopicPartition]], Any]


class Consumer(BaseClient):
    """Reads records of the partitions that a group gives it (:meth:`subscribe`) or that it takes itself (:meth:`assign`).

    Fetching, heartbeats, rebalances and automatic commits go on in a thread of the consumer. One thread at a time may read.

    Args:
        config: names to values; ``bootstrap.servers`` is needed, ``group.id`` for everything about groups and commits.

    Raises:
        ConfigError: a config is not known or not allowed.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__("C", config)
        self._inbox = Inbox()
        self._fetcher = Fetcher(self._cluster, self._inbox)
        self._group: Membership | None = None
        if self._config["group.id"] is not None:
            protocol = ConsumerGroupMember if self._config["group.protocol"] == "consumer" else GroupMember
            self._group = protocol(self._cluster, self)
            self._group.fatal = self._tell  # type: ignore[method-assign]
        chain = self._config["interceptors"]
        self._interceptors = Interceptors(chain) if chain else None
        self._batch: Batch | None = None
        self._item: Fetched[Batch] | None = None
        # What the caller's poll is to run, and who waits for it.
        self._calls: deque[tuple[Callable[[], None], asyncio.Future[None] | None]] = deque()
        self._on_assign: Rebalance | None = None
        self._on_revoke: Rebalance | None = None
        self._on_lost: Rebalance | None = None
        self._subscribed: list[str] = []
        self._polled = time.monotonic()
        self._polling = 0
        self._last_batch: tuple[int, int] = (0, 0)
        self._overridden: dict[Key, int] | None = None
        if self._group is not None and self._config["enable.auto.commit"]:
            self._io.call(lambda: self._io.spawn(self._commit_regularly()))

    def _tell(self, error: KafkaError) -> None:
        self._inbox.errors.append(error)
        self._inbox.wake()

    # what the group asks for, on the I/O thread

    def owned(self) -> list[Key]:
        """Partitions that the consumer has now."""
        return sorted(self._fetcher.assigned)

    def progress(self) -> bool:
        """Whether the caller has read within max.poll.interval.ms."""
        batch = self._batch
        mark = (id(batch), batch.position if batch is not None else 0)
        if mark != self._last_batch or self._polling:
            self._last_batch = mark
            self._polled = time.monotonic()
        limit: float = self._config["max.poll.interval.ms"] / 1000
        return time.monotonic() - self._polled < limit

    async def revoke(self, partitions: list[Key], lost: bool) -> None:
        """Give partitions up: commit, tell the caller, forget them."""
        if not partitions:
            return
        # What is handed out after the commit would be handed out again by whoever gets the partition.
        assigned = self._fetcher.assigned
        self._halt(assigned[key] for key in partitions if key in assigned)
        callback = (self._on_lost or self._on_revoke) if lost else self._on_revoke
        if not lost and callback is None:
            await self._commit_positions(partitions)
        if callback is not None:
            await self._in_poll(callback, [TopicPartition(*key) for key in partitions])
            if not lost:
                await self._commit_positions(partitions)
        for key in partitions:
            self._drop(key)

    async def take(self, offsets: Mapping[Key, int]) -> None:
        """Take partitions and begin to fetch."""
        self.metrics.rebalances += 1
        chosen = dict(offsets)
        if self._on_assign is not None:
            self._overridden = None
            partitions = [TopicPartition(*key, offset=offset) for key, offset in offsets.items()]
            await self._in_poll(self._on_assign, partitions)
            if self._overridden is not None:
                chosen.update({key: at for key, at in self._overridden.items() if key in chosen and at != OFFSET_INVALID})
        self._begin(chosen)

    def _begin(self, offsets: Mapping[Key, int]) -> None:
        with self._fetcher.lock:
            for key, offset in offsets.items():
                self._fetcher.assigned[key] = Assigned(key, offset, ZERO_UUID)
        self._fetcher.run()

    async def _in_poll(self, callback: Rebalance, partitions: list[TopicPartition]) -> None:
        """Have the caller's poll run a function, and wait for it."""
        done: asyncio.Future[None] = self._io.loop.create_future()
        self._calls.append((lambda: callback(self, partitions), done))
        self._inbox.wake()
        try:
            await asyncio.wait_for(done, self._config["max.poll.interval.ms"] / 1000)
        except (TimeoutError, asyncio.TimeoutError):
            error = KafkaError(ErrorCode.REQUEST_TIMED_OUT, "no poll served a rebalance within max.poll.interval.ms")
            self._cluster.report(error)

    def _halt(self, states: Iterable[Assigned]) -> None:
        """Hand out no more records of partitions; where they stand does not change after this."""
        with self._fetcher.lock:
            for state in states:
                position = state.current()
                state.paused = True
                if position >= 0:
                    state.place(position)

    def _drop(self, key: Key) -> None:
        with self._fetcher.lock:
            state = self._fetcher.assigned.pop(key, None)
            if state is not None:
                state.live = False
                state.epoch += 1
                state.drop()

    async def _commit_regularly(self) -> None:
        interval = self._config["auto.commit.interval.ms"] / 1000
        while True:
            await asyncio.sleep(interval)
            try:
                await self._commit_positions(list(self._fetcher.assigned))
            except KafkaError as error:
                self._cluster.report(error)

    def _positions(self, keys: Iterable[Key]) -> list[TopicPartition]:
        """Offsets that are to be committed and were not yet."""
        stores = self._config["enable.auto.offset.store"]
        wanted = []
        for key in keys:
            state = self._fetcher.assigned.get(key)
            if state is None:
                continue
            offset = state.current() if stores else state.stored
            if offset >= 0 and offset != state.committed:
                wanted.append(TopicPartition(*key, offset))
        return wanted

    async def _commit_positions(self, keys: list[Key]) -> None:
        if self._group is None or not self._config["enable.auto.commit"]:
            return
        offsets = self._positions(keys)
        if not offsets:
            return
        try:
            results = await self._group.commit(offsets)
        except KafkaError as error:
            self._cluster.report(error)
            self._tell_of_commit(error, offsets)
            return
        self._note(offsets, results)

    def _note(self, offsets: Sequence[TopicPartition], results: Mapping[Key, KafkaError | None]) -> None:
        for each in offsets:
            each.error = results.get(each.key)
            if each.error is None:
                self.metrics.commits += 1
            else:
                self.metrics.failed_commits += 1
            state = self._fetcher.assigned.get(each.key)
            if state is not None and each.error is None:
                state.committed = each.offset
        if self._interceptors is not None:
            self._interceptors.commit(list(offsets))
        self._tell_of_commit(next((each.error for each in offsets if each.error is not None), None), list(offsets))

    def _tell_of_commit(self, error: KafkaError | None, offsets: list[TopicPartition]) -> None:
        """Have the caller's poll run ``on_commit``."""
        callback = self._config["on_commit"]
        if callback is not None:
            self._calls.append((lambda: callback(error, offsets), None))
            self._inbox.wake()

    # subscribing and assigning

    def subscribe(
        self,
        topics: Sequence[str],
        on_assign: Rebalance | None = None,
        on_revoke: Rebalance | None = None,
        on_lost: Rebalance | None = None,
    ) -> None:
        """Read topics as a member of the group, in place of what was subscribed to before.

        Args:
            topics: names; one that begins with ``^`` is a regular expression.
            on_assign: called in ``poll`` with the consumer and the partitions that it gets; may call :meth:`assign` with offsets.
            on_revoke: called before partitions go to others; commit here what must be committed.
            on_lost: called when they have gone already; ``on_revoke`` when None.

        Raises:
            ConfigError: there is no ``group.id``.
        """
        self._io.check()
        group = self._needs_group()
        if isinstance(topics, str) or not all(isinstance(name, str) for name in topics):
            raise TypeError(f"topics is {topics!r}, a list of names is needed")
        self._on_assign, self._on_revoke, self._on_lost = on_assign, on_revoke, on_lost
        self._subscribed = list(topics)
        self._polled = time.monotonic()
        self._io.call(group.subscribe, self._subscribed)

    def unsubscribe(self) -> None:
        """Leave the group and give all partitions up."""
        self._subscribed = []
        self._io.run(self._leave(), self._cluster.timeout + 5, "unsubscribe")

    async def _leave(self) -> None:
        if self._group is not None:
            await self._commit_positions(list(self._fetcher.assigned))
            await self._group.stop()
        for key in list(self._fetcher.assigned):
            self._drop(key)

    def assign(self, partitions: Sequence[TopicPartition]) -> None:
        """Read these partitions and no others, each from its offset: a number, ``OFFSET_BEGINNING``, ``OFFSET_END``,
        ``OFFSET_STORED``; where none is given, from the committed one or else by ``auto.offset.reset``."""
        self._io.check()
        wishes = {each.key: each.offset for each in partitions}
        if self._subscribed:
            self._overridden = wishes
            return
        self._io.run(self._assign(wishes, list(self._fetcher.assigned)), self._cluster.timeout + 5, "assign")

    def incremental_assign(self, partitions: Sequence[TopicPartition]) -> None:
        """Read these partitions beside those that the consumer has; offsets as in :meth:`assign`. In ``on_assign`` it says where
        to begin."""
        self._io.check()
        wishes = {each.key: each.offset for each in partitions}
        if self._subscribed:
            self._overridden = {**(self._overridden or {}), **wishes}
            return
        self._io.run(self._assign(wishes, list(wishes)), self._cluster.timeout + 5, "incremental_assign")

    def incremental_unassign(self, partitions: Sequence[TopicPartition]) -> None:
        """Read these partitions no more, and the others on. Members of a group need not say so in ``on_revoke``: what is revoked
        is given up when that function returns.

        Raises:
            KafkaError: UNKNOWN_TOPIC_OR_PARTITION for one that is not assigned.
        """
        self._io.check()
        keys = [self._state(each).key for each in partitions]
        if not self._subscribed:
            self._io.run(self._assign({}, keys), self._cluster.timeout + 5, "incremental_unassign")

    async def _assign(self, wishes: dict[Key, int], given_up: list[Key]) -> None:
        for key in given_up:
            self._drop(key)
        stored = [key for key, offset in wishes.items() if offset in (OFFSET_INVALID, OFFSET_STORED)]
        wishes.update(await self._group.committed(stored) if self._group and stored else dict.fromkeys(stored, OFFSET_STORED))
        self._cluster.watched.update(topic for topic, _ in wishes)
        self._begin(wishes)

    def unassign(self) -> None:
        """Read nothing."""
        self.assign([])

    def assignment(self) -> list[TopicPartition]:
        """Partitions that the consumer has."""
        return [TopicPartition(*key) for key in sorted(self._fetcher.assigned)]

    def subscription(self) -> list[str]:
        """What was subscribed to."""
        return list(self._subscribed)

    def memberid(self) -> str | None:
        """Id that the group gave this member; None without one."""
        return (self._group.member_id or None) if self._group is not None else None

    def consumer_group_metadata(self) -> GroupMetadata:
        """Who this consumer is in its group at the moment, for :meth:`kafkax.Producer.send_offsets_to_transaction`.

        Raises:
            ConfigError: there is no ``group.id``.
        """
        group = self._needs_group()
        return GroupMetadata(group.group, group.generation, group.member_id if group.generation >= 0 else "", group.instance_id)

    # reading

    def poll(self, timeout: float | None = None) -> Message | None:
        """The next record.

        Args:
            timeout: seconds to wait for one; None or negative waits as long as it takes.

        Returns:
            A record, an event (its ``error()`` is not None), or None when the time is over.

        Raises:
            KafkaError: the group or the cluster refuses this consumer.
        """
        if self._interceptors is not None:
            return self._intercepted(timeout)
        batch = self._batch
        if batch is not None:
            message = batch.next()
            if message is not None:
                return message
        return self._wait_for(self._one, timeout)

    def _intercepted(self, timeout: float | None) -> Message | None:
        """``poll`` of a consumer with interceptors; one that lets a record fall has the next one taken."""
        assert self._interceptors is not None
        end = None if timeout is None or timeout < 0 else time.monotonic() + timeout
        while True:
            message = self._batch.next() if self._batch is not None else None
            if message is None:
                message = self._wait_for(self._one, None if end is None else max(end - time.monotonic(), 0.0))
            if message is None or message.error() is not None:
                return message
            shown = self._interceptors.consume([message])
            if shown:
                return shown[0]

    def consume(self, num_messages: int = 1, timeout: float | None = -1) -> list[Message]:
        """Up to ``num_messages`` records; what there is when the time (seconds) is over, maybe none."""
        taken: list[Message] = []
        end = None if timeout is None or timeout < 0 else time.monotonic() + timeout
        while len(taken) < num_messages:
            batch = self._batch
            if batch is not None and batch.take(num_messages - len(taken), taken):
                continue
            left = None if end is None else max(end - time.monotonic(), 0.0)
            message = self._wait_for(self._one, left)
            if message is None:
                break
            taken.append(message)
        return taken if self._interceptors is None else self._interceptors.consume(taken)

    def batches(self, timeout: float | None = None) -> Iterator[Batch]:
        """Whole batches as they were fetched, until none comes for ``timeout`` seconds (None: for ever)."""
        while True:
            batch = self._wait_for(self._whole, timeout)
            if batch is None:
                return
            yield batch

    def _whole(self) -> Batch | None:
        while (batch := self._next_batch()) is not None:
            self._batch = None
            assert self._item is not None
            state = self._item.state
            with self._fetcher.lock:
                if state.batch is batch:
                    # What is handed out as a whole counts as read.
                    state.batch = None
                    state.position = batch.next_offset
                    return batch
        return None

    def _one(self) -> Message | None:
        while True:
            item = self._item
            if item is None and self._inbox.items and self._inbox.items[0].event is not None:
                found = self._inbox.items.popleft()
                if found.state.live and found.epoch == found.state.epoch:
                    return found.event
                continue
            batch = self._next_batch()
            if batch is None:
                if self._inbox.items and self._inbox.items[0].event is not None:
                    continue
                return None
            message = batch.next()
            if message is not None:
                return message

    def _next_batch(self) -> Batch | None:
        """Go on to the next batch that still counts; None when there is nothing, or an event stands next."""
        while True:
            item = self._item
            if item is None:
                if not self._inbox.items or self._inbox.items[0].event is not None:
                    return None
                item = self._item = self._inbox.items.popleft()
            state = item.state
            batch = next(item.batches, None) if self._counts(item) else None
            with self._fetcher.lock:
                if self._counts(item):
                    if batch is not None:
                        self._batch = state.batch = batch
                        return batch
                    state.position = item.next_offset
            self._item = self._batch = None
            self._fetcher.finished(item)

    @staticmethod
    def _counts(item: Fetched[Batch]) -> bool:
        """Whether the caller may have what was fetched; it may change whenever the fetcher's lock is not held."""
        state = item.state
        return state.live and item.epoch == state.epoch and not state.paused

    def _wait_for(self, look: Callable[[], T | None], timeout: float | None) -> T | None:
        self._io.check()
        end = None if timeout is None or timeout < 0 else time.monotonic() + timeout
        self._polling += 1
        self._polled = time.monotonic()
        try:
            while True:
                found = self._look(look)
                if found is not None:
                    return found
                left = None if end is None else end - time.monotonic()
                if left is not None and left <= 0:
                    return None
                self._inbox.wait(self._anything, self._fetcher.waited(), left)
                if self._io.closed:
                    return None
        finally:
            self._polling -= 1
            self._polled = time.monotonic()

    def look(self, how: Callable[[], T | None]) -> T | None:
        """What is there now, without waiting; runs rebalance functions that are due.

        Raises:
            KafkaError: the group or the cluster refuses this consumer, or what was fetched is damaged.
            RuntimeError: the consumer is closed or was forked.
        """
        self._io.check()
        self._polled = time.monotonic()
        return self._look(how)

    def _look(self, how: Callable[[], T | None]) -> T | None:
        if self._calls:
            self._serve_calls()
        if self._inbox.errors:
            raise self._inbox.errors.popleft()
        try:
            return how()
        except KafkaError:
            self._again()
            raise

    def _again(self) -> None:
        """Have damaged data fetched again: the error comes back until it is mended, or the caller seeks past it."""
        item, self._item, self._batch = self._item, None, None
        if item is not None:
            with self._fetcher.lock:
                item.state.place(item.state.current())
            self._fetcher.run()

    def _anything(self) -> bool:
        return bool(self._inbox.items or self._calls or self._inbox.errors or self._io.closed)

    def _serve_calls(self) -> None:
        while self._calls:
            call, done = self._calls.popleft()
            try:
                call()
            finally:
                if done is not None:
                    self._io.call(_resolve, done)

    # offsets

    def _needs_group(self) -> Membership:
        if self._group is None:
            raise ConfigError("group.id is not set; subscribing and committing need it")
        return self._group

    def commit(
        self,
        message: Message | None = None,
        offsets: Sequence[TopicPartition] | None = None,
        asynchronous: bool = True,
    ) -> list[TopicPartition] | None:
        """Commit offsets: of a message (the one after it), those given, or where this consumer stands.

        Returns:
            None when ``asynchronous``; otherwise the partitions with their offsets, and ``error`` where one failed.

        Raises:
            KafkaError: the commit failed as a whole.
        """
        group = self._needs_group()
        if message is not None:
            wanted = [TopicPartition(message.topic(), message.partition(), (message.offset() or 0) + 1)]
        elif offsets is not None:
            wanted = [
                TopicPartition(each.topic, each.partition, each.offset, each.metadata, each.leader_epoch) for each in offsets
            ]
        else:
            wanted = self._positions(list(self._fetcher.assigned))

        async def work() -> list[TopicPartition]:
            if wanted:
                try:
                    self._note(wanted, await group.commit(wanted))
                except KafkaError as error:
                    self._tell_of_commit(error, wanted)
                    raise
            return wanted

        if asynchronous:
            self._io.submit(work()).add_done_callback(self._committed)
            return None
        return self._io.run(work(), self._cluster.timeout + 5, "commit")

    def _committed(self, future: Any) -> None:
        error = future.exception() if not future.cancelled() else None
        if isinstance(error, KafkaError):
            self._cluster.report(error)

    def store_offsets(self, message: Message | None = None, offsets: Sequence[TopicPartition] | None = None) -> None:
        """Say what the next automatic commit shall commit; needs ``enable.auto.offset.store=false``."""
        if self._config["enable.auto.offset.store"]:
            raise ConfigError("store_offsets needs enable.auto.offset.store=false; it is true")
        if message is not None:
            offsets = [TopicPartition(message.topic(), message.partition(), (message.offset() or 0) + 1)]
        for each in offsets or ():
            self._state(each).stored = each.offset

    def committed(self, partitions: Sequence[TopicPartition], timeout: float | None = None) -> list[TopicPartition]:
        """Committed offsets of partitions; OFFSET_INVALID where there is none."""
        group = self._needs_group()
        keys = [each.key for each in partitions]
        found = self._io.run(group.committed(keys), timeout or self._cluster.timeout + 5, "committed")
        return [TopicPartition(*key, found[key] if found.get(key, -1) >= 0 else OFFSET_INVALID) for key in keys]

    def position(self, partitions: Sequence[TopicPartition]) -> list[TopicPartition]:
        """Offsets after the last records that were read; OFFSET_INVALID where none was."""
        return [TopicPartition(*each.key, self._state(each).current()) for each in partitions]

    def _state(self, partition: TopicPartition) -> Assigned:
        state = self._fetcher.assigned.get(partition.key)
        if state is None:
            raise KafkaError(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, f"{partition} is not assigned to this consumer")
        return state

    def seek(self, partition: TopicPartition) -> None:
        """Go on from ``partition.offset``: a number, ``OFFSET_BEGINNING``, ``OFFSET_END``, or as ``auto.offset.reset`` says where
        none is given."""
        state = self._state(partition)

        async def work() -> None:
            with self._fetcher.lock:
                state.place(partition.offset if partition.offset >= 0 else OFFSET_INVALID)
                state.start = OFFSET_STORED if partition.offset == OFFSET_INVALID else partition.offset
            self._fetcher.run()

        self._io.run(work(), self._cluster.timeout, "seek")

    def pause(self, partitions: Sequence[TopicPartition]) -> None:
        """Give out no records of these partitions until :meth:`resume`."""
        states = [self._state(each) for each in partitions]

        async def work() -> None:
            self._halt(states)

        self._io.run(work(), self._cluster.timeout, "pause")

    def resume(self, partitions: Sequence[TopicPartition]) -> None:
        """Undo :meth:`pause`."""
        states = [self._state(each) for each in partitions]

        async def work() -> None:
            for state in states:
                state.paused = False
            self._fetcher.run()

        self._io.run(work(), self._cluster.timeout, "resume")

    def offsets_for_times(self, partitions: Sequence[TopicPartition], timeout: float = 30.0) -> list[TopicPartition]:
        """The first offsets at or after times (milliseconds, given as ``offset``); OFFSET_END where there is none."""
        wanted = {each.key: each.offset for each in partitions}
        found = self._look_up(wanted, timeout)
        result = []
        for key in wanted:
            each = TopicPartition(*key)
            value = found[key]
            each.error = value if isinstance(value, KafkaError) else None
            each.offset = OFFSET_INVALID if isinstance(value, KafkaError) else value if value >= 0 else OFFSET_END
            result.append(each)
        return result

    def _look_up(self, wanted: Mapping[Key, int], timeout: float) -> dict[Key, Any]:
        work = list_offsets(self._cluster, wanted, 0, timeout, lambda offset, *_: offset)
        return self._io.run(work, timeout + 1, "offsets")

    def get_watermark_offsets(
        self, partition: TopicPartition, timeout: float = 30.0, cached: bool = False
    ) -> tuple[int, int] | None:
        """First offset of a partition, and the one after the last; as last seen when ``cached``."""
        if cached:
            state = self._state(partition)
            return (state.log_start_offset, state.high_watermark) if state.high_watermark >= 0 else None
        ends = []
        for timestamp in (-2, -1):
            found = self._look_up({partition.key: timestamp}, timeout)[partition.key]
            if isinstance(found, KafkaError):
                raise found
            ends.append(found)
        return ends[0], ends[1]

    def lag(self) -> dict[Key, int]:
        """Records between where this consumer stands and the end, by partition, as last seen."""
        return self._fetcher.lag()

    @property
    def metrics(self) -> ConsumerMetrics:
        """What this consumer did, and how far behind it is."""
        return self._fetcher.metrics

    # the end

    def close(self, timeout: float = 10.0) -> None:
        """Commit (if automatic), leave the group and end the consumer's thread; a second call does nothing.

        Args:
            timeout: seconds that this may take.
        """
        if not self._io.closed and not self._io.forked:
            try:
                if self._on_revoke is not None and self._subscribed and self._fetcher.assigned:
                    self._on_revoke(self, self.assignment())
                self._io.run(self._end(), timeout, "close")
            except KafkaError as error:
                self._cluster.report(error)
        if self._group is not None:
            self._group.stand_in.close()
        super().close(5.0)
        self._inbox.wake()

    async def _end(self) -> None:
        owned = list(self._fetcher.assigned)
        self._on_revoke = self._on_lost = None
        try:
            if self._group is not None:
                await self._commit_positions(owned)
                await self._group.stop()
        finally:
            for key in owned:
                self._drop(key)

    def __iter__(self) -> Iterator[Message]:
        """Records, for ever; events are raised."""
        while True:
            message = self.poll()
            if message is None:
                return
            error = message.error()
            if error is not None and error.code is not ErrorCode.NONE:
                raise error
            yield message

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def _resolve(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)

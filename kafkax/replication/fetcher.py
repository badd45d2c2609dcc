"""Follower fetchers: one connection to one leader, many partitions, the bytes straight into the core's logs.

A fetcher asks for all its partitions at once and applies a large answer on a worker thread.  With durability ``flushed``
it asks on only after what it appended is on the disk: its next fetch is what tells the leader so.  Where it is far behind, that
says nothing to the leader (:meth:`Following.may_ask_ahead`), so there it asks for the next piece while it writes the last one.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, NamedTuple
from uuid import UUID

from kafkax._core.batch import end_of
from kafkax._core.partition import Partition
from kafkax.errors import ErrorCode, KafkaError, ProtocolError
from kafkax.model import TopicPartition
from kafkax.net.outbound import BrokerLink
from kafkax.protocol.messages.fetch import FetchPartition, FetchRequest, FetchResponse, FetchTopic, PartitionData, ReplicaState
from kafkax.protocol.messages.list_offsets import (
    ListOffsetsPartition,
    ListOffsetsRequest,
    ListOffsetsResponse,
    ListOffsetsTopic,
)
from kafkax.replication.following import Following
from kafkax.replication.throttles import Throttles

if TYPE_CHECKING:
    from kafkax.storage.manager import LogManager

__all__ = ["Fetcher", "FetcherSettings", "Followed"]

_log = logging.getLogger(__name__)
_FETCH_VERSION = 17
_LIST_OFFSETS_VERSION = 7
_LATEST, _EARLIEST = -1, -2
_NO_OFFSET = -1
_NEVER = float("inf")
_FIRST_RETRY_SECONDS = 0.01
"""First pause after an error; doubles up to ``replica.fetch.backoff.ms``, since most are over in a moment (a leader that has
not heard yet that it is one)."""
_RENEW_SECONDS = 0.002
"""Partitions that come within so long are asked for together."""
_SHORT_WAIT_MS = 50
"""A fetch that waits no longer than this is not broken off for a partition that comes."""
_INLINE_BYTES = 65_536
"""An answer with fewer bytes of records is applied on the event loop when nothing is flushed: quicker than waking a thread."""


class FetcherSettings(NamedTuple):
    """Under the names of Kafka's configs; times in ms, sizes in bytes."""

    replica_id: int
    wait_max_ms: int = 500
    """``replica.fetch.wait.max.ms``."""
    min_bytes: int = 1
    """``replica.fetch.min.bytes``."""
    response_max_bytes: int = 10_485_760
    """``replica.fetch.response.max.bytes``."""
    max_bytes: int = 1_048_576
    """``replica.fetch.max.bytes``: for one partition."""
    backoff_ms: int = 1_000
    """``replica.fetch.backoff.ms``: longest pause after an error."""


class _Ask(NamedTuple):
    """From where on a partition is asked for, and the epoch of the record before."""

    offset: int
    last_epoch: int


class Followed:
    """A partition that a fetcher looks after.  ``lock`` is held while its log is written; once ``ended`` nobody writes.

    Args:
        flush: whether what is appended has to be on the disk before the leader hears of it.
        logs: where a log is cut, so that compaction and a move of the log hear of it; None where there is neither.
    """

    def __init__(self, partition: Partition, following: Following, *, flush: bool, logs: LogManager | None = None) -> None:
        self.partition = partition
        self.following = following
        self.flush = flush
        self._logs = logs
        self.lock = threading.Lock()
        self.ended = False
        self.not_before = 0.0
        """Loop time before which it is not fetched."""
        self.busy_at = 0.0
        """Loop time of the last answer that brought records."""
        self.failures = 0
        """Errors in a row."""
        self.in_sync = False
        """Whether it has all that is committed, as far as the last answer or the controller says."""

    @property
    def key(self) -> TopicPartition:
        """Topic and number."""
        return TopicPartition(self.partition.topic, self.partition.index)

    def position(self) -> _Ask:
        """What to ask for next when nothing is being written."""
        log = self.partition.log
        return _Ask(log.log_end_offset, self.following.last_epoch(log))

    def ask_ahead(self, data: PartitionData) -> _Ask | None:
        """What to ask for while the records of an answer are still being written; None where that has to wait."""
        if not data.records or data.error_code != ErrorCode.NONE or data.diverging_epoch.end_offset != _NO_OFFSET:
            return None
        end = end_of(data.records)
        return None if end is None or not self.following.may_ask_ahead(end[0], data.high_watermark) else _Ask(*end)

    def has_unflushed(self) -> bool:
        """Whether the leader would hear of something that is not on the disk as it has to be."""
        return self.flush and self.partition.log.flushed_offset < self.partition.log.log_end_offset

    def truncate(self, offset: int) -> None:
        """Cut the log; raises :class:`KafkaError`."""
        if self._logs is None:
            self.partition.log.truncate(offset)
        else:
            self._logs.truncate(self.key, offset)

    def truncate_fully(self, offset: int) -> None:
        """Have the log begin anew at ``offset``; raises :class:`KafkaError`."""
        if self._logs is None:
            self.partition.log.truncate_fully(offset)
        else:
            self._logs.truncate_fully(self.key, offset)

    def retry_at(self, now: float, backoff_ms: int) -> float:
        """When to try again after one more error."""
        self.failures += 1
        return now + min(_FIRST_RETRY_SECONDS * float(2 ** min(self.failures - 1, 20)), backoff_ms / 1000)

    def end(self) -> None:
        """Let no answer be applied from here on; waits for one that is being applied."""
        with self.lock:
            self.ended = True


def _answers(asked: Iterable[Followed], response: FetchResponse) -> Iterator[tuple[Followed, PartitionData]]:
    """The answer for each partition that was asked for."""
    by_key = {followed.key: followed for followed in asked}
    names = {followed.partition.topic_id: key.topic for key, followed in by_key.items()}
    for topic in response.responses:
        for data in topic.partitions:
            followed = by_key.get(TopicPartition(names.get(topic.topic_id, topic.topic), data.partition_index))
            if followed is not None:
                yield followed, data


class Fetcher:
    """Keeps replicas up with one leader.

    Args:
        link: the connection to the leader.
        broker_epoch: gives this broker's present epoch (KIP-903).
        throttles: this broker's replication quotas, on the loop's clock.
        answered: called after each answer, on the event loop, while nothing is asked for: it may add and release partitions.
    """

    def __init__(
        self,
        link: BrokerLink,
        settings: FetcherSettings,
        broker_epoch: Callable[[], int],
        throttles: Throttles,
        answered: Callable[[], None] | None = None,
    ) -> None:
        self._link = link
        self._answered = answered
        self._settings = settings
        self._throttles = throttles
        self._broker_epoch = broker_epoch
        self._followed: dict[TopicPartition, Followed] = {}
        self._changed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._sending: asyncio.Task[FetchResponse] | None = None
        self._asked: frozenset[Followed] = frozenset()
        self._writing: asyncio.Task[list[Followed]] | None = None
        self._ahead: dict[Followed, _Ask | None] = {}
        self._renewing: asyncio.TimerHandle | None = None
        self._closed = False

    def __len__(self) -> int:
        return len(self._followed)

    def add(self, followed: Followed, *, soon: bool = True) -> None:
        """Look after one more partition.

        A fetch that waits for others at the leader is broken off for it, unless it need not be fetched ``soon``: the leader may
        wait for this follower.
        """
        self._followed[followed.key] = followed
        if soon:
            self._hurry()
        self._changed.set()
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run())

    def _hurry(self) -> None:
        if self._sending is not None and self._renewing is None and self._settings.wait_max_ms > _SHORT_WAIT_MS:
            self._renewing = asyncio.get_running_loop().call_later(_RENEW_SECONDS, self._renew)

    def _renew(self) -> None:
        self._renewing = None
        if self._sending is not None:
            self._sending.cancel()

    def followed(self) -> Iterable[Followed]:
        """What it looks after."""
        return self._followed.values()

    def release(self, partitions: Iterable[TopicPartition]) -> list[Followed]:
        """Hand partitions over to another fetcher; only when ``answered`` is called."""
        return [self._followed.pop(partition) for partition in partitions]

    def remove(self, partitions: Iterable[TopicPartition]) -> None:
        """Look after some no longer; when this returns nothing more is appended to them."""
        for partition in partitions:
            followed = self._followed.pop(partition, None)
            if followed is not None:
                followed.end()

    def renew(self, followed: Followed) -> None:
        """Go on with a partition, if it is looked after here, in another epoch of the same leader.

        What was asked for in the epoch before is no longer applied; the leader answers it as soon as its own epoch changes.  If
        it did so already, what waits at the leader now was asked for without this partition, and is broken off.
        """
        former = self._followed.get(followed.key)
        if former is not None:
            former.end()
            followed.busy_at = former.busy_at
            followed.in_sync = followed.in_sync or former.in_sync
            self._followed[followed.key] = followed
            if former not in self._asked:
                self._hurry()
            self._changed.set()

    async def close(self) -> None:
        """Stop, and close the connection."""
        self._closed = True
        self.remove(list(self._followed))
        if self._renewing is not None:
            self._renewing.cancel()
        tasks = [task for task in (self._task, self._writing) if task is not None]
        if self._task is not None:
            self._task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        await self._link.close()

    async def _run(self) -> None:
        while not self._closed:
            self._changed.clear()
            asked = self._choose(asyncio.get_running_loop().time())
            if not asked and self._writing is None:
                await self._pause()
                continue
            response = await self._ask(asked) if asked else None
            await self._written()
            if response is None:
                continue
            self._ahead = self._look_ahead(asked, response)
            self._writing = asyncio.get_running_loop().create_task(self._take(asked, response, self._ahead))
            if not any(self._ahead.values()):
                await self._written()

    def _choose(self, now: float) -> dict[Followed, _Ask]:
        """What to ask for now: all that may be fetched, and of what is being written only where to ask ahead."""
        self._hold_back(now)
        asked = {}
        for followed in self._followed.values():
            if followed.not_before <= now:
                ask = self._ahead[followed] if followed in self._ahead else followed.position()
                if ask is not None:
                    asked[followed] = ask
        return asked

    def _look_ahead(self, asked: dict[Followed, _Ask], response: FetchResponse) -> dict[Followed, _Ask | None]:
        """For each partition with something to apply: what to ask for meanwhile, None for nothing.  Its bytes count as used."""
        found = {}
        now_ms = int(asyncio.get_running_loop().time() * 1000)
        for followed, data in _answers(asked, response):
            if data.records or data.error_code != ErrorCode.NONE or data.diverging_epoch.end_offset != _NO_OFFSET:
                found[followed] = followed.ask_ahead(data)
            if data.records and self._throttles.follows_throttled(followed.key):
                self._throttles.follower.record(len(data.records), now_ms)
        return found

    async def _written(self) -> None:
        """Wait until the last answer is applied."""
        if self._writing is None:
            return
        lost = await self._writing
        self._writing, self._ahead = None, {}
        for followed in lost:
            await self._find_range(followed)
        if self._answered is not None:
            self._answered()

    async def _ask(self, asked: dict[Followed, _Ask]) -> FetchResponse | None:
        """Fetch; None when there is nothing to apply: it failed, or was broken off."""
        late = [followed for followed in asked if followed not in self._ahead and followed.has_unflushed()]
        if late and not await asyncio.to_thread(self._flush_late, late):
            return None
        try:
            response = await self._send(asked)
        except (KafkaError, ProtocolError) as error:
            _log.info("fetching as a follower failed: %s", error)
            self._back_off(asked)
            return None
        if response is not None and response.error_code != ErrorCode.NONE:
            self._back_off(asked)
            return None
        return response

    def _flush_late(self, late: list[Followed]) -> bool:
        """On a worker thread: flush what was asked ahead of when the answer did not come; whether that was possible."""
        for followed in late:
            try:
                followed.partition.log.flush()
            except KafkaError as error:
                _log.error("%s cannot be flushed: %s", followed.key, error)
                followed.not_before = _NEVER
        return all(followed.not_before != _NEVER for followed in late)

    def _hold_back(self, now: float) -> None:
        """Put off what is throttled and not in sync while this broker's rate is used up (KIP-73)."""
        wait_ms = self._throttles.follower.wait_ms(int(now * 1000))
        for followed in self._followed.values() if wait_ms else ():
            if not followed.in_sync and followed.not_before <= now and self._throttles.follows_throttled(followed.key):
                followed.not_before = now + min(wait_ms, max(self._settings.backoff_ms, 1)) / 1000

    async def _send(self, asked: dict[Followed, _Ask]) -> FetchResponse | None:
        """Fetch; None when it was broken off because there are more partitions to ask for."""
        send = self._link.send(self._request(asked), _FETCH_VERSION, FetchResponse)
        self._sending = asyncio.get_running_loop().create_task(send)
        self._asked = frozenset(asked)
        try:
            return await self._sending
        except asyncio.CancelledError:
            if self._closed or not self._sending.cancelled():
                raise
            self._link.renew()
            return None
        finally:
            self._sending, self._asked = None, frozenset()

    async def _take(
        self, asked: dict[Followed, _Ask], response: FetchResponse, ahead: dict[Followed, _Ask | None]
    ) -> list[Followed]:
        """Apply an answer; the partitions whose range of offsets has to be looked up."""
        now = asyncio.get_running_loop().time()
        brought = sum(len(data.records) for topic in response.responses for data in topic.partitions if data.records)
        if brought < _INLINE_BYTES and not any(followed.flush for followed in asked):
            return self._apply_all(asked, response, ahead, now)
        return await asyncio.to_thread(self._apply_all, asked, response, ahead, now)

    async def _pause(self) -> None:
        """Wait until a partition may be fetched, or another one comes."""
        now = asyncio.get_running_loop().time()
        until = min((followed.not_before for followed in self._followed.values()), default=_NEVER)
        try:
            await asyncio.wait_for(self._changed.wait(), None if until == _NEVER else until - now)
        except asyncio.TimeoutError:
            return

    def _back_off(self, partitions: Iterable[Followed]) -> None:
        now = asyncio.get_running_loop().time()
        for followed in partitions:
            followed.not_before = followed.retry_at(now, self._settings.backoff_ms)

    def _request(self, asked: dict[Followed, _Ask]) -> FetchRequest:
        topics: dict[UUID, FetchTopic] = {}
        for followed, (offset, last_epoch) in asked.items():
            partition, log = followed.partition, followed.partition.log
            topic = topics.setdefault(partition.topic_id, FetchTopic(topic=partition.topic, topic_id=partition.topic_id))
            topic.partitions.append(
                FetchPartition(
                    partition=partition.index,
                    current_leader_epoch=followed.following.leader_epoch,
                    fetch_offset=offset,
                    last_fetched_epoch=last_epoch,
                    log_start_offset=log.log_start_offset,
                    partition_max_bytes=self._settings.max_bytes,
                )
            )
        settings = self._settings
        return FetchRequest(
            replica_state=ReplicaState(replica_id=settings.replica_id, replica_epoch=self._broker_epoch()),
            max_wait_ms=self._wait_ms(),
            min_bytes=settings.min_bytes,
            max_bytes=settings.response_max_bytes,
            topics=list(topics.values()),
        )

    def _wait_ms(self) -> int:
        """How long the leader may wait: not beyond the time when another partition is to be tried again."""
        now = asyncio.get_running_loop().time()
        pauses = [followed.not_before - now for followed in self._followed.values() if followed.not_before > now]
        return int(min(self._settings.wait_max_ms, min(pauses, default=_NEVER) * 1000 + 1))

    # Answers

    def _apply_all(
        self, asked: dict[Followed, _Ask], response: FetchResponse, ahead: dict[Followed, _Ask | None], now: float
    ) -> list[Followed]:
        """Write what came, on a worker thread where that may take long."""
        lost: list[Followed] = []
        for followed, data in _answers(asked, response):
            if data.records:
                followed.busy_at = now
            with followed.lock:
                # What was asked ahead of an answer that could not be written has no place here.
                if followed.ended or asked[followed].offset != followed.partition.log.log_end_offset:
                    continue
                if self._apply(followed, data, now, flush=followed.flush and ahead.get(followed) is None):
                    lost.append(followed)
        return lost

    def _apply(self, followed: Followed, data: PartitionData, now: float, *, flush: bool) -> bool:
        """Apply an answer; true when the range of offsets has to be looked up."""
        log = followed.partition.log
        diverging = data.diverging_epoch
        parted = None if diverging.end_offset == _NO_OFFSET else (diverging.epoch, diverging.end_offset)
        step = followed.following.answered(log, ErrorCode(data.error_code), parted, data.high_watermark)
        try:
            if step.truncate_to is not None:
                _log.info("%s is cut at offset %d, where its leader's log parts from it", followed.key, step.truncate_to)
                followed.truncate(step.truncate_to)
            elif step.high_watermark is not None:
                if data.records:
                    log.append_follower(data.records)
                    if flush:
                        log.flush()
                followed.in_sync = log.log_end_offset >= step.high_watermark
                followed.partition.high_watermark = min(step.high_watermark, log.log_end_offset)
                if data.log_start_offset > log.log_start_offset:
                    log.set_log_start_offset(min(data.log_start_offset, followed.partition.high_watermark))
        except KafkaError as error:
            if followed.partition.log is not log:
                # It moved to another log directory under way; the next answer finds it there.
                return False
            _log.error("%s cannot be written as its leader has it: %s", followed.key, error)
            lost = error.code is ErrorCode.KAFKA_STORAGE_ERROR
            followed.not_before = _NEVER if lost else followed.retry_at(now, self._settings.backoff_ms)
            return False
        if step.gone:
            followed.not_before = _NEVER
        elif step.wait:
            followed.not_before = followed.retry_at(now, self._settings.backoff_ms)
        else:
            followed.failures = 0
        return step.look_up_range

    async def _find_range(self, followed: Followed) -> None:
        """The leader has none of the offsets asked for: ask what it has, and go on from there."""
        try:
            start, end = [await self._offset(followed, which) for which in (_EARLIEST, _LATEST)]
        except (KafkaError, ProtocolError) as error:
            _log.info("%s: the leader's offsets could not be read: %s", followed.key, error)
            self._back_off([followed])
            return
        await asyncio.to_thread(self._go_on_from, followed, start, end)

    def _go_on_from(self, followed: Followed, start: int, end: int) -> None:
        log = followed.partition.log
        with followed.lock:
            if followed.ended:
                return
            offset, anew = followed.following.in_range(log, start, end)
            if anew:
                _log.warning(
                    "%s begins anew at offset %d: its leader no longer has what comes after its end", followed.key, offset
                )
                followed.truncate_fully(offset)
            else:
                followed.truncate(offset)

    async def _offset(self, followed: Followed, which: int) -> int:
        asked = ListOffsetsPartition(
            partition_index=followed.partition.index, current_leader_epoch=followed.following.leader_epoch, timestamp=which
        )
        topic = ListOffsetsTopic(name=followed.partition.topic, partitions=[asked])
        request = ListOffsetsRequest(replica_id=self._settings.replica_id, topics=[topic])
        response = await self._link.send(request, _LIST_OFFSETS_VERSION, ListOffsetsResponse)
        answer = response.topics[0].partitions[0]
        if answer.error_code != ErrorCode.NONE:
            raise KafkaError(ErrorCode(answer.error_code))
        return answer.offset

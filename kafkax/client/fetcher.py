"""What fetches for a consumer, on its I/O thread: one request per broker at a time, in sessions (KIP-227)."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from functools import partial
from typing import Any

from kafkax._core.assigned import Assigned, Exchange, Fetched, FetchForm, plain_batches, wanted
from kafkax._core.message import Message
from kafkax._core.replies import plain_fetch
from kafkax.client.batch import Batch
from kafkax.client.cluster import Cluster
from kafkax.client.connection import Connection
from kafkax.client.metrics import ConsumerMetrics
from kafkax.client.offsets import list_offsets
from kafkax.client.subscription import Inbox
from kafkax.client.types import OFFSET_BEGINNING, OFFSET_END, OFFSET_INVALID, OFFSET_STORED, by_topic
from kafkax.errors import ErrorCode, KafkaError, error_code
from kafkax.protocol.compression import decompress
from kafkax.protocol.legacy import LegacyBatch
from kafkax.protocol.messages.fetch import FetchPartition, FetchRequest, FetchResponse, FetchTopic, ForgottenTopic, PartitionData
from kafkax.protocol.records import HEADER_SIZE, build_batch, iter_batches
from kafkax.protocol.schema import ZERO_UUID

__all__ = ["Fetcher"]

Key = tuple[str, int]
_IDS_SINCE = 13
_OLDEST = 4
_DECOMPRESSED_LIMIT = 1 << 30
_IDLE_INTERVAL = 0.05
"""Seconds between looks at partitions whose end was reached, while others have no room: a fetch that waits for them would keep
those others waiting, since a broker answers a connection's requests one after the other."""
_NOTHING: Iterator[Batch] = iter(())
_STALE = frozenset(
    {
        ErrorCode.NOT_LEADER_OR_FOLLOWER,
        ErrorCode.FENCED_LEADER_EPOCH,
        ErrorCode.UNKNOWN_LEADER_EPOCH,
        ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
        ErrorCode.UNKNOWN_TOPIC_ID,
        ErrorCode.INCONSISTENT_TOPIC_ID,
        ErrorCode.LEADER_NOT_AVAILABLE,
        ErrorCode.KAFKA_STORAGE_ERROR,
        ErrorCode.OFFSET_NOT_AVAILABLE,
        ErrorCode.REPLICA_NOT_AVAILABLE,
    }
)
_SESSION_LOST = frozenset(
    {
        ErrorCode.FETCH_SESSION_ID_NOT_FOUND,
        ErrorCode.INVALID_FETCH_SESSION_EPOCH,
        ErrorCode.FETCH_SESSION_TOPIC_ID_ERROR,
        ErrorCode.UNKNOWN_TOPIC_ID,
        ErrorCode.INCONSISTENT_TOPIC_ID,
    }
)
_RESETS = {
    "earliest": OFFSET_BEGINNING,
    "smallest": OFFSET_BEGINNING,
    "beginning": OFFSET_BEGINNING,
    "latest": OFFSET_END,
    "largest": OFFSET_END,
    "end": OFFSET_END,
}


class _Session:
    """What a broker knows of our fetches."""

    __slots__ = ("busy", "connection", "epoch", "id", "looked", "sent", "stamp", "timer", "version")

    def __init__(self) -> None:
        self.connection: Connection | None = None
        # Version of requests on the connection, and the metadata's version that it was chosen for.
        self.version, self.stamp = 0, -1
        self.busy = False
        self.looked = 0.0
        self.timer: asyncio.TimerHandle | None = None
        self.reset()

    def reset(self) -> None:
        """Begin with a full request."""
        self.id, self.epoch = 0, 0
        self.sent: dict[Key, int] = {}


class Fetcher:
    """Keeps the inbox filled for the partitions in ``assigned``.

    Answers are taken by whichever thread receives them, the I/O thread or a caller who waits; what is unusual is left to the I/O
    thread. Whoever changes ``assigned`` or what is in it holds ``lock``.

    Args:
        cluster: connections and metadata.
        inbox: where what was fetched goes.
    """

    def __init__(self, cluster: Cluster, inbox: Inbox) -> None:
        config = cluster.config
        self._cluster = cluster
        self._config = config
        self._inbox = inbox
        self.assigned: dict[Key, Assigned] = {}
        self.lock = threading.RLock()
        self._sessions: dict[int, _Session] = {}
        self._isolation = int(config["isolation.level"] == "read_committed")
        self._most_queued = config["queued.max.messages.kbytes"] * 1024
        self._most_of_one: int = config["max.partition.fetch.bytes"]
        self._wait: int = config["fetch.wait.max.ms"]
        self._check_crcs: bool = config["check.crcs"]
        self._form = FetchForm(
            config["fetch.min.bytes"], config["fetch.max.bytes"], self._most_of_one, self._isolation, config["client.rack"]
        )
        self._at_end: set[Key] = set()
        # Brokers that not all was asked of when last looked, for want of room.
        self._full: set[int] = set()
        self.metrics = ConsumerMetrics(config["client.id"], self.lag, lambda: len(self.assigned))
        cluster.on_metadata.append(self._metadata_came)

    def _metadata_came(self) -> None:
        with self.lock:
            self._note_ids()
        self.run()

    def _note_ids(self) -> None:
        for (topic, _), state in self.assigned.items():
            known = self._cluster.metadata.topics.get(topic)
            if known is None or known.topic_id == ZERO_UUID:
                continue
            if state.topic_id not in (ZERO_UUID, known.topic_id):
                # The topic was deleted and made anew: no offset of the old one means anything, and all of the new one is new.
                state.place(OFFSET_INVALID)
                state.start = OFFSET_BEGINNING
                state.committed = state.stored = OFFSET_INVALID
            state.topic_id = known.topic_id

    def run(self) -> None:
        """Fetch wherever there is room; called whenever something changed, from any thread."""
        with self.lock:
            self._run()

    def _run(self) -> None:
        version, most = self._cluster.metadata.version, self._most_queued
        due, self._full = wanted(self.assigned, version, most, self._most_of_one, self._source, self.resolve)
        for node, states in due.items():
            session = self._sessions.get(node)
            if session is None:
                session = self._sessions[node] = _Session()
            if not session.busy:
                self._begin(node, session, states, partial=node in self._full)

    def finished(self, item: Fetched[Batch]) -> None:
        """The caller is done with something that was fetched: there is room for more."""
        state = item.state
        with self.lock:
            if item.epoch == state.epoch:
                state.batch = None
                state.queued -= item.size
                if state.paused and state.position < item.next_offset:
                    # What was fetched and not read is fetched again after resume.
                    state.place(state.position)
            if self._full and state.live and not self._cluster.io.closed:
                self._run()

    def lag(self) -> dict[Key, int]:
        """Records between where the caller stands and the end, by partition, as last seen."""
        return {
            key: max(state.high_watermark - state.current(), 0)
            for key, state in list(self.assigned.items())
            if state.high_watermark >= 0 and state.current() >= 0
        }

    def _source(self, state: Assigned) -> int:
        """Broker id to fetch from, -1 when it is not known: the follower that the leader named (KIP-392), else the leader."""
        leader = self._cluster.metadata.leader(*state.key)
        node, until = state.preferred
        if node >= 0 and node != leader:
            if self._cluster.loop.time() < until and node in self._cluster.metadata.brokers:
                return node
            state.preferred = (-1, 0.0)
        if leader < 0:
            self._cluster.watched.add(state.key[0])
            self._cluster.refresh_soon()
        return leader

    def _begin(self, node: int, session: _Session, states: dict[Key, Assigned], *, partial: bool) -> None:
        wait = self._wait
        if partial and all(state.at_end(self._isolation) for state in states.values()):
            wait, now = 0, self._cluster.loop.time()
            if now < session.looked + _IDLE_INTERVAL:
                self._cluster.io.aside(self._look_later, session)
                return
            session.looked = now
        session.busy = True
        connection = self._cluster.live(node)
        if connection is None:
            self._cluster.io.aside(self._connect, node, session, states)
        elif connection.shared_fd >= 0 or self._cluster.io.inside:
            self._ask(connection, session, states, wait)
        else:
            session.busy = False
            self._cluster.io.call(self.run)

    def _look_later(self, session: _Session) -> None:
        if session.timer is None:
            session.timer = self._cluster.loop.call_at(session.looked + _IDLE_INTERVAL, self._look, session)

    def _look(self, session: _Session) -> None:
        # A loop may call a little early; then this sets the timer again.
        session.timer = None
        self.run()

    def waited(self) -> list[Connection]:
        """Connections that answers are due on and that any thread may receive from."""
        found = []
        with self.lock:
            for session in self._sessions.values():
                connection = session.connection
                if session.busy and connection is not None and connection.shared_fd >= 0:
                    found.append(connection)
        return found

    # where to begin

    def resolve(self, state: Assigned) -> None:
        """Find the offset for a partition that has none, by its wish or auto.offset.reset."""
        state.resolving = True
        self._cluster.io.aside(self._spawn_resolve, state, state.epoch)

    def _spawn_resolve(self, state: Assigned, epoch: int) -> None:
        self._cluster.io.spawn(self._resolve(state, epoch))

    async def _resolve(self, state: Assigned, epoch: int) -> None:
        try:
            offset = state.start if state.start >= 0 else await self._look_up(state)
        except KafkaError as error:
            state.resolving = False
            self._cluster.report(error)
            if not error.retriable:
                state.start = OFFSET_INVALID
                self._inbox.put(Fetched(state, state.epoch, _NOTHING, 0, -1, Message.failure(*state.key, -1, error)))
                return
            await asyncio.sleep(self._config["retry.backoff.ms"] / 1000)
            self.run()
            return
        with self.lock:
            state.resolving = False
            if state.epoch == epoch and state.live:
                state.place(offset)
        self.run()

    async def _look_up(self, state: Assigned) -> int:
        wish, timestamp = state.start, 0
        if wish not in (OFFSET_BEGINNING, OFFSET_END):
            reset = self._config["auto.offset.reset"]
            if reset.startswith("by_duration:"):
                timestamp = _ago(reset.partition(":")[2])
                wish = OFFSET_INVALID
            elif reset in _RESETS:
                wish = _RESETS[reset]
            else:
                topic, partition = state.key
                code = ErrorCode.OFFSET_OUT_OF_RANGE
                raise KafkaError(code, f"{topic}-{partition} has no offset to begin at and auto.offset.reset={reset}")
        times = {OFFSET_BEGINNING: -2, OFFSET_END: -1}
        wanted = {state.key: times.get(wish, timestamp)}
        found = await list_offsets(self._cluster, wanted, self._isolation, self._cluster.timeout, lambda offset, *_: offset)
        offset: int | KafkaError = found[state.key]
        if isinstance(offset, KafkaError):
            raise offset
        if offset < 0:
            state.start = OFFSET_END
            return await self._look_up(state)
        return offset

    # fetching

    def _connect(self, node: int, session: _Session, states: dict[Key, Assigned]) -> None:
        self._cluster.io.spawn(self._connect_first(node, session, states))

    async def _connect_first(self, node: int, session: _Session, states: dict[Key, Assigned]) -> None:
        try:
            await self._cluster.connection(node)
        except KafkaError as error:
            self._failed(session, states, error)
            return
        session.busy = False
        self.run()

    def _failed(self, session: _Session, states: dict[Key, Assigned], error: KafkaError) -> None:
        """Nothing came of a fetch; on the I/O thread. It is tried again after a while."""
        with self.lock:
            session.reset()
            for state in states.values():
                state.preferred = (-1, 0.0)
        self._cluster.report(error)
        self._cluster.refresh_soon()
        if not error.retriable:
            self._inbox.errors.append(error)
            self._inbox.wake()
        session.busy = False
        self._cluster.loop.call_later(self._config["retry.backoff.ms"] / 1000, self.run)

    def _ask(self, connection: Connection, session: _Session, states: dict[Key, Assigned], wait: int) -> None:
        if connection is not session.connection:
            session.reset()
            session.connection, session.stamp = connection, -1
        metadata = self._cluster.metadata
        if session.stamp != metadata.version:
            named = any(metadata.topics[topic].topic_id == ZERO_UUID for topic, _ in self.assigned if topic in metadata.topics)
            try:
                session.version = connection.version(FetchRequest, _IDS_SINCE - 1 if named else None)
                if session.version < _OLDEST:
                    code = ErrorCode.UNSUPPORTED_VERSION
                    raise KafkaError(code, f"{connection.address} is too old: it knows no record batches")
            except KafkaError as error:
                self._cluster.io.aside(self._failed, session, states, error)
                return
            session.stamp = metadata.version
        exchange = Exchange(connection, session, session.version, states)
        body = self._body(session, exchange.offsets, wait)
        timeout = self._cluster.timeout + wait / 1000
        connection.send(FetchRequest.api_key, session.version, [body], timeout, partial(self._answered, exchange))

    def _answered(self, exchange: Exchange[Connection, _Session], answer: memoryview | KafkaError) -> None:
        """Take an answer; on whichever thread received it."""
        io = self._cluster.io
        if not isinstance(answer, KafkaError) and exchange.version >= _IDS_SINCE:
            plain = plain_fetch(answer)
            if plain is not None:
                with self.lock:
                    self._take_plain(exchange, *plain)
                    self._run()
                return
        io.aside(self._take_answer, exchange, answer)

    def _take_plain(self, exchange: Exchange[Connection, _Session], session_id: int, parts: list[Any]) -> None:
        self._begin_next(exchange, session_id)
        names = self._cluster.metadata.names_by_bytes
        for topic_id, partition, high_watermark, stable, start, records in parts:
            state = exchange.states.get((names.get(topic_id, ""), partition))
            if state is not None and state.live and state.epoch == exchange.epochs[state.key]:
                state.high_watermark = high_watermark
                state.last_stable_offset = stable
                state.log_start_offset = start
                self._take_records(state, records, [], exchange.offsets[state.key])

    def _begin_next(self, exchange: Exchange[Connection, _Session], session_id: int) -> None:
        session = exchange.session
        session.id = session_id
        session.epoch = session.epoch % 0x7FFFFFFF + 1 if session_id else 0
        session.sent = exchange.offsets if session_id else {}
        session.busy = False

    def _take_answer(self, exchange: Exchange[Connection, _Session], answer: memoryview | KafkaError) -> None:
        """Take an answer of any kind; on the I/O thread."""
        try:
            if isinstance(answer, KafkaError):
                raise answer
            self._take_all(exchange, exchange.connection.decode(answer, FetchResponse, exchange.version))
        except KafkaError as error:
            self._failed(exchange.session, exchange.states, error)
            return
        self.run()

    def _take_all(self, exchange: Exchange[Connection, _Session], answer: FetchResponse) -> None:
        code = error_code(answer.error_code)
        if code in _SESSION_LOST:
            with self.lock:
                exchange.session.reset()
                exchange.session.busy = False
            if code in _STALE:
                self._cluster.refresh_soon()
            return
        if code is not ErrorCode.NONE:
            raise KafkaError(code, f"{exchange.connection.address} refused a fetch: {code.message}")
        names = self._cluster.metadata.names
        with self.lock:
            self._begin_next(exchange, answer.session_id)
            for topic in answer.responses:
                name = topic.topic if exchange.version < _IDS_SINCE else names.get(topic.topic_id, "")
                for data in topic.partitions:
                    state = exchange.states.get((name, data.partition_index))
                    if state is not None and state.live and state.epoch == exchange.epochs[state.key]:
                        self._take(state, data, exchange.offsets[state.key])

    def _body(self, session: _Session, offsets: dict[Key, int], wait: int) -> bytes:
        """The body of a request."""
        if session.version >= _IDS_SINCE:
            topics = self._cluster.metadata.topics
            body = self._form.body(session.version, wait, session.id, session.epoch, session.sent, offsets, topics)
            if body is not None:
                return body
        return self._request(session, offsets, wait).encode(session.version)

    def _request(self, session: _Session, offsets: dict[Key, int], wait: int) -> FetchRequest:
        topics = self._cluster.metadata.topics
        changed = [key for key, offset in offsets.items() if session.sent.get(key) != offset]
        forgotten = [key for key in session.sent if key not in offsets]
        config = self._config
        return FetchRequest(
            max_wait_ms=wait,
            min_bytes=config["fetch.min.bytes"],
            max_bytes=config["fetch.max.bytes"],
            isolation_level=self._isolation,
            session_id=session.id,
            session_epoch=session.epoch,
            rack_id=config["client.rack"],
            topics=[
                FetchTopic(
                    topic=topic,
                    topic_id=topics[topic].topic_id,
                    partitions=[
                        FetchPartition(
                            partition=number,
                            current_leader_epoch=self._leader_epoch(topic, number),
                            fetch_offset=offsets[topic, number],
                            partition_max_bytes=config["max.partition.fetch.bytes"],
                        )
                        for number in numbers
                    ],
                )
                for topic, numbers in by_topic(changed).items()
            ],
            forgotten_topics_data=[
                ForgottenTopic(topic=topic, topic_id=topics[topic].topic_id, partitions=numbers)
                for topic, numbers in by_topic(forgotten).items()
                if topic in topics
            ],
        )

    def _leader_epoch(self, topic: str, partition: int) -> int:
        return self._cluster.metadata.topics[topic].partitions[partition].leader_epoch

    def _take(self, state: Assigned, data: PartitionData, offset: int) -> None:
        code = error_code(data.error_code)
        if code is not ErrorCode.NONE:
            self._refused(state, code)
            return
        if data.preferred_read_replica >= 0:
            until = self._cluster.loop.time() + self._config["metadata.max.age.ms"] / 1000
            state.preferred = (data.preferred_read_replica, until)
        state.high_watermark = data.high_watermark
        state.last_stable_offset = data.last_stable_offset
        state.log_start_offset = data.log_start_offset
        aborted = sorted((each.first_offset, each.producer_id) for each in data.aborted_transactions or ())
        self._take_records(state, data.records, aborted, offset)

    def _take_records(
        self, state: Assigned, records: memoryview | bytes | None, aborted: list[tuple[int, int]], offset: int
    ) -> None:
        if records is None or len(records) == 0:
            self._tell_end(state, offset)
            return
        if not aborted and not self._check_crcs:
            plain = plain_batches(memoryview(records), *state.key, offset, Batch)
            if plain is not None:
                batches, next_offset, count = plain
                self._put(state, iter(batches), len(records), next_offset, count)
                return
        try:
            whole = list(iter_batches(records))
        except KafkaError as error:
            state.queued += 1
            self._inbox.put(Fetched(state, state.epoch, _damaged(error), 1, offset))
            return
        if whole:
            count = sum(each.next_offset - each.base_offset for each in whole)
            opened = self._open(state, whole, aborted, offset)
            self._put(state, opened, len(records), whole[-1].next_offset, count)

    def _put(self, state: Assigned, batches: Iterator[Batch], size: int, next_offset: int, count: int) -> None:
        """Leave what was fetched of a partition to the caller."""
        self._at_end.discard(state.key)
        self.metrics.fetches += 1
        self.metrics.bytes += size
        self.metrics.records += count
        state.fetch_offset = next_offset
        state.queued += size
        self._inbox.put(Fetched(state, state.epoch, batches, size, next_offset))

    def _tell_end(self, state: Assigned, offset: int) -> None:
        end = state.last_stable_offset if self._isolation else state.high_watermark
        if self._config["enable.partition.eof"] and offset >= end and state.key not in self._at_end:
            self._at_end.add(state.key)
            error = KafkaError(ErrorCode.NONE, f"{state.key[0]}-{state.key[1]}: the end is reached at offset {offset}")
            self._inbox.put(Fetched(state, state.epoch, _NOTHING, 0, -1, Message.failure(*state.key, offset, error)))

    def _refused(self, state: Assigned, code: ErrorCode) -> None:
        topic, partition = state.key
        follower, state.preferred = state.preferred[0] >= 0, (-1, 0.0)
        if follower:
            # It may lag behind, or not be one any more; the leader knows.
            self._cluster.refresh_soon()
        elif code is ErrorCode.OFFSET_OUT_OF_RANGE:
            state.start = OFFSET_STORED
            state.fetch_offset = OFFSET_INVALID
            self.resolve(state)
        elif code in _STALE or code.retriable:
            self._cluster.refresh_soon()
        else:
            error = KafkaError(code, f"{topic}-{partition}: {code.message}")
            state.paused = True
            self._inbox.put(Fetched(state, state.epoch, _NOTHING, 0, -1, Message.failure(topic, partition, -1, error)))

    def _open(self, state: Assigned, batches: list[Any], aborted: list[tuple[int, int]], offset: int) -> Iterator[Batch]:
        """Decompress batches as they are read; leave out control records and, read_committed, what was aborted."""
        open_aborts: set[int] = set()
        for batch in batches:
            if isinstance(batch, LegacyBatch):
                batch = next(iter(iter_batches(build_batch(list(batch.records()), base_offset=batch.base_offset))))
            elif self._check_crcs:
                batch.check()
            while aborted and aborted[0][0] <= batch.last_offset:
                open_aborts.add(aborted.pop(0)[1])
            if batch.control:
                open_aborts.discard(batch.producer_id)
                continue
            if self._isolation and batch.transactional and batch.producer_id in open_aborts:
                continue
            body: Any = batch.data[HEADER_SIZE:]
            if batch.attributes & 7:
                body = decompress(batch.compression, body, _DECOMPRESSED_LIMIT)
            yield Batch(batch.data, body, *state.key, offset)


def _damaged(error: KafkaError) -> Iterator[Batch]:
    """Batches that can't be told apart: the caller gets the error when it comes to them."""
    yield from ()
    raise error


def _ago(duration: str) -> int:
    """Milliseconds since the epoch, an ISO 8601 duration ago."""
    import re
    import time

    match = re.fullmatch(r"P(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+)S)?)?", duration)
    if match is None:
        raise KafkaError(ErrorCode.INVALID_CONFIG, f"auto.offset.reset=by_duration:{duration} is refused; PnDTnHnMnS is allowed")
    days, hours, minutes, seconds = (int(part or 0) for part in match.groups())
    return time.time_ns() // 1_000_000 - 1000 * (((days * 24 + hours) * 60 + minutes) * 60 + seconds)

"""What sends a producer's batches, on its I/O thread: order, sequences, retries, time limits.

A partition's batches are sent in their order, up to five at a time.  When one fails in a way that may pass, it and those
behind it go back to the partition's retry queue and are sent one by one, so that order is kept; with idempotence the broker
drops what it has already.  A batch that fails for good leaves a gap in the sequence: then, once everything in doubt is
settled, the producer takes a new producer id and begins its sequences anew.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import struct
import threading
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

from kafkax._core.accumulator import Accumulator, PartitionQueue
from kafkax._core.produced import ProducedBatch
from kafkax._core.replies import plain_produce
from kafkax._core.route import ProduceRoute
from kafkax.client.cluster import Backoff, Cluster, check
from kafkax.client.connection import Connection
from kafkax.client.metrics import ProducerMetrics
from kafkax.client.transactions import Transactions
from kafkax.errors import ErrorCode, KafkaError, error_code
from kafkax.protocol.compression import CODECS, compress
from kafkax.protocol.messages.init_producer_id import InitProducerIdRequest, InitProducerIdResponse
from kafkax.protocol.messages.produce import (
    PartitionProduceData,
    PartitionProduceResponse,
    ProduceRequest,
    ProduceResponse,
    TopicProduceData,
)
from kafkax.protocol.schema import ZERO_UUID
from kafkax.protocol.varint import uvarint

__all__ = ["Sender"]

_log = logging.getLogger("kafkax.client")
_IDS_SINCE = 13
_OLDEST_BATCHES = 3
_TRANSACTIONAL = 11
"""Newest version in which the producer itself has added a partition to its transaction."""
_REQUEST_BYTES = 16 * 1024 * 1024
_SEQUENCES = 1 << 31
_ACKS_AND_TIMEOUT = struct.Struct(">hi")
_INT32 = struct.Struct(">i")
_STALE = frozenset(
    {
        ErrorCode.NOT_LEADER_OR_FOLLOWER,
        ErrorCode.LEADER_NOT_AVAILABLE,
        ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
        ErrorCode.UNKNOWN_TOPIC_ID,
        ErrorCode.INCONSISTENT_TOPIC_ID,
        ErrorCode.KAFKA_STORAGE_ERROR,
        ErrorCode.NETWORK_EXCEPTION,
        ErrorCode.REQUEST_TIMED_OUT,
        ErrorCode.FENCED_LEADER_EPOCH,
    }
)
_GAPS = frozenset({ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER, ErrorCode.UNKNOWN_PRODUCER_ID, ErrorCode.INVALID_PRODUCER_EPOCH})


class _State:
    """What the sender knows of a partition."""

    __slots__ = ("backoff", "confirmed", "in_flight", "next_sequence", "not_before", "poisoned", "queue", "retry", "route")

    def __init__(self, queue: PartitionQueue, backoff: Backoff) -> None:
        self.queue = queue
        self.retry: deque[ProducedBatch] = deque()
        self.in_flight: list[ProducedBatch] = []
        self.next_sequence = 0
        self.not_before = 0.0
        self.poisoned = False
        # Whether the broker has taken a batch under the current producer id: before that it has no sequence to compare with, and
        # would take the second batch though the first one is still to come.
        self.confirmed = False
        self.backoff = backoff
        # For batches that go alone; made when one does.
        self.route: ProduceRoute[Connection] | None = None


class _Sent(NamedTuple):
    """A request that is under way."""

    node: int
    connection: Connection
    version: int
    batches: list[tuple[_State, ProducedBatch]]


class Sender:
    """Sends what an accumulator holds.

    Args:
        cluster: connections and metadata.
        accumulator: what is to be sent.
        report: called with every batch that is done, its ``error`` and ``base_offset`` set.
    """

    def __init__(self, cluster: Cluster, accumulator: Accumulator, report: Callable[[ProducedBatch], None]) -> None:
        config = cluster.config
        self._cluster = cluster
        self._accumulator = accumulator
        self._report = report
        self.metrics = ProducerMetrics(config["client.id"], lambda: (accumulator.outstanding, accumulator.outstanding_bytes))
        self._config = config
        self._linger: float = config["linger.ms"] / 1000
        self._delivery_timeout: float = config["delivery.timeout.ms"] / 1000
        self._codec = CODECS.index(config["compression.type"])
        self._acks = config["acks"]
        self._most_in_flight: int = config["max.in.flight.requests.per.connection"]
        # A caller who goes on as soon as a consumer has the record may be quicker than the broker's answer to the producer.
        self._most_alone = min(self._most_in_flight, 2)
        # Held by whoever sends: the I/O thread, or a caller by send_now.
        self._lock = threading.RLock()
        self._states: dict[tuple[str, int], _State] = {}
        self._retrying: set[_State] = set()
        self._requests: dict[int, int] = {}
        self._connecting: set[int] = set()
        self._producer: tuple[int, int] | None = (-1, -1)
        if config["enable.idempotence"]:
            self._producer = None
        self.transactions: Transactions | None = None
        if config["transactional.id"] is not None:
            self.transactions = Transactions(cluster, self._begin_sequences, self.run)
        self._starting = False
        self._bumping = False
        self._timer: asyncio.TimerHandle | None = None
        self._topics: dict[str, asyncio.Task[None]] = {}
        self.flushing = 0
        cluster.on_metadata.append(self._metadata_came)

    # waking

    def _metadata_came(self) -> None:
        for name in self._topics.keys() | self._cluster.watched:
            topic = self._cluster.metadata.topics.get(name)
            if topic is not None and topic.error is None and topic.partitions:
                self._accumulator.topic_known(name, len(topic.partitions))
        self._report_unplaced()
        self.run()

    def _report_unplaced(self) -> None:
        unplaced = self._accumulator.failed[:]
        self._accumulator.failed.clear()
        for batch in unplaced:
            self._finish(batch)

    def want_topic(self, name: str) -> None:
        """Learn of a topic, and fail what waits for it when that takes longer than delivery.timeout.ms."""
        self._cluster.watched.add(name)
        if name not in self._topics:
            self._topics[name] = self._cluster.io.spawn(self._learn(name))

    async def _learn(self, name: str) -> None:
        try:
            topic = await self._cluster.topic(name, self._cluster.loop.time() + self._delivery_timeout)
        except KafkaError as error:
            self._cluster.watched.discard(name)
            self._topics.pop(name, None)
            for batch in self._accumulator.topic_failed(name, error):
                self._finish(batch)
            return
        self._topics.pop(name, None)
        self._accumulator.topic_known(name, len(topic.partitions))
        self._report_unplaced()
        self.run()

    def send_now(self) -> None:
        """Send what a caller just gave, on its own thread, if it is alone: then nothing is gained by waiting for others, nor for
        the I/O thread. In all other cases the I/O thread is told.

        Raises:
            RuntimeError: the client can't be used any more.
        """
        self._cluster.io.check()
        if self._lock.acquire(blocking=False):
            try:
                if self._send_only():
                    return
            finally:
                self._lock.release()
        self._cluster.io.call(self.run)

    def _send_only(self) -> bool:
        """Send the batch of the only partition that has one; False where anything stands in the way."""
        accumulator = self._accumulator
        if self._producer is None or self._retrying or self._bumping or self.transactions is not None:
            return False
        if len(accumulator.active) != 1:
            return False
        queue = accumulator.active[0]
        state: _State | None = queue.state
        if state is None or not state.confirmed or len(state.in_flight) >= self._most_alone or queue.full:
            return False
        route = state.route
        if route is not None and route.stamp == self._cluster.metadata.version and route.channel.shared_fd >= 0:
            connection = route.channel
        else:
            found = self._cluster.live(self._cluster.metadata.leader(queue.topic, queue.partition))
            if found is None or found.shared_fd < 0:
                return False
            connection = found
            route = state.route = self._route(queue, connection)
        if self._requests.get(connection.node_id, 0) >= self._most_alone:
            return False
        accumulator.resume()
        batch = accumulator.take(queue, True)
        accumulator.settle()
        if batch is not None:
            connection.take_over()
            self._seal(state, batch)
            if route is None:
                self._send_one(connection.node_id, connection, [(state, batch)])
            else:
                self._send_alone(route, state, batch)
            # Answers to what was sent before are taken while the broker is at work.
            connection.receive()
        return True

    def _route(self, queue: PartitionQueue, connection: Connection) -> ProduceRoute[Connection] | None:
        """How a partition's batches go alone; None where topics have no ids, and with acks=0."""
        metadata = self._cluster.metadata
        topic = metadata.topics[queue.topic]
        if self._acks == 0 or topic.topic_id == ZERO_UUID:
            return None
        try:
            version = connection.version(ProduceRequest)
        except KafkaError:
            # Whoever sends it the ordinary way tells why it can't be.
            return None
        if version < _IDS_SINCE:
            return None
        patience: int = self._config["request.timeout.ms"]
        return ProduceRoute(
            connection, metadata.version, version, self._acks, patience, topic.raw_id, queue.partition, self._cluster.timeout
        )

    def _send_alone(self, route: ProduceRoute[Connection], state: _State, batch: ProducedBatch) -> None:
        batch.attempts += 1
        state.in_flight.append(batch)
        node = route.channel.node_id
        self._requests[node] = self._requests.get(node, 0) + 1
        route.send(batch, partial(self._answered_alone, route, state, batch))

    def _answered_alone(
        self, route: ProduceRoute[Connection], state: _State, batch: ProducedBatch, answer: memoryview | KafkaError
    ) -> None:
        """Take the answer to a batch that went alone."""
        node = route.channel.node_id
        delivered = None if isinstance(answer, KafkaError) else route.read(answer)
        if delivered is None:
            self._answered(_Sent(node, route.channel, route.version, [(state, batch)]), answer)
            return
        with self._lock:
            self._requests[node] -= 1
            self._delivered(state, batch, *delivered)
            if self._accumulator.active or self._retrying or self._bumping:
                self._cluster.io.aside(self.run)

    def run(self) -> None:
        """Send what is due, and come back when more is; on the I/O thread."""
        for connection in self._cluster.standing():
            # Callers who send one record at a time take answers themselves; now there is more to it.
            connection.give_back()
        with self._lock:
            self._run()

    def _run(self) -> None:
        self._accumulator.resume()
        # Whatever can be sent is sent at once: a caller who is busy lets this thread go on only every few milliseconds.
        while self._may_send() and self._send_due():
            pass

    def _may_send(self) -> bool:
        """Whether there is a producer id to send under; sees to it that there will be one, or gives up."""
        if self.transactions is not None and self.transactions.failure is not None:
            self._give_up(self.transactions.failure)
            return False
        if self._producer is None:
            self._start_producer()
            return False
        return True

    def _send_due(self) -> bool:
        """Send at most one batch of each partition; False when nothing was due: then this comes back when something is."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        # Batches carry this clock's time; the loop's own lags behind by as much as it has been at work.
        now = time.monotonic()
        due: dict[int, list[tuple[_State, ProducedBatch]]] = {}
        wake = now + 1.0 if self._accumulator.outstanding else None
        for state in list(self._retrying):
            if state.not_before > now:
                wake = min(wake or state.not_before, state.not_before)
            else:
                self._consider_retry(state, due, now)
        if not self._bumping:
            for queue in self._accumulator.active:
                later = self._consider(queue, due, now)
                if later is not None:
                    wake = min(wake or later, later)
            self._accumulator.settle()
        elif not self._retrying and not any(state.in_flight for state in self._states.values()):
            self._producer = None
            self._start_producer()
            return False
        for node, batches in due.items():
            self._send(node, batches)
        if any(due.values()):
            return True
        if wake is not None:
            self._timer = self._cluster.loop.call_later(max(wake - now, 0.0005), self.run)
        return False

    def _state(self, queue: PartitionQueue) -> _State:
        state: _State | None = queue.state
        if state is None:
            backoff = Backoff(self._config["retry.backoff.ms"], self._config["retry.backoff.max.ms"])
            state = queue.state = self._states[queue.topic, queue.partition] = _State(queue, backoff)
        return state

    def _room(self, node: int) -> bool:
        """Whether a broker can take another request; begins to connect where there is no connection."""
        if self._cluster.live(node) is None:
            if node not in self._connecting:
                self._connecting.add(node)
                self._cluster.io.spawn(self._connect(node))
            return False
        return self._requests.get(node, 0) < self._most_in_flight

    async def _connect(self, node: int) -> None:
        try:
            await self._cluster.connection(node)
        except KafkaError as error:
            await self._connect_later(error)
        except Exception as error:
            _log.exception("connecting to broker %d failed unexpectedly; it is tried again", node)
            text = f"connecting to broker {node}: {type(error).__name__}: {error}"
            await self._connect_later(KafkaError(ErrorCode.UNKNOWN_SERVER_ERROR, text))
        finally:
            self._connecting.discard(node)
        self.run()

    async def _connect_later(self, error: KafkaError) -> None:
        """Tell of a connection that could not be made, and wait before it is tried again."""
        self._cluster.report(error)
        self._cluster.refresh_soon()
        await asyncio.sleep(self._config["retry.backoff.ms"] / 1000)

    def _consider(self, queue: PartitionQueue, due: dict[int, list[tuple[_State, ProducedBatch]]], now: float) -> float | None:
        """Take a partition's batches that are due; when to look again otherwise."""
        if queue.partition < 0:
            return None
        state = self._state(queue)
        oldest = queue.full[0] if queue.full else queue.current
        if oldest is None or state.retry:
            return None
        if now - oldest.created > self._delivery_timeout:
            self._expire(queue, now)
            return now
        node = self._cluster.metadata.leader(queue.topic, queue.partition)
        if node < 0:
            self._cluster.refresh_soon()
            return None
        if not self._room(node):
            return None
        if self.transactions is not None and not self.transactions.may_send((queue.topic, queue.partition)):
            return None
        waiting = due.setdefault(node, [])
        most = self._most_in_flight if state.confirmed else 1
        if any(one is state for one, _ in waiting) or len(state.in_flight) >= most:
            return None
        force = self.flushing > 0 or oldest.urgent or now - oldest.created >= self._linger
        batch = self._accumulator.take(queue, force)
        if batch is None:
            return oldest.created + self._linger
        self._seal(state, batch)
        waiting.append((state, batch))
        if queue.full or (queue.current is not None and force):
            return now
        return None if queue.current is None else queue.current.created + self._linger

    def _consider_retry(self, state: _State, due: dict[int, list[tuple[_State, ProducedBatch]]], now: float) -> None:
        while state.retry and now - state.retry[0].created > self._delivery_timeout and not state.in_flight:
            batch = state.retry.popleft()
            self._fail(state, batch, batch.error or KafkaError(ErrorCode.REQUEST_TIMED_OUT), gap=True)
        if not state.retry or state.in_flight or state.poisoned:
            if not state.retry:
                self._retrying.discard(state)
            return
        node = self._cluster.metadata.leader(state.queue.topic, state.queue.partition)
        if node >= 0 and self._room(node):
            due.setdefault(node, []).append((state, state.retry.popleft()))
            if not state.retry:
                self._retrying.discard(state)

    def _expire(self, queue: PartitionQueue, now: float) -> None:
        while True:
            oldest = queue.full[0] if queue.full else queue.current
            if oldest is None or now - oldest.created <= self._delivery_timeout:
                return
            batch = self._accumulator.take(queue, True)
            if batch is not None:
                batch.error = KafkaError(
                    ErrorCode.REQUEST_TIMED_OUT,
                    f"{queue.topic}-{queue.partition}: not delivered within {self._delivery_timeout:g} s (delivery.timeout.ms); "
                    "its leader can't be reached",
                )
                self._finish(batch)

    # sending

    def _seal(self, state: _State, batch: ProducedBatch) -> None:
        packed = None
        if self._codec:
            packed = compress(CODECS[self._codec], batch.records(), self._config["compression.level"])
        batch.seal(self._codec, packed, self.transactions is not None)
        self._number(state, batch)

    def _number(self, state: _State, batch: ProducedBatch) -> None:
        assert self._producer is not None
        producer_id, epoch = self._producer
        if producer_id >= 0:
            batch.number(producer_id, epoch, state.next_sequence)
            state.next_sequence = (state.next_sequence + batch.count) % _SEQUENCES

    def _send(self, node: int, batches: list[tuple[_State, ProducedBatch]]) -> None:
        connection = self._cluster.live(node)
        start, size = 0, 0
        for index, (_, batch) in enumerate(batches):
            size += batch.size
            if size > _REQUEST_BYTES and index > start:
                self._send_one(node, connection, batches[start:index])
                start, size = index, batch.size
        if batches:
            self._send_one(node, connection, batches[start:])

    def _send_one(self, node: int, connection: Connection | None, batches: list[tuple[_State, ProducedBatch]]) -> None:
        if connection is None:
            self._failed(batches, KafkaError(ErrorCode.NETWORK_EXCEPTION, f"the connection to broker {node} was lost"))
            return
        ids = self._cluster.metadata.topics
        named = any(ids[state.queue.topic].topic_id == ZERO_UUID for state, _ in batches)
        try:
            most = _TRANSACTIONAL if self.transactions is not None else _IDS_SINCE - 1 if named else None
            version = connection.version(ProduceRequest, most)
            if version < _OLDEST_BATCHES:
                raise KafkaError(ErrorCode.UNSUPPORTED_VERSION, f"{connection.address} is too old: it knows no record batches")
        except KafkaError as error:
            self._failed(batches, error)
            return
        for state, batch in batches:
            batch.attempts += 1
            state.in_flight.append(batch)
        body = self._body(version, batches)
        if self._acks == 0:
            self._send_unanswered(connection, version, body, batches)
            return
        self._requests[node] = self._requests.get(node, 0) + 1
        answered = partial(self._answered, _Sent(node, connection, version, batches))
        connection.send(ProduceRequest.api_key, version, body, self._cluster.timeout, answered)

    def _body(self, version: int, batches: list[tuple[_State, ProducedBatch]]) -> list[Any]:
        """The body of a request, in pieces."""
        ids, timeout = self._cluster.metadata.topics, self._config["request.timeout.ms"]
        by_topic: dict[str, list[tuple[int, memoryview]]] = {}
        for state, batch in batches:
            by_topic.setdefault(state.queue.topic, []).append((state.queue.partition, memoryview(batch.wire())))
        if version < _IDS_SINCE:
            request = ProduceRequest(
                transactional_id=None if self.transactions is None else self.transactions.id,
                acks=self._acks,
                timeout_ms=timeout,
                topic_data=[
                    TopicProduceData(name=name, partition_data=[PartitionProduceData(index=at, records=one) for at, one in each])
                    for name, each in by_topic.items()
                ],
            )
            return request.encode_parts(version)
        # The same as the schema makes of it, which takes several times as long.
        pieces: list[Any] = [b"\0" + _ACKS_AND_TIMEOUT.pack(self._acks, timeout) + uvarint(len(by_topic) + 1)]
        for name, each in by_topic.items():
            pieces[-1] += ids[name].topic_id.bytes + uvarint(len(each) + 1)
            for partition, data in each:
                pieces[-1] += _INT32.pack(partition) + uvarint(len(data) + 1)
                pieces += (data, b"\0")
            pieces[-1] += b"\0"
        pieces[-1] += b"\0"
        return pieces

    def _send_unanswered(
        self, connection: Connection, version: int, body: list[Any], batches: list[tuple[_State, ProducedBatch]]
    ) -> None:
        """Send with acks=0: what is handed to the socket counts as delivered, its offset is not known."""
        try:
            connection.send_unanswered(ProduceRequest.api_key, version, body)
        except KafkaError as error:
            self._failed(batches, error)
            return
        for state, batch in batches:
            state.in_flight.remove(batch)
            self._finish(batch)

    def _answered(self, sent: _Sent, answer: memoryview | KafkaError) -> None:
        if not self._cluster.io.inside:
            self._answered_to_caller(sent, answer)
            return
        with self._lock:
            self._requests[sent.node] -= 1
            try:
                if isinstance(answer, KafkaError):
                    raise answer
                self._take_answer(sent, answer)
            except KafkaError as error:
                self._failed(sent.batches, error)
            self._run()

    def _answered_to_caller(self, sent: _Sent, answer: memoryview | KafkaError) -> None:
        """Take an answer on a caller's thread if it is a plain one; others are left to the I/O thread."""
        with self._lock:
            if not isinstance(answer, KafkaError) and self._take_plain(sent, answer):
                self._requests[sent.node] -= 1
                if self._accumulator.active:
                    self._cluster.io.aside(self.run)
                return
        self._cluster.io.aside(self._answered, sent, answer)

    def _take_plain(self, sent: _Sent, answer: memoryview) -> bool:
        """Take an answer in which everything was delivered; False for any other."""
        plain = plain_produce(answer) if sent.version >= _IDS_SINCE else None
        if plain is None:
            return False
        by_bytes = self._cluster.metadata.names_by_bytes
        taken = {(by_bytes.get(topic_id, ""), partition): (offset, at) for topic_id, partition, offset, at in plain}
        if not all((state.queue.topic, state.queue.partition) in taken for state, _ in sent.batches):
            return False
        for state, batch in sent.batches:
            self._delivered(state, batch, *taken[state.queue.topic, state.queue.partition])
        return True

    def _take_answer(self, sent: _Sent, answer: memoryview) -> None:
        if self._take_plain(sent, answer):
            return
        connection, version = sent.connection, sent.version
        whole = connection.decode(answer, ProduceResponse, version)
        names = self._cluster.metadata.names
        results: dict[tuple[str, int], PartitionProduceResponse] = {
            (topic.name if version < _IDS_SINCE else names.get(topic.topic_id, ""), each.index): each
            for topic in whole.responses
            for each in topic.partition_responses
        }
        for state, batch in sent.batches:
            key = (state.queue.topic, state.queue.partition)
            result = results.get(key)
            if result is None:
                lost = KafkaError(ErrorCode.UNKNOWN_TOPIC_ID, f"{key[0]}-{key[1]} is not in the answer of {connection.address}")
                self._failed([(state, batch)], lost)
            else:
                self._settled(state, batch, result, connection.address)

    def _delivered(self, state: _State, batch: ProducedBatch, base_offset: int, append_time: int) -> None:
        state.in_flight.remove(batch)
        if state.backoff.attempts:
            state.backoff.reset()
        state.confirmed = True
        batch.error = None
        batch.latency = time.monotonic() - batch.created
        batch.base_offset = base_offset
        batch.append_time = append_time
        self._finish(batch)

    def _settled(self, state: _State, batch: ProducedBatch, result: PartitionProduceResponse, address: str) -> None:
        code = error_code(result.error_code)
        if code in (ErrorCode.NONE, ErrorCode.DUPLICATE_SEQUENCE_NUMBER):
            known = code is ErrorCode.NONE
            self._delivered(state, batch, result.base_offset if known else -1, result.log_append_time_ms if known else -1)
            return
        text = result.error_message or code.message
        hint = f"{address} refused {batch.count} records for {state.queue.topic}-{state.queue.partition}: {text}"
        self._failed([(state, batch)], KafkaError(code, hint))

    # failures

    def _failed(self, batches: list[tuple[_State, ProducedBatch]], error: KafkaError) -> None:
        if error.code in _STALE:
            self._cluster.refresh_soon()
        for state, batch in batches:
            first = not state.in_flight or batch is state.in_flight[0]
            with contextlib.suppress(ValueError):
                state.in_flight.remove(batch)
            batch.error = error
            in_time = time.monotonic() - batch.created < self._delivery_timeout
            passing = error.retriable or (error.code in _GAPS and not first)
            if self.transactions is not None and (self.transactions.failure is not None or error.code in _GAPS):
                self._fail(state, batch, error, gap=True)
            elif error.code in _GAPS and first and batch.attempts <= self._config["retries"] and in_time:
                # The broker lost our place: begin a new sequence with this batch.
                self._retry_later(state, batch)
                self._begin_anew(state)
            elif passing and batch.attempts <= self._config["retries"] and in_time:
                self._retry_later(state, batch)
            else:
                self._fail(state, batch, error, gap=True)

    def _retry_later(self, state: _State, batch: ProducedBatch) -> None:
        self.metrics.retries += 1
        state.not_before = time.monotonic() + state.backoff.next()
        place = 0
        while place < len(state.retry) and _before(state.retry[place], batch):
            place += 1
        state.retry.insert(place, batch)
        self._retrying.add(state)

    def _fail(self, state: _State, batch: ProducedBatch, error: KafkaError, *, gap: bool) -> None:
        batch.error = error
        self._finish(batch)
        if gap and batch.base_sequence >= 0 and self.transactions is None:
            self._begin_anew(state)

    def _finish(self, batch: ProducedBatch) -> None:
        """A batch is done: delivered, or failed for good."""
        if batch.error is None:
            self.metrics.records += batch.count
            self.metrics.bytes += batch.size
            self.metrics.batches += 1
        else:
            self.metrics.failed_records += batch.count
            if self.transactions is not None:
                self.transactions.fail(batch.error, gap=batch.base_sequence >= 0)
        self._report(batch)

    def _begin_anew(self, state: _State) -> None:
        """Stop new batches until nothing is in doubt, then take a new producer id."""
        state.poisoned = True
        self._retrying.discard(state)
        self._bumping = True
        self._cluster.loop.call_soon(self.run)

    def _start_producer(self) -> None:
        if not self._starting and self.transactions is None:
            self._starting = True
            self._cluster.io.spawn(self._init_producer_id())

    async def _init_producer_id(self) -> None:
        async def attempt() -> tuple[int, int]:
            request = InitProducerIdRequest(transactional_id=None, transaction_timeout_ms=60_000)
            answer = await self._cluster.request(request, InitProducerIdResponse)
            check(answer.error_code, "producer id")
            return answer.producer_id, answer.producer_epoch

        try:
            deadline = self._cluster.loop.time() + self._delivery_timeout
            self._producer = await self._cluster.retry(attempt, deadline, "producer id")
        except KafkaError as error:
            self._give_up(error)
            return
        finally:
            self._starting = False
        self._begin_sequences(*self._producer)

    def _begin_sequences(self, producer_id: int, epoch: int) -> None:
        """Go on under a producer id and epoch that no batch was sent under."""
        with self._lock:
            self._producer = (producer_id, epoch)
            self._bumping = False
            for state in self._states.values():
                state.next_sequence = 0
                state.poisoned = state.confirmed = False
                for batch in state.retry:
                    self._number(state, batch)
                if state.retry:
                    self._retrying.add(state)
            self._run()

    def purge(self, in_queue: bool, in_flight: bool) -> None:
        """Give up what waits, what was sent and is not answered, or both; on the I/O thread."""
        with self._lock:
            if in_queue:
                self._purge_queued(KafkaError(ErrorCode.OPERATION_NOT_ATTEMPTED, "purged before it was sent"))
            if in_flight:
                text = "purged while it was sent; whether the broker has it is not known"
                error = KafkaError(ErrorCode.OPERATION_NOT_ATTEMPTED, text)
                for state in list(self._retrying):
                    while state.retry:
                        self._fail(state, state.retry.popleft(), error, gap=True)
                    self._retrying.discard(state)
                # What is under way on these connections fails by the error that they end with.
                for node, count in list(self._requests.items()):
                    connection = self._cluster.live(node) if count else None
                    if connection is not None:
                        connection.abort(error)

    def _purge_queued(self, error: KafkaError) -> None:
        for name in list(self._topics):
            for batch in self._accumulator.topic_failed(name, error):
                self._finish(batch)
        self._drop_queued(error)

    def _drop_queued(self, error: KafkaError) -> None:
        for queue in list(self._accumulator.active):
            while (batch := self._accumulator.take(queue, True)) is not None:
                batch.error = error
                self._finish(batch)
        self._accumulator.settle()

    def _give_up(self, error: KafkaError) -> None:
        """Fail everything that waits: there is no producer id, or no transaction that could be committed."""
        for state in self._states.values():
            while state.retry:
                self._fail(state, state.retry.popleft(), error, gap=False)
            self._retrying.discard(state)
        self._drop_queued(error)


def _before(a: ProducedBatch, b: ProducedBatch) -> bool:
    """Whether a batch stands before another in its partition; sequences wrap."""
    if a.base_sequence < 0:
        return a.created <= b.created
    return 0 < (b.base_sequence - a.base_sequence) % _SEQUENCES < _SEQUENCES // 2

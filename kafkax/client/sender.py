"""What sends a producer's batches, on its I/O thread: order, sequences, retries, time limits.

A partition's batches are sent in their order, up to five at a time.  When one fails in a way that may pass, it and those
behind it go back to the partition's retry queue and are sent one by one, so that order is kept; with idempotence the broker
drops what it has already.  A batch that fails for good leaves a gap in the sequence: then, once everything in doubt is
settled, the producer takes a new producer id and begins its sequences anew.

The ordinary case is the core's (``sending``): batches that are due go to a leader that is known and connected, and everything in
an answer was delivered.  It is done by whatever thread comes first.  All the rest is here, on the I/O thread.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import time
from collections.abc import Sequence
from typing import Any

from kafkax._core.accumulator import Accumulator, PartitionQueue
from kafkax._core.produced import ProducedBatch
from kafkax._core.sending import Dispatcher, PartitionState, ProduceCall, ProduceRoute
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

__all__ = ["Sender"]

Due = dict[int, list[tuple[PartitionState, ProducedBatch]]]
"""Batches to be sent, by broker."""

_log = logging.getLogger("kafkax.client")
_IDS_SINCE = 13
_OLDEST_BATCHES = 3
_TRANSACTIONAL = 11
"""Newest version in which the producer itself has added a partition to its transaction."""
_REQUEST_BYTES = 16 * 1024 * 1024
_SEQUENCES = 1 << 31
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


_WHILE_ATTENDED = 0.005
"""Seconds between looks whether a caller still sees to what is due."""


class Sender(Dispatcher):
    """Sends what an accumulator holds.

    Args:
        cluster: connections and metadata.
        accumulator: what is to be sent; it is told what is done, with ``error`` and ``base_offset`` set.
        shared: whether callers receive, too.
    """

    def __init__(self, cluster: Cluster, accumulator: Accumulator, *, shared: bool) -> None:
        config = cluster.config
        self._linger: float = config["linger.ms"] / 1000
        self._delivery_timeout: float = config["delivery.timeout.ms"] / 1000
        self._codec = CODECS.index(config["compression.type"])
        self._acks = config["acks"]
        self._most_in_flight: int = config["max.in.flight.requests.per.connection"]
        super().__init__(
            accumulator,
            cluster.loop,
            cluster.io.ident,
            acks=self._acks,
            timeout_ms=config["request.timeout.ms"],
            timeout=cluster.timeout,
            linger=self._linger,
            delivery_timeout=self._delivery_timeout,
            most_in_flight=self._most_in_flight,
            codec=self._codec,
            compress=self._compressed,
            shared=shared,
        )
        self._cluster = cluster
        self.metrics = ProducerMetrics(config["client.id"], lambda: (accumulator.outstanding, accumulator.outstanding_bytes))
        self._config = config
        self._states: dict[tuple[str, int], PartitionState] = {}
        self._connecting: set[int] = set()
        self.producer = None if config["enable.idempotence"] else (-1, -1)
        self.transactions: Transactions | None = None
        if config["transactional.id"] is not None:
            self.transactions = Transactions(cluster, self._begin_sequences, self.run)
        self.ordinary = self.transactions is None
        self._starting = False
        self._timer: asyncio.TimerHandle | None = None
        self._topics: dict[str, asyncio.Task[None]] = {}
        cluster.on_metadata.append(self._metadata_came)

    # waking

    def _metadata_came(self) -> None:
        self.stamp = self._cluster.metadata.version
        for name in self._topics.keys() | self._cluster.watched:
            topic = self._cluster.metadata.topics.get(name)
            if topic is not None and topic.error is None and topic.partitions:
                self.accumulator.topic_known(name, len(topic.partitions))
        self._report_unplaced()
        self.run()

    def _report_unplaced(self) -> None:
        unplaced = self.accumulator.failed[:]
        self.accumulator.failed.clear()
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
            for batch in self.accumulator.topic_failed(name, error):
                self._finish(batch)
            return
        self._topics.pop(name, None)
        self.accumulator.topic_known(name, len(topic.partitions))
        self._report_unplaced()
        self.run()

    def _learn_route(self, state: PartitionState, connection: Connection) -> None:
        """Let the core send a partition's batches from now on; not where topics have no ids, with acks=0 and with TLS."""
        metadata = self._cluster.metadata
        topic = metadata.topics[state.queue.topic]
        if self._acks == 0 or topic.topic_id == ZERO_UUID or connection.shared_fd < 0 or self.transactions is not None:
            return
        try:
            version = connection.version(ProduceRequest)
        except KafkaError:
            # Whoever sends it the ordinary way tells why it can't be.
            return
        if version < _IDS_SINCE:
            return
        state.route = ProduceRoute(connection, metadata.version, version, topic.raw_id)
        if connection not in self.channels:
            self.channels = [each for each in self.channels if each.shared_fd >= 0] + [connection]

    def run(self) -> None:
        """Send what is due, and come back when more is; on the I/O thread."""
        self.asked = False
        if not self._attended() and not self.accumulator.waiting:
            for connection in self._cluster.standing():
                # Callers took answers themselves; now they do something else.
                connection.give_back()
        with self.lock:
            self._run()

    def _attended(self) -> bool:
        """Whether a caller does what there is to be done."""
        return time.monotonic() < self.attended_until

    def _look_again(self) -> None:
        """It is time for :meth:`run`; while a caller is at it, both would only wait for each other."""
        if self._attended():
            self._timer = self._cluster.loop.call_later(_WHILE_ATTENDED, self._look_again)
        else:
            self.run()

    def leave(self) -> None:
        """Do nothing any more, in a process that has only copies of the sockets and no thread."""
        self.ordinary, self.channels, self.asked = False, [], True

    def _run(self) -> None:
        self.accumulator.resume()
        # Whatever can be sent is sent at once: a caller who is busy lets this thread go on only every few milliseconds.
        while self._may_send() and self._send_due():
            pass

    def _may_send(self) -> bool:
        """Whether there is a producer id to send under; sees to it that there will be one, or gives up."""
        if self.transactions is not None and self.transactions.failure is not None:
            self._give_up(self.transactions.failure)
            return False
        if self.producer is None:
            self._start_producer()
            for queue in self.accumulator.active:
                # Connections can be made meanwhile.
                node = self._cluster.metadata.leader(queue.topic, queue.partition)
                if node >= 0:
                    self._room(node)
            return False
        return True

    def _send_due(self) -> bool:
        """Send at most one batch of each partition; False when nothing was due: then this comes back when something is."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        # Batches carry this clock's time; the loop's own lags behind by as much as it has been at work.
        now = time.monotonic()
        wake = now + 1.0 if self.accumulator.outstanding else math.inf
        due: Due = {}
        for state in list(self.retrying):
            if state.not_before > now:
                wake = min(wake, state.not_before)
            else:
                self._consider_retry(state, due, now)
        # These stand before what is new.
        sent = self._send(due)
        if self.bumping:
            if not self.retrying and not any(state.in_flight for state in self._states.values()):
                self.producer = None
                self._start_producer()
                return False
        else:
            queues, soonest = self.dispatch(now)
            wake = min(wake, soonest)
            due = {}
            for queue in queues:
                wake = min(wake, self._consider(queue, due, now))
            self.accumulator.settle()
            sent = self._send(due) or sent
        if sent:
            return True
        if self._linger and self.accumulator.active:
            # What only waits for an answer now may be followed by what lingers.
            wake = min(wake, now + self._linger)
        if wake < math.inf:
            self._timer = self._cluster.loop.call_later(max(wake - now, 0.0005), self._look_again)
            if wake <= now + self._linger:
                self.accumulator.quiet()
        return False

    def _state(self, queue: PartitionQueue) -> PartitionState:
        state: PartitionState | None = queue.state
        if state is None:
            backoff = Backoff(self._config["retry.backoff.ms"], self._config["retry.backoff.max.ms"])
            state = queue.state = self._states[queue.topic, queue.partition] = PartitionState(queue, backoff)
        return state

    def _room(self, node: int) -> bool:
        """Whether a broker can take another request; begins to connect where there is no connection."""
        connection = self._cluster.live(node)
        if connection is None:
            if node not in self._connecting:
                self._connecting.add(node)
                self._cluster.io.spawn(self._connect(node))
            return False
        return connection.produces < self._most_in_flight

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

    def _consider(self, queue: PartitionQueue, due: Due, now: float) -> float:
        """Take a partition's batches that are due; when to look again otherwise, infinite for not by itself."""
        if queue.partition < 0:
            return math.inf
        state = self._state(queue)
        oldest = queue.full[0] if queue.full else queue.current
        if oldest is None or state.retry:
            return math.inf
        if now - oldest.created > self._delivery_timeout:
            self._expire(queue, now)
            return now
        node = self._cluster.metadata.leader(queue.topic, queue.partition)
        if node < 0:
            self._cluster.refresh_soon()
            return math.inf
        if not self._room(node):
            return math.inf
        if self.transactions is not None and not self.transactions.may_send((queue.topic, queue.partition)):
            return math.inf
        waiting = due.setdefault(node, [])
        most = self._most_in_flight if state.confirmed else 1
        if any(one is state for one, _ in waiting) or len(state.in_flight) >= most:
            return math.inf
        force = self.flushing > 0 or oldest.urgent or now - oldest.created >= self._linger
        batch = self.accumulator.take(queue, force)
        if batch is None:
            return oldest.created + self._linger
        self._seal(state, batch)
        waiting.append((state, batch))
        if queue.full or (queue.current is not None and force):
            return now
        return math.inf if queue.current is None else queue.current.created + self._linger

    def _consider_retry(self, state: PartitionState, due: Due, now: float) -> None:
        while state.retry and now - state.retry[0].created > self._delivery_timeout and not state.in_flight:
            batch = state.retry.popleft()
            self._fail(state, batch, batch.error or KafkaError(ErrorCode.REQUEST_TIMED_OUT), gap=True)
        if not state.retry or state.poisoned:
            # What is left of a poisoned one waits for its new sequence.
            self.retrying.discard(state)
            return
        if state.in_flight:
            return
        node = self._cluster.metadata.leader(state.queue.topic, state.queue.partition)
        if node >= 0 and self._room(node):
            due.setdefault(node, []).append((state, state.retry.popleft()))
            if not state.retry:
                self.retrying.discard(state)

    def _expire(self, queue: PartitionQueue, now: float) -> None:
        while True:
            oldest = queue.full[0] if queue.full else queue.current
            if oldest is None or now - oldest.created <= self._delivery_timeout:
                return
            batch = self.accumulator.take(queue, True)
            if batch is not None:
                batch.error = KafkaError(
                    ErrorCode.REQUEST_TIMED_OUT,
                    f"{queue.topic}-{queue.partition}: not delivered within {self._delivery_timeout:g} s (delivery.timeout.ms); "
                    "its leader can't be reached",
                )
                self._finish(batch)

    # sending

    def _compressed(self, records: memoryview) -> bytes:
        return compress(CODECS[self._codec], records, self._config["compression.level"])

    def _seal(self, state: PartitionState, batch: ProducedBatch) -> None:
        packed = self._compressed(batch.records()) if self._codec else None
        batch.seal(self._codec, packed, self.transactions is not None)
        self.number(state, batch)

    def _send(self, due: Due) -> bool:
        """Send batches, by broker; whether there were any."""
        for node, batches in due.items():
            connection = self._cluster.live(node)
            start, size = 0, 0
            for index, (_, batch) in enumerate(batches):
                size += batch.size
                if size > _REQUEST_BYTES and index > start:
                    self._send_one(node, connection, batches[start:index])
                    start, size = index, batch.size
            if batches:
                self._send_one(node, connection, batches[start:])
        return any(due.values())

    def _send_one(self, node: int, connection: Connection | None, batches: list[tuple[PartitionState, ProducedBatch]]) -> None:
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
        for state, _ in batches:
            self._learn_route(state, connection)
        if self._acks == 0:
            self._send_unanswered(connection, version, batches)
            return
        body = self._body(version, batches) if version < _IDS_SINCE else None
        call = ProduceCall(self, connection, version)
        call.send(batches, [ids[state.queue.topic].raw_id for state, _ in batches], body)

    def _body(self, version: int, batches: Sequence[tuple[PartitionState, ProducedBatch]]) -> list[Any]:
        """The body of a request, in pieces, where it is not the core that writes it."""
        ids = self._cluster.metadata.topics
        by_topic: dict[str, list[tuple[int, memoryview]]] = {}
        for state, batch in batches:
            by_topic.setdefault(state.queue.topic, []).append((state.queue.partition, memoryview(batch.wire())))
        topics = [
            TopicProduceData(
                name=name if version < _IDS_SINCE else "",
                topic_id=ids[name].topic_id if version >= _IDS_SINCE else ZERO_UUID,
                partition_data=[PartitionProduceData(index=at, records=one) for at, one in each],
            )
            for name, each in by_topic.items()
        ]
        request = ProduceRequest(
            transactional_id=None if self.transactions is None else self.transactions.id,
            acks=self._acks,
            timeout_ms=self._config["request.timeout.ms"],
            topic_data=topics,
        )
        return request.encode_parts(version)

    def _send_unanswered(
        self, connection: Connection, version: int, batches: list[tuple[PartitionState, ProducedBatch]]
    ) -> None:
        """Send with acks=0: what is handed to the socket counts as delivered, its offset is not known."""
        for _, batch in batches:
            batch.attempts += 1
        try:
            connection.send_unanswered(ProduceRequest.api_key, version, self._body(version, batches))
        except KafkaError as error:
            self._failed(batches, error)
            return
        for _, batch in batches:
            self._finish(batch)

    def unusual(self, call: ProduceCall[Connection], answer: memoryview | KafkaError) -> None:
        """Take an answer that is not just that everything was delivered; on the I/O thread."""
        with self.lock:
            call.channel.produces -= 1
            try:
                if isinstance(answer, KafkaError):
                    raise answer
                self._take_answer(call, answer)
            except KafkaError as error:
                self._failed(call.batches, error)
            self._run()

    def _take_answer(self, call: ProduceCall[Connection], answer: memoryview) -> None:
        connection, version = call.channel, call.version
        whole = connection.decode(answer, ProduceResponse, version)
        names = self._cluster.metadata.names
        results: dict[tuple[str, int], PartitionProduceResponse] = {
            (topic.name if version < _IDS_SINCE else names.get(topic.topic_id, ""), each.index): each
            for topic in whole.responses
            for each in topic.partition_responses
        }
        for state, batch in call.batches:
            key = (state.queue.topic, state.queue.partition)
            result = results.get(key)
            if result is None:
                lost = KafkaError(ErrorCode.UNKNOWN_TOPIC_ID, f"{key[0]}-{key[1]} is not in the answer of {connection.address}")
                self._failed([(state, batch)], lost)
            else:
                self._settled(state, batch, result, connection.address)

    def _settled(self, state: PartitionState, batch: ProducedBatch, result: PartitionProduceResponse, address: str) -> None:
        code = error_code(result.error_code)
        if code in (ErrorCode.NONE, ErrorCode.DUPLICATE_SEQUENCE_NUMBER):
            known = code is ErrorCode.NONE
            self.delivered(state, batch, result.base_offset if known else -1, result.log_append_time_ms if known else -1)
            return
        text = result.error_message or code.message
        hint = f"{address} refused {batch.count} records for {state.queue.topic}-{state.queue.partition}: {text}"
        self._failed([(state, batch)], KafkaError(code, hint))

    # failures

    def _failed(self, batches: list[tuple[PartitionState, ProducedBatch]], error: KafkaError) -> None:
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

    def _retry_later(self, state: PartitionState, batch: ProducedBatch) -> None:
        self.metrics.retries += 1
        state.not_before = time.monotonic() + state.backoff.next()
        place = 0
        while place < len(state.retry) and _before(state.retry[place], batch):
            place += 1
        state.retry.insert(place, batch)
        self.retrying.add(state)

    def _fail(self, state: PartitionState, batch: ProducedBatch, error: KafkaError, *, gap: bool) -> None:
        batch.error = error
        self._finish(batch)
        if gap and batch.base_sequence >= 0 and self.transactions is None:
            self._begin_anew(state)

    def _finish(self, batch: ProducedBatch) -> None:
        """A batch is done: delivered, or failed for good."""
        if batch.error is None:
            self.count(batch)
        else:
            self.metrics.failed_records += batch.count
            if self.transactions is not None:
                self.transactions.fail(batch.error, gap=batch.base_sequence >= 0)
        self.accumulator.finished(batch)

    def _begin_anew(self, state: PartitionState) -> None:
        """Stop new batches until nothing is in doubt, then take a new producer id."""
        state.poisoned = True
        self.retrying.discard(state)
        self.bumping = True
        self.ask()

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
            self.producer = await self._cluster.retry(attempt, deadline, "producer id")
        except KafkaError as error:
            self._give_up(error)
            return
        finally:
            self._starting = False
        self._begin_sequences(*self.producer)

    def _begin_sequences(self, producer_id: int, epoch: int) -> None:
        """Go on under a producer id and epoch that no batch was sent under."""
        with self.lock:
            self.producer = (producer_id, epoch)
            self.bumping = False
            for state in self._states.values():
                state.next_sequence = 0
                state.poisoned = state.confirmed = False
                for batch in state.retry:
                    self.number(state, batch)
                if state.retry:
                    self.retrying.add(state)
            self._run()

    def purge(self, in_queue: bool, in_flight: bool) -> None:
        """Give up what waits, what was sent and is not answered, or both; on the I/O thread."""
        with self.lock:
            if in_queue:
                self._purge_queued(KafkaError(ErrorCode.OPERATION_NOT_ATTEMPTED, "purged before it was sent"))
            if in_flight:
                text = "purged while it was sent; whether the broker has it is not known"
                error = KafkaError(ErrorCode.OPERATION_NOT_ATTEMPTED, text)
                for state in list(self.retrying):
                    while state.retry:
                        self._fail(state, state.retry.popleft(), error, gap=True)
                    self.retrying.discard(state)
                # What is under way on these connections fails by the error that they end with.
                for connection in self._cluster.standing():
                    if connection.produces:
                        connection.abort(error)

    def _purge_queued(self, error: KafkaError) -> None:
        for name in list(self._topics):
            for batch in self.accumulator.topic_failed(name, error):
                self._finish(batch)
        self._drop_queued(error)

    def _drop_queued(self, error: KafkaError) -> None:
        for queue in list(self.accumulator.active):
            while (batch := self.accumulator.take(queue, True)) is not None:
                batch.error = error
                self._finish(batch)
        self.accumulator.settle()

    def _give_up(self, error: KafkaError) -> None:
        """Fail everything that waits: there is no producer id, or no transaction that could be committed."""
        for state in self._states.values():
            while state.retry:
                self._fail(state, state.retry.popleft(), error, gap=False)
            self.retrying.discard(state)
        self._drop_queued(error)


def _before(a: ProducedBatch, b: ProducedBatch) -> bool:
    """Whether a batch stands before another in its partition; sequences wrap."""
    if a.base_sequence < 0:
        return a.created <= b.created
    return 0 < (b.base_sequence - a.base_sequence) % _SEQUENCES < _SEQUENCES // 2

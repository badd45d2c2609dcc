"""The ordinary case of a producer's work: what is due is sent in order, what was delivered is reported, all else is left."""

from __future__ import annotations

import math
import socket
import struct
import threading
import time
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from kafkax._core.accumulator import Accumulator
from kafkax._core.channel import Channel
from kafkax._core.sending import Dispatcher, PartitionState, ProduceCall, ProduceRoute
from kafkax.errors import ErrorCode, KafkaError
from kafkax.protocol.headers import request_header, response_header
from kafkax.protocol.messages.produce import PartitionProduceResponse, ProduceRequest, ProduceResponse, TopicProduceResponse
from kafkax.protocol.records import iter_batches

TOPICS = {"t": uuid.UUID(int=7), "u": uuid.UUID(int=8)}


class Plain(Channel):
    """A channel over one end of a pair of sockets; notes what it is told."""

    def __init__(self, end: socket.socket) -> None:
        super().__init__("there:1", 1 << 20)
        self.fd = self.shared_fd = end.fileno()
        self.errors: list[Any] = []

    def header(self, api_key: int, version: int) -> bytes:
        return request_header(api_key, version, 0, "me")

    def gone(self) -> KafkaError:
        return KafkaError(ErrorCode.NETWORK_EXCEPTION, "gone")

    def abort(self, error: KafkaError) -> None:
        self.errors.append(error)

    def expect(self, deadline: float) -> None:
        self.watched_until = deadline


class Loop:
    """Keeps what it is asked to call."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []

    def is_closed(self) -> bool:
        return False

    def call_soon_threadsafe(self, *call: Any) -> None:
        self.calls.append(call)


class Metrics:
    records = bytes = batches = 0


class Backoff:
    attempts = 0


class Bench(Dispatcher):
    """A dispatcher with one broker, which the test plays, and two topics of two partitions."""

    def __init__(self, linger: float = 0, most: int = 5, **changes: Any) -> None:
        self.near, self.far = socket.socketpair()
        self.near.setblocking(False)
        self.far.settimeout(10)
        for end in (self.near, self.far):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        self.loop: Any = Loop()
        settings: dict[str, Any] = {
            "acks": -1, "timeout_ms": 5000, "timeout": 30.0, "linger": linger, "delivery_timeout": 60.0,
            "most_in_flight": most, "codec": 0, "compress": None, "shared": True,
        }  # fmt: skip
        accumulator = Accumulator(1 << 20, 10, 1 << 20, 1000, 1 << 30, "random")
        super().__init__(accumulator, self.loop, 0, **{**settings, **changes})
        accumulator.attach(lambda: None, lambda topic: None, lambda: None)
        self.metrics = Metrics()
        self.producer, self.ordinary, self.stamp = (4, 0), True, 1
        self.channel = Plain(self.near)
        self.channels = [self.channel]
        self.odd: list[tuple[ProduceCall[Any], Any]] = []
        self.states: dict[tuple[str, int], PartitionState] = {}

    def run(self) -> None:
        """What the I/O thread is asked for."""

    def unusual(self, call: ProduceCall[Any], answer: Any) -> None:
        self.odd.append((call, answer))

    def give(self, value: bytes, topic: str = "t", partition: int = 0, on_delivery: Any = None) -> None:
        self.accumulator.produce(topic, value, partition=partition, on_delivery=on_delivery)
        self.accumulator.topic_known(topic, 2)
        self.accumulator.settle()
        for queue in self.accumulator.active:
            if queue.partition >= 0 and queue.state is None:
                queue.state = state = PartitionState(queue, Backoff())
                state.route = ProduceRoute(self.channel, 1, 13, TOPICS[queue.topic].bytes)
                self.states[queue.topic, queue.partition] = state

    def sent(self) -> list[bytes]:
        """The values of the next request's batches, which the schema has to write as they came."""
        size = struct.unpack(">i", self.far.recv(4, socket.MSG_WAITALL))[0]
        frame = self.far.recv(size, socket.MSG_WAITALL)
        header = len(request_header(0, 13, 0, "me"))
        request = ProduceRequest.decode(frame[header:], 13)
        assert request.encode(13) == frame[header:]
        self.request, self.correlation_id = request, struct.unpack(">i", frame[4:8])[0]
        return [
            b" ".join(record.value or b"" for batch in iter_batches(each.records) for record in batch.records())
            for topic in request.topic_data
            for each in topic.partition_data
        ]

    def answer(self, **changes: Any) -> None:
        """Answer the last request: all was delivered at offset 70, unless something is changed in the first partition."""
        topics = []
        for topic in self.request.topic_data:
            parts = [PartitionProduceResponse(index=each.index, base_offset=70) for each in topic.partition_data]
            topics.append(TopicProduceResponse(topic_id=changes.pop("topic_id", topic.topic_id), partition_responses=parts))
        for name, value in changes.items():
            setattr(topics[0].partition_responses[0], name, value)
        body = response_header(0, 13, self.correlation_id) + ProduceResponse(responses=topics).encode(13)
        self.far.sendall(struct.pack(">i", len(body)) + body)
        self.channel.receive()

    def now(self) -> tuple[list[Any], float]:
        with self.lock:
            return self.dispatch(time.monotonic())


@pytest.fixture
def bench() -> Iterator[Bench]:
    made = Bench()
    yield made
    made.near.close()
    made.far.close()


def test_what_is_due_goes_out_in_one_request_as_the_schema_writes_it(bench: Bench) -> None:
    for topic, partition, size in (("t", 0, 1), ("u", 1, 300), ("t", 1, 40_000), ("u", 0, 5)):
        bench.give(b"%d" % partition * size, topic, partition)
    assert bench.now() == ([], math.inf)
    assert sorted(map(len, bench.sent())) == [1, 5, 300, 40_000]
    assert (bench.request.acks, bench.request.timeout_ms, len(bench.request.topic_data)) == (-1, 5000, 2)
    assert bench.channel.produces == 1
    bench.answer()
    assert (bench.accumulator.outstanding, bench.channel.produces, bench.metrics.records) == (0, 0, 4)
    assert bench.odd == []


def test_batches_of_a_partition_go_one_after_the_other(bench: Bench) -> None:
    for number in range(95):
        bench.give(b"%d" % number)
    bench.now()
    first = bench.sent()
    # Before the broker has taken one, a second could stand before it.
    assert (bench.channel.produces, len(bench.states["t", 0].in_flight)) == (1, 1)
    bench.answer()
    assert bench.channel.produces == 5
    values, sequences = first, [0]
    while bench.channel.produces:
        values += bench.sent()
        (batch,) = iter_batches(bench.request.topic_data[0].partition_data[0].records)
        sequences.append(batch.base_sequence)
        bench.answer()
        assert bench.channel.produces <= 5
    assert b" ".join(values).split() == [b"%d" % number for number in range(95)]
    assert sequences == list(range(0, 95, 10))


def test_a_batch_lingers_unless_it_is_full_or_somebody_waits() -> None:
    bench = Bench(linger=30.0)
    bench.give(b"x")
    queues, later = bench.now()
    assert queues == []
    assert 29 < later - time.monotonic() < 31
    assert bench.channel.produces == 0
    for _ in range(10):
        bench.give(b"x")
    bench.filled()
    assert bench.sent() == [b" ".join([b"x"] * 10)]
    bench.answer()
    assert bench.accumulator.outstanding == 1
    with bench.hurry():
        assert bench.sent() == [b"x"]
    bench.answer()
    assert bench.accumulator.outstanding == 0


def test_a_report_waits_for_whoever_serves_it(bench: Bench) -> None:
    told: list[Any] = []
    bench.give(b"x", on_delivery=lambda error, message: told.append((error, message.offset())))
    bench.now()
    bench.sent()
    bench.answer()
    assert (told, bench.accumulator.outstanding) == ([], 1)
    assert bench.accumulator.serve() == 1
    assert (told, bench.accumulator.outstanding) == ([(None, 70)], 0)


def test_a_report_that_is_interrupted_does_not_stop_those_behind_it(bench: Bench) -> None:
    told: list[int] = []

    def report(error: Any, message: Any) -> None:
        told.append(message.offset())
        if len(told) == 2:
            raise KeyboardInterrupt

    for _ in range(15):
        bench.give(b"x", on_delivery=report)
    bench.now()
    while bench.channel.produces:
        bench.sent()
        bench.answer()
    with pytest.raises(KeyboardInterrupt):
        bench.accumulator.serve()
    bench.accumulator.serve()
    assert (len(told), bench.accumulator.outstanding) == (15, 0)


@pytest.mark.parametrize(
    "change",
    [{"error_code": 6}, {"index": 1}, {"topic_id": uuid.UUID(int=9)}, {"error_message": "no"}],
    ids=["error", "partition", "topic", "message"],
)
def test_any_other_answer_is_left_to_the_io_thread(bench: Bench, change: dict[str, Any]) -> None:
    bench.give(b"x")
    bench.now()
    bench.sent()
    bench.answer(**change)
    ((function, call, _),) = bench.loop.calls
    assert function == bench.unusual
    assert [batch.count for _, batch in call.batches] == [1]
    # It is on its way until that thread says otherwise.
    assert (bench.channel.produces, len(bench.states["t", 0].in_flight), bench.accumulator.outstanding) == (1, 1, 1)


def unknown_producer(bench: Bench) -> None:
    bench.producer = None


def stale_metadata(bench: Bench) -> None:
    bench.stamp = 2


def lost_connection(bench: Bench) -> None:
    bench.channel.shared_fd = -1


def retries(bench: Bench) -> None:
    bench.retrying.add(bench.states["t", 0])


def doubt(bench: Bench) -> None:
    bench.bumping = True


def transactions(bench: Bench) -> None:
    bench.ordinary = False


UNUSUAL = [unknown_producer, stale_metadata, lost_connection, retries, doubt, transactions]


@pytest.mark.parametrize("unusual", UNUSUAL)
def test_what_is_not_ordinary_is_left_to_the_io_thread(bench: Bench, unusual: Any) -> None:
    bench.give(b"x")
    unusual(bench)
    bench.visit()
    assert bench.loop.calls == []
    for attempt in (bench.filled, bench.send_now):
        bench.asked, bench.loop.calls = False, []
        attempt()
        assert bench.loop.calls == [(bench.run,)]
    assert bench.attended_until == 0
    queues, _ = bench.now()
    assert [queue.partition for queue in queues] == [0]
    assert bench.channel.produces == 0


def test_a_caller_leaves_everything_to_whoever_is_at_it(bench: Bench) -> None:
    bench.give(b"x")
    held, release = threading.Event(), threading.Event()

    def hold() -> None:
        with bench.lock:
            held.set()
            release.wait(30)

    thread = threading.Thread(target=hold)
    thread.start()
    assert held.wait(30)
    bench.filled()
    assert bench.channel.produces == 0
    assert bench.loop.calls == [(bench.run,)]
    release.set()
    thread.join()


def test_what_compression_raises_comes_after_the_batch_is_sent() -> None:
    def interrupted(records: Any) -> bytes:
        raise KeyboardInterrupt

    bench = Bench(codec=1, compress=interrupted)
    bench.give(b"x")
    with pytest.raises(KeyboardInterrupt):
        bench.visit()
    assert bench.sent() == [b"x"]
    bench.answer()
    assert bench.accumulator.outstanding == 0


def test_a_request_that_is_interrupted_fails_as_if_the_connection_had(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(self: Plain) -> KafkaError:
        raise KeyboardInterrupt

    monkeypatch.setattr(Plain, "gone", gone)
    bench.give(b"x")
    bench.channel.fd = -1
    with pytest.raises(KeyboardInterrupt):
        bench.visit()
    ((function, call, error),) = bench.loop.calls
    assert function == bench.unusual
    assert [batch.count for _, batch in call.batches] == [1]
    assert error.code is ErrorCode.NETWORK_EXCEPTION


def test_a_lone_record_is_sent_by_its_caller_only_while_few_are_under_way(bench: Bench) -> None:
    sent = []
    for number in range(5):
        bench.give(b"%d" % number)
        bench.asked = False
        bench.send_now()
        sent.append(not bench.asked)
        if number == 0:
            # The first one is the I/O thread's: the broker is not known to take anything.
            bench.now()
            bench.sent()
            bench.answer()
    assert sent == [False, True, True, False, False]

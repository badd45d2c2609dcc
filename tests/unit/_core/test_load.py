"""The load generator against a scripted broker: what it sends, how it paces, what it counts and how it fails."""

from __future__ import annotations

import select
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import pytest

from kafkax._core.crc32c import crc32c
from kafkax._core.load import Load
from kafkax._core.load_answers import parse_answer
from kafkax._core.load_connection import Target
from kafkax.errors import ProtocolError

PRODUCE, FETCH, API_VERSIONS = 0, 1, 18
Script = Callable[[bytes], "bytes | None"]


def request(api: int, version: int, body: bytes) -> bytes:
    """A request frame with its length prefix, correlation id 0 and no client id."""
    frame = struct.pack(">hhih", api, version, 0, -1) + body
    return struct.pack(">i", len(frame)) + frame


def produced(error: int = 0) -> bytes:
    """The body of a Produce answer, version 3."""
    return struct.pack(">ih1siihqqi", 1, 1, b"t", 1, 0, error, 0, -1, 0)


def batch(base: int, count: int, payload: bytes = b"") -> bytes:
    """The header of a record batch with ``count`` records, and something in place of them."""
    return struct.pack(">qiibIhiqqqhii", base, 49 + len(payload), 0, 2, 0, 0, count - 1, 0, 0, -1, -1, -1, count) + payload


def fetched(records: bytes, error: int = 0) -> bytes:
    """The body of a Fetch answer, version 4."""
    return struct.pack(">iih1siihqqii", 0, 1, 1, b"t", 1, 0, error, 0, 0, -1, len(records)) + records


class Broker:
    """Answers each request on each connection with what the script makes of its frame, and keeps the frames."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.frames: list[bytes] = []
        self.arrivals: list[float] = []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self) -> None:
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(connection,), daemon=True).start()

    def serve(self, connection: socket.socket) -> None:
        stream = connection.makefile("rb")
        with connection, stream, suppress(ConnectionError):
            while len(prefix := stream.read(4)) == 4:
                frame = stream.read(struct.unpack(">i", prefix)[0])
                self.frames.append(frame)
                self.arrivals.append(time.monotonic())
                try:
                    answer = self.script(frame)
                except StopIteration:
                    return
                if answer is not None:
                    connection.sendall(struct.pack(">i", 4 + len(answer)) + frame[4:8] + answer)


@contextmanager
def scripted(script: Script, connections: int = 1) -> Iterator[tuple[Broker, list[socket.socket]]]:
    broker = Broker(script)
    sockets = [socket.create_connection(("127.0.0.1", broker.port)) for _ in range(connections)]
    try:
        yield broker, sockets
    finally:
        for sock in (*sockets, broker.listener):
            sock.close()


def answers(script: list[bytes | None]) -> Script:
    """Give these answers one after the other, then hang up."""
    rest = iter(script)
    return lambda frame: next(rest)


def test_every_request_is_sent_once_with_its_own_correlation_id() -> None:
    target = Target(request(API_VERSIONS, 0, b"rest"))
    with scripted(lambda frame: b"\0" * 6) as (broker, [sock]):
        load = Load([(sock, [target])], in_flight=5, max_requests=100)
        load.run()
    assert [struct.unpack(">i", frame[4:8])[0] for frame in broker.frames] == list(range(100))
    assert {frame[:4] + frame[8:] for frame in broker.frames} == {target.head[4:8] + target.head[12:]}
    assert (load.requests, load.failed, load.latency.count) == (100, 0, 100)
    assert load.elapsed > 0


def test_connections_share_the_requests_and_targets_take_turns() -> None:
    frames = [request(PRODUCE, 3, bytes([number])) for number in range(3)]
    with scripted(lambda frame: produced(), connections=2) as (broker, sockets):
        load = Load([(sock, [Target(frame, records=10) for frame in frames]) for sock in sockets], in_flight=2, max_requests=60)
        load.run()
    bodies = [frame[10:] for frame in broker.frames]
    assert sum(bodies.count(bytes([number])) for number in range(3)) == 60
    assert abs(bodies.count(b"\0") - bodies.count(b"\2")) <= 2
    assert (load.records, load.bytes) == (600, 60 * len(frames[0]))


def test_no_more_than_in_flight_requests_are_open() -> None:
    frame = request(PRODUCE, 3, b"body")
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.create_connection(listener.getsockname()) as sock:
        broker, _ = listener.accept()
        load = Load([(sock, [Target(frame)])], in_flight=3, max_requests=9)
        runner = threading.Thread(target=load.run)
        runner.start()
        with broker:
            for answered in range(9):
                new = 3 if answered == 0 else 1 if answered < 7 else 0
                assert len(broker.recv(new * len(frame), socket.MSG_WAITALL)) == new * len(frame)
                assert not select.select([broker], [], [], 0.02)[0], "nothing else comes before one is answered"
                broker.sendall(struct.pack(">ii", 4 + len(produced()), answered) + produced())
            runner.join(30)
    assert load.requests == 9


def test_large_tails_arrive_whole_through_a_full_socket() -> None:
    tail = bytes(range(256)) * 8192
    head = struct.pack(">ihhih", 10 + len(tail), PRODUCE, 3, 0, -1)
    with scripted(lambda frame: produced()) as (broker, [sock]):
        Load([(sock, [Target(head, tail)])], in_flight=4, max_requests=12).run()
    assert len(broker.frames) == 12
    assert all(frame[10:] == tail for frame in broker.frames)


def test_errors_are_counted_by_code_and_their_records_are_not() -> None:
    with scripted(answers([produced(), produced(6), produced(-1), produced(6)])) as (_, [sock]):
        load = Load([(sock, [Target(request(PRODUCE, 3, b""), records=7)])], max_requests=4)
        load.run()
    assert load.errors == {-1: 1, 6: 2}
    assert (load.requests, load.failed, load.records) == (4, 3, 7)


def test_without_acks_a_request_is_done_once_it_is_sent() -> None:
    with scripted(lambda frame: None) as (broker, [sock]):
        load = Load([(sock, [Target(request(PRODUCE, 3, b"x"), answered=False, records=1)])], in_flight=2, max_requests=50)
        load.run()
        sock.shutdown(socket.SHUT_WR)
        deadline = time.monotonic() + 30
        while len(broker.frames) < 50 and time.monotonic() < deadline:
            time.sleep(0.01)
    assert (load.requests, load.records, len(broker.frames)) == (50, 50, 50)


def test_an_idempotent_producer_moves_its_sequence_and_renews_the_checksum() -> None:
    head, tail = batch(0, 5), b"five records"
    frame = request(PRODUCE, 3, head + tail)
    target = Target(frame[: -len(tail)], tail, records=5, batch_at=len(frame) - len(tail) - len(head), next=2**31 - 6)
    with scripted(lambda frame: produced()) as (broker, [sock]):
        Load([(sock, [target])], max_requests=4).run()
    sent = [frame[10:] for frame in broker.frames]
    assert [struct.unpack(">i", body[53:57])[0] for body in sent] == [2**31 - 6, 2**31 - 1, 4, 9]
    assert all(struct.unpack(">I", body[17:21])[0] == crc32c(body[21:]) for body in sent)


def test_a_reader_goes_forward_and_starts_over_at_the_end() -> None:
    log = [batch(0, 3) + batch(3, 2), batch(5, 5, b"x" * 40) + batch(10, 1)[:30], b"", batch(0, 3)]
    body = struct.pack(">q", 0)
    frame = request(FETCH, 4, body)
    target = Target(frame, offset_at=len(frame) - 8, next=0, first=0)
    with scripted(answers([fetched(records) for records in log])) as (broker, [sock]):
        load = Load([(sock, [target])], max_records=13)
        load.run()
    assert [struct.unpack(">q", frame[-8:])[0] for frame in broker.frames] == [0, 5, 10, 0]
    assert (load.records, load.bytes) == (13, sum(map(len, log)))


def test_a_reader_waits_at_the_end_when_it_is_told_to() -> None:
    frame = request(FETCH, 4, struct.pack(">q", 0))
    with scripted(answers([fetched(b""), fetched(batch(8, 2)), fetched(b""), fetched(batch(10, 1))])) as (broker, [sock]):
        Load([(sock, [Target(frame, offset_at=len(frame) - 8, next=8)])], max_records=3).run()
    assert [struct.unpack(">q", frame[-8:])[0] for frame in broker.frames] == [8, 8, 10, 10]


def test_answers_of_many_megabytes_are_taken() -> None:
    records = batch(0, 1000, b"z" * (3 << 20))
    frame = request(FETCH, 4, struct.pack(">q", 0))
    with scripted(lambda _: fetched(records)) as (_, [sock]):
        load = Load([(sock, [Target(frame, offset_at=len(frame) - 8)])], max_requests=3)
        load.run()
    assert (load.records, load.bytes) == (3000, 3 * len(records))


def test_at_a_fixed_rate_requests_leave_when_they_are_due() -> None:
    with scripted(lambda frame: produced(), connections=2) as (broker, sockets):
        load = Load([(sock, [Target(request(PRODUCE, 3, b""))]) for sock in sockets], in_flight=2, max_requests=41, rate=200)
        began = time.monotonic()
        load.run()
    # A busy machine may make any of them late, but none early.
    assert all(arrival - began >= number / 200 for number, arrival in enumerate(sorted(broker.arrivals)))
    assert len(broker.arrivals) == 41
    assert load.latency.highest <= load.elapsed * 1e9


def test_slow_requests_are_noted_with_when_they_were_due() -> None:
    waits = iter([0.0, 0.3, 0.0, 0.3])

    def script(frame: bytes) -> bytes:
        time.sleep(next(waits))
        return produced()

    began = time.monotonic()
    with scripted(script) as (_, [sock]):
        load = Load([(sock, [Target(request(PRODUCE, 3, b""))])], max_requests=4, slow=0.3)
        load.run()
    # A busy machine may make others slow as well.
    assert len(load.slow) >= 2
    assert all(began <= due <= due + seconds <= time.monotonic() and seconds >= 0.3 for due, seconds in load.slow)
    with scripted(lambda frame: produced()) as (_, [sock]):
        load = Load([(sock, [Target(request(PRODUCE, 3, b""))])], max_requests=4)
        load.run()
    assert load.slow == []


def test_a_stalled_broker_shows_in_every_request_that_was_due_meanwhile() -> None:
    first = threading.Event()

    def stall(frame: bytes) -> bytes:
        if not first.is_set():
            first.set()
            time.sleep(0.4)
        return produced()

    with scripted(stall) as (_, [sock]):
        load = Load([(sock, [Target(request(PRODUCE, 3, b""))])], in_flight=1, max_requests=50, rate=100)
        load.run()
    # 40 requests were due during the stall: had only the one that was sent counted, the median would be far below 1 ms.
    assert load.latency.percentile(50) > 100_000_000
    assert load.latency.highest >= 395_000_000


def test_a_run_ends_by_time() -> None:
    with scripted(lambda frame: produced()) as (_, [sock]):
        load = Load([(sock, [Target(request(PRODUCE, 3, b""))])], duration=0.2)
        started = time.monotonic()
        load.run()
    assert 0.2 <= load.elapsed <= time.monotonic() - started < 30
    assert load.requests > 0


def test_a_run_can_be_stopped_and_watched_from_another_thread() -> None:
    with scripted(lambda frame: produced()) as (_, [sock]):
        load = Load([(sock, [Target(request(PRODUCE, 3, b""), records=2)])], duration=60)
        runner = threading.Thread(target=load.run)
        runner.start()
        while load.requests < 10:
            time.sleep(0.005)
        load.stop()
        runner.join(30)
        assert not runner.is_alive()
    assert load.records == 2 * load.requests


@pytest.mark.parametrize(
    ("script", "silence", "error", "message"),
    [
        (answers([produced()]), 30, ConnectionError, "closed the connection after 1 answered"),
        (answers([b"\0\0\0\1\0"]), 30, ProtocolError, "does not parse"),
        (lambda frame: None, 0.2, TimeoutError, "no answer for 0.2 s"),
    ],
    ids=["hangs up", "cuts its answer", "is silent"],
)
def test_a_broker_that_misbehaves_is_named(script: Script, silence: float, error: type[Exception], message: str) -> None:
    with scripted(script) as (_, [sock]), pytest.raises(error, match=message):
        Load([(sock, [Target(request(PRODUCE, 3, b""))])], max_requests=5, silence=silence).run()


@pytest.mark.parametrize(
    ("garbage", "message"),
    [
        (struct.pack(">ii", 10, 77) + b"\0" * 6, "other than the oldest request"),
        (struct.pack(">ii", 3, 0), "does not parse"),
        (struct.pack(">ii", -1, 0), "does not parse"),
        (struct.pack(">ii", 2**31 - 1, 0), "does not parse"),
    ],
    ids=["another request", "too short", "negative", "2 GiB"],
)
def test_garbage_instead_of_an_answer_is_an_error(garbage: bytes, message: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.create_connection(listener.getsockname()) as sock:
        broker, _ = listener.accept()
        with broker:
            broker.sendall(garbage)
            load = Load([(sock, [Target(request(API_VERSIONS, 0, b""))])], max_requests=1)
            with pytest.raises(ProtocolError, match=message):
                load.run()


def test_settings_that_make_no_sense_are_refused() -> None:
    target = Target(request(API_VERSIONS, 0, b""))
    with pytest.raises(ValueError, match="needs an end"):
        Load([(socket.socket(), [target])])
    with pytest.raises(ValueError, match="needs connections"):
        Load([], max_requests=1)
    with pytest.raises(ValueError, match="length prefix"):
        Target(target.head, b"more")
    with pytest.raises(ValueError, match="batch header"):
        Target(target.head, batch_at=0)
    with pytest.raises(ValueError, match="fetch offset"):
        Target(target.head, offset_at=10)


TAGS = b"\x01\x05\x03abc"
"""One tagged field, number 5, of 3 bytes."""


@pytest.mark.parametrize("version", range(3, 14))
def test_the_error_of_a_produce_answer_is_found_in_every_version(version: int) -> None:
    if version < 9:
        body = struct.pack(">ih5sii", 1, 5, b"topic", 1, 3)
    else:
        topic = b"i" * 16 if version >= 13 else b"\x06topic"
        body = TAGS + b"\x02" + topic + b"\x02" + struct.pack(">i", 3)
    assert parse_answer(PRODUCE, version, body + struct.pack(">hqqq", 45, 7, -1, 0)) == (45, 0, 0, -1)
    with pytest.raises(ProtocolError):
        parse_answer(PRODUCE, version, body + b"\0")


@pytest.mark.parametrize("version", range(4, 19))
def test_the_records_of_a_fetch_answer_are_found_in_every_version(version: int) -> None:
    records = batch(100, 7) + batch(107, 1, b"one") + b"cut"
    compact = version >= 12
    body = (TAGS if compact else b"") + struct.pack(">i", 0)
    body += struct.pack(">hi", 0, 0) if version >= 7 else b""
    topic = b"i" * 16 if version >= 13 else b"\x06topic" if compact else b"\x00\x05topic"
    body += b"\x02" + topic + b"\x02" if compact else struct.pack(">i", 1) + topic + struct.pack(">i", 1)
    body += struct.pack(">ihqq", 0, 0, 120, 115) + (struct.pack(">q", 3) if version >= 5 else b"")
    aborted = struct.pack(">qq", 1, 2) + (TAGS if compact else b"")
    body += (b"\x02" if compact else struct.pack(">i", 1)) + aborted
    body += struct.pack(">i", -1) if version >= 11 else b""
    size = bytes([0x80 | (len(records) + 1) & 0x7F, (len(records) + 1) >> 7]) if compact else struct.pack(">i", len(records))
    assert parse_answer(FETCH, version, body + size + records) == (0, 8, len(records), 108)
    with pytest.raises(ProtocolError):
        parse_answer(FETCH, version, body + size + records[:-1])

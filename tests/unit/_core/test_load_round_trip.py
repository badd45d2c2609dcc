"""One record at a time, end to end: a scripted broker that keeps the fetch until a record is there."""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from kafkax._core.load_connection import Target
from kafkax._core.load_round_trip import RoundTrip
from kafkax.errors import ErrorCode, KafkaError, ProtocolError

PRODUCE, FETCH = 0, 1


def frame(api: int, version: int, body: bytes) -> bytes:
    whole = struct.pack(">hhih", api, version, 0, -1) + body
    return struct.pack(">i", len(whole)) + whole


def answer(sock: socket.socket, number: int, body: bytes) -> None:
    sock.sendall(struct.pack(">ii", 4 + len(body), number) + body)


def produced(error: int = 0) -> bytes:
    return struct.pack(">ih1siihqqi", 1, 1, b"t", 1, 0, error, 0, -1, 0)


def fetched(offset: int) -> bytes:
    """A Fetch answer (version 4) with one record at ``offset``."""
    batch = struct.pack(">qiibIhiqqqhii", offset, 49, 0, 2, 0, 0, 0, 0, 0, -1, -1, -1, 1)
    return struct.pack(">iih1siihqqii", 0, 1, 1, b"t", 1, 0, 0, 0, 0, -1, len(batch)) + batch


FETCH_FRAME = frame(FETCH, 4, struct.pack(">q", 0))


@contextmanager
def trip() -> Iterator[tuple[RoundTrip, socket.socket, socket.socket]]:
    """A round trip and the broker's ends of its producer's and its consumer's connection."""
    (producer, at_producer), (consumer, at_consumer) = socket.socketpair(), socket.socketpair()
    target = Target(FETCH_FRAME, offset_at=len(FETCH_FRAME) - 8)
    with producer, at_producer, consumer, at_consumer:
        yield RoundTrip(producer, Target(frame(PRODUCE, 3, b"x"), records=1), consumer, target), at_producer, at_consumer


def serve(measured: RoundTrip, at_producer: socket.socket, at_consumer: socket.socket, count: int, delay: float) -> None:
    """Acknowledge each record, and deliver it ``delay`` seconds after the producer has noticed."""
    for number in range(count):
        assert at_consumer.recv(1000)[-8:] == struct.pack(">q", number)
        at_producer.recv(1000)
        answer(at_producer, number, produced())
        while measured.acknowledged.count <= number:
            time.sleep(0.001)
        time.sleep(delay)
        answer(at_consumer, number, fetched(number))


def test_each_record_is_acknowledged_and_delivered_before_the_next() -> None:
    with trip() as (measured, at_producer, at_consumer):
        broker = threading.Thread(target=serve, args=(measured, at_producer, at_consumer, 5, 0.02))
        broker.start()
        measured.run(5)
        broker.join(30)
    assert (measured.sent, measured.acknowledged.count, measured.delivered.count) == (5, 5, 5)
    assert measured.delivered.lowest >= measured.acknowledged.lowest + 20_000_000


def test_at_a_rate_a_late_record_makes_the_next_ones_late() -> None:
    with trip() as (measured, at_producer, at_consumer):
        broker = threading.Thread(target=serve, args=(measured, at_producer, at_consumer, 5, 0.05))
        broker.start()
        measured.run(5, rate=100)
        broker.join(30)
    assert measured.delivered.highest >= 5 * 50_000_000 - 4 * 10_000_000


def test_a_refusal_ends_the_run_with_its_code() -> None:
    with trip() as (measured, at_producer, _):
        refusing = threading.Thread(target=lambda: (at_producer.recv(1000), answer(at_producer, 0, produced(6))))
        refusing.start()
        with pytest.raises(KafkaError, match="after 0 records") as caught:
            measured.run(5)
    assert caught.value.code == ErrorCode.NOT_LEADER_OR_FOLLOWER


def test_a_record_that_never_arrives_is_an_error() -> None:
    with trip() as (measured, _, _), pytest.raises(TimeoutError, match="not delivered"):
        measured.run(1, silence=0.1)


def test_a_broker_that_hangs_up_or_talks_nonsense_is_an_error() -> None:
    with trip() as (measured, at_producer, _):
        at_producer.close()
        with pytest.raises(OSError, match="closed|pipe"):
            measured.run(1)
    with trip() as (measured, at_producer, _):
        answer(at_producer, 99, produced())
        with pytest.raises(ProtocolError):
            measured.run(1)

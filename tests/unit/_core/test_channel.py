"""Frames out and in: matched in order whatever pieces they arrive in, and nothing taken that was not asked for."""

from __future__ import annotations

import random
import socket
import struct
from collections.abc import Iterator
from typing import Any

import pytest

from kafkax._core.channel import Channel


class Plain(Channel):
    def __init__(self, end: socket.socket, limit: int = 1 << 20) -> None:
        super().__init__("there:1", limit)
        self.fd = end.fileno()
        self.errors: list[Any] = []
        self.waits = 0

    def header(self, api_key: int, version: int) -> bytes:
        return struct.pack(">hhi", api_key, version, 0)

    def gone(self) -> Any:
        return "gone"

    def abort(self, error: Any) -> None:
        self.errors.append(error)

    def expect(self, deadline: float) -> None:
        self.watched_until = deadline

    def await_room(self) -> None:
        self.waits += 1


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    one, other = socket.socketpair()
    one.setblocking(False)
    yield one, other
    one.close()
    other.close()


def frame(correlation_id: int, size: int) -> bytes:
    return struct.pack(">ii", size + 4, correlation_id) + bytes(number & 255 for number in range(size))


def test_answers_find_their_requests_in_whatever_pieces(ends: tuple[socket.socket, socket.socket]) -> None:
    channel, draw = Plain(ends[0]), random.Random(3)
    taken: list[tuple[int, bytes]] = []
    sizes = [0, 1, 100, 40_000, 5, 70_000, 300_000, 65_528, 3]
    for number in range(len(sizes)):
        channel.send(3, 1, [b"body"], 30, lambda view, number=number: taken.append((number, bytes(view))))  # type: ignore[misc]
    stream = b"".join(frame(at + 1, size) for at, size in enumerate(sizes))
    at = 0
    while at < len(stream):
        piece = stream[at : at + draw.choice((1, 3, 1000, 30_000))]
        ends[1].sendall(piece)
        at += len(piece)
        channel.receive()
    assert [number for number, _ in taken] == list(range(len(sizes)))
    assert [view for _, view in taken] == [frame(at + 1, size)[4:] for at, size in enumerate(sizes)]
    assert channel.in_flight == 0
    assert not channel.errors


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (frame(9, 4), "answered with correlation id 9, 1 was due"),
        (frame(1, 1) + frame(2, 1), "answered with correlation id 2, none was due"),
        (struct.pack(">i", -1), "claims a response of -1 bytes"),
        (struct.pack(">i", 3), "claims a response of 3 bytes"),
        (struct.pack(">i", 1 << 21), "claims a response of 2097152 bytes"),
    ],
)
def test_garbage_ends_it(ends: tuple[socket.socket, socket.socket], answer: bytes, says: str) -> None:
    channel = Plain(ends[0])
    channel.send(3, 1, [], 30, lambda view: None)
    ends[1].sendall(answer)
    channel.receive()
    assert says in str(channel.errors[0])


def test_a_cut_at_every_byte_answers_nothing_and_is_told(ends: tuple[socket.socket, socket.socket]) -> None:
    whole = frame(1, 40)
    for size in range(len(whole)):
        one, other = socket.socketpair()
        channel = Plain(one)
        taken: list[Any] = []
        channel.send(3, 1, [b"x"], 30, taken.append)
        other.sendall(whole[:size])
        other.shutdown(socket.SHUT_WR)
        channel.receive()
        channel.receive()
        assert "closed the connection" in str(channel.errors[0])
        assert not taken
        channel.give_up("over")  # type: ignore[arg-type]
        assert taken == ["over"]
        one.close()
        other.close()


def test_what_the_socket_does_not_take_goes_later_in_order(ends: tuple[socket.socket, socket.socket]) -> None:
    channel = Plain(ends[0])
    parts = [bytes([number]) * 300_000 for number in range(4)]
    for part in parts:
        channel.send(3, 1, [part], 30, lambda view: None)
    assert channel.unsent
    assert channel.waits >= 1
    received = b""
    while not channel.flush():
        received += ends[1].recv(1 << 20)
    ends[1].setblocking(False)
    expected = b"".join(struct.pack(">ihhi", 8 + len(part), 3, 1, at + 1) + part for at, part in enumerate(parts))
    while len(received) < len(expected):
        received += ends[1].recv(1 << 20)
    assert received == expected


def test_nothing_is_sent_without_a_connection(ends: tuple[socket.socket, socket.socket]) -> None:
    channel = Plain(ends[0])
    channel.fd = -1
    taken: list[Any] = []
    channel.send(3, 1, [], 30, taken.append)
    assert taken == ["gone"]
    assert channel.soonest() is None


def test_the_soonest_deadline_is_known(ends: tuple[socket.socket, socket.socket]) -> None:
    channel = Plain(ends[0])
    for timeout in (30, 5, 60):
        channel.send(3, 1, [], timeout, lambda view: None)
    first = channel.soonest()
    assert first is not None
    assert (first.timeout, first.api_key, first.correlation_id) == (5, 3, 2)

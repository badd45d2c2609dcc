"""Bytes out of and into a socket, as many as it takes."""

from __future__ import annotations

import socket

import pytest

from kafkax._core.socket_io import receive_into, send_parts


@pytest.fixture
def pair() -> tuple[socket.socket, socket.socket]:
    one, other = socket.socketpair()
    one.setblocking(False)
    other.setblocking(False)
    return one, other


def test_parts_arrive_in_order(pair: tuple[socket.socket, socket.socket]) -> None:
    one, other = pair
    parts = [b"ab", b"", bytearray(b"cd"), memoryview(b"xefx")[1:3]]
    assert send_parts(one.fileno(), parts) is None
    room = bytearray(10)
    assert receive_into(other.fileno(), room) == 6
    assert room[:6] == b"abcdef"
    assert receive_into(other.fileno(), room) == -1


@pytest.mark.parametrize("count", [3, 200])
def test_what_the_socket_does_not_take_is_given_back(pair: tuple[socket.socket, socket.socket], count: int) -> None:
    one, other = pair
    parts = [bytes([index]) * (6_000_000 // count) for index in range(count)]
    left = send_parts(one.fileno(), list(parts))
    got = bytearray()
    room = bytearray(100_000)
    while left is not None:
        while (size := receive_into(other.fileno(), room)) > 0:
            got += room[:size]
        left = send_parts(one.fileno(), left)
    while (size := receive_into(other.fileno(), room)) > 0:
        got += room[:size]
    assert got == b"".join(parts)


def test_a_closed_peer(pair: tuple[socket.socket, socket.socket]) -> None:
    one, other = pair
    other.close()
    assert receive_into(one.fileno(), bytearray(1)) == 0
    with pytest.raises(OSError, match="Broken pipe"):
        send_parts(one.fileno(), [b"x"])

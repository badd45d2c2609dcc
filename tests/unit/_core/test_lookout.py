"""Waiting for sockets: who is received from, what ends a wait, and when it is worth looking before sleeping."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from kafkax._core.channel import Channel
from kafkax._core.lookout import Lookout


class Plain(Channel):
    def __init__(self, fd: int) -> None:
        super().__init__("there:1", 1000)
        self.fd = self.shared_fd = fd
        self.errors: list[Any] = []

    def abort(self, error: Any) -> None:
        self.errors.append(error)


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    one, other = socket.socketpair()
    other.setblocking(False)
    yield one, other
    one.close()
    other.close()


def no() -> bool:
    return False


@pytest.mark.parametrize("before", [0, 3, 200])
def test_what_has_arrived_is_received_behind_any_number_of_others(pair: tuple[socket.socket, socket.socket], before: int) -> None:
    one, other = pair
    idle, peer = socket.socketpair()
    channels = [*([Plain(idle.fileno()), Plain(-1)] * before), Plain(other.fileno())]
    lookout = Lookout()
    lookout.wait(no, channels, 0)
    assert channels[-1].errors == []
    # No frame has a size of 0: it is noticed when it is received.
    one.send(b"\0\0\0\0")
    lookout.wait(no, channels, 60_000)
    assert [len(each.errors) for each in channels] == [0] * (2 * before) + [1]
    assert channels[-1].taken_until > time.monotonic() - 60
    idle.close()
    peer.close()


def test_it_does_not_wait_for_what_is_there_and_wakes_for_what_comes() -> None:
    lookout = Lookout()
    lookout.wait(lambda: True, [], -1)
    # Nobody waits, so nobody is woken later.
    lookout.wake()
    begin = time.monotonic()
    lookout.wait(no, [], 20)
    assert time.monotonic() - begin >= 0.015
    waiter = threading.Thread(target=lookout.wait, args=(no, [], -1))
    waiter.start()
    while waiter.is_alive():
        lookout.wake()
        waiter.join(0.01)
    assert lookout.waiting == 0


@pytest.mark.parametrize("patience", [0, 1_000_000])
def test_a_signal_interrupts_it(patience: int) -> None:
    lookout = Lookout(patience)
    timer = threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGINT))
    with pytest.raises(KeyboardInterrupt):  # noqa: PT012 - it may come before the wait on a busy machine
        timer.start()
        lookout.wait(no, [], 60_000)
    timer.join()


def test_it_looks_first_only_while_waits_are_short(pair: tuple[socket.socket, socket.socket]) -> None:
    one, other = pair
    lookout = Lookout(10**9)
    # It begins as if waits were as long as they count, and learns.
    assert lookout.usual_ns < lookout.patience_ns
    lookout = Lookout(500_000)
    assert lookout.usual_ns > lookout.patience_ns
    one.send(b"\0\0\0\4\0\0")
    # A wait that a busy machine drew out counts, too.
    for _ in range(10_000):
        lookout.wait(no, [Ready(other.fileno())], 1000)
        if lookout.usual_ns < lookout.patience_ns:
            break
    assert lookout.usual_ns < lookout.patience_ns
    for _ in range(40):
        lookout.wait(no, [], 2)
    assert lookout.usual_ns > lookout.patience_ns


class Ready(Plain):
    """Always has something, since nothing is taken from it."""

    def receive(self) -> None:
        pass

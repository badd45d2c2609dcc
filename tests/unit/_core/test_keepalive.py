"""Frames that go out while nothing in Python can run."""

from __future__ import annotations

import ctypes
import socket
import threading
from collections.abc import Iterator

import pytest

from kafkax._core.keepalive import Keepalive

FRAME = b"heartbeat"


@pytest.fixture
def running() -> Iterator[tuple[Keepalive, socket.socket]]:
    keepalive = Keepalive()
    ours, theirs = socket.socketpair()
    with ours, theirs:
        keepalive.adopt(ours.fileno())
        theirs.settimeout(30)
        thread = threading.Thread(target=keepalive.run)
        thread.start()
        yield keepalive, theirs
        keepalive.stop()
        thread.join(30)
        assert not thread.is_alive()


def hold_the_gil(seconds: float) -> None:
    """Sleep in C without letting go of the GIL."""
    ctypes.PyDLL(None).usleep(int(seconds * 1e6))


def test_a_stuck_interpreter_is_stood_in_for(running: tuple[Keepalive, socket.socket]) -> None:
    keepalive, theirs = running
    keepalive.pet(FRAME, 0.05, 60)
    # The thread of a busy machine may not even have begun to run.
    for _ in range(60):
        before = keepalive.sent
        hold_the_gil(0.5)
        if keepalive.sent >= before + 3:
            break
    assert keepalive.sent >= before + 3
    assert theirs.recv(3 * len(FRAME), socket.MSG_WAITALL) == 3 * FRAME


def test_nothing_is_sent_after_the_limit(running: tuple[Keepalive, socket.socket]) -> None:
    keepalive, _ = running
    keepalive.pet(FRAME, 0.02, 0.1)
    hold_the_gil(0.5)
    sent = keepalive.sent
    hold_the_gil(0.2)
    assert keepalive.sent == sent <= 6


def test_nothing_is_sent_while_python_runs_or_when_there_is_nothing_to_say(running: tuple[Keepalive, socket.socket]) -> None:
    keepalive, _ = running
    keepalive.pet(FRAME, 30, 60)
    hold_the_gil(0.1)
    keepalive.rest()
    keepalive.pet(b"", 0.01, 60)
    hold_the_gil(0.1)
    assert keepalive.sent == 0


def test_a_socket_that_takes_no_more_is_let_go(running: tuple[Keepalive, socket.socket]) -> None:
    keepalive, theirs = running
    keepalive.pet(b"x" * 10_000_000, 0.01, 60)
    while theirs.recv(1 << 20):
        continue
    assert keepalive.sent == 0

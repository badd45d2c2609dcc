"""A lock that its holder may take again, that keeps others out, and that Ctrl-C does not interrupt."""

from __future__ import annotations

import signal
import threading
from typing import Any

import pytest

from kafkax._core.latch import Latch


def test_one_thread_at_a_time() -> None:
    latch, inside, most = Latch(), 0, 0

    def work() -> None:
        nonlocal inside, most
        for _ in range(300):
            with latch, latch:
                inside += 1
                most = max(most, inside)
                threading.Event().wait(0)
                inside -= 1

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (inside, most) == (0, 1)


def test_it_is_let_go_when_something_is_raised() -> None:
    latch = Latch()
    with pytest.raises(ValueError, match="odd"), latch:
        raise ValueError("odd")
    taken = threading.Event()

    def take() -> None:
        with latch:
            taken.set()

    threading.Thread(target=take).start()
    assert taken.wait(30)


def test_a_signal_waits_until_it_is_taken() -> None:
    latch, held, release = Latch(), threading.Event(), threading.Event()
    came: list[bool] = []
    holding = True

    def hold() -> None:
        nonlocal holding
        with latch:
            held.set()
            release.wait(30)
            holding = False

    def handler(*_: Any) -> None:
        came.append(holding)
        raise KeyboardInterrupt

    def interrupt() -> None:
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGUSR1)
        release.set()

    def take() -> None:
        with latch:
            assert not holding

    before = signal.signal(signal.SIGUSR1, handler)
    try:
        threading.Thread(target=hold).start()
        assert held.wait(30)
        threading.Timer(0.1, interrupt).start()
        with pytest.raises(KeyboardInterrupt):
            take()
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert came == [False]

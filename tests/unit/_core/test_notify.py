"""NotifyQueue: events of other threads reach the loop that watches its descriptor."""

from __future__ import annotations

import select
import threading

import pytest

from kafkax._core.notify import NotifyQueue


def readable(queue: NotifyQueue) -> bool:
    return bool(select.select([queue.fileno()], [], [], 0)[0])


def test_event_makes_the_descriptor_readable_until_it_is_taken() -> None:
    queue = NotifyQueue()
    got: list[int] = []
    token = queue.register(got.append)
    assert not readable(queue)
    queue.push(token, 7)
    queue.push(token, 8)
    assert readable(queue)
    assert queue.dispatch() == 2
    assert got == [7, 8]
    assert not readable(queue)


def test_once_is_dropped_after_its_first_event() -> None:
    queue = NotifyQueue()
    got: list[int] = []
    token = queue.register(got.append, once=True)
    queue.push(token, 1)
    queue.push(token, 2)
    assert queue.dispatch() == 1
    assert got == [1]


def test_events_of_a_dropped_token_are_dropped() -> None:
    queue = NotifyQueue()
    token = queue.register(pytest.fail)
    queue.push(token, 1)
    queue.unregister(token)
    assert queue.dispatch() == 0


def test_a_failing_callback_does_not_keep_others_from_running() -> None:
    queue = NotifyQueue()
    got: list[int] = []

    def fail(value: int) -> None:
        raise RuntimeError(f"failed at {value}")

    queue.push(queue.register(fail), 1)
    queue.push(queue.register(got.append), 2)
    with pytest.raises(RuntimeError, match="failed at 1"):
        queue.dispatch()
    assert got == [2]


def test_pushes_from_many_threads_all_arrive() -> None:
    queue = NotifyQueue()
    tokens = range(1, 5)
    threads = [threading.Thread(target=lambda t=t: [queue.push(t, i) for i in range(500)]) for t in tokens]
    for thread in threads:
        thread.start()
    got: list[tuple[int, int]] = []
    while len(got) < 2000 and select.select([queue.fileno()], [], [], 30)[0]:
        got += queue.drain()
    for thread in threads:
        thread.join()
    for token in tokens:
        assert [value for t, value in got if t == token] == list(range(500))

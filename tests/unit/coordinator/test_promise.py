"""Results that arrive later."""

from __future__ import annotations

import pytest

from kafkax.coordinator.promise import Promise


def test_it_is_set_once() -> None:
    promise: Promise[int] = Promise()
    promise.resolve(1)
    promise.resolve(2)
    promise.fail(ValueError())
    assert promise.result() == 1


def test_callbacks_run_once_it_is_done_or_at_once() -> None:
    promise: Promise[int] = Promise()
    seen: list[int] = []
    promise.on_done(lambda p: seen.append(p.result()))
    promise.on_done(lambda p: seen.append(p.result() + 1))
    assert seen == []
    promise.resolve(1)
    promise.on_done(lambda p: seen.append(p.result() + 2))
    assert seen == [1, 2, 3]


def test_a_pending_one_has_no_result() -> None:
    with pytest.raises(RuntimeError):
        Promise().result()


def test_map_converts_and_recovers() -> None:
    good, bad = Promise.of(1), Promise()
    bad.fail(ValueError("x"))
    assert good.map(lambda n: n + 1).result() == 2
    assert bad.map(lambda n: n, lambda error: str(error)).result() == "x"
    with pytest.raises(ValueError, match="x"):
        bad.map(lambda n: n).result()
    with pytest.raises(ZeroDivisionError):
        good.map(lambda n: n / 0).result()


def test_all_waits_for_all_in_order() -> None:
    promises = [Promise() for _ in range(3)]
    joined = Promise.all(promises)
    for n in (2, 0):
        promises[n].resolve(n)
    assert not joined.done
    promises[1].resolve(1)
    assert joined.result() == [0, 1, 2]
    assert Promise.all([]).result() == []


def test_all_fails_with_the_first_error() -> None:
    promises = [Promise() for _ in range(2)]
    joined = Promise.all(promises)
    promises[1].fail(ValueError("second"))
    promises[0].resolve(0)
    with pytest.raises(ValueError, match="second"):
        joined.result()

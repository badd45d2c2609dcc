"""Timers of a shard."""

from __future__ import annotations

import pytest

from kafkax.coordinator.timers import KeyedTimers
from tests.sim.virtual import VirtualTime


class World:
    def __init__(self) -> None:
        self.time = VirtualTime()
        self.fired: list[tuple[str, int]] = []
        self.timers = KeyedTimers(self.time, self.time, lambda what: self.fired.append((what, round(self.time.now * 1000))))


@pytest.fixture
def world() -> World:
    return World()


def test_a_timer_fires_once_at_its_time(world: World) -> None:
    world.timers.set("k", 100, "a")
    world.time.run(1_000)
    assert world.fired == [("a", 100)]
    assert "k" not in world.timers


@pytest.mark.parametrize("delay", [50, 200])
def test_setting_again_replaces(world: World, delay: int) -> None:
    world.timers.set("k", 100, "a")
    world.timers.set("k", delay, "b")
    world.time.run(1_000)
    assert world.fired == [("b", delay)]


def test_pushing_back_keeps_the_action(world: World) -> None:
    world.timers.set("k", 100, "a")
    for _ in range(10):
        world.time.run(90)
        assert world.timers.push_back("k", 100)
    assert world.fired == []
    world.time.run(1_000)
    assert world.fired == [("a", 1_000)]


def test_pushing_back_may_also_pull_forward(world: World) -> None:
    world.timers.set("k", 1_000, "a")
    world.timers.push_back("k", 10)
    world.time.run(2_000)
    assert world.fired == [("a", 10)]


def test_there_is_nothing_to_push_back_without_a_timer(world: World) -> None:
    assert not world.timers.push_back("k", 10)


def test_what_is_cancelled_does_not_fire(world: World) -> None:
    world.timers.set("a", 10, "a")
    world.timers.set("b", 10, "b")
    world.timers.cancel("a")
    world.timers.cancel("none")
    world.time.run(20)
    assert world.fired == [("b", 10)]
    world.timers.set("c", 10, "c")
    world.timers.cancel_all()
    world.time.run(20)
    assert len(world.timers) == 0
    assert world.fired == [("b", 10)]


def test_pushing_back_does_not_queue_anything(world: World) -> None:
    world.timers.set("k", 100, "a")
    for _ in range(1_000):
        world.timers.push_back("k", 100)
    assert len(world.time._queue) == 1

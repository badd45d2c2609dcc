from __future__ import annotations

import pytest

from kafkax.storage.tasks import PeriodicTasks
from tests.unit.storage.rig import FakeClock


def test_a_task_runs_again_one_interval_after_it_ended() -> None:
    clock, runs = FakeClock(), list[float]()
    tasks = PeriodicTasks(clock)
    tasks.add("count", 5000, lambda: runs.append(clock.now))
    assert tasks.tick() == 5.0
    clock.now += 5
    assert tasks.tick() == 5.0
    clock.now += 12
    tasks.tick()
    assert runs == [105.0, 117.0]


def test_a_task_that_fails_is_logged_and_runs_again(caplog: pytest.LogCaptureFixture) -> None:
    clock, runs = FakeClock(), list[str]()
    tasks = PeriodicTasks(clock)

    def fail() -> None:
        runs.append("failed")
        raise OSError("no")

    tasks.add("failing", 1000, fail)
    tasks.add("other", 1000, lambda: runs.append("other"))
    for _ in range(2):
        clock.now += 1
        tasks.tick()
    assert sorted(runs) == ["failed", "failed", "other", "other"]
    assert "failing failed; it runs again in 1.0 s" in caplog.text

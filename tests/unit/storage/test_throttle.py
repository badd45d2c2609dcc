from __future__ import annotations

import math

import pytest

from kafkax.storage.throttle import Throttle
from tests.unit.storage.rig import FakeClock


def test_the_rate_is_kept_over_time() -> None:
    clock = FakeClock()
    throttle = Throttle(1000, clock)
    for _ in range(50):
        clock.now += throttle.charge(500)
    assert clock.now - 100.0 == pytest.approx(25.0, abs=0.5)


def test_idle_time_does_not_pile_up() -> None:
    clock = FakeClock()
    throttle = Throttle(1000, clock)
    throttle.charge(1)
    clock.now += 3600
    assert throttle.charge(2000) == pytest.approx(1.7)


@pytest.mark.parametrize("rate", [math.inf, 1.7976931348623157e308])
def test_no_limit_never_waits(rate: float) -> None:
    assert Throttle(rate, FakeClock()).charge(1 << 40) == 0.0

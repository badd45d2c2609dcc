"""A fault is logged once per host and reason and interval."""

from __future__ import annotations

import logging

import pytest

from kafkax.net.faults import FaultLog


class Clock:
    now = 0.0

    def wall_ms(self) -> int:
        return 0

    def monotonic(self) -> float:
        return self.now


def test_repeats_are_counted_and_told_with_the_next_line(caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    faults = FaultLog(clock, interval=60)
    with caplog.at_level(logging.WARNING, "kafkax.net"):
        assert faults.report("10.0.0.1:5000", "frame does not parse", "topic: 9 bytes of 4")
        assert not faults.report("10.0.0.1:5001", "frame does not parse")
        assert faults.report("10.0.0.1:5001", "idle")
        assert faults.report("10.0.0.2:5001", "frame does not parse")
        clock.now = 61
        assert faults.report("10.0.0.1:5002", "frame does not parse")
    assert caplog.messages[0] == "closed connection of 10.0.0.1:5000: frame does not parse: topic: 9 bytes of 4"
    assert caplog.messages[-1] == "closed connection of 10.0.0.1:5002: frame does not parse (1 more times since the last line)"


def test_only_so_many_hosts_are_remembered() -> None:
    faults = FaultLog(Clock(), capacity=2)
    for host in ("a:1", "b:1", "c:1"):
        assert faults.report(host, "idle")
    assert faults.report("a:1", "idle")
    assert not faults.report("c:1", "idle")

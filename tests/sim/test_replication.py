"""Replicated logs through crashes and power failures, from seeds; with a safeguard taken away a seed must lose something.

``KAFKAX_SIM_SEEDS`` runs more seeds.
"""

from __future__ import annotations

import logging
import os

import pytest

from kafkax.replication.following import Following, Step
from kafkax.replication.leadership import Leadership
from tests.sim import replication_simulation
from tests.sim.loop import run
from tests.sim.replication_simulation import DataBroker, ReplicationSimulation, SimLog

SEEDS = int(os.environ.get("KAFKAX_SIM_SEEDS", "40"))
_HUNT = 40
"""Seeds within which a planted defect must show."""


@pytest.fixture(autouse=True)
def quiet(caplog):
    caplog.set_level(logging.CRITICAL)


def simulate(seed, *, flushed):
    simulation = ReplicationSimulation(seed, flushed=flushed)
    try:
        run(simulation.run())
    except BaseException as error:
        error.args = (f"seed {seed}: {error}\n" + "\n".join(simulation.history),)
        raise
    return simulation


@pytest.mark.parametrize("flushed", [True, False], ids=["flushed", "replicated"])
@pytest.mark.parametrize("seed", range(SEEDS // 2))
def test_seed(seed, flushed):
    assert len(simulate(seed, flushed=flushed).acknowledged) > 50


def assert_found(*, flushed=True):
    """Some seed must find what is wrong."""
    for seed in range(_HUNT):
        try:
            simulate(seed, flushed=flushed)
        except (AssertionError, RuntimeError, IndexError):
            return
    pytest.fail(f"no seed below {_HUNT} found the defect")


def test_acknowledging_before_the_isr_has_it_is_found(monkeypatch):
    monkeypatch.setattr(Leadership, "committed", lambda self, own, mark, *_: max(own, mark))
    assert_found()


def test_truncating_by_high_watermark_is_found(monkeypatch):
    monkeypatch.setattr(replication_simulation, "divergence", lambda *_: None)
    apply = DataBroker._apply

    def cut_at_mark(self, partition, topic_id, state):
        known = self.hosted.get(partition)
        if state.leader != self.broker_id and partition in self.disk:
            self.disk[partition].truncate(0 if known is None else known.high_watermark)
        apply(self, partition, topic_id, state)

    monkeypatch.setattr(DataBroker, "_apply", cut_at_mark)
    assert_found()


def test_not_truncating_is_found(monkeypatch):
    answered = Following.answered

    def careless(self, log, code, diverging, mark):
        return Step(high_watermark=mark) if diverging is not None else answered(self, log, code, None, mark)

    monkeypatch.setattr(Following, "answered", careless)
    assert_found()


def test_fetching_without_an_epoch_fence_is_found(monkeypatch):
    fetch = DataBroker.fetch

    def unfenced(self, partition, replica, broker_epoch, leader_epoch, offset, last_epoch):
        hosted = self.hosted.get(partition)
        present = leader_epoch if hosted is None else hosted.state.leader_epoch
        return fetch(self, partition, replica, broker_epoch, present, offset, -1)

    monkeypatch.setattr(DataBroker, "fetch", unfenced)
    assert_found()


def test_counting_what_is_not_flushed_is_found(monkeypatch):
    monkeypatch.setattr(DataBroker, "contribution", lambda self, log: log.log_end_offset)
    assert_found()


def test_a_flush_that_reaches_no_disk_is_found(monkeypatch):
    def lose_flushed(self, random):
        self.truncate(max(0, self.log_end_offset - random.randint(0, 10)))

    monkeypatch.setattr(SimLog, "lose_power", lose_flushed)
    assert_found()

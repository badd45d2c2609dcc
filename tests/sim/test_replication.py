"""Replicated logs through crashes and power failures, from seeds; with a safeguard taken away a seed must lose something.

``KAFKAX_SIM_SEEDS`` runs more seeds.
"""

from __future__ import annotations

import asyncio
import logging
import os

import pytest

from kafkax.cluster import znodes
from kafkax.protocol.messages.alter_partition import BrokerState
from kafkax.replication.following import Following, Step
from kafkax.replication.leadership import Leadership
from tests.sim import replication_simulation
from tests.sim.controller_simulation import Violation
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


def assert_found(what="", *, flushed=True):
    """Some seed must find what is wrong, and say ``what``."""
    for seed in range(_HUNT):
        try:
            simulate(seed, flushed=flushed)
        except (AssertionError, RuntimeError, IndexError) as error:
            if what in str(error):
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


def test_serving_before_the_epochs_start_is_noted_is_found(monkeypatch):
    def without_noting(work, *arguments):
        with monkeypatch.context() as planted:
            planted.setattr(SimLog, "assign_epoch", lambda *_: None)
            return work(*arguments)

    apply, produce = DataBroker._apply, DataBroker.produce

    def late(self, partition, topic_id, state):
        without_noting(apply, self, partition, topic_id, state)
        if state.leader == self.broker_id:
            asyncio.get_running_loop().call_later(0.5, self.disk[partition].assign_epoch, state.leader_epoch)

    monkeypatch.setattr(DataBroker, "_apply", late)
    monkeypatch.setattr(DataBroker, "produce", lambda *arguments: without_noting(produce, *arguments))
    assert_found("differs from the leader")


def test_losing_the_epochs_of_what_recovery_does_not_read_is_found(monkeypatch):
    monkeypatch.setattr(SimLog, "write_epochs", lambda _: None)
    assert_found()


def test_counting_what_is_not_flushed_is_found(monkeypatch):
    monkeypatch.setattr(DataBroker, "contribution", lambda self, log: log.log_end_offset)
    assert_found()


def test_asking_ahead_of_what_counts_is_found(monkeypatch):
    monkeypatch.setattr(Following, "may_ask_ahead", lambda *_: True)
    assert_found()


def test_a_flush_that_reaches_no_disk_is_found(monkeypatch):
    def lose_flushed(self, random):
        self.truncate(max(0, self.log_end_offset - random.randint(0, 10)))

    monkeypatch.setattr(SimLog, "lose_power", lose_flushed)
    assert_found()


def test_committing_with_fewer_in_sync_than_asked_is_found(monkeypatch):
    committed = Leadership.committed
    monkeypatch.setattr(Leadership, "committed", lambda self, own, mark, _, *rest: committed(self, own, mark, 1, *rest))
    assert_found("is on 1 disks")


def test_a_mark_that_is_raised_before_the_log_is_cut_is_found(monkeypatch):
    answered = Following.answered

    def hasty(self, log, code, diverging, mark):
        step = answered(self, log, code, diverging, mark)
        return step if step.truncate_to is None else step._replace(high_watermark=mark)

    monkeypatch.setattr(Following, "answered", hasty)
    assert_found()


def simulate_story(story, *, flushed=True):
    """A run whose faults strike at the worst moment instead of any."""
    simulation = Story(story, seed=1, flushed=flushed, min_in_sync=2)
    run(simulation.run())
    assert len(simulation.acknowledged) > 50


class Story(ReplicationSimulation):
    """One partition, and a coroutine that says what happens to it."""

    def __init__(self, story, *, seed, flushed, min_in_sync):
        super().__init__(seed, flushed=flushed)
        self.cluster.min_in_sync = min_in_sync
        self.partitions = self.partitions[:1]
        self.tell = story

    async def happen(self):
        await self.tell(self, self.partitions[0])

    def state(self, partition):
        path = znodes.state_path(*partition)
        return znodes.PartitionState.decode(path, self.zookeeper.tree.get(path)[0])

    def kill(self, broker_id):
        self._kill(self.cluster.brokers[broker_id], power=False)

    async def until(self, condition, seconds=8):
        for _ in range(seconds * 500):
            if condition():
                return
            await asyncio.sleep(0.002)


async def two_in_turn(story, partition):
    """The second leader has no followers at first; when the one that lagged comes back and is in sync again, it dies."""
    story.kill(3)
    await asyncio.sleep(10)
    for broker_id in (1, 2):
        story.kill(broker_id)
    await asyncio.sleep(4)
    last = story.state(partition).leader if story.state(partition).leader > 0 else story.state(partition).isr[0]
    await asyncio.gather(story._start(last), story._start(3))
    await story.until(lambda: 3 in story.state(partition).isr)
    story.kill(last)
    await asyncio.sleep(6)


async def disk_replaced(story, partition):
    """A follower is about to join; before the controller decides it dies and comes back with an empty disk."""
    story.kill(3)
    await asyncio.sleep(10)
    held = story.cluster.held = asyncio.Event()
    await story._start(3)
    leader = story.cluster.brokers[story.state(partition).leader]
    await story.until(lambda: leader.hosted[partition].leadership.asked is not None)
    story.kill(3)
    story.disks[3].clear()
    await asyncio.sleep(5)
    await story._start(3)
    await asyncio.sleep(0.1)
    held.set()
    await story.until(lambda: 3 in story.state(partition).isr)
    for broker_id in (1, 2):
        story.kill(broker_id)
    await asyncio.sleep(6)


@pytest.fixture
def slow_followers(monkeypatch):
    monkeypatch.setattr(replication_simulation, "BATCH", 1)
    monkeypatch.setattr(Following, "may_ask_ahead", lambda *_: False)


@pytest.mark.parametrize("story", [two_in_turn, disk_replaced])
def test_story(story, slow_followers):
    simulate_story(story, flushed=story is two_in_turn)


def test_joining_below_the_epochs_start_is_found(monkeypatch, slow_followers):
    change, committed = Leadership.change, Leadership.committed

    def without_start(decide):
        def careless(self, *arguments):
            start, self.epoch_start = self.epoch_start, 0
            try:
                return decide(self, *arguments)
            finally:
                self.epoch_start = start

        return careless

    monkeypatch.setattr(Leadership, "change", without_start(change))
    monkeypatch.setattr(Leadership, "committed", without_start(committed))
    with pytest.raises(Violation, match="was acknowledged|was read|can be read"):
        simulate_story(two_in_turn)


def test_joining_by_what_a_former_life_had_is_found(monkeypatch, slow_followers):
    monkeypatch.setattr(
        replication_simulation, "BrokerState", lambda broker_id, broker_epoch: BrokerState(broker_id=broker_id, broker_epoch=-1)
    )
    with pytest.raises(Violation, match="was acknowledged|was read|can be read"):
        simulate_story(disk_replaced, flushed=False)

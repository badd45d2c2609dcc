"""A follower cuts its log where the leader's took another way, by epochs and by nothing else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kafkax.errors import ErrorCode, KafkaError
from kafkax.replication.following import Following, Step, divergence, truncation_point
from tests.sim.replication_simulation import SimLog


def log_of(*epochs):
    log = SimLog()
    for position, epoch in enumerate(epochs):
        log.append([(epoch, f"{epoch}.{position}")])
    return log


def settle(leader, follower):
    """Fetch until the logs agree; returns how often the follower cut."""
    following, cuts = Following(1, 9), 0
    while True:
        diverging = divergence(leader, follower.log_end_offset, following.last_epoch(follower))
        step = following.answered(follower, ErrorCode.NONE, diverging, 0)
        if step.truncate_to is None:
            return cuts
        assert step.truncate_to < follower.log_end_offset
        follower.truncate(step.truncate_to)
        cuts += 1


def test_logs_that_agree_are_not_cut():
    assert settle(log_of(0, 0, 1), log_of(0, 0)) == 0
    assert settle(log_of(0, 0, 1), log_of()) == 0


def test_a_tail_of_the_same_epoch_that_the_leader_never_had_is_cut():
    leader, follower = log_of(0, 0), log_of(0, 0, 0)
    leader.assign_epoch(1)
    settle(leader, follower)
    assert follower.log_end_offset == 2


def test_an_epoch_that_the_leader_never_had_is_cut():
    leader, follower = log_of(0, 0, 3), log_of(0, 0, 2, 2)
    settle(leader, follower)
    assert follower.records == leader.records[:2]


def test_epochs_interleaved_by_several_failures_are_cut_to_what_is_common():
    leader, follower = log_of(0, 1, 1, 4), log_of(0, 1, 2, 3)
    settle(leader, follower)
    assert follower.records == leader.records[:2]


@given(st.data())
def test_whatever_happened_the_logs_agree_afterwards(data):
    common = sorted(data.draw(st.lists(st.integers(0, 3), max_size=6)))
    # After the common part each epoch was led by one of the two, so that no epoch is in both tails.
    tail = data.draw(st.lists(st.tuples(st.integers(4, 9), st.booleans()), max_size=8))
    owner = {}
    for epoch, of_leader in tail:
        owner.setdefault(epoch, of_leader)
    epochs = sorted(epoch for epoch, _ in tail)
    leader = log_of(*common, *[epoch for epoch in epochs if owner[epoch]])
    follower = log_of(*common, *[epoch for epoch in epochs if not owner[epoch]])
    leader.assign_epoch(10)
    settle(leader, follower)
    end = follower.log_end_offset
    assert [epoch for epoch, _ in follower.records] == [epoch for epoch, _ in leader.records[:end]]
    assert end >= len(common) or not common


def test_an_epoch_that_the_leader_does_not_know_cannot_be_compared():
    with pytest.raises(KafkaError) as refused:
        divergence(log_of(0), 1, 5)
    assert refused.value.code is ErrorCode.OFFSET_OUT_OF_RANGE


def test_a_log_without_epochs_is_cut_at_the_leaders_end():
    class Old(SimLog):
        def end_offset_for_epoch(self, epoch):
            return -1, -1

    log = Old()
    log.records = [(0, "a")] * 5
    assert truncation_point(log, 3, 2) == 2


@pytest.mark.parametrize(
    ("code", "step"),
    [
        (ErrorCode.NONE, Step(high_watermark=7)),
        (ErrorCode.OFFSET_OUT_OF_RANGE, Step(look_up_range=True)),
        (ErrorCode.FENCED_LEADER_EPOCH, Step(gone=True)),
        (ErrorCode.UNKNOWN_LEADER_EPOCH, Step(wait=True)),
        (ErrorCode.NOT_LEADER_OR_FOLLOWER, Step(wait=True)),
        (ErrorCode.KAFKA_STORAGE_ERROR, Step(wait=True)),
    ],
)
def test_what_an_answer_asks_for(code, step):
    assert Following(1, 2).answered(log_of(0), code, None, 7) == step


def test_out_of_range_begins_anew_only_below_the_leaders_start():
    following = Following(1, 2)
    assert following.in_range(log_of(0, 0), 5, 9) == (5, True)
    assert following.in_range(log_of(0, 0), 1, 9) == (2, False)
    assert following.in_range(log_of(0, 0, 0), 0, 1) == (1, False)

"""The leader's rules: what is committed, and who is in sync."""

from __future__ import annotations

import pytest

from kafkax.replication.leadership import IsrChange, Leadership

LAG = 1000


def leading(isr=(1, 2, 3), epoch_start=0, now=0):
    return Leadership(1, 11, 5, epoch_start, (1, 2, 3), isr, 7, now)


def committed(leadership, own, mark=0, minimum=1, now=0):
    return leadership.committed(own, mark, minimum, now, LAG)


def test_nothing_is_committed_before_every_in_sync_follower_has_fetched():
    leadership = leading()
    assert committed(leadership, 10) == 0
    leadership.fetched(2, 22, 10, 10, 0)
    assert committed(leadership, 10) == 0
    leadership.fetched(3, 33, 4, 10, 0)
    assert committed(leadership, 10) == 4


def test_the_leader_counts_only_what_it_contributes_itself():
    leadership = leading()
    for replica in (2, 3):
        leadership.fetched(replica, -1, 10, 10, 0)
    assert committed(leadership, 6) == 6


def test_the_mark_never_goes_back():
    leadership = leading()
    for replica in (2, 3):
        leadership.fetched(replica, -1, 5, 10, 0)
    assert committed(leadership, 10, mark=8) == 8


def test_the_mark_stays_with_fewer_in_sync_than_asked_for():
    leadership = leading(isr=(1,))
    assert committed(leadership, 10, minimum=2, now=5000) == 0
    assert committed(leadership, 10, minimum=1, now=5000) == 10


def test_a_follower_that_is_about_to_join_is_waited_for():
    leadership = leading(isr=(1, 2))
    leadership.fetched(2, -1, 10, 10, 0)
    leadership.fetched(3, -1, 6, 10, 0)
    assert committed(leadership, 10, mark=5) == 6
    assert committed(leadership, 10, mark=5, now=LAG + 1) == 10


def test_both_sets_count_while_a_change_is_with_the_controller():
    leadership = leading(isr=(1, 2))
    leadership.fetched(2, 22, 10, 10, 0)
    leadership.fetched(3, 33, 10, 10, 0)
    assert leadership.change(10, 10, 0, LAG) == IsrChange({1: 11, 2: 22, 3: 33}, 5, 7)
    leadership.fetched(2, 22, 20, 20, 5000)
    assert committed(leadership, 20, mark=10, now=5000) == 10
    assert leadership.change(20, 10, 5000, LAG) is None


def test_a_follower_joins_once_it_reached_the_mark_and_the_start_of_the_epoch():
    leadership = leading(isr=(1, 2), epoch_start=10)
    leadership.fetched(2, 22, 12, 12, 0)
    leadership.fetched(3, 33, 9, 12, 0)
    assert leadership.change(12, 5, 0, LAG) is None
    leadership.fetched(3, 33, 10, 12, 0)
    assert leadership.change(12, 11, 0, LAG) is None
    assert leadership.change(12, 10, 0, LAG).members == {1: 11, 2: 22, 3: 33}


def test_a_follower_that_was_not_caught_up_for_too_long_leaves():
    leadership = leading()
    leadership.fetched(2, 22, 10, 10, 900)
    leadership.fetched(3, 33, 5, 10, 900)
    assert leadership.change(10, 5, LAG, LAG) is None
    assert leadership.change(10, 5, LAG + 1, LAG).members == {1: 11, 2: 22}


def test_a_follower_that_has_what_there_was_when_it_asked_keeps_up():
    leadership = leading()
    for now in range(0, 5000, 500):
        # It never reaches the end, which moves on with every fetch, but it always reaches the former one.
        leadership.fetched(2, 22, now, now + 500, now)
        leadership.fetched(3, 33, now + 500, now + 500, now)
    assert leadership.change(5000, 4500, 5000, LAG) is None


def test_a_quiet_follower_with_everything_stays():
    leadership = leading()
    for replica in (2, 3):
        leadership.fetched(replica, -1, 10, 10, 0)
    assert leadership.change(10, 10, 100_000, LAG) is None


def test_a_former_life_of_a_follower_and_a_stranger_do_not_count():
    leadership = leading(isr=(1, 2))
    assert leadership.fetched(2, 22, 5, 5, 0)
    assert not leadership.fetched(2, 21, 9, 9, 0)
    assert not leadership.fetched(9, 1, 9, 9, 0)
    assert leadership.followers[2].offset == 5


def test_a_newer_state_settles_what_was_asked_for_and_an_older_one_does_not():
    leadership = leading(isr=(1, 2))
    leadership.fetched(3, 33, 5, 5, 0)
    asked = leadership.change(5, 5, 0, 10**9)
    leadership.update((1, 2, 3), (1, 2), 6, 0)
    assert leadership.asked is asked
    leadership.update((1, 2, 3), (1, 2, 3), 8, 0)
    assert leadership.asked is None
    assert (leadership.isr, leadership.partition_epoch) == ((1, 2, 3), 8)
    assert leadership.followers[3].offset == 5


@pytest.mark.parametrize("retriable", [True, False])
def test_a_refused_change_is_asked_again_only_when_that_may_help(retriable):
    leadership = leading(isr=(1,))
    leadership.fetched(2, 22, 5, 5, 0)
    leadership.change(5, 5, 0, LAG)
    leadership.refused(retriable=retriable)
    assert (leadership.change(5, 5, 0, LAG) is not None) == retriable

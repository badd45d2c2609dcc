"""Replicas are spread over brokers and racks as Kafka spreads them."""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kafkax.cluster.controller.placement import place_replicas
from kafkax.errors import ErrorCode, KafkaError


def test_leaders_go_round_and_followers_shift_with_every_round():
    placed = place_replicas(dict.fromkeys(range(5)), 10, 3, Random(0), start=0)
    assert list(placed.values()) == [
        (0, 1, 2),
        (1, 2, 3),
        (2, 3, 4),
        (3, 4, 0),
        (4, 0, 1),
        (0, 2, 3),
        (1, 3, 4),
        (2, 4, 0),
        (3, 0, 1),
        (4, 1, 2),
    ]


def test_partitions_added_later_continue_the_round():
    whole = place_replicas(dict.fromkeys(range(3)), 6, 2, Random(0), start=0)
    added = place_replicas(dict.fromkeys(range(3)), 2, 2, Random(0), first_partition=2, start=0)
    assert sorted(added) == [2, 3]
    assert [added[index][0] for index in (2, 3)] == [whole[index][0] for index in (2, 3)]


@given(st.integers(1, 12), st.integers(1, 60), st.integers(1, 4), st.integers(0, 2**32))
def test_replicas_are_distinct_and_leaders_even(brokers, partitions, factor, seed):
    factor = min(factor, brokers)
    placed = place_replicas(dict.fromkeys(range(brokers)), partitions, factor, Random(seed))
    assert sorted(placed) == list(range(partitions))
    assert all(len(set(replicas)) == factor for replicas in placed.values())
    leaders = Counter(replicas[0] for replicas in placed.values())
    assert max(leaders.values()) - min(leaders[broker] for broker in range(brokers)) <= 1


@given(st.lists(st.sampled_from("abc"), min_size=3, max_size=12), st.integers(1, 40), st.integers(1, 3), st.integers(0, 2**32))
def test_replicas_are_on_as_many_racks_as_possible(racks, partitions, factor, seed):
    brokers = dict(enumerate(racks))
    placed = place_replicas(brokers, partitions, factor, Random(seed))
    for replicas in placed.values():
        assert len(set(replicas)) == factor
        assert len({brokers[replica] for replica in replicas}) == min(factor, len(set(racks)))


def test_racks_do_not_count_unless_every_broker_has_one():
    placed = place_replicas({0: "a", 1: None, 2: "a"}, 3, 3, Random(0))
    assert all(sorted(replicas) == [0, 1, 2] for replicas in placed.values())


@pytest.mark.parametrize(
    ("partitions", "factor", "code"),
    [
        (0, 1, ErrorCode.INVALID_PARTITIONS),
        (-5, 1, ErrorCode.INVALID_PARTITIONS),
        (1, 0, ErrorCode.INVALID_REPLICATION_FACTOR),
        (1, 3, ErrorCode.INVALID_REPLICATION_FACTOR),
    ],
)
def test_impossible_wishes_are_refused(partitions, factor, code):
    with pytest.raises(KafkaError) as refused:
        place_replicas({1: None, 2: None}, partitions, factor, Random(0))
    assert refused.value.code is code

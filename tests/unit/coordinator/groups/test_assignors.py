"""Server-side assignors: complete, disjoint, even, and as they promise."""

from __future__ import annotations

from collections import Counter
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kafkax.coordinator.groups.assignors import ASSIGNORS, AssignedMember, assign_range, assign_uniform
from kafkax.coordinator.groups.topics import TopicInfo


def topic(name: str, partitions: int, racks: tuple[frozenset[str], ...] = ()) -> TopicInfo:
    return TopicInfo(name, UUID(int=sum(name.encode())), partitions, racks)


def topics(**partitions: int) -> dict[str, TopicInfo]:
    return {name: topic(name, count) for name, count in partitions.items()}


def member(*names: str, instance: str | None = None, rack: str | None = None, target: dict | None = None) -> AssignedMember:
    return AssignedMember(names, instance, rack, target or {})


def plain(assignment: dict, infos: dict[str, TopicInfo]) -> dict[str, dict[str, list[int]]]:
    names = {info.topic_id: name for name, info in infos.items()}
    return {m: {names[t]: sorted(ps) for t, ps in held.items()} for m, held in assignment.items()}


def test_range_gives_contiguous_ranges_the_same_in_topics_of_equal_size() -> None:
    infos = topics(t=5, u=5)
    members = {"c": member("t", "u"), "a": member("t", "u"), "b": member("t")}
    assert plain(assign_range(members, infos), infos) == {
        "a": {"t": [0, 1], "u": [0, 1, 2]},
        "b": {"t": [2, 3]},
        "c": {"t": [4], "u": [3, 4]},
    }


def test_range_puts_static_members_first_by_instance_id() -> None:
    infos = topics(t=3)
    members = {"a": member("t"), "z": member("t", instance="1"), "y": member("t", instance="2")}
    assert plain(assign_range(members, infos), infos) == {"z": {"t": [0]}, "y": {"t": [1]}, "a": {"t": [2]}}


def test_uniform_prefers_partitions_in_the_rack_of_the_member() -> None:
    racks = tuple(frozenset({"r1" if index % 2 else "r2"}) for index in range(6))
    infos = {"t": topic("t", 6, racks)}
    members = {"a": member("t", rack="r1"), "b": member("t", rack="r2")}
    assert plain(assign_uniform(members, infos), infos) == {"a": {"t": [1, 3, 5]}, "b": {"t": [0, 2, 4]}}


def test_topics_that_do_not_exist_are_passed_over() -> None:
    infos = topics(t=1)
    for assignor in ASSIGNORS.values():
        assert plain(assignor({"a": member("t", "none")}, infos), infos) == {"a": {"t": [0]}}
        assert plain(assignor({"a": member("none")}, infos), infos) == {"a": {}}
        assert assignor({}, infos) == {}


NAMES = ["t", "u", "v"]
GROUPS = st.dictionaries(st.sampled_from("abcdefgh"), st.sets(st.sampled_from(NAMES)), min_size=1)
SIZES = st.fixed_dictionaries({name: st.integers(0, 12) for name in NAMES})


@pytest.mark.parametrize("name", sorted(ASSIGNORS))
@given(first=GROUPS, second=GROUPS, sizes=SIZES, grown=SIZES)
def test_every_partition_that_is_read_has_exactly_one_reader(
    name: str, first: dict[str, set[str]], second: dict[str, set[str]], sizes: dict[str, int], grown: dict[str, int]
) -> None:
    infos = {key: topic(key, count) for key, count in sizes.items() if count}
    before = ASSIGNORS[name]({m: member(*sorted(names)) for m, names in first.items()}, infos)
    infos = {key: topic(key, count) for key, count in grown.items() if count}
    after = ASSIGNORS[name]({m: member(*sorted(names), target=before.get(m, {})) for m, names in second.items()}, infos)
    assert after.keys() == second.keys()
    owners = Counter((t, p) for held in after.values() for t, ps in held.items() for p in ps)
    read = {infos[key] for names in second.values() for key in names if key in infos}
    assert owners == Counter({(info.topic_id, p): 1 for info in read for p in range(info.partitions)})
    for m, held in after.items():
        assert {t for t, ps in held.items() if ps} <= {infos[key].topic_id for key in second[m] if key in infos}


@given(
    before=st.sets(st.sampled_from("abcdefgh"), min_size=1), after=st.sets(st.sampled_from("abcdefgh"), min_size=1), sizes=SIZES
)
def test_uniform_is_even_and_moves_no_more_than_it_must(before: set[str], after: set[str], sizes: dict[str, int]) -> None:
    infos = {key: topic(key, count) for key, count in sizes.items() if count}
    old = assign_uniform({m: member(*NAMES) for m in before}, infos)
    new = assign_uniform({m: member(*NAMES, target=old.get(m, {})) for m in after}, infos)
    loads = {m: sum(map(len, held.values())) for m, held in new.items()}
    assert max(loads.values()) - min(loads.values()) <= 1
    kept = sum(len(old[m].get(t, frozenset()) & ps) for m, held in new.items() if m in old for t, ps in held.items())
    quota, extra = divmod(sum(sizes.values()), len(after))
    had = sorted((sum(map(len, old[m].values())) for m in after & before), reverse=True)
    possible = sum(min(load, quota + (place < extra)) for place, load in enumerate(had))
    assert kept == possible


@given(first=GROUPS, second=GROUPS, sizes=SIZES)
def test_uniform_leaves_nobody_with_two_more_than_another_who_could_take_one(
    first: dict[str, set[str]], second: dict[str, set[str]], sizes: dict[str, int]
) -> None:
    infos = {key: topic(key, count) for key, count in sizes.items() if count}
    old = assign_uniform({m: member(*names) for m, names in first.items()}, infos)
    new = assign_uniform({m: member(*names, target=old.get(m, {})) for m, names in second.items()}, infos)
    loads = {m: sum(map(len, held.values())) for m, held in new.items()}
    for giver, held in new.items():
        for name, info in infos.items():
            if held.get(info.topic_id):
                assert all(loads[giver] - loads[taker] < 2 for taker, names in second.items() if name in names)

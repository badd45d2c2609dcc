from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from kafkax.client.assignors import ASSIGNORS, Member, cooperative_sticky, range_assignor, roundrobin, sticky


def members(*topics: list[str]) -> dict[str, Member]:
    return {f"m{index}": Member(each, []) for index, each in enumerate(topics)}


def test_range_gives_neighbours_and_the_rest_to_the_first() -> None:
    found = range_assignor(members(["a"], ["a"]), {"a": 3})
    assert found == {"m0": [("a", 0), ("a", 1)], "m1": [("a", 2)]}


def test_round_robin_passes_over_members_without_the_topic() -> None:
    found = roundrobin(members(["a", "b"], ["b"]), {"a": 2, "b": 2})
    assert found == {"m0": [("a", 0), ("a", 1), ("b", 1)], "m1": [("b", 0)]}


def test_static_members_come_first() -> None:
    group = {"z": Member(["a"], [], instance_id="1"), "b": Member(["a"], [])}
    assert range_assignor(group, {"a": 1}) == {"z": [("a", 0)], "b": []}


def test_sticky_moves_only_what_balance_needs() -> None:
    group = {"x": Member(["a"], [("a", 0), ("a", 1), ("a", 2), ("a", 3)]), "y": Member(["a"], [])}
    found = sticky(group, {"a": 4})
    assert {name: len(keys) for name, keys in found.items()} == {"x": 2, "y": 2}
    assert set(found["x"]) < set(group["x"].owned)


def test_the_newer_generation_owns() -> None:
    group = {"x": Member(["a"], [("a", 0)], 1), "y": Member(["a"], [("a", 0)], 2)}
    assert sticky(group, {"a": 1}) == {"x": [], "y": [("a", 0)]}


def test_cooperative_gives_a_moving_partition_to_nobody_first() -> None:
    group = {"x": Member(["a"], [("a", 0), ("a", 1)]), "y": Member(["a"], [])}
    first = cooperative_sticky(group, {"a": 2})
    assert [len(first["x"]), len(first["y"])] == [1, 0]
    second = cooperative_sticky({"x": Member(["a"], first["x"]), "y": Member(["a"], [])}, {"a": 2})
    assert [len(second["x"]), len(second["y"])] == [1, 1]


@given(
    st.lists(st.sets(st.sampled_from("abc")), min_size=1, max_size=6), st.dictionaries(st.sampled_from("abc"), st.integers(0, 7))
)
def test_every_partition_has_one_owner_that_wants_it(wishes: list[set[str]], partitions: dict[str, int]) -> None:
    group = members(*(sorted(each) for each in wishes))
    wanted = {(topic, n) for topic, count in partitions.items() for n in range(count) if any(topic in each for each in wishes)}
    for name in ("range", "roundrobin", "sticky"):
        found = ASSIGNORS[name](group, partitions)
        given = [key for keys in found.values() for key in keys]
        assert sorted(given) == sorted(wanted), name
        assert all(key[0] in group[member].topics for member, keys in found.items() for key in keys)

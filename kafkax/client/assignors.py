"""Strategies that divide the partitions of topics among the members of a classic group.

Each gets the members' topics and what they own, and gives every member its partitions.  The leader of a group runs the one
that all members know.  Range and round-robin give what Java's do, so that mixed groups agree; the sticky ones keep what members
have and move as little as balance allows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

__all__ = ["ASSIGNORS", "Member", "cooperative_sticky", "range_assignor", "roundrobin", "sticky"]

Key = tuple[str, int]
Assignment = dict[str, list[Key]]


class Member(NamedTuple):
    """A member as the leader sees it: topics that it wants, partitions that it owns, static id if it has one."""

    topics: list[str]
    owned: list[Key]
    generation: int = -1
    instance_id: str | None = None


def _order(members: Mapping[str, Member]) -> list[str]:
    """Members in Java's order: static ones first, by instance id, then the others by member id."""
    return sorted(members, key=lambda name: (members[name].instance_id is None, members[name].instance_id or name))


def range_assignor(members: Mapping[str, Member], partitions: Mapping[str, int]) -> Assignment:
    """Per topic, neighbouring partitions for each member; the first members get one more where it does not divide."""
    assignment: Assignment = {name: [] for name in members}
    ordered = _order(members)
    for topic in sorted(partitions):
        takers = [name for name in ordered if topic in members[name].topics]
        if not takers:
            continue
        each, more = divmod(partitions[topic], len(takers))
        start = 0
        for index, name in enumerate(takers):
            count = each + (index < more)
            assignment[name] += [(topic, number) for number in range(start, start + count)]
            start += count
    return assignment


def roundrobin(members: Mapping[str, Member], partitions: Mapping[str, int]) -> Assignment:
    """All partitions in turn, one member after the other; members without the topic are passed over."""
    assignment: Assignment = {name: [] for name in members}
    ordered = _order(members)
    place = 0
    for topic in sorted(partitions):
        if not any(topic in member.topics for member in members.values()):
            continue
        for number in range(partitions[topic]):
            while topic not in members[ordered[place % len(ordered)]].topics:
                place += 1
            assignment[ordered[place % len(ordered)]].append((topic, number))
            place += 1
    return assignment


def sticky(members: Mapping[str, Member], partitions: Mapping[str, int]) -> Assignment:
    """Members keep what they own as far as that is balanced; the rest goes to those who have least."""
    assignment = _kept(members, partitions)
    taken = {key for keys in assignment.values() for key in keys}
    free = [
        (topic, number) for topic in sorted(partitions) for number in range(partitions[topic]) if (topic, number) not in taken
    ]
    ordered = _order(members)
    for key in free:
        takers = [name for name in ordered if key[0] in members[name].topics]
        if takers:
            assignment[min(takers, key=lambda name: len(assignment[name]))].append(key)
    _level(assignment, members, ordered)
    return {name: sorted(keys) for name, keys in assignment.items()}


def _kept(members: Mapping[str, Member], partitions: Mapping[str, int]) -> Assignment:
    """What members own and may keep; of two owners the one with the newer generation."""
    owner: dict[Key, str] = {}
    for name in _order(members):
        for key in members[name].owned:
            valid = key[0] in members[name].topics and key[1] < partitions.get(key[0], 0)
            rival = owner.get(key)
            if valid and (rival is None or members[rival].generation < members[name].generation):
                owner[key] = name
    assignment: Assignment = {name: [] for name in members}
    for key, name in sorted(owner.items()):
        assignment[name].append(key)
    return assignment


def _level(assignment: Assignment, members: Mapping[str, Member], ordered: list[str]) -> None:
    """Move single partitions from who has most to who has least, until no move makes it more even."""
    moved = True
    while moved:
        moved = False
        for poor in sorted(ordered, key=lambda name: len(assignment[name])):
            rich = [
                name
                for name in ordered
                if len(assignment[name]) > len(assignment[poor]) + 1
                and any(k[0] in members[poor].topics for k in assignment[name])
            ]
            if rich:
                giver = max(rich, key=lambda name: len(assignment[name]))
                key = next(k for k in reversed(assignment[giver]) if k[0] in members[poor].topics)
                assignment[giver].remove(key)
                assignment[poor].append(key)
                moved = True
                break


def cooperative_sticky(members: Mapping[str, Member], partitions: Mapping[str, int]) -> Assignment:
    """Like sticky, but a partition that changes hands is first given to nobody (KIP-429): its owner gives it up, then all
    join again."""
    assignment = sticky(members, partitions)
    owner = {key: name for name, keys in _kept(members, partitions).items() for key in keys}
    return {name: [key for key in keys if owner.get(key, name) == name] for name, keys in assignment.items()}


ASSIGNORS: dict[str, Callable[[Mapping[str, Member], Mapping[str, int]], Assignment]] = {
    "range": range_assignor,
    "roundrobin": roundrobin,
    "sticky": sticky,
    "cooperative-sticky": cooperative_sticky,
}
"""Strategies by the name that members send."""

"""Server-side assignors: who of a group is to have which partitions.

``range`` gives each member a contiguous range of every topic, the same range in topics of equal size, so that they stay
co-partitioned.  ``uniform`` gives everybody equally many and leaves with each member as much as it can of what it has.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from heapq import heapify, heappop, heappush
from typing import NamedTuple
from uuid import UUID

from kafkax.coordinator.groups.consumer_group import Target
from kafkax.coordinator.groups.topics import TopicInfo

__all__ = ["ASSIGNORS", "AssignedMember", "Assignor", "assign_range", "assign_uniform"]

Assignor = Callable[[Mapping[str, "AssignedMember"], Mapping[str, TopicInfo]], dict[str, Target]]

_Partition = tuple[UUID, int]


class AssignedMember(NamedTuple):
    """A member as an assignor sees it.

    Attributes:
        topics: names that it subscribes to.
        instance_id: of a static member.
        rack_id: where it runs.
        target: what the last assignment gave it.
    """

    topics: Sequence[str]
    instance_id: str | None
    rack_id: str | None
    target: Target


def assign_range(members: Mapping[str, AssignedMember], topics: Mapping[str, TopicInfo]) -> dict[str, Target]:
    """Contiguous ranges; static members come first by instance id, the others follow by member id."""
    assigned: dict[str, dict[UUID, frozenset[int]]] = {member_id: {} for member_id in members}
    order = sorted(members, key=lambda member_id: _static_first(member_id, members[member_id]))
    readers: dict[str, list[str]] = {}
    for member_id in order:
        for name in members[member_id].topics:
            if name in topics:
                readers.setdefault(name, []).append(member_id)
    for name, names in readers.items():
        topic = topics[name]
        quota, extra = divmod(topic.partitions, len(names))
        start = 0
        for place, member_id in enumerate(names):
            end = start + quota + (place < extra)
            if end > start:
                assigned[member_id][topic.topic_id] = frozenset(range(start, end))
            start = end
    return dict(assigned)


def _static_first(member_id: str, member: AssignedMember) -> tuple[bool, str]:
    return (member.instance_id is None, member_id if member.instance_id is None else member.instance_id)


def assign_uniform(members: Mapping[str, AssignedMember], topics: Mapping[str, TopicInfo]) -> dict[str, Target]:
    """Equal shares that change as little as they can."""
    if not members:
        return {}
    subscriptions = {tuple(sorted(set(member.topics) & topics.keys())) for member in members.values()}
    if len(subscriptions) == 1:
        held = _homogeneous(members, [topics[name] for name in subscriptions.pop()])
    else:
        held = _heterogeneous(members, topics)
    return {member_id: _by_topic(partitions) for member_id, partitions in held.items()}


def _by_topic(partitions: set[_Partition]) -> Target:
    by_topic: dict[UUID, set[int]] = {}
    for topic_id, partition in partitions:
        by_topic.setdefault(topic_id, set()).add(partition)
    return {topic_id: frozenset(indexes) for topic_id, indexes in by_topic.items()}


def _racks(topics: Sequence[TopicInfo]) -> dict[_Partition, frozenset[str]]:
    return {(topic.topic_id, index): racks for topic in topics for index, racks in enumerate(topic.racks) if racks}


def _homogeneous(members: Mapping[str, AssignedMember], topics: list[TopicInfo]) -> dict[str, set[_Partition]]:
    """Everybody reads the same: each keeps up to its quota, the rest goes to those below it."""
    free: dict[_Partition, None] = {(topic.topic_id, index): None for topic in topics for index in range(topic.partitions)}
    quota, extra = divmod(len(free), len(members))
    held: dict[str, set[_Partition]] = {}
    # Who has most chooses first, so that those with one more than the quota may keep it.
    by_load = sorted(members, key=lambda member_id: (-_size(members[member_id].target), member_id))
    for member_id in by_load:
        old = [(t, p) for t, ps in members[member_id].target.items() for p in sorted(ps) if (t, p) in free]
        limit = quota
        if len(old) > quota and extra > 0:
            limit, extra = quota + 1, extra - 1
        held[member_id] = set(old[:limit])
        for partition in old[:limit]:
            del free[partition]
    needs = [member_id for member_id in sorted(members) if len(held[member_id]) < quota]
    _fill(needs, quota, free, held, members, _racks(topics))
    # What is left is the remainder of the division: one each for those who have just the quota.
    takers = [member_id for member_id in sorted(members) if len(held[member_id]) == quota]
    _fill(takers, quota + 1, free, held, members, _racks(topics))
    return held


def _size(target: Target) -> int:
    return sum(len(partitions) for partitions in target.values())


def _fill(
    needs: list[str],
    limit: int,
    free: dict[_Partition, None],
    held: dict[str, set[_Partition]],
    members: Mapping[str, AssignedMember],
    racks: dict[_Partition, frozenset[str]],
) -> None:
    """Give free partitions to members below a limit, first those with a replica in the member's rack."""
    if racks:
        for member_id in needs:
            rack = members[member_id].rack_id
            near = [partition for partition in free if rack in racks.get(partition, ())] if rack else []
            for partition in near[: limit - len(held[member_id])]:
                held[member_id].add(partition)
                del free[partition]
    for member_id in needs:
        while len(held[member_id]) < limit and free:
            partition = next(iter(free))
            del free[partition]
            held[member_id].add(partition)


def _heterogeneous(members: Mapping[str, AssignedMember], topics: Mapping[str, TopicInfo]) -> dict[str, set[_Partition]]:
    """Members read different topics: keep what is valid, give the rest to who has least, then even out."""
    readers: dict[UUID, list[str]] = {}
    for member_id in sorted(members):
        for name in set(members[member_id].topics) & topics.keys():
            readers.setdefault(topics[name].topic_id, []).append(member_id)
    held: dict[str, set[_Partition]] = {member_id: set() for member_id in members}
    owner: dict[_Partition, str] = {}
    for topic_id, names in readers.items():
        for member_id in names:
            for partition in members[member_id].target.get(topic_id, ()):
                if (topic_id, partition) not in owner:
                    owner[topic_id, partition] = member_id
    sizes = {topic.topic_id: topic.partitions for topic in topics.values()}
    owner = {each: member_id for each, member_id in owner.items() if each[1] < sizes[each[0]]}
    for each, member_id in owner.items():
        held[member_id].add(each)
    # Topics with few readers first: their partitions have the least choice.
    for topic_id in sorted(readers, key=lambda each: (len(readers[each]), each)):
        waiting = [index for index in range(sizes[topic_id]) if (topic_id, index) not in owner]
        loads = [(len(held[member_id]), member_id) for member_id in readers[topic_id]]
        heapify(loads)
        for index in waiting:
            load, member_id = heappop(loads)
            held[member_id].add((topic_id, index))
            heappush(loads, (load + 1, member_id))
    _even_out(held, readers)
    return held


def _even_out(held: dict[str, set[_Partition]], readers: Mapping[UUID, list[str]]) -> None:
    """Move partitions from members to readers of the same topic that have at least two less, until nobody does."""
    moved = True
    while moved:
        moved = False
        for giver in sorted(held, key=lambda member_id: (-len(held[member_id]), member_id)):
            for partition in sorted(held[giver]):
                taker = min(readers[partition[0]], key=lambda member_id: (len(held[member_id]), member_id))
                if len(held[giver]) - len(held[taker]) >= 2:
                    held[giver].remove(partition)
                    held[taker].add(partition)
                    moved = True


ASSIGNORS: dict[str, Assignor] = {"uniform": assign_uniform, "range": assign_range}
"""Assignors by the names that members and configs use."""

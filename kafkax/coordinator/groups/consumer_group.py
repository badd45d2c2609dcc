"""State of a consumer group (KIP-848): who is in, who is to have what, and who has it.

Three epochs tell how far everybody is.  The group epoch rises with every change of members, subscriptions or topics; the
assignment epoch says for which group epoch the target assignment was made; a member's epoch says which target
it has reached.  All of it stands in the log, one record per member and part, and changes by their replay only.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from enum import Enum, IntEnum
from typing import NamedTuple
from uuid import UUID

from kafkax.coordinator.groups.classic import Protocols
from kafkax.coordinator.groups.topics import TopicInfo, TopicView
from kafkax.coordinator.undo import UndoDict, UndoLog
from kafkax.errors import ErrorCode, KafkaError

__all__ = [
    "LEFT_STATIC",
    "NO_EPOCH",
    "Assigned",
    "ClassicClient",
    "ConsumerGroup",
    "ConsumerMember",
    "ConsumerState",
    "MemberState",
    "ResolvedRegex",
    "Target",
]

NO_EPOCH = -1
"""Epoch of a member that has no place, and of a partition that has no owner."""
LEFT_STATIC = -2
"""Epoch of a static member that is away and expected back."""

Target = Mapping[UUID, frozenset[int]]
"""Partitions by topic id.  Never changed."""

Assigned = Mapping[UUID, Mapping[int, int]]
"""Partitions by topic id, each with the member epoch in which it was given (KIP-1251).  Never changed."""


_NO_PARTITIONS: Assigned = {}


class MemberState(IntEnum):
    """Where a member stands between its assignment and its target; the values are those of the log."""

    STABLE = 0
    UNREVOKED_PARTITIONS = 1
    """It was told to give partitions up and has not yet."""
    UNRELEASED_PARTITIONS = 2
    """It waits for partitions that others still have."""
    UNKNOWN = 127

    @classmethod
    def of(cls, value: int) -> MemberState:
        """The state of that number; UNKNOWN for what a newer broker wrote."""
        return cls(value) if value in cls._value2member_map_ else cls.UNKNOWN


class ConsumerState(Enum):
    """Where a group stands; the values are the names on the wire."""

    EMPTY = "Empty"
    ASSIGNING = "Assigning"
    RECONCILING = "Reconciling"
    STABLE = "Stable"
    DEAD = "Dead"


class ClassicClient(NamedTuple):
    """What is known of a member that speaks the classic protocol in a consumer group."""

    session_timeout_ms: int
    protocols: Protocols


class ConsumerMember(NamedTuple):
    """A member.

    Attributes:
        topics: names that it subscribes to, sorted.
        regex: regular expression that it subscribes to; None or empty for none.
        epoch: the target it has reached; see also :data:`LEFT_STATIC`.
        previous_epoch: the one before, which the member may still be at when it missed the last answer.
        assigned: what it has or may take.
        revoking: what it has to give up before it goes on.
        classic: set when it speaks the classic protocol.
    """

    member_id: str
    instance_id: str | None = None
    rack_id: str | None = None
    client_id: str = ""
    client_host: str = ""
    topics: tuple[str, ...] = ()
    regex: str | None = None
    rebalance_timeout_ms: int = -1
    assignor: str | None = None
    classic: ClassicClient | None = None
    epoch: int = 0
    previous_epoch: int = NO_EPOCH
    state: MemberState = MemberState.STABLE
    assigned: Assigned = _NO_PARTITIONS
    revoking: Assigned = _NO_PARTITIONS


class ResolvedRegex(NamedTuple):
    """What a regular expression matched.

    Attributes:
        topics: names, sorted.
        version: of the cluster's metadata.
        timestamp_ms: when.
    """

    topics: tuple[str, ...]
    version: int
    timestamp_ms: int


class ConsumerGroup:
    """A consumer group.

    Args:
        group_id: its id.
        undo: takes back what was replayed when the append fails.
    """

    __slots__ = (
        "_numbers",
        "group_id",
        "members",
        "owners",
        "refresh_needed",
        "regexes",
        "static_members",
        "subscribed_regexes",
        "subscribed_topics",
        "target",
    )

    def __init__(self, group_id: str, undo: UndoLog) -> None:
        self.group_id = group_id
        self.members: UndoDict[str, ConsumerMember] = UndoDict(undo)
        self.static_members: UndoDict[str, str] = UndoDict(undo)
        self.target: UndoDict[str, Target] = UndoDict(undo)
        self.owners: UndoDict[tuple[UUID, int], int] = UndoDict(undo)
        """Epoch of the member that has a partition, or still has to give it up."""
        self.regexes: UndoDict[str, ResolvedRegex] = UndoDict(undo)
        self.subscribed_topics: UndoDict[str, int] = UndoDict(undo)
        """How many members name a topic."""
        self.subscribed_regexes: UndoDict[str, int] = UndoDict(undo)
        """How many members use a regular expression."""
        self._numbers: UndoDict[str, int] = UndoDict(undo)
        self.refresh_needed = True
        """Topics may have changed since the group epoch was set; looked at with the next heartbeat."""

    # -- numbers ---------------------------------------------------------------------------------------------------

    @property
    def epoch(self) -> int:
        """The group epoch; a new group begins at 1, so that its first assignment is made at 2."""
        return self._numbers.get("epoch", 1)

    @property
    def metadata_hash(self) -> int:
        """Of the topics that the group epoch was set for."""
        return self._numbers.get("hash", 0)

    @property
    def assignment_epoch(self) -> int:
        """The group epoch that the target assignment was made for."""
        return self._numbers.get("assignment", 0)

    @property
    def assigned_at_ms(self) -> int:
        """When the target assignment was made; 0 never."""
        return self._numbers.get("assigned_at", 0)

    @property
    def classic_members(self) -> int:
        """Members that speak the classic protocol."""
        return self._numbers.get("classic", 0)

    def set_epoch(self, epoch: int, metadata_hash: int) -> None:
        """Replay of a group epoch."""
        self._numbers["epoch"] = epoch
        self._numbers["hash"] = metadata_hash

    def set_assignment_epoch(self, epoch: int, assigned_at_ms: int) -> None:
        """Replay of the target assignment's epoch."""
        self._numbers["assignment"] = epoch
        self._numbers["assigned_at"] = assigned_at_ms

    # -- members ---------------------------------------------------------------------------------------------------

    def member(self, member_id: str) -> ConsumerMember:
        """A member.

        Raises:
            KafkaError: UNKNOWN_MEMBER_ID.
        """
        member = self.members.get(member_id)
        if member is None:
            raise KafkaError(ErrorCode.UNKNOWN_MEMBER_ID, f"group {self.group_id} has no member {member_id!r}; join again")
        return member

    def set_member(self, member: ConsumerMember) -> None:
        """Replay of a member: new, or changed."""
        before = self.members.get(member.member_id)
        self._count(before, member)
        if before is not None:
            self._disown(before)
        self._own(member)
        self.members[member.member_id] = member
        if member.instance_id is not None:
            self.static_members[member.instance_id] = member.member_id

    def remove_member(self, member_id: str) -> None:
        """Replay of a member's removal."""
        member = self.members.pop(member_id)
        if member is None:
            return
        self._count(member, None)
        self._disown(member)
        if member.instance_id is not None and self.static_members.get(member.instance_id) == member_id:
            del self.static_members[member.instance_id]

    def _count(self, before: ConsumerMember | None, after: ConsumerMember | None) -> None:
        old, new = (before or _NOBODY).topics, (after or _NOBODY).topics
        if old != new:
            for topic in old:
                _add(self.subscribed_topics, topic, -1)
            for topic in new:
                _add(self.subscribed_topics, topic, 1)
        old_regex, new_regex = (before or _NOBODY).regex, (after or _NOBODY).regex
        if old_regex != new_regex:
            if old_regex:
                _add(self.subscribed_regexes, old_regex, -1)
            if new_regex:
                _add(self.subscribed_regexes, new_regex, 1)
        change = (after is not None and after.classic is not None) - (before is not None and before.classic is not None)
        if change:
            self._numbers["classic"] = self.classic_members + change

    def _own(self, member: ConsumerMember) -> None:
        for held in (member.assigned, member.revoking):
            for topic_id, partitions in held.items():
                for partition in partitions:
                    self.owners[topic_id, partition] = member.epoch

    def _disown(self, member: ConsumerMember) -> None:
        for held in (member.assigned, member.revoking):
            for topic_id, partitions in held.items():
                for partition in partitions:
                    self.owners.pop((topic_id, partition))

    def target_of(self, member_id: str) -> Target:
        """What a member is to have."""
        return self.target.get(member_id, _NOTHING)

    # -- subscriptions ---------------------------------------------------------------------------------------------

    def resolved(self, member: ConsumerMember) -> tuple[str, ...]:
        """The names that a member subscribes to, by name and by regular expression."""
        regex = self.regexes.get(member.regex) if member.regex else None
        return member.topics if regex is None else tuple(sorted({*member.topics, *regex.topics}))

    def topic_names(self) -> Iterator[str]:
        """The names that any member subscribes to; a name may come twice."""
        yield from self.subscribed_topics
        for regex in self.subscribed_regexes:
            if regex in self.regexes:
                yield from self.regexes[regex].topics

    def topics(self, view: TopicView) -> dict[str, TopicInfo]:
        """The existing topics that any member subscribes to."""
        found = {name: view.by_name(name) for name in self.topic_names()}
        return {name: topic for name, topic in found.items() if topic is not None}

    def subscribes_to(self, topic: str) -> bool:
        """Whether any member subscribes to the topic."""
        return topic in self.subscribed_topics or any(topic in self.regexes[r].topics for r in self.regexes)

    def preferred_assignor(self, default: str) -> str:
        """The server-side assignor that most members ask for."""
        votes = Counter(member.assignor for member in self.members.values() if member.assignor is not None)
        return votes.most_common(1)[0][0] if votes else default

    # -- state -----------------------------------------------------------------------------------------------------

    def is_reconciled(self, member: ConsumerMember) -> bool:
        """Whether a member has all and only what the target assignment gives it."""
        return member.state is MemberState.STABLE and member.epoch == self.assignment_epoch

    def stands(self, member_id: str, epoch: int) -> bool:
        """Whether a heartbeat of the member that says nothing new may be answered alike until something changes."""
        member = self.members.get(member_id)
        return (
            member is not None
            and 0 < epoch == member.epoch == self.epoch == self.assignment_epoch
            and member.state is MemberState.STABLE
            and member.classic is None
            and not self.refresh_needed
        )

    @property
    def state(self) -> ConsumerState:
        """Where the group stands."""
        if not self.members:
            return ConsumerState.EMPTY
        if self.epoch > self.assignment_epoch:
            return ConsumerState.ASSIGNING
        if all(self.is_reconciled(member) for member in self.members.values()):
            return ConsumerState.STABLE
        return ConsumerState.RECONCILING


_NOBODY = ConsumerMember("")
_NOTHING: Target = {}


def _add(counts: UndoDict[str, int], key: str, change: int) -> None:
    count = counts.get(key, 0) + change
    if count:
        counts[key] = count
    else:
        counts.pop(key)

"""State of a classic group: its members, what they support, and where its rebalance stands.

What must survive, generation, protocol, members and assignments, is in the group's record.  The rest (who waits for which
answer) lives and dies with the coordinator.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from enum import Enum
from typing import TYPE_CHECKING

from kafkax.coordinator.promise import Promise
from kafkax.errors import ErrorCode, KafkaError, ProtocolError
from kafkax.protocol.coordinator_records.consumer_protocol import ConsumerProtocolSubscription

if TYPE_CHECKING:
    from kafkax.protocol.messages.join_group import JoinGroupResponse
    from kafkax.protocol.messages.sync_group import SyncGroupResponse

__all__ = ["CONSUMER_PROTOCOL_TYPE", "ClassicGroup", "ClassicMember", "ClassicState", "Protocols"]

CONSUMER_PROTOCOL_TYPE = "consumer"
"""Protocol type of groups whose members are consumers, so that the coordinator can read their subscriptions."""

Protocols = tuple[tuple[str, bytes], ...]
"""What a member supports: assignor names in its order of preference, each with the member's metadata for it."""


class ClassicState(Enum):
    """Where the group stands; the values are the names on the wire."""

    EMPTY = "Empty"
    """No members; offsets may remain."""
    PREPARING_REBALANCE = "PreparingRebalance"
    """Waiting for the members to join."""
    COMPLETING_REBALANCE = "CompletingRebalance"
    """Waiting for the leader's assignment."""
    STABLE = "Stable"
    """Everybody has its assignment."""
    DEAD = "Dead"
    """Deleted."""


class ClassicMember:
    """A member of a classic group.

    Attributes:
        awaiting_join: the JoinGroup that it waits for, if any.
        awaiting_sync: the SyncGroup that it waits for, if any.
        is_new: it has not yet been part of a generation.
    """

    __slots__ = (
        "assignment",
        "awaiting_join",
        "awaiting_sync",
        "client_host",
        "client_id",
        "instance_id",
        "is_new",
        "member_id",
        "protocols",
        "rebalance_timeout_ms",
        "session_timeout_ms",
    )

    def __init__(
        self,
        member_id: str,
        instance_id: str | None,
        client_id: str,
        client_host: str,
        rebalance_timeout_ms: int,
        session_timeout_ms: int,
        protocols: Protocols,
        assignment: bytes = b"",
    ) -> None:
        self.member_id = member_id
        self.instance_id = instance_id
        self.client_id = client_id
        self.client_host = client_host
        self.rebalance_timeout_ms = rebalance_timeout_ms
        self.session_timeout_ms = session_timeout_ms
        self.protocols = protocols
        self.assignment = assignment
        self.awaiting_join: Promise[JoinGroupResponse] | None = None
        self.awaiting_sync: Promise[SyncGroupResponse] | None = None
        self.is_new = False

    def metadata(self, protocol: str | None) -> bytes:
        """What the member said for a protocol; empty when it doesn't support it."""
        for name, metadata in self.protocols:
            if name == protocol:
                return metadata
        return b""

    @property
    def waits_for_rebalance(self) -> bool:
        """Whether an answer is owed to it, so that its silence means nothing; a new member's wait is bounded all the same."""
        return not self.is_new and (self.awaiting_join is not None or self.awaiting_sync is not None)


class ClassicGroup:
    """A classic group.

    Args:
        group_id: its id.
        now_ms: wall time, from which offsets retention of an empty group counts.
    """

    __slots__ = (
        "_awaiting_join",
        "_subscribed",
        "_supported",
        "generation",
        "group_id",
        "leader",
        "members",
        "new_member_added",
        "pending_members",
        "pending_sync",
        "previous_state",
        "protocol_name",
        "protocol_type",
        "state",
        "state_timestamp_ms",
        "static_members",
    )

    def __init__(self, group_id: str, now_ms: int, state: ClassicState = ClassicState.EMPTY) -> None:
        self.group_id = group_id
        self.state = state
        self.previous_state = ClassicState.DEAD
        self.state_timestamp_ms: int | None = now_ms
        self.generation = 0
        self.protocol_type: str | None = None
        self.protocol_name: str | None = None
        self.leader: str | None = None
        self.members: dict[str, ClassicMember] = {}
        self.static_members: dict[str, str] = {}
        self.pending_members: set[str] = set()
        """Ids handed out by MEMBER_ID_REQUIRED and not used yet."""
        self.pending_sync: set[str] = set()
        """Members of this generation that have not asked for their assignment."""
        self.new_member_added = False
        self._awaiting_join = 0
        self._supported: Counter[str] = Counter()
        self._subscribed: tuple[int, frozenset[str] | None] | None = None

    # -- members ---------------------------------------------------------------------------------------------------

    def add(self, member: ClassicMember, reply: Promise[JoinGroupResponse] | None = None) -> None:
        """Take a member in; the first one leads and sets the protocol type.  ``reply`` is the JoinGroup it waits for."""
        if self.leader is None:
            self.leader = member.member_id
        self.members[member.member_id] = member
        self._supported.update(name for name, _ in member.protocols)
        if member.instance_id is not None:
            self.static_members[member.instance_id] = member.member_id
        self.pending_members.discard(member.member_id)
        self.await_join(member, reply)

    def remove(self, member_id: str) -> ClassicMember | None:
        """Take a member, or a handed-out id, out; another one leads when it was the leader."""
        member = self.members.pop(member_id, None)
        self.pending_members.discard(member_id)
        self.pending_sync.discard(member_id)
        if member is None:
            return None
        self._supported.subtract(name for name, _ in member.protocols)
        if member.awaiting_join is not None:
            self._awaiting_join -= 1
        if member.instance_id is not None and self.static_members.get(member.instance_id) == member_id:
            del self.static_members[member.instance_id]
        if self.leader == member_id:
            self.leader = next(iter(self.members), None)
        return member

    def update(self, member: ClassicMember, protocols: Protocols, rebalance_timeout_ms: int, session_timeout_ms: int) -> None:
        """Change what a member supports and its timeouts."""
        self._supported.subtract(name for name, _ in member.protocols)
        self._supported.update(name for name, _ in protocols)
        member.protocols = protocols
        member.rebalance_timeout_ms = rebalance_timeout_ms
        member.session_timeout_ms = session_timeout_ms

    def replace_static(self, instance_id: str, old_id: str, new_id: str) -> ClassicMember:
        """Give a static member a new member id; whoever still waits under the old one is fenced."""
        member = self.members.pop(old_id)
        fenced = KafkaError(ErrorCode.FENCED_INSTANCE_ID, f"another member took over the instance id {instance_id}")
        if member.awaiting_join is not None:
            self.take_join(member).fail(fenced)
        if member.awaiting_sync is not None:
            self.take_sync(member).fail(fenced)
        member.member_id = new_id
        self.members[new_id] = member
        self.static_members[instance_id] = new_id
        if self.leader == old_id:
            self.leader = new_id
        return member

    def stands(self, member_id: str, generation: int) -> bool:
        """Whether a heartbeat of the member may be answered alike until something changes."""
        return self.state is ClassicState.STABLE and generation == self.generation and member_id in self.members

    def validate(self, member_id: str, instance_id: str | None) -> ClassicMember:
        """The member that a request names.

        Raises:
            KafkaError: UNKNOWN_MEMBER_ID, or FENCED_INSTANCE_ID when another member holds the instance id.
        """
        if instance_id is not None:
            holder = self.static_members.get(instance_id)
            if holder is None:
                raise KafkaError(ErrorCode.UNKNOWN_MEMBER_ID, f"group {self.group_id} has no static member {instance_id}")
            if holder != member_id:
                raise KafkaError(ErrorCode.FENCED_INSTANCE_ID, f"instance id {instance_id} belongs to {holder} now")
        member = self.members.get(member_id)
        if member is None:
            raise KafkaError(ErrorCode.UNKNOWN_MEMBER_ID, f"group {self.group_id} has no member {member_id!r}; join again")
        return member

    # -- who waits for what ----------------------------------------------------------------------------------------

    def await_join(self, member: ClassicMember, reply: Promise[JoinGroupResponse] | None) -> None:
        """Note the JoinGroup that a member waits for; an earlier one is told to try again."""
        if reply is None:
            return
        if member.awaiting_join is None:
            self._awaiting_join += 1
        else:
            replaced = KafkaError(ErrorCode.REBALANCE_IN_PROGRESS, "a later JoinGroup of the member replaced this one")
            member.awaiting_join.fail(replaced)
        member.awaiting_join = reply

    def take_join(self, member: ClassicMember) -> Promise[JoinGroupResponse]:
        """The JoinGroup that the member waits for, which it does no longer; one that nobody sees when there is none."""
        reply, member.awaiting_join = member.awaiting_join, None
        if reply is None:
            return Promise()
        self._awaiting_join -= 1
        return reply

    def take_sync(self, member: ClassicMember) -> Promise[SyncGroupResponse]:
        """The SyncGroup that the member waits for, which it does no longer; one that nobody sees when there is none."""
        reply, member.awaiting_sync = member.awaiting_sync, None
        return reply or Promise()

    @property
    def awaiting_join_count(self) -> int:
        """Members that wait for their JoinGroup."""
        return self._awaiting_join

    @property
    def all_joined(self) -> bool:
        """Whether every member waits for its JoinGroup and no handed-out id is open."""
        return len(self.members) == self._awaiting_join and not self.pending_members

    # -- protocol and generation -----------------------------------------------------------------------------------

    def to(self, state: ClassicState, now_ms: int) -> None:
        """Change state."""
        self.previous_state, self.state = self.state, state
        self.state_timestamp_ms = now_ms

    @property
    def can_rebalance(self) -> bool:
        """Whether a rebalance may start now."""
        return self.state in (ClassicState.STABLE, ClassicState.COMPLETING_REBALANCE, ClassicState.EMPTY)

    @property
    def rebalance_timeout_ms(self) -> int:
        """The longest that any member asks to be waited for."""
        return max((member.rebalance_timeout_ms for member in self.members.values()), default=0)

    def supports(self, protocol_type: str, protocols: Protocols) -> bool:
        """Whether a member of that type and with these protocols fits to those who are in."""
        if self.state is ClassicState.EMPTY:
            return protocol_type != "" and len(protocols) > 0
        return protocol_type == self.protocol_type and any(self._supported[name] == len(self.members) for name, _ in protocols)

    def select_protocol(self) -> str:
        """The protocol that every member supports and most prefer.

        Raises:
            KafkaError: INCONSISTENT_GROUP_PROTOCOL when there is none, which joining rules out.
        """
        size = len(self.members)
        votes: Counter[str] = Counter()
        for member in self.members.values():
            choice = next((name for name, _ in member.protocols if self._supported[name] == size), None)
            if choice is not None:
                votes[choice] += 1
        if not votes:
            raise KafkaError(ErrorCode.INCONSISTENT_GROUP_PROTOCOL, f"no protocol is supported by all of {self.group_id}")
        return votes.most_common(1)[0][0]

    def elect_joined_leader(self) -> bool:
        """Make sure that the leader is one who joined; false when nobody did."""
        if self.leader is not None and self.members[self.leader].awaiting_join is not None:
            return True
        joined = next((member.member_id for member in self.members.values() if member.awaiting_join is not None), None)
        if joined is None:
            return False
        self.leader = joined
        return True

    def next_generation(self, now_ms: int) -> None:
        """Begin the next generation with the members that are in."""
        self.generation = self.generation + 1 if self.generation < 0x7FFF_FFFF else 1
        self.pending_sync.clear()
        self.new_member_added = False
        if self.members:
            self.protocol_name = self.select_protocol()
            self.to(ClassicState.COMPLETING_REBALANCE, now_ms)
        else:
            self.protocol_name = None
            self.to(ClassicState.EMPTY, now_ms)

    @property
    def is_consumer_group(self) -> bool:
        """Whether its members are consumers, whose subscriptions the coordinator can read."""
        return self.protocol_type == CONSUMER_PROTOCOL_TYPE

    def subscribed_topics(self) -> frozenset[str] | None:
        """Topics that any member subscribes to; None when that cannot be known."""
        if not self.is_consumer_group:
            return None
        if self.state is ClassicState.EMPTY and not self.members:
            return frozenset()
        if self.protocol_name is None:
            return None
        if self._subscribed is None or self._subscribed[0] != self.generation:
            self._subscribed = (self.generation, _union(member.metadata(self.protocol_name) for member in self.members.values()))
        return self._subscribed[1]

    def subscribes_to(self, topic: str) -> bool:
        """Whether a consumer of the group may read the topic; true when its subscriptions cannot be read."""
        topics = self.subscribed_topics()
        return self.is_consumer_group if topics is None else topic in topics


def _union(subscriptions: Iterable[bytes]) -> frozenset[str] | None:
    topics: set[str] = set()
    for metadata in subscriptions:
        try:
            topics.update(ConsumerProtocolSubscription.from_bytes(metadata).topics)
        except (ProtocolError, KafkaError):
            return None
    return frozenset(topics)

"""The consumer group protocol of KIP-848: one heartbeat that carries everything, and assignments made by the coordinator."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import Any, TypeVar
from uuid import UUID

from kafkax._core.standing import StandingAnswers
from kafkax.clock import Clock
from kafkax.coordinator.groups.assignors import ASSIGNORS, AssignedMember
from kafkax.coordinator.groups.consumer_group import (
    LEFT_STATIC,
    NO_EPOCH,
    Assigned,
    ConsumerGroup,
    ConsumerMember,
    MemberState,
    ResolvedRegex,
)
from kafkax.coordinator.groups.consumer_records import (
    assignment_record,
    current_record,
    epoch_record,
    member_record,
    member_tombstones,
    regex_record,
    regex_tombstone,
    target_record,
)
from kafkax.coordinator.groups.reconcile import reconcile
from kafkax.coordinator.groups.records import GroupRecord
from kafkax.coordinator.groups.regexes import check_regex, match_topics
from kafkax.coordinator.groups.settings import Caller, GroupSettings
from kafkax.coordinator.groups.topics import TopicView, metadata_hash
from kafkax.coordinator.runtime import Result
from kafkax.coordinator.timers import KeyedTimers
from kafkax.errors import ErrorCode, KafkaError
from kafkax.protocol.messages.consumer_group_heartbeat import (
    Assignment,
    ConsumerGroupHeartbeatRequest,
    ConsumerGroupHeartbeatResponse,
    TopicPartitions,
)

__all__ = ["ConsumerProtocol", "Writer", "validate_heartbeat"]

T = TypeVar("T")

log = logging.getLogger(__name__)

_LEAVES = NO_EPOCH
_NAMES_MEMBER_SINCE = 1
"""First version of ConsumerGroupHeartbeat in which the client makes its member id (KIP-1082)."""


class Writer:
    """Collects the records of an operation and replays each as it comes, so that the next decision sees it."""

    def __init__(self, replay: Callable[[GroupRecord], None]) -> None:
        self._replay = replay
        self.records: list[Any] = []
        self._repairs: list[Callable[[], None]] = []

    def __call__(self, *records: GroupRecord) -> None:
        """Take records."""
        for record in records:
            self._replay(record)
            self.records.append(record)

    def append(self, record: GroupRecord) -> None:
        """Take a record whose effect the caller brings about."""
        self.records.append(record)

    def when_undone(self, repair: Callable[[], None]) -> None:
        """Have ``repair`` mend what the undo log cannot (timers, flags) when what was written is taken back."""
        self._repairs.append(repair)

    def result(self, response: T) -> Result[T]:
        """The operation's result."""

        def undone() -> None:
            for repair in self._repairs:
                repair()

        return Result(self.records, response, replay=False, on_undo=undone)


def validate_heartbeat(request: ConsumerGroupHeartbeatRequest, version: int, assignors: Iterable[str]) -> None:
    """Refuse a heartbeat that contradicts itself.

    Raises:
        KafkaError: INVALID_REQUEST, UNSUPPORTED_ASSIGNOR.
    """

    def require(fine: bool, otherwise: str) -> None:
        if not fine:
            raise KafkaError(ErrorCode.INVALID_REQUEST, otherwise)

    epoch = request.member_epoch
    require(version < _NAMES_MEMBER_SINCE or request.member_id.strip() != "", "a member id is needed")
    require(request.group_id.strip() != "", "a group id is needed")
    require(request.instance_id is None or request.instance_id.strip() != "", "an instance id may be null, not empty")
    require(request.rack_id is None or request.rack_id.strip() != "", "a rack id may be null, not empty")
    if epoch > 0 or epoch == _LEAVES:
        require(request.member_id.strip() != "", "a member id is needed")
    elif epoch == 0:
        require(request.rebalance_timeout_ms != -1, "a member that joins must give its rebalance timeout")
        require(request.topic_partitions == [], "a member that joins owns nothing: its partitions must be an empty list")
        subscribes = request.subscribed_topic_names is not None or request.subscribed_topic_regex is not None
        require(subscribes, "a member that joins must subscribe to names or to a regular expression")
    elif epoch == LEFT_STATIC:
        require(request.instance_id is not None, "epoch -2 is for static members, which have an instance id")
    else:
        require(False, f"member epoch {epoch} has no meaning")
    if request.server_assignor is not None and request.server_assignor not in assignors:
        known = ", ".join(assignors)
        raise KafkaError(
            ErrorCode.UNSUPPORTED_ASSIGNOR, f"there is no assignor {request.server_assignor!r} here, only {known}"
        )


class ConsumerProtocol:
    """Moves consumer groups from epoch to epoch.

    Args:
        timers: of the shard.
        clock: time.
        settings: limits and delays.
        topics: the cluster's topics as they are when called.
        replay: applies a record to the shard.
        find: a consumer group of the shard by its id.
        left: called after members went, with the group and where to write; may turn the group into another kind.
        standing: heartbeats that the network threads answer.
    """

    def __init__(
        self,
        timers: KeyedTimers,
        clock: Clock,
        settings: GroupSettings,
        topics: Callable[[], TopicView],
        replay: Callable[[GroupRecord], None],
        find: Callable[[str], ConsumerGroup | None],
        left: Callable[[ConsumerGroup, Writer], None],
        new_id: Callable[[], str],
        standing: StandingAnswers,
    ) -> None:
        self._timers = timers
        self._clock = clock
        self._settings = settings
        self._topics = topics
        self._replay = replay
        self._find = find
        self._left = left
        self.new_id = new_id
        self._standing = standing

    # -- the heartbeat ---------------------------------------------------------------------------------------------

    def heartbeat(
        self, group: ConsumerGroup, caller: Caller, request: ConsumerGroupHeartbeatRequest, write: Writer
    ) -> Result[ConsumerGroupHeartbeatResponse]:
        """Join, stay, or change one's subscription.

        Args:
            group: the group, just made when it did not exist.
            caller: who asks.
            request: what it asks; it has passed :func:`validate_heartbeat`.
            write: takes the records.

        Raises:
            KafkaError: UNKNOWN_MEMBER_ID, FENCED_MEMBER_EPOCH, FENCED_INSTANCE_ID, UNRELEASED_INSTANCE_ID,
                GROUP_MAX_SIZE_REACHED, INVALID_REGULAR_EXPRESSION.
        """
        owned = None
        if request.topic_partitions is not None:
            owned = {each.topic_id: frozenset(each.partitions) for each in request.topic_partitions}
        before = self._member(group, request, owned, write)
        after = _described(before, caller, request)
        self.subscribe(group, before, after, write)
        self.assign(group, write)
        self.reconcile(group, after.member_id, owned, write)
        times = self._settings.consumer_times(group.group_id)
        self._await_heartbeat(group, after.member_id, times.session_timeout_ms)
        now = group.members[after.member_id]
        response = ConsumerGroupHeartbeatResponse(
            member_id=now.member_id,
            member_epoch=now.epoch,
            heartbeat_interval_ms=times.heartbeat_interval_ms,
        )
        subscribes = request.subscribed_topic_names is not None or request.subscribed_topic_regex is not None
        full = request.rebalance_timeout_ms != -1 and subscribes and owned is not None
        if request.member_epoch == 0 or full or not _same_partitions(before.assigned, now.assigned):
            response.assignment = Assignment(topic_partitions=_listed(now.assigned))
        return write.result(response)

    def _member(
        self,
        group: ConsumerGroup,
        request: ConsumerGroupHeartbeatRequest,
        owned: dict[UUID, frozenset[int]] | None,
        write: Writer,
    ) -> ConsumerMember:
        """The member that the request names, as it was before."""
        member_id, instance_id = request.member_id or self.new_id(), request.instance_id
        joins = request.member_epoch == 0
        if joins:
            self.check_room(group, member_id)
        if instance_id is None:
            member = group.members.get(member_id)
            if member is None:
                if not joins:
                    group.member(member_id)
                return ConsumerMember(member_id)
            _check_epoch(member, request.member_epoch, owned)
            return member
        holder = group.members.get(group.static_members.get(instance_id, ""))
        if joins:
            return self._join_static(group, member_id, instance_id, holder, write)
        if holder is None:
            raise KafkaError(ErrorCode.UNKNOWN_MEMBER_ID, f"group {group.group_id} has no static member {instance_id}")
        _check_instance(holder, member_id, instance_id)
        _check_epoch(holder, request.member_epoch, owned)
        return holder

    def check_room(self, group: ConsumerGroup, member_id: str) -> None:
        """Refuse a new member of a full group."""
        limit = self._settings.consumer_max_size
        if len(group.members) >= limit and member_id not in group.members:
            raise KafkaError(
                ErrorCode.GROUP_MAX_SIZE_REACHED, f"group {group.group_id} has {limit} members, as many as it may"
            )

    def _join_static(
        self, group: ConsumerGroup, member_id: str, instance_id: str, holder: ConsumerMember | None, write: Writer
    ) -> ConsumerMember:
        """A static member joins: in the place of one that left for a while, or new."""
        if holder is None:
            return ConsumerMember(member_id, instance_id)
        if holder.epoch != LEFT_STATIC:
            if holder.member_id == member_id:
                return holder
            raise KafkaError(
                ErrorCode.UNRELEASED_INSTANCE_ID,
                f"instance id {instance_id} is in use by member {holder.member_id}, which has not left",
            )
        return self.replace_static(group, holder, holder._replace(member_id=member_id, epoch=0, previous_epoch=0), write)

    def replace_static(self, group: ConsumerGroup, old: ConsumerMember, new: ConsumerMember, write: Writer) -> ConsumerMember:
        """Give the place of a static member to its successor."""
        target = group.target_of(old.member_id)
        self._take_out(group, old, write)
        write(
            member_record(group.group_id, new),
            target_record(group.group_id, new.member_id, target),
            current_record(group.group_id, new),
        )
        return new

    # -- subscription, epoch, assignment ---------------------------------------------------------------------------

    def subscribe(self, group: ConsumerGroup, before: ConsumerMember, after: ConsumerMember, write: Writer) -> None:
        """Note what a member says about itself, and raise the group epoch when that or the topics changed."""
        changed = before.topics != after.topics
        if before.member_id not in group.members or after != before:
            if after.regex and after.regex != before.regex:
                check_regex(after.regex)
            write(member_record(group.group_id, after))
        if before.regex != after.regex or group.refresh_needed:
            changed = self._resolve_regexes(group, write) or changed or before.regex != after.regex
        if changed or group.refresh_needed:
            self.raise_epoch(group, write, force=changed)

    def raise_epoch(self, group: ConsumerGroup, write: Writer, *, force: bool) -> None:
        """Raise the group epoch, if forced or if topics have changed."""
        topics = metadata_hash(group.topics(self._topics()).values())
        group.refresh_needed = False
        write.when_undone(lambda: self.refresh(group))
        if force or topics != group.metadata_hash:
            write(epoch_record(group.group_id, group.epoch + 1, topics))

    def refresh(self, group: ConsumerGroup) -> None:
        """Have the next heartbeat look at the group's topics anew."""
        group.refresh_needed = True
        self._standing.revoke(group.group_id)

    def _resolve_regexes(self, group: ConsumerGroup, write: Writer) -> bool:
        """Match regular expressions that are new or may match other topics now, drop unused ones; whether a match changed."""
        changed = False
        view, now = self._topics(), self._clock.wall_ms()
        for regex in list(group.subscribed_regexes):
            resolved = group.regexes.get(regex)
            if resolved is not None and not group.refresh_needed:
                continue
            topics = match_topics(regex, view.names())
            if resolved is None or resolved.topics != topics:
                write(regex_record(group.group_id, regex, ResolvedRegex(topics, 0, now)))
                changed = True
        for regex in [each for each in group.regexes if each not in group.subscribed_regexes]:
            write(regex_tombstone(group.group_id, regex))
        return changed

    def assign(self, group: ConsumerGroup, write: Writer) -> None:
        """Make the target assignment for the group epoch, unless the last one was made only just now."""
        if group.epoch <= group.assignment_epoch:
            return
        now = self._clock.wall_ms()
        interval_ms = self._settings.consumer_times(group.group_id).assignment_interval_ms
        if group.assigned_at_ms and 0 <= now - group.assigned_at_ms < interval_ms:
            return
        topics = group.topics(self._topics())
        members = {
            member.member_id: AssignedMember(
                group.resolved(member), member.instance_id, member.rack_id, group.target_of(member.member_id)
            )
            for member in group.members.values()
        }
        assignor = ASSIGNORS[group.preferred_assignor(self._settings.consumer_assignors[0])]
        for member_id, target in assignor(members, topics).items():
            if member_id not in group.target or group.target[member_id] != target:
                write(target_record(group.group_id, member_id, target))
        write(assignment_record(group.group_id, group.epoch, now))

    def reconcile(
        self, group: ConsumerGroup, member_id: str, owned: dict[UUID, frozenset[int]] | None, write: Writer
    ) -> ConsumerMember:
        """Move a member a step towards its target."""
        member = group.members[member_id]
        if group.is_reconciled(member):
            return member

        def owner_epoch(topic_id: UUID, partition: int) -> int:
            return group.owners.get((topic_id, partition), NO_EPOCH)

        after = reconcile(member, group.assignment_epoch, group.target_of(member_id), owned, owner_epoch)
        if after is not member:
            write(current_record(group.group_id, after))
            if after.classic is None:
                self._await_revocation(group, after)
        return after

    # -- leaving ---------------------------------------------------------------------------------------------------

    def leave(
        self, group: ConsumerGroup, request: ConsumerGroupHeartbeatRequest, write: Writer
    ) -> Result[ConsumerGroupHeartbeatResponse]:
        """Leave for good (epoch -1), or as a static member for a while (epoch -2).

        Raises:
            KafkaError: UNKNOWN_MEMBER_ID, FENCED_INSTANCE_ID.
        """
        member_id, instance_id = request.member_id, request.instance_id
        if instance_id is None:
            member = group.member(member_id)
        else:
            holder = group.members.get(group.static_members.get(instance_id, ""))
            if holder is None:
                raise KafkaError(ErrorCode.UNKNOWN_MEMBER_ID, f"group {group.group_id} has no static member {instance_id}")
            _check_instance(holder, member_id, instance_id)
            member = holder
        if request.member_epoch == LEFT_STATIC:
            write(current_record(group.group_id, member._replace(epoch=LEFT_STATIC, revoking={})))
        else:
            self.remove(group, [member], write)
        response = ConsumerGroupHeartbeatResponse(member_id=member_id, member_epoch=request.member_epoch)
        return write.result(response)

    def remove(self, group: ConsumerGroup, members: Iterable[ConsumerMember], write: Writer) -> None:
        """Take members out and raise the group epoch."""
        for member in members:
            self._take_out(group, member, write)
        self._left(group, write)

    def _take_out(self, group: ConsumerGroup, member: ConsumerMember, write: Writer) -> None:
        self.forget_member(group, member.member_id)
        write(*member_tombstones(group.group_id, member.member_id))
        write.when_undone(lambda: self._watch_member(group, member))

    def after_removal(self, group: ConsumerGroup, write: Writer) -> None:
        """Raise the group epoch since members went."""
        self._resolve_regexes(group, write)
        self.raise_epoch(group, write, force=True)

    # -- timers ----------------------------------------------------------------------------------------------------

    def watch(self, group: ConsumerGroup) -> None:
        """Await heartbeats, and revocations, of every member of a group that was just loaded."""
        for member in group.members.values():
            self._watch_member(group, member)

    def _watch_member(self, group: ConsumerGroup, member: ConsumerMember) -> None:
        if member.classic is None:
            session = self._settings.consumer_times(group.group_id).session_timeout_ms
        else:
            session = member.classic.session_timeout_ms
        self._await_heartbeat(group, member.member_id, session)
        if member.classic is None:
            self._await_revocation(group, member)

    def forget(self, group: ConsumerGroup) -> None:
        """Call off what was timed for a group."""
        for member_id in group.members:
            self.forget_member(group, member_id)
        self._standing.forget(group.group_id)

    def forget_member(self, group: ConsumerGroup, member_id: str) -> None:
        """Call off what was timed for a member."""
        self._standing.forget(group.group_id, member_id)
        for kind in ("session", "revocation", "join", "sync"):
            self._timers.cancel((kind, group.group_id, member_id))

    def is_current(self, group: ConsumerGroup) -> bool:
        """Whether the group is still in place: it may have been deleted, or have become a classic group."""
        return self._find(group.group_id) is group

    def await_classic(self, group: ConsumerGroup, kind: str, member_id: str, delay_ms: int) -> None:
        """Remove a member unless its timer of that kind (``session``, ``join``, ``sync``) is pushed back or cancelled in time."""
        self._timers.set((kind, group.group_id, member_id), delay_ms, lambda _: self._overdue(group.group_id, member_id, kind))

    def await_join(self, group: ConsumerGroup, member: ConsumerMember) -> None:
        """Remove a member that was told to join again and does not within its rebalance timeout, from the first telling on."""
        if ("join", group.group_id, member.member_id) not in self._timers:
            self.await_classic(group, "join", member.member_id, member.rebalance_timeout_ms)

    def cancel(self, group: ConsumerGroup, kind: str, member_id: str) -> None:
        """Call off a member's timer of that kind."""
        self._timers.cancel((kind, group.group_id, member_id))

    def _await_heartbeat(self, group: ConsumerGroup, member_id: str, session_ms: int) -> None:
        if not self._timers.push_back(("session", group.group_id, member_id), session_ms):
            self.await_classic(group, "session", member_id, session_ms)

    def _await_revocation(self, group: ConsumerGroup, member: ConsumerMember) -> None:
        key, epoch = ("revocation", group.group_id, member.member_id), member.epoch
        if member.state is MemberState.UNREVOKED_PARTITIONS:
            self._timers.set(
                key, member.rebalance_timeout_ms, lambda _: self._overdue(group.group_id, member.member_id, "revocation", epoch)
            )
        else:
            self._timers.cancel(key)

    def _overdue(self, group_id: str, member_id: str, kind: str, epoch: int | None = None) -> Result[None]:
        """Remove a member that did not do something in time."""
        write = Writer(self._replay)
        group = self._find(group_id)
        member = None if group is None else group.members.get(member_id)
        if group is not None and kind == "session" and (rest_ms := self._rest_of_session(group_id, member_id)) > 0:
            self._await_heartbeat(group, member_id, rest_ms)
        elif group is not None and member is not None and epoch in (None, member.epoch):
            log.info("group %s: member %s is removed, its %s timeout is over", group_id, member_id, kind)
            self.remove(group, [member], write)
        return write.result(None)

    def _rest_of_session(self, group_id: str, member_id: str) -> int:
        """Milliseconds that the session still lasts after heartbeats that were answered by the network threads."""
        heard = self._standing.heard(group_id, member_id)
        session_ms = self._settings.consumer_times(group_id).session_timeout_ms
        return int((heard - self._clock.monotonic()) * 1000) + session_ms if heard else 0


def _described(member: ConsumerMember, caller: Caller, request: ConsumerGroupHeartbeatRequest) -> ConsumerMember:
    """The member with what the request says anew; what it leaves out stays."""
    names, timeout = request.subscribed_topic_names, request.rebalance_timeout_ms
    return member._replace(
        instance_id=request.instance_id if request.instance_id is not None else member.instance_id,
        rack_id=request.rack_id if request.rack_id is not None else member.rack_id,
        client_id=caller.client_id,
        client_host=caller.client_host,
        topics=member.topics if names is None else tuple(sorted(set(names))),
        regex=member.regex if request.subscribed_topic_regex is None else request.subscribed_topic_regex or None,
        rebalance_timeout_ms=timeout if timeout != -1 else member.rebalance_timeout_ms,
        assignor=request.server_assignor if request.server_assignor is not None else member.assignor,
        classic=None,
    )


def _check_epoch(member: ConsumerMember, epoch: int, owned: dict[UUID, frozenset[int]] | None) -> None:
    """Refuse an epoch that is not the member's, or the one before if the last answer may not have reached it."""
    missed_answer = epoch == member.previous_epoch and _is_within(owned, member.assigned)
    if epoch > member.epoch or (epoch < member.epoch and not missed_answer):
        raise KafkaError(
            ErrorCode.FENCED_MEMBER_EPOCH,
            f"member {member.member_id} is at epoch {member.epoch}, not {epoch}: it must give up its partitions and join again",
        )


def _is_within(owned: dict[UUID, frozenset[int]] | None, assigned: Assigned) -> bool:
    return owned is not None and all(
        partition in assigned.get(topic_id, ()) for topic_id, partitions in owned.items() for partition in partitions
    )


def _check_instance(holder: ConsumerMember, member_id: str, instance_id: str) -> None:
    if holder.member_id != member_id:
        raise KafkaError(
            ErrorCode.FENCED_INSTANCE_ID,
            f"instance id {instance_id} belongs to member {holder.member_id} now",
        )


def _same_partitions(one: Assigned, other: Assigned) -> bool:
    return one is other or {t: set(ps) for t, ps in one.items()} == {t: set(ps) for t, ps in other.items()}


def _listed(assigned: Assigned) -> list[TopicPartitions]:
    return [TopicPartitions(topic_id=topic_id, partitions=sorted(partitions)) for topic_id, partitions in assigned.items()]

"""The classic group protocol: JoinGroup, SyncGroup, Heartbeat, LeaveGroup and the timeouts between them.

A rebalance has two halves.  Members join until all known ones are there or the rebalance timeout is over; then the leader
learns who is in and sends the assignment of each, which is written to the log and handed to everybody.  Sources:
KIP-62 (two timeouts), KIP-134 (initial delay), KIP-345 (static members), KIP-394 (two-step join), KIP-559 (protocol checked),
KIP-814 (a static leader that returns skips the assignment).
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from typing import Any

from kafkax._core.standing import StandingAnswers
from kafkax.clock import Clock
from kafkax.coordinator.groups.classic import ClassicGroup, ClassicMember, ClassicState, Protocols
from kafkax.coordinator.groups.records import classic_group_record
from kafkax.coordinator.groups.settings import Caller, GroupSettings
from kafkax.coordinator.promise import Promise
from kafkax.coordinator.runtime import Result
from kafkax.coordinator.timers import KeyedTimers
from kafkax.errors import ErrorCode, KafkaError
from kafkax.protocol.messages.heartbeat import HeartbeatRequest
from kafkax.protocol.messages.join_group import JoinGroupRequest, JoinGroupResponse, JoinGroupResponseMember
from kafkax.protocol.messages.leave_group import LeaveGroupRequest, LeaveGroupResponse, MemberIdentity, MemberResponse
from kafkax.protocol.messages.sync_group import SyncGroupRequest, SyncGroupResponse

__all__ = ["ClassicProtocol"]

log = logging.getLogger(__name__)

_EMPTY = ClassicState.EMPTY
_PREPARING = ClassicState.PREPARING_REBALANCE
_COMPLETING = ClassicState.COMPLETING_REBALANCE
_STABLE = ClassicState.STABLE

_TWO_TIMEOUTS_SINCE = 1
_TWO_STEP_SINCE = 4
"""First version of JoinGroup in which a member without an id is given one and asked to join again with it."""
_SKIP_ASSIGNMENT_SINCE = 9
"""First version of JoinGroup in which a leader can be told that the assignment stands."""


def _nothing() -> Result[None]:
    return Result([], None)


class ClassicProtocol:
    """Moves classic groups from state to state.

    Args:
        timers: of the shard.
        clock: time.
        settings: limits and delays.
        new_id: makes the unique part of a member id.
        standing: heartbeats that the network threads answer.
    """

    def __init__(
        self,
        timers: KeyedTimers,
        clock: Clock,
        settings: GroupSettings,
        new_id: Callable[[], str],
        standing: StandingAnswers,
    ) -> None:
        self._timers = timers
        self._clock = clock
        self._settings = settings
        self._new_id = new_id
        self._standing = standing

    # -- JoinGroup -------------------------------------------------------------------------------------------------

    def join(
        self, group: ClassicGroup, caller: Caller, request: JoinGroupRequest, reply: Promise[JoinGroupResponse]
    ) -> Result[None]:
        """Take a member into the next generation.

        Args:
            group: the group, just made when it did not exist.
            caller: who asks.
            request: what it asks.
            reply: kept when the next generation begins, or at once.

        Raises:
            KafkaError: GROUP_MAX_SIZE_REACHED, INCONSISTENT_GROUP_PROTOCOL, UNKNOWN_MEMBER_ID, FENCED_INSTANCE_ID.
        """
        protocols: Protocols = tuple((protocol.name, bytes(protocol.metadata)) for protocol in request.protocols)
        if not self._accepts(group, request.member_id):
            group.remove(request.member_id)
            self._timers.cancel(_session(group, request.member_id))
            raise KafkaError(ErrorCode.GROUP_MAX_SIZE_REACHED, f"group {group.group_id} has {self._settings.max_size} members")
        if not group.supports(request.protocol_type, protocols):
            raise KafkaError(
                ErrorCode.INCONSISTENT_GROUP_PROTOCOL,
                f"group {group.group_id} of type {group.protocol_type!r} shares no protocol with type {request.protocol_type!r}, "
                f"protocols {[name for name, _ in protocols]}",
            )
        if request.member_id == "":
            result = self._join_new(group, caller, request, protocols, reply)
        else:
            result = self._join_known(group, caller, request, protocols, reply)
        if result.records or group.state is not _PREPARING:
            return result
        return self._complete_join_if_all_there(group)

    def _accepts(self, group: ClassicGroup, member_id: str) -> bool:
        limit = self._settings.max_size
        if group.state is _EMPTY:
            return True
        member = group.members.get(member_id)
        if group.state is _PREPARING:
            return (member is not None and member.awaiting_join is not None) or group.awaiting_join_count < limit
        return member is not None or len(group.members) < limit

    def _join_new(
        self,
        group: ClassicGroup,
        caller: Caller,
        request: JoinGroupRequest,
        protocols: Protocols,
        reply: Promise[JoinGroupResponse],
    ) -> Result[None]:
        instance_id = request.group_instance_id
        member_id = f"{caller.client_id if instance_id is None else instance_id}-{self._new_id()}"
        if instance_id is not None:
            old_id = group.static_members.get(instance_id)
            if old_id is not None:
                return self._replace_static(group, caller, request, protocols, old_id, member_id, reply)
        elif caller.version >= _TWO_STEP_SINCE:
            group.pending_members.add(member_id)
            self._timers.set(_session(group, member_id), request.session_timeout_ms, self._expiry(group, member_id))
            reply.resolve(JoinGroupResponse(error_code=ErrorCode.MEMBER_ID_REQUIRED, member_id=member_id))
            return _nothing()
        return self._add(group, caller, request, protocols, member_id, reply)

    def _add(
        self,
        group: ClassicGroup,
        caller: Caller,
        request: JoinGroupRequest,
        protocols: Protocols,
        member_id: str,
        reply: Promise[JoinGroupResponse],
    ) -> Result[None]:
        member = ClassicMember(
            member_id,
            request.group_instance_id,
            caller.client_id,
            caller.client_host,
            _rebalance_timeout(caller, request),
            request.session_timeout_ms,
            protocols,
        )
        member.is_new = True
        if not group.members:
            group.protocol_type = request.protocol_type
        if group.state is _PREPARING and group.previous_state is _EMPTY:
            group.new_member_added = True
        group.add(member, reply)
        # A client that gave up while it was parked in its first JoinGroup leaves nobody behind who sends heartbeats.
        self._await_heartbeat(group, member, self._settings.new_member_join_timeout_ms)
        return self._rebalance(group, f"member {member_id} joined")

    def _join_known(
        self,
        group: ClassicGroup,
        caller: Caller,
        request: JoinGroupRequest,
        protocols: Protocols,
        reply: Promise[JoinGroupResponse],
    ) -> Result[None]:
        member_id = request.member_id
        if member_id in group.pending_members and request.group_instance_id is None:
            return self._add(group, caller, request, protocols, member_id, reply)
        member = group.validate(member_id, request.group_instance_id)
        changed = member.protocols != protocols
        if group.state is _EMPTY:
            raise KafkaError(ErrorCode.UNKNOWN_MEMBER_ID, f"group {group.group_id} has no members")
        if group.state is not _PREPARING and not changed and (group.state is _COMPLETING or group.leader != member_id):
            # Nothing new: the answer to its last JoinGroup was lost, or it only wants to make sure.
            in_leading_join = group.state is _COMPLETING and group.leader == member_id
            reply.resolve(self._joined(group, member_id, with_members=in_leading_join))
            return _nothing()
        group.update(member, protocols, _rebalance_timeout(caller, request), request.session_timeout_ms)
        group.await_join(member, reply)
        reason = "metadata changed" if changed else "joined again"
        return self._rebalance(group, f"member {member_id} {reason}") if group.state is not _PREPARING else _nothing()

    def _replace_static(
        self,
        group: ClassicGroup,
        caller: Caller,
        request: JoinGroupRequest,
        protocols: Protocols,
        old_id: str,
        new_id: str,
        reply: Promise[JoinGroupResponse],
    ) -> Result[None]:
        """A static member returns without its member id: it keeps its place, and its assignment unless the protocol changes."""
        instance_id = request.group_instance_id or ""
        leader_before = group.leader
        member = group.replace_static(instance_id, old_id, new_id)
        self._forget_member(group, old_id)
        before = (member.protocols, member.rebalance_timeout_ms, member.session_timeout_ms)
        group.update(member, protocols, _rebalance_timeout(caller, request), request.session_timeout_ms)
        self._await_heartbeat(group, member)
        group.await_join(member, reply)
        if group.state is _COMPLETING:
            return self._prepare(group, f"static member {instance_id} returned while its group waited for the assignment")
        if group.state is not _STABLE:
            return _nothing()
        if group.select_protocol() != group.protocol_name:
            return self._rebalance(group, f"static member {instance_id} returned with other protocols")

        def committed(error: KafkaError | None) -> None:
            if error is None:
                skip = caller.version >= _SKIP_ASSIGNMENT_SINCE
                leads = skip and group.leader == new_id
                answer = self._joined(group, new_id, with_members=leads)
                # Old clients run the assignor whenever they are named leader; the former id keeps them from it.
                answer.leader = (group.leader if skip else leader_before) or ""
                answer.skip_assignment = leads
                self._complete_join(group, member, answer)
            elif group.static_members.get(instance_id) == new_id:
                group.take_join(member)
                group.update(member, *before)
                self._forget_member(group, new_id)
                self._await_heartbeat(group, group.replace_static(instance_id, new_id, old_id))
                reply.fail(error)

        record = classic_group_record(group, {each.member_id: each.assignment for each in group.members.values()})
        return Result([record], None, replay=False, on_commit=committed)

    def _joined(self, group: ClassicGroup, member_id: str, *, with_members: bool) -> JoinGroupResponse:
        members = [
            JoinGroupResponseMember(
                member_id=member.member_id, group_instance_id=member.instance_id, metadata=member.metadata(group.protocol_name)
            )
            for member in (group.members.values() if with_members else ())
        ]
        return JoinGroupResponse(
            generation_id=group.generation,
            protocol_type=group.protocol_type,
            protocol_name=group.protocol_name,
            leader=group.leader or "",
            member_id=member_id,
            members=members,
        )

    def _complete_join(self, group: ClassicGroup, member: ClassicMember, answer: JoinGroupResponse) -> None:
        if member.awaiting_join is not None:
            group.take_join(member).resolve(answer)

    # -- the rebalance ---------------------------------------------------------------------------------------------

    def _rebalance(self, group: ClassicGroup, reason: str) -> Result[None]:
        if group.can_rebalance:
            return self._prepare(group, reason)
        return self._complete_join_if_all_there(group)

    def _prepare(self, group: ClassicGroup, reason: str) -> Result[None]:
        """Begin to wait for members."""
        log.info("group %s, generation %d, rebalances: %s", group.group_id, group.generation, reason)
        if group.state is _COMPLETING:
            self._fail_syncs(group, KafkaError(ErrorCode.REBALANCE_IN_PROGRESS, "the group rebalances again; join again"))
        self._timers.cancel(_sync(group))
        first = group.state is _EMPTY
        self._standing.revoke(group.group_id)
        group.to(_PREPARING, self._clock.wall_ms())
        if first:
            delay = self._settings.initial_rebalance_delay_ms
            self._extend_initial_delay(group, delay, max(group.rebalance_timeout_ms - delay, 0))
            return _nothing()
        if group.all_joined:
            return self._begin_generation(group)
        self._timers.set(_join(group), group.rebalance_timeout_ms, lambda _: self._begin_generation(group))
        return _nothing()

    def _extend_initial_delay(self, group: ClassicGroup, delay_ms: int, rest_ms: int) -> None:
        def over(_: Any) -> Result[None]:
            if not group.new_member_added or rest_ms == 0:
                return self._begin_generation(group)
            # Somebody came meanwhile: others may be on their way.
            group.new_member_added = False
            delay = min(self._settings.initial_rebalance_delay_ms, rest_ms)
            self._extend_initial_delay(group, delay, max(rest_ms - delay, 0))
            return _nothing()

        self._timers.set(_join(group), delay_ms, over)

    def _complete_join_if_all_there(self, group: ClassicGroup) -> Result[None]:
        """End the waiting early; not in the first rebalance, whose delay is there to gather members."""
        if group.state is _PREPARING and group.all_joined and group.previous_state is not _EMPTY:
            return self._begin_generation(group)
        return _nothing()

    def _begin_generation(self, group: ClassicGroup) -> Result[None]:
        """Drop who did not join, and answer those who did."""
        self._timers.cancel(_join(group))
        if group.state is not _PREPARING:
            return _nothing()
        for member in [m for m in group.members.values() if m.awaiting_join is None and m.instance_id is None]:
            log.info("group %s: member %s did not join in time and is removed", group.group_id, member.member_id)
            group.remove(member.member_id)
            self._forget_member(group, member.member_id)
        if group.members and not group.elect_joined_leader():
            # Only static members are left and none has joined: wait until their sessions are over.
            self._timers.set(_join(group), group.rebalance_timeout_ms, lambda _: self._begin_generation(group))
            return _nothing()
        group.next_generation(self._clock.wall_ms())
        if not group.members:
            log.info("group %s, generation %d, is empty", group.group_id, group.generation)
            return Result([classic_group_record(group, {})], None, replay=False)
        log.info("group %s begins generation %d with %d members", group.group_id, group.generation, len(group.members))
        for member in group.members.values():
            answer = self._joined(group, member.member_id, with_members=member.member_id == group.leader)
            self._complete_join(group, member, answer)
            self._await_heartbeat(group, member)
            member.is_new = False
            group.pending_sync.add(member.member_id)
        generation = group.generation
        self._timers.set(_sync(group), group.rebalance_timeout_ms, lambda _: self._sync_overdue(group, generation))
        return _nothing()

    def _sync_overdue(self, group: ClassicGroup, generation: int) -> Result[None]:
        if generation != group.generation or group.state not in (_COMPLETING, _STABLE) or not group.pending_sync:
            return _nothing()
        for member_id in list(group.pending_sync):
            log.info("group %s: member %s did not sync in time and is removed", group.group_id, member_id)
            group.remove(member_id)
            self._forget_member(group, member_id)
        return self._prepare(group, "members did not send SyncGroup in time")

    # -- SyncGroup -------------------------------------------------------------------------------------------------

    def sync(self, group: ClassicGroup, request: SyncGroupRequest, reply: Promise[SyncGroupResponse]) -> Result[None]:
        """Take the leader's assignment, and give the member its part.

        Raises:
            KafkaError: UNKNOWN_MEMBER_ID, FENCED_INSTANCE_ID, ILLEGAL_GENERATION, INCONSISTENT_GROUP_PROTOCOL,
                REBALANCE_IN_PROGRESS.
        """
        member = group.validate(request.member_id, request.group_instance_id)
        _validate_generation(group, request.generation_id)
        if (request.protocol_type is not None and request.protocol_type != group.protocol_type) or (
            request.protocol_name is not None and request.protocol_name != group.protocol_name
        ):
            raise KafkaError(
                ErrorCode.INCONSISTENT_GROUP_PROTOCOL,
                f"group {group.group_id} uses {group.protocol_type}/{group.protocol_name}, "
                f"not {request.protocol_type}/{request.protocol_name}",
            )
        if group.state is _PREPARING:
            raise KafkaError(ErrorCode.REBALANCE_IN_PROGRESS, f"group {group.group_id} rebalances; join again")
        group.pending_sync.discard(member.member_id)
        if not group.pending_sync:
            self._timers.cancel(_sync(group))
        if group.state is _STABLE:
            self._await_heartbeat(group, member)
            reply.resolve(_synced(group, member))
            return _nothing()
        if member.awaiting_sync is not None:
            replaced = KafkaError(ErrorCode.REBALANCE_IN_PROGRESS, "a later SyncGroup of the member replaced this one")
            group.take_sync(member).fail(replaced)
        member.awaiting_sync = reply
        if group.leader != member.member_id:
            return _nothing()
        assignments = {each.member_id: bytes(each.assignment) for each in request.assignments}
        generation = group.generation
        committed = partial(self._assigned, group, generation, assignments)
        return Result([classic_group_record(group, assignments)], None, replay=False, on_commit=committed)

    def _assigned(self, group: ClassicGroup, generation: int, assignments: dict[str, bytes], error: KafkaError | None) -> None:
        """The log has the assignment, or refused it."""
        if group.state is not _COMPLETING or group.generation != generation:
            return  # A new rebalance has begun; it answered who waited.
        if error is not None:
            self._fail_syncs(group, error)
            self._prepare(group, f"the assignment could not be written: {error}")
            return
        for member in group.members.values():
            member.assignment = assignments.get(member.member_id, b"")
        group.to(_STABLE, self._clock.wall_ms())
        for member in group.members.values():
            if member.awaiting_sync is not None:
                group.take_sync(member).resolve(_synced(group, member))
                self._await_heartbeat(group, member)

    def _fail_syncs(self, group: ClassicGroup, error: KafkaError) -> None:
        for member in group.members.values():
            member.assignment = b""
            if member.awaiting_sync is not None:
                group.take_sync(member).fail(error)
                self._await_heartbeat(group, member)

    # -- Heartbeat and LeaveGroup ----------------------------------------------------------------------------------

    def heartbeat(self, group: ClassicGroup, request: HeartbeatRequest) -> ErrorCode:
        """Keep a member's session alive.

        Returns:
            NONE, or REBALANCE_IN_PROGRESS when the member should join again.

        Raises:
            KafkaError: UNKNOWN_MEMBER_ID, FENCED_INSTANCE_ID, ILLEGAL_GENERATION.
        """
        member = group.validate(request.member_id, request.group_instance_id)
        _validate_generation(group, request.generation_id)
        self._await_heartbeat(group, member)
        return ErrorCode.REBALANCE_IN_PROGRESS if group.state is _PREPARING else ErrorCode.NONE

    def touch(self, group: ClassicGroup, member_id: str) -> None:
        """Count another request of a member as a heartbeat."""
        member = group.members.get(member_id)
        if member is not None:
            self._await_heartbeat(group, member)

    def leave(self, group: ClassicGroup, request: LeaveGroupRequest) -> Result[LeaveGroupResponse]:
        """Take members out; each has its own error in the response.  An admin may name a static member by instance id alone."""
        answers = [
            MemberResponse(
                member_id=identity.member_id,
                group_instance_id=identity.group_instance_id,
                error_code=self._leave_one(group, identity),
            )
            for identity in request.members
        ]
        result = _nothing()
        if any(answer.error_code == ErrorCode.NONE for answer in answers):
            result = self._after_removal(group, "members left")
        return Result(result.records, LeaveGroupResponse(members=answers), result.replay, result.on_commit, result.on_undo)

    def _leave_one(self, group: ClassicGroup, identity: MemberIdentity) -> ErrorCode:
        member_id, instance_id = identity.member_id, identity.group_instance_id
        if member_id == "":
            member_id = group.static_members.get(instance_id or "", "") if instance_id is not None else ""
            if member_id == "":
                return ErrorCode.UNKNOWN_MEMBER_ID
        elif member_id not in group.pending_members:
            try:
                group.validate(member_id, instance_id)
            except KafkaError as error:
                return error.code
        self._remove(group, member_id)
        return ErrorCode.NONE

    def _forget_member(self, group: ClassicGroup, member_id: str) -> None:
        self._timers.cancel(_session(group, member_id))
        self._standing.forget(group.group_id, member_id)

    def _remove(self, group: ClassicGroup, member_id: str) -> None:
        self._forget_member(group, member_id)
        member = group.members.get(member_id)
        if member is not None and member.awaiting_join is not None:
            group.take_join(member).resolve(JoinGroupResponse(error_code=ErrorCode.UNKNOWN_MEMBER_ID, member_id=""))
        if member is not None and member.awaiting_sync is not None:
            group.take_sync(member).fail(KafkaError(ErrorCode.UNKNOWN_MEMBER_ID, "the member was removed from its group"))
        group.remove(member_id)

    def _after_removal(self, group: ClassicGroup, reason: str) -> Result[None]:
        if group.state in (_STABLE, _COMPLETING):
            return self._rebalance(group, reason)
        return self._complete_join_if_all_there(group)

    # -- sessions --------------------------------------------------------------------------------------------------

    def watch(self, group: ClassicGroup) -> None:
        """Await heartbeats of every member of a group that was just loaded; too many of them begin a rebalance."""
        for member in group.members.values():
            self._await_heartbeat(group, member)
        if len(group.members) > self._settings.max_size:
            self._prepare(group, f"the group has more than {self._settings.max_size} members")

    def rebalance(self, group: ClassicGroup, reason: str) -> None:
        """Begin a rebalance of a group whose members must all join again."""
        self._prepare(group, reason)

    def abandon(self, group: ClassicGroup) -> None:
        """Answer everybody who waits: the coordinator moves to another broker."""
        self._standing.forget(group.group_id)
        self._fail_all(group, KafkaError(ErrorCode.NOT_COORDINATOR, f"the coordinator of group {group.group_id} moved"))

    def send_back(self, group: ClassicGroup) -> None:
        """Have everybody who waits join again: the group has become a consumer group."""
        self._fail_all(group, KafkaError(ErrorCode.REBALANCE_IN_PROGRESS, f"{group.group_id} has a new protocol; join again"))

    def _fail_all(self, group: ClassicGroup, error: KafkaError) -> None:
        for member in group.members.values():
            if member.awaiting_join is not None:
                group.take_join(member).fail(error)
            if member.awaiting_sync is not None:
                group.take_sync(member).fail(error)

    def forget(self, group: ClassicGroup) -> None:
        """Call off what was timed for a group that is deleted or becomes another kind."""
        self._standing.forget(group.group_id)
        self._timers.cancel(_join(group))
        self._timers.cancel(_sync(group))
        for member_id in [*group.members, *group.pending_members]:
            self._timers.cancel(_session(group, member_id))

    def _await_heartbeat(self, group: ClassicGroup, member: ClassicMember, timeout_ms: int | None = None) -> None:
        delay = member.session_timeout_ms if timeout_ms is None else timeout_ms
        key = _session(group, member.member_id)
        if not self._timers.push_back(key, delay):
            self._timers.set(key, delay, self._expiry(group, member.member_id))

    def _rest_of_session(self, group: ClassicGroup, member: ClassicMember) -> int:
        """Milliseconds that the session still lasts after heartbeats that were answered by the network threads."""
        heard = self._standing.heard(group.group_id, member.member_id)
        return int((heard - self._clock.monotonic()) * 1000) + member.session_timeout_ms if heard else 0

    def _expiry(self, group: ClassicGroup, member_id: str) -> Callable[[Any], Result[None]]:
        return lambda _: self._session_over(group, member_id)

    def _session_over(self, group: ClassicGroup, member_id: str) -> Result[None]:
        if member_id in group.pending_members:
            group.remove(member_id)
            return self._complete_join_if_all_there(group)
        member = group.members.get(member_id)
        if member is None:
            return _nothing()
        if member.waits_for_rebalance:
            return _nothing()
        rest_ms = self._rest_of_session(group, member)
        if rest_ms > 0:
            self._await_heartbeat(group, member, rest_ms)
            return _nothing()
        log.info("group %s: the session of member %s is over", group.group_id, member_id)
        self._remove(group, member_id)
        return self._after_removal(group, f"the session of member {member_id} is over")


def _session(group: ClassicGroup, member_id: str) -> tuple[str, str, str]:
    return ("session", group.group_id, member_id)


def _join(group: ClassicGroup) -> tuple[str, str]:
    return ("join", group.group_id)


def _sync(group: ClassicGroup) -> tuple[str, str]:
    return ("sync", group.group_id)


def _rebalance_timeout(caller: Caller, request: JoinGroupRequest) -> int:
    """How long a rebalance waits for the member; before version 1 the session timeout is that, too."""
    return request.rebalance_timeout_ms if caller.version >= _TWO_TIMEOUTS_SINCE else request.session_timeout_ms


def _validate_generation(group: ClassicGroup, generation: int) -> None:
    if generation != group.generation:
        raise KafkaError(ErrorCode.ILLEGAL_GENERATION, f"{group.group_id} is at generation {group.generation}, not {generation}")


def _synced(group: ClassicGroup, member: ClassicMember) -> SyncGroupResponse:
    return SyncGroupResponse(protocol_type=group.protocol_type, protocol_name=group.protocol_name, assignment=member.assignment)

"""Classic requests of members of a consumer group: JoinGroup is a heartbeat that waits for no one, SyncGroup gets the result.

The coordinator assigns, so no member leads; a generation is the member's epoch.  A member learns from Heartbeat that it should
join again: because the group epoch rose, because it has to give partitions up, or because those it waits for are free.
"""

from __future__ import annotations

from uuid import UUID

from kafkax.coordinator.groups.classic import CONSUMER_PROTOCOL_TYPE, Protocols
from kafkax.coordinator.groups.consumer_group import NO_EPOCH, ClassicClient, ConsumerGroup, ConsumerMember, MemberState
from kafkax.coordinator.groups.consumer_protocol import ConsumerProtocol, Writer
from kafkax.coordinator.groups.migration import encode_assignment, parse_subscription
from kafkax.coordinator.groups.settings import Caller
from kafkax.coordinator.groups.topics import TopicView
from kafkax.coordinator.promise import Promise
from kafkax.coordinator.runtime import Result
from kafkax.errors import ErrorCode, KafkaError, ProtocolError
from kafkax.protocol.coordinator_records.consumer_protocol import ConsumerProtocolSubscription
from kafkax.protocol.coordinator_records.framing import leading_int16
from kafkax.protocol.messages.heartbeat import HeartbeatRequest
from kafkax.protocol.messages.join_group import JoinGroupRequest, JoinGroupResponse
from kafkax.protocol.messages.leave_group import LeaveGroupRequest, LeaveGroupResponse, MemberIdentity, MemberResponse
from kafkax.protocol.messages.sync_group import SyncGroupRequest, SyncGroupResponse

__all__ = ["ClassicBridge"]

_TWO_STEP_SINCE = 4


class ClassicBridge:
    """Answers classic requests for consumer groups.

    Args:
        protocol: moves the groups.
    """

    def __init__(self, protocol: ConsumerProtocol) -> None:
        self._protocol = protocol

    def join(
        self,
        group: ConsumerGroup,
        caller: Caller,
        request: JoinGroupRequest,
        reply: Promise[JoinGroupResponse],
        view: TopicView,
        write: Writer,
    ) -> Result[None]:
        """JoinGroup.

        Raises:
            KafkaError: GROUP_MAX_SIZE_REACHED, INCONSISTENT_GROUP_PROTOCOL, UNKNOWN_MEMBER_ID, FENCED_INSTANCE_ID.
        """
        member_id, instance_id = request.member_id or self._protocol.new_id(), request.group_instance_id
        protocols: Protocols = tuple((each.name, bytes(each.metadata)) for each in request.protocols)
        self._protocol.check_room(group, member_id)
        subscription = _check_protocols(group, request.protocol_type, protocols)
        if instance_id is None and not request.member_id and caller.version >= _TWO_STEP_SINCE:
            reply.resolve(JoinGroupResponse(error_code=ErrorCode.MEMBER_ID_REQUIRED, member_id=member_id))
            return Result([], None)
        before = self._member(group, member_id, instance_id, known=request.member_id != "", write=write)
        timeout = request.rebalance_timeout_ms if request.rebalance_timeout_ms >= 0 else request.session_timeout_ms
        after = before._replace(
            instance_id=instance_id if instance_id is not None else before.instance_id,
            rack_id=subscription.rack_id if subscription.rack_id is not None else before.rack_id,
            client_id=caller.client_id,
            client_host=caller.client_host,
            topics=tuple(sorted(set(subscription.topics))),
            regex=None,
            rebalance_timeout_ms=timeout,
            classic=ClassicClient(request.session_timeout_ms, protocols),
        )
        self._protocol.subscribe(group, before, after, write)
        self._protocol.assign(group, write)
        member = self._protocol.reconcile(group, member_id, _owned(subscription, view), write)

        result: Result[None] = write.result(None)

        def committed(error: KafkaError | None) -> None:
            if error is not None:
                if self._protocol.is_current(group) and member_id in group.members:
                    # The commit took too long, but it may come yet: whoever is in has to say so.
                    self._protocol.await_classic(group, "session", member_id, request.session_timeout_ms)
                return
            if self._protocol.is_current(group):
                self._protocol.cancel(group, "join", member_id)
                self._protocol.await_classic(group, "session", member_id, request.session_timeout_ms)
                self._protocol.await_classic(group, "sync", member_id, timeout)
            reply.resolve(
                JoinGroupResponse(
                    member_id=member_id,
                    generation_id=member.epoch,
                    protocol_type=CONSUMER_PROTOCOL_TYPE,
                    protocol_name=protocols[0][0],
                )
            )

        result.on_commit = committed
        return result

    def _member(
        self, group: ConsumerGroup, member_id: str, instance_id: str | None, *, known: bool, write: Writer
    ) -> ConsumerMember:
        if instance_id is None:
            return group.members.get(member_id) or ConsumerMember(member_id)
        holder = group.members.get(group.static_members.get(instance_id, ""))
        if known:
            return _check_static(group, holder, member_id, instance_id)
        if holder is None:
            return ConsumerMember(member_id, instance_id)
        successor = holder._replace(member_id=member_id, epoch=0, previous_epoch=0)
        return self._protocol.replace_static(group, holder, successor, write)

    def sync(self, group: ConsumerGroup, request: SyncGroupRequest, view: TopicView) -> Result[SyncGroupResponse]:
        """SyncGroup: what the member has now.

        Raises:
            KafkaError: UNKNOWN_MEMBER_ID, FENCED_INSTANCE_ID, ILLEGAL_GENERATION, INCONSISTENT_GROUP_PROTOCOL,
                REBALANCE_IN_PROGRESS.
        """
        member, client = _classic(group, request.member_id, request.group_instance_id)
        _check_generation(member, request.generation_id)
        name, metadata = client.protocols[0]
        if request.protocol_type not in (None, CONSUMER_PROTOCOL_TYPE) or request.protocol_name not in (None, name):
            raise KafkaError(
                ErrorCode.INCONSISTENT_GROUP_PROTOCOL,
                f"the member joined with {CONSUMER_PROTOCOL_TYPE}/{name}, not {request.protocol_type}/{request.protocol_name}",
            )
        if group.epoch > member.epoch and member.state is not MemberState.UNREVOKED_PARTITIONS:
            self._protocol.await_join(group, member)
            raise KafkaError(ErrorCode.REBALANCE_IN_PROGRESS, f"group {group.group_id} has moved on; join again")
        self._protocol.cancel(group, "sync", member.member_id)
        self._protocol.await_classic(group, "session", member.member_id, client.session_timeout_ms)
        assignment = encode_assignment(member, view, leading_int16(metadata))
        response = SyncGroupResponse(
            protocol_type=request.protocol_type, protocol_name=request.protocol_name, assignment=assignment
        )
        return Result([], response)

    def heartbeat(self, group: ConsumerGroup, request: HeartbeatRequest) -> ErrorCode:
        """Heartbeat; REBALANCE_IN_PROGRESS when the member should join again.

        Raises:
            KafkaError: UNKNOWN_MEMBER_ID, FENCED_INSTANCE_ID, ILLEGAL_GENERATION.
        """
        member, client = _classic(group, request.member_id, request.group_instance_id)
        _check_generation(member, request.generation_id)
        self._protocol.await_classic(group, "session", member.member_id, client.session_timeout_ms)
        released = member.state is MemberState.UNRELEASED_PARTITIONS and not _waits(group, member)
        if member.epoch >= group.epoch and member.state is not MemberState.UNREVOKED_PARTITIONS and not released:
            return ErrorCode.NONE
        self._protocol.await_join(group, member)
        return ErrorCode.REBALANCE_IN_PROGRESS

    def leave(self, group: ConsumerGroup, request: LeaveGroupRequest, write: Writer) -> Result[LeaveGroupResponse]:
        """LeaveGroup; each member has its own error."""
        answers, leaving = [], []
        for identity in request.members:
            answer = MemberResponse(member_id=identity.member_id, group_instance_id=identity.group_instance_id)
            try:
                member = _leaving(group, identity)
                answer.member_id = member.member_id
                leaving.append(member)
            except KafkaError as error:
                answer.error_code = error.code
            answers.append(answer)
        if leaving:
            self._protocol.remove(group, {member.member_id: member for member in leaving}.values(), write)
        return write.result(LeaveGroupResponse(members=answers))


def _check_protocols(group: ConsumerGroup, protocol_type: str, protocols: Protocols) -> ConsumerProtocolSubscription:
    """What the member subscribes to.

    Raises:
        KafkaError: INCONSISTENT_GROUP_PROTOCOL when it is no consumer, shares no assignor with the other classic members, or
            says what cannot be read.
    """
    common = {name for name, _ in protocols}
    for member in group.members.values():
        if member.classic is not None:
            common &= {name for name, _ in member.classic.protocols}
    if protocol_type != CONSUMER_PROTOCOL_TYPE or not common:
        raise KafkaError(ErrorCode.INCONSISTENT_GROUP_PROTOCOL, f"the classic members of {group.group_id} share no such protocol")
    try:
        return parse_subscription(protocols[0][1])
    except ProtocolError as error:
        raise KafkaError(ErrorCode.INCONSISTENT_GROUP_PROTOCOL, f"the member's subscription cannot be read: {error}") from None


def _owned(subscription: ConsumerProtocolSubscription, view: TopicView) -> dict[UUID, frozenset[int]]:
    owned: dict[UUID, frozenset[int]] = {}
    for each in subscription.owned_partitions:
        topic = view.by_name(each.topic)
        if topic is not None:
            owned[topic.topic_id] = frozenset(each.partitions)
    return owned


def _waits(group: ConsumerGroup, member: ConsumerMember) -> bool:
    """Whether somebody still has a partition that the member is to have."""
    return any(
        partition not in member.assigned.get(topic_id, ()) and group.owners.get((topic_id, partition), NO_EPOCH) != NO_EPOCH
        for topic_id, partitions in group.target_of(member.member_id).items()
        for partition in partitions
    )


def _check_static(group: ConsumerGroup, holder: ConsumerMember | None, member_id: str, instance_id: str) -> ConsumerMember:
    if holder is None:
        raise KafkaError(ErrorCode.UNKNOWN_MEMBER_ID, f"group {group.group_id} has no static member {instance_id}")
    if holder.member_id != member_id:
        raise KafkaError(ErrorCode.FENCED_INSTANCE_ID, f"instance id {instance_id} belongs to member {holder.member_id} now")
    return holder


def _named(group: ConsumerGroup, member_id: str, instance_id: str | None) -> ConsumerMember:
    if instance_id is None:
        return group.member(member_id)
    return _check_static(group, group.members.get(group.static_members.get(instance_id, "")), member_id, instance_id)


def _classic(group: ConsumerGroup, member_id: str, instance_id: str | None) -> tuple[ConsumerMember, ClassicClient]:
    """The member that a classic request names, which must speak that protocol."""
    member = _named(group, member_id, instance_id)
    if member.classic is None:
        raise KafkaError(ErrorCode.UNKNOWN_MEMBER_ID, f"member {member_id} does not speak the classic protocol")
    return member, member.classic


def _leaving(group: ConsumerGroup, identity: MemberIdentity) -> ConsumerMember:
    """The member to remove, of either protocol; an admin may name a static one by its instance id alone."""
    member_id, instance_id = identity.member_id, identity.group_instance_id
    if instance_id is not None and member_id == "":
        member_id = group.static_members.get(instance_id, "")
    return _named(group, member_id, instance_id)


def _check_generation(member: ConsumerMember, generation: int) -> None:
    if generation != member.epoch:
        raise KafkaError(ErrorCode.ILLEGAL_GENERATION, f"member {member.member_id} is at epoch {member.epoch}, not {generation}")

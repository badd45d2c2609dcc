"""The group coordinator: finds the shard of a group, runs the request there, and turns errors into answers.

One method per API.  Requests and responses are the protocol's messages; a response has no ``throttle_time_ms`` yet, and only
the fields of the newest version, from which the encoder leaves out what older ones do not know.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import lru_cache
from struct import iter_unpack
from typing import Any, TypeAlias, TypeVar
from uuid import uuid4

from kafkax._core.commit_request import CommitRequest
from kafkax._core.standing import StandingAnswers
from kafkax.clock import Clock
from kafkax.coordinator.groups.consumer_protocol import validate_heartbeat
from kafkax.coordinator.groups.describe import DescribedConsumerGroup
from kafkax.coordinator.groups.settings import Caller, GroupSettings
from kafkax.coordinator.groups.shard import GroupShard
from kafkax.coordinator.groups.topics import NoTopics, TopicView
from kafkax.coordinator.promise import Promise
from kafkax.coordinator.runtime import Appender, CoordinatorRuntime, Lanes, Loader, Result, RuntimeSettings
from kafkax.coordinator.timers import Timers
from kafkax.errors import ErrorCode, KafkaError
from kafkax.protocol.messages.consumer_group_describe import ConsumerGroupDescribeRequest, ConsumerGroupDescribeResponse
from kafkax.protocol.messages.consumer_group_heartbeat import ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse
from kafkax.protocol.messages.delete_groups import DeletableGroupResult, DeleteGroupsRequest, DeleteGroupsResponse
from kafkax.protocol.messages.describe_groups import DescribedGroup, DescribeGroupsRequest, DescribeGroupsResponse
from kafkax.protocol.messages.heartbeat import HeartbeatRequest, HeartbeatResponse
from kafkax.protocol.messages.join_group import JoinGroupRequest, JoinGroupResponse
from kafkax.protocol.messages.leave_group import LeaveGroupRequest, LeaveGroupResponse, MemberIdentity, MemberResponse
from kafkax.protocol.messages.list_groups import ListedGroup, ListGroupsRequest, ListGroupsResponse
from kafkax.protocol.messages.offset_commit import (
    OffsetCommitRequest,
    OffsetCommitResponse,
    OffsetCommitResponsePartition,
    OffsetCommitResponseTopic,
)
from kafkax.protocol.messages.offset_delete import OffsetDeleteRequest, OffsetDeleteResponse
from kafkax.protocol.messages.offset_fetch import OffsetFetchRequestGroup, OffsetFetchResponseGroup
from kafkax.protocol.messages.sync_group import SyncGroupRequest, SyncGroupResponse

__all__ = ["AS_SEEN_BY_CLIENTS", "GroupCoordinator", "group_partition"]

T = TypeVar("T")
Stands: TypeAlias = Callable[[int, T], None]
"""Takes a heartbeat's answer that will be given again, and the round of :class:`StandingAnswers` for which that holds."""

AS_SEEN_BY_CLIENTS = {
    ErrorCode.UNKNOWN_TOPIC_OR_PARTITION: ErrorCode.COORDINATOR_NOT_AVAILABLE,
    ErrorCode.NOT_ENOUGH_REPLICAS: ErrorCode.COORDINATOR_NOT_AVAILABLE,
    ErrorCode.NOT_ENOUGH_REPLICAS_AFTER_APPEND: ErrorCode.COORDINATOR_NOT_AVAILABLE,
    ErrorCode.REQUEST_TIMED_OUT: ErrorCode.COORDINATOR_NOT_AVAILABLE,
    ErrorCode.NOT_LEADER_OR_FOLLOWER: ErrorCode.NOT_COORDINATOR,
    ErrorCode.KAFKA_STORAGE_ERROR: ErrorCode.NOT_COORDINATOR,
    ErrorCode.MESSAGE_TOO_LARGE: ErrorCode.UNKNOWN_SERVER_ERROR,
    ErrorCode.RECORD_LIST_TOO_LARGE: ErrorCode.UNKNOWN_SERVER_ERROR,
    ErrorCode.INVALID_FETCH_SIZE: ErrorCode.UNKNOWN_SERVER_ERROR,
}
"""What is wrong with the internal topic's partition means something else for a topic of the client's."""

_SELF_EVIDENT = {
    ErrorCode.NOT_COORDINATOR,
    ErrorCode.COORDINATOR_LOAD_IN_PROGRESS,
    ErrorCode.COORDINATOR_NOT_AVAILABLE,
}
_LEAVE_LISTS_MEMBERS_SINCE = 3
_PROTOCOL_MAY_BE_NULL_SINCE = 7


@lru_cache(maxsize=65536)
def group_partition(group_id: str, partitions: int = 50) -> int:
    """The partition of ``__consumer_offsets`` that a group belongs to: Java's string hash, made positive, modulo.

    Args:
        group_id: hashed by its UTF-16 code units.
        partitions: offsets.topic.num.partitions.
    """
    units = group_id.encode("utf-16-be")
    value = 0
    for (unit,) in iter_unpack(">H", units):
        value = (value * 31 + unit) & 0xFFFF_FFFF
    return (value & 0x7FFF_FFFF) % partitions


class GroupCoordinator:
    """Groups and offsets of every partition of ``__consumer_offsets`` that this broker leads.

    Args:
        appender: writes to the internal topic.
        loader: reads it.
        timers: queue of callbacks.
        clock: time.
        settings: limits and delays.
        runtime: limits of the runtime.
        partitions: offsets.topic.num.partitions.
        topics: the cluster's topics as they are when called; without it there are none.
        new_id: makes member ids, or their unique part.
        standing: heartbeats that the network threads answer, and whose commits they take.
        lanes: by which they take commits.
    """

    def __init__(
        self,
        appender: Appender,
        loader: Loader,
        timers: Timers,
        clock: Clock,
        settings: GroupSettings | None = None,
        runtime: RuntimeSettings | None = None,
        partitions: int = 50,
        topics: Callable[[], TopicView] = NoTopics,
        new_id: Callable[[], str] = lambda: str(uuid4()),
        standing: StandingAnswers | None = None,
        lanes: Lanes | None = None,
    ) -> None:
        self.standing = standing = StandingAnswers() if standing is None else standing
        self.settings = settings or GroupSettings()
        self._partitions = partitions
        self.runtime: CoordinatorRuntime[GroupShard] = CoordinatorRuntime(
            lambda _, keyed, undo: GroupShard(keyed, undo, clock, self.settings, topics, new_id, standing),
            appender,
            loader,
            timers,
            clock,
            runtime,
            lanes,
        )

    def partition_of(self, group_id: str) -> int:
        """The partition of the internal topic that a group belongs to."""
        return group_partition(group_id, self._partitions)

    def load(self, partition: int, epoch: int) -> Promise[None]:
        """Become the coordinator of the groups of a partition; see :meth:`CoordinatorRuntime.load`."""
        return self.runtime.load(partition, epoch)

    def unload(self, partition: int, epoch: int | None = None) -> None:
        """Stop being it; see :meth:`CoordinatorRuntime.unload`."""
        self.runtime.unload(partition, epoch)

    def shut_down(self) -> None:
        """Stop for all partitions; whoever waits is told NOT_COORDINATOR."""
        for partition in [*self.runtime.active(), *self.runtime.loading()]:
            self.runtime.unload(partition)

    # -- membership ------------------------------------------------------------------------------------------------

    def join_group(self, caller: Caller, request: JoinGroupRequest) -> Promise[JoinGroupResponse]:
        """JoinGroup (key 11)."""
        reply: Promise[JoinGroupResponse] = Promise()

        def refused(error: BaseException) -> JoinGroupResponse:
            return JoinGroupResponse(error_code=_code(error), member_id=request.member_id)

        def versioned(response: JoinGroupResponse) -> JoinGroupResponse:
            if response.error_code != ErrorCode.NONE:
                response.protocol_name = None
            if caller.version < _PROTOCOL_MAY_BE_NULL_SINCE and response.protocol_name is None:
                response.protocol_name = ""
            return response

        if not request.group_id:
            reply.fail(KafkaError(ErrorCode.INVALID_GROUP_ID))
        elif not self.settings.min_session_timeout_ms <= request.session_timeout_ms <= self.settings.max_session_timeout_ms:
            reply.fail(KafkaError(ErrorCode.INVALID_SESSION_TIMEOUT))
        else:
            self._fail_with(reply, self._write(request.group_id, lambda shard: shard.join(caller, request, reply)))
        return reply.map(versioned, lambda error: versioned(refused(error)))

    def sync_group(self, caller: Caller, request: SyncGroupRequest) -> Promise[SyncGroupResponse]:
        """SyncGroup (key 14)."""
        reply: Promise[SyncGroupResponse] = Promise()
        if not request.group_id:
            reply.fail(KafkaError(ErrorCode.INVALID_GROUP_ID))
        else:
            written = self._write(request.group_id, lambda shard: shard.sync(request, reply))
            self._fail_with(reply, written)
            written.on_done(lambda done: reply.resolve(done.result()) if done.error is None and done.result() else None)
        return reply.map(lambda response: response, lambda error: SyncGroupResponse(error_code=_code(error)))

    def heartbeat(self, request: HeartbeatRequest, stands: Stands[HeartbeatResponse] | None = None) -> HeartbeatResponse:
        """Heartbeat (key 12), answered at once; ``stands`` is called when that is how it will be answered again."""
        try:
            if not request.group_id:
                raise KafkaError(ErrorCode.INVALID_GROUP_ID)
            code = self.runtime.shard(self.partition_of(request.group_id)).heartbeat(request)
        except KafkaError as error:
            # While its group is loaded a member can do no better than go on.
            code = ErrorCode.NONE if error.code is ErrorCode.COORDINATOR_LOAD_IN_PROGRESS else error.code
        response = HeartbeatResponse(error_code=code)
        if stands is not None and code is ErrorCode.NONE:
            round_ = self._standing_round(request.group_id, request.member_id, request.generation_id)
            if round_ is not None:
                stands(round_, response)
        return response

    def _standing_round(self, group_id: str, member_id: str, epoch: int) -> int | None:
        shard = self.runtime.serving(self.partition_of(group_id))
        return None if shard is None else shard.standing_round(group_id, member_id, epoch)

    def leave_group(self, caller: Caller, request: LeaveGroupRequest) -> Promise[LeaveGroupResponse]:
        """LeaveGroup (key 13)."""
        if caller.version < _LEAVE_LISTS_MEMBERS_SINCE:
            request = LeaveGroupRequest(group_id=request.group_id, members=[MemberIdentity(member_id=request.member_id)])

        def answer(response: LeaveGroupResponse) -> LeaveGroupResponse:
            if caller.version < _LEAVE_LISTS_MEMBERS_SINCE and response.members:
                return LeaveGroupResponse(error_code=response.members[0].error_code)
            return response

        def refused(error: BaseException) -> LeaveGroupResponse:
            code = _code(error)
            if code is not ErrorCode.UNKNOWN_MEMBER_ID:
                return LeaveGroupResponse(error_code=code)
            members = [
                MemberResponse(member_id=member.member_id, group_instance_id=member.group_instance_id, error_code=code)
                for member in request.members
            ]
            return answer(LeaveGroupResponse(members=members))

        if not request.group_id:
            return Promise.of(LeaveGroupResponse(error_code=ErrorCode.INVALID_GROUP_ID))
        return self._write(request.group_id, lambda shard: shard.leave(request)).map(answer, refused)

    def consumer_heartbeat(
        self,
        caller: Caller,
        request: ConsumerGroupHeartbeatRequest,
        stands: Stands[ConsumerGroupHeartbeatResponse] | None = None,
    ) -> Promise[ConsumerGroupHeartbeatResponse]:
        """ConsumerGroupHeartbeat (key 68); ``stands`` is called when the answer is what it will be answered again."""

        def refused(error: BaseException) -> ConsumerGroupHeartbeatResponse:
            # A coordinator that moves or loads needs no explanation; everything else has one.
            code = _code(error)
            return ConsumerGroupHeartbeatResponse(error_code=code, error_message=None if code in _SELF_EVIDENT else str(error))

        try:
            validate_heartbeat(request, caller.version, self.settings.consumer_assignors)
        except KafkaError as error:
            return Promise.of(refused(error))
        written = self._write(request.group_id, lambda shard: shard.consumer_heartbeat(caller, request))
        # what the operation left behind, committed or not: should that go wrong, the answer will be an error
        round_ = self._standing_round(request.group_id, request.member_id, request.member_epoch) if stands else None

        def answered(response: ConsumerGroupHeartbeatResponse) -> ConsumerGroupHeartbeatResponse:
            if stands is not None and round_ is not None and response.assignment is None:
                stands(round_, response)
            return response

        return written.map(answered, refused)

    # -- offsets ---------------------------------------------------------------------------------------------------

    def commit_offsets(self, caller: Caller, request: OffsetCommitRequest) -> Promise[OffsetCommitResponse]:
        """OffsetCommit (key 8); topics carry both name and id where they are known."""

        def refused(error: BaseException) -> OffsetCommitResponse:
            return _commit_refused(request, _code(error))

        return self._write(request.group_id, lambda shard: shard.commit_offsets(caller, request)).map(_same, refused)

    def keep_offsets(self, commit: CommitRequest, answer: Callable[[bytes], object]) -> bool:
        """OffsetCommit for a request in its ordinary form, whose topics were found.

        Args:
            commit: the request.
            answer: given the response with its header.

        Returns:
            False when it is for :meth:`commit_offsets` to refuse, in part or as a whole; nothing was done then.
        """
        commit.promise(answer, _code)
        return self.runtime.keep(group_partition(commit.group_id, self._partitions), commit)

    def allow_commits(self, commit: CommitRequest, connection: int) -> bool:
        """Have the network threads take commits like one that was kept just now; whether they may."""
        shard = self.runtime.serving(group_partition(commit.group_id, self._partitions))
        round_ = None if shard is None else shard.commits_round(commit)
        if shard is None or round_ is None:
            return False
        silent = not shard.touched_by_commits(commit.group_id)
        self.standing.allow(commit.group_id, commit.member_id, round_, connection, commit.who, silent=silent)
        return True

    def fetch_offsets(self, request: OffsetFetchRequestGroup, *, require_stable: bool) -> Promise[OffsetFetchResponseGroup]:
        """OffsetFetch (key 9) for one group."""

        def refused(error: BaseException) -> OffsetFetchResponseGroup:
            return OffsetFetchResponseGroup(group_id=request.group_id, error_code=_code(error))

        return self._read(request.group_id, lambda shard: shard.fetch_offsets(request, require_stable=require_stable)).map(
            _same, refused
        )

    def delete_offsets(self, request: OffsetDeleteRequest) -> Promise[OffsetDeleteResponse]:
        """OffsetDelete (key 47)."""
        if not request.group_id:
            return Promise.of(OffsetDeleteResponse(error_code=ErrorCode.INVALID_GROUP_ID))
        return self._write(request.group_id, lambda shard: shard.delete_offsets(request)).map(
            _same, lambda error: OffsetDeleteResponse(error_code=_code(error))
        )

    def group_configured(self, group_id: str) -> None:
        """A group's own configs changed: its members are told with their next heartbeats."""
        self.standing.revoke(group_id)

    def topics_deleted(self, topics: Collection[str]) -> None:
        """Forget the offsets of topics that were deleted."""
        for index in self.runtime.active():
            self.runtime.write(index, lambda shard: shard.delete_topics(topics))

    def topics_changed(self, topics: Collection[str], *, names: bool) -> None:
        """Have consumer groups look anew at topics that were made, grew, moved or went; ``names``: some came or went."""
        for index in self.runtime.active():
            self.runtime.shard(index).topics_changed(topics, names=names)

    # -- admin -----------------------------------------------------------------------------------------------------

    def describe_groups(self, caller: Caller, request: DescribeGroupsRequest) -> Promise[DescribeGroupsResponse]:
        """DescribeGroups (key 15)."""

        def describe(group_id: str) -> Promise[DescribedGroup]:
            return self._read(group_id, lambda shard: shard.describe(caller, group_id)).map(
                _same, lambda error: DescribedGroup(group_id=group_id, error_code=_code(error))
            )

        return Promise.all([describe(group_id) for group_id in request.groups]).map(
            lambda groups: DescribeGroupsResponse(groups=groups)
        )

    def describe_consumer_groups(self, request: ConsumerGroupDescribeRequest) -> Promise[ConsumerGroupDescribeResponse]:
        """ConsumerGroupDescribe (key 69)."""

        def refused(group_id: str, code: ErrorCode) -> DescribedConsumerGroup:
            return DescribedConsumerGroup(group_id=group_id, error_code=code)

        def describe(group_id: str) -> Promise[DescribedConsumerGroup]:
            if not group_id:
                return Promise.of(refused(group_id, ErrorCode.INVALID_GROUP_ID))
            return self._read(group_id, lambda shard: shard.describe_consumer(group_id)).map(
                _same, lambda error: refused(group_id, _code(error))
            )

        return Promise.all([describe(group_id) for group_id in request.group_ids]).map(
            lambda groups: ConsumerGroupDescribeResponse(groups=groups)
        )

    def list_groups(self, request: ListGroupsRequest) -> Promise[ListGroupsResponse]:
        """ListGroups (key 16): the groups that this broker coordinates."""
        states = frozenset(state.lower() for state in request.states_filter)
        types = frozenset(kind.lower() for kind in request.types_filter)

        def merged(lists: list[list[ListedGroup]]) -> ListGroupsResponse:
            return ListGroupsResponse(groups=[group for listed in lists for group in listed])

        if self.runtime.loading():
            return Promise.of(ListGroupsResponse(error_code=ErrorCode.COORDINATOR_LOAD_IN_PROGRESS))
        reads = [self.runtime.read(index, lambda shard: shard.list_groups(states, types)) for index in self.runtime.active()]
        return Promise.all(reads).map(merged, lambda error: ListGroupsResponse(error_code=_code(error)))

    def delete_groups(self, request: DeleteGroupsRequest) -> Promise[DeleteGroupsResponse]:
        """DeleteGroups (key 42)."""

        def delete(group_id: str) -> Promise[DeletableGroupResult]:
            return self._write(group_id, lambda shard: shard.delete_group(group_id)).map(
                lambda code: DeletableGroupResult(group_id=group_id, error_code=code),
                lambda error: DeletableGroupResult(group_id=group_id, error_code=_code(error)),
            )

        return Promise.all([delete(group_id) for group_id in dict.fromkeys(request.groups_names)]).map(
            lambda results: DeleteGroupsResponse(results=results)
        )

    # -- plumbing --------------------------------------------------------------------------------------------------

    def _write(self, group_id: str, operation: Callable[[GroupShard], Result[T]]) -> Promise[T]:
        return self.runtime.write(self.partition_of(group_id), operation)

    def _read(self, group_id: str, operation: Callable[[GroupShard], T]) -> Promise[T]:
        return self.runtime.read(self.partition_of(group_id), operation)

    @staticmethod
    def _fail_with(reply: Promise[Any], written: Promise[None]) -> None:
        """A reply that the operation itself gives fails when the operation does."""

        def check(promise: Promise[None]) -> None:
            if promise.error is not None:
                reply.fail(promise.error)

        written.on_done(check)


def _same(value: T) -> T:
    return value


def _code(error: BaseException) -> ErrorCode:
    """The wire code of what went wrong, as the client of a coordinator is to understand it."""
    if not isinstance(error, KafkaError):
        return ErrorCode.UNKNOWN_SERVER_ERROR
    return AS_SEEN_BY_CLIENTS.get(error.code, error.code)


def _commit_refused(request: OffsetCommitRequest, code: ErrorCode) -> OffsetCommitResponse:
    return OffsetCommitResponse(
        topics=[
            OffsetCommitResponseTopic(
                name=topic.name,
                topic_id=topic.topic_id,
                partitions=[
                    OffsetCommitResponsePartition(partition_index=partition.partition_index, error_code=code)
                    for partition in topic.partitions
                ],
            )
            for topic in request.topics
        ]
    )

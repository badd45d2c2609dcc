"""A group coordinator over an internal topic in memory, in virtual time, with short words for what members send."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast
from uuid import NAMESPACE_DNS, UUID, uuid5

from kafkax._core.commit_request import CommitRequest
from kafkax.coordinator.groups.coordinator import GroupCoordinator
from kafkax.coordinator.groups.settings import Caller, GroupSettings
from kafkax.coordinator.groups.topics import TopicInfo
from kafkax.coordinator.offsets import topic_id_of
from kafkax.coordinator.promise import Promise
from kafkax.coordinator.runtime import RuntimeSettings
from kafkax.protocol.coordinator_records.consumer_protocol import ConsumerProtocolSubscription
from kafkax.protocol.headers import parse_response_header, request_header
from kafkax.protocol.messages.consumer_group_describe import ConsumerGroupDescribeRequest
from kafkax.protocol.messages.consumer_group_describe import DescribedGroup as DescribedConsumerGroup
from kafkax.protocol.messages.consumer_group_heartbeat import (
    ConsumerGroupHeartbeatRequest,
    ConsumerGroupHeartbeatResponse,
    TopicPartitions,
)
from kafkax.protocol.messages.delete_groups import DeleteGroupsRequest
from kafkax.protocol.messages.describe_groups import DescribedGroup, DescribeGroupsRequest
from kafkax.protocol.messages.heartbeat import HeartbeatRequest
from kafkax.protocol.messages.join_group import JoinGroupRequest, JoinGroupRequestProtocol, JoinGroupResponse
from kafkax.protocol.messages.leave_group import LeaveGroupRequest, LeaveGroupResponse, MemberIdentity
from kafkax.protocol.messages.list_groups import ListGroupsRequest
from kafkax.protocol.messages.offset_commit import (
    OffsetCommitRequest,
    OffsetCommitRequestPartition,
    OffsetCommitRequestTopic,
    OffsetCommitResponse,
)
from kafkax.protocol.messages.offset_delete import OffsetDeleteRequest, OffsetDeleteRequestPartition, OffsetDeleteRequestTopic
from kafkax.protocol.messages.offset_fetch import OffsetFetchRequestGroup, OffsetFetchRequestTopics
from kafkax.protocol.messages.sync_group import SyncGroupRequest, SyncGroupRequestAssignment, SyncGroupResponse
from kafkax.protocol.schema import ZERO_UUID
from tests.sim.standing import VirtualStanding
from tests.sim.virtual import MemoryTopic, VirtualTime

if TYPE_CHECKING:
    from kafkax._core.standing import StandingAnswers

GROUP = "g"


def subscription(*topics: str) -> bytes:
    """What a consumer says in JoinGroup."""
    return ConsumerProtocolSubscription(topics=list(topics)).to_bytes(1)


class Topics:
    """Topics that a test makes, grows and deletes."""

    def __init__(self) -> None:
        self.infos: dict[str, TopicInfo] = {}

    def by_name(self, name: str) -> TopicInfo | None:
        return self.infos.get(name)

    def by_id(self, topic_id: UUID) -> TopicInfo | None:
        return next((info for info in self.infos.values() if info.topic_id == topic_id), None)

    def names(self) -> list[str]:
        return list(self.infos)

    def id_of(self, name: str) -> UUID:
        return self.infos[name].topic_id


class _Everything(dict[str, Any]):
    """Every topic there could be, as the broker's metadata image has it, with the ids that a request names."""

    def __init__(self, request: OffsetCommitRequest) -> None:
        super().__init__()
        self._ids = {topic.name: topic.topic_id for topic in request.topics}

    def get(self, name: str, default: Any = None) -> Any:
        return SimpleNamespace(name=name, topic_id=self._ids[name], partitions=range(1_000_000))


def decoded_commit(answer: bytes, version: int) -> OffsetCommitResponse:
    """The response of a version."""
    _, body = parse_response_header(answer, OffsetCommitRequest.api_key, version)
    return OffsetCommitResponse.decode(body, version)


def ordinary_commit(coordinator: GroupCoordinator, caller: Caller, request: OffsetCommitRequest) -> CommitRequest | None:
    """The commit as the broker reads it, its topics found; None where it is out of the ordinary."""
    frame = request_header(request.api_key, caller.version, 1, caller.client_id) + request.encode(caller.version)
    commit = CommitRequest.read(frame, coordinator.settings.offset_metadata_max_bytes)
    if commit is not None:
        assert commit.find(_Everything(request), {}, topic_id_of)
    return commit


def commit_quickly(
    coordinator: GroupCoordinator, caller: Caller, request: OffsetCommitRequest, connection: Any = None
) -> Promise[Any]:
    """Have offsets committed as the control plane does: from the request's bytes where it is ordinary.

    Args:
        coordinator: commits.
        caller: who asks.
        request: what.
        connection: by which the network threads may take commits like this one from now on; None: they may not.
    """
    commit = ordinary_commit(coordinator, caller, request)
    if commit is not None:
        kept: Promise[Any] = Promise()
        if coordinator.keep_offsets(commit, kept.resolve):
            if connection is not None:
                coordinator.allow_commits(commit, connection)
            return kept.map(lambda answer: decoded_commit(answer, caller.version))
    return coordinator.commit_offsets(caller, request)


Held = dict[str, list[int]]
"""Partitions by topic name."""


class GroupsWorld:
    """One broker that coordinates every group."""

    def __init__(self, settings: GroupSettings | None = None, partitions: int = 1) -> None:
        self.time = VirtualTime()
        self.topic = MemoryTopic(self.time)
        self.settings = settings or GroupSettings(initial_rebalance_delay_ms=0)
        self.partitions = partitions
        self.topics = Topics()
        self.quick = True
        self.start()

    def make(self) -> GroupCoordinator:
        """The coordinator of a fresh broker process, whose network threads answer what stands."""
        self.standing = VirtualStanding(self.time)
        return GroupCoordinator(
            self.topic,
            self.topic,
            self.time,
            self.time,
            self.settings,
            RuntimeSettings(),
            partitions=self.partitions,
            topics=lambda: self.topics,
            standing=cast("StandingAnswers", self.standing),
        )

    def have(self, *, racks: tuple[frozenset[str], ...] = (), **partitions: int) -> None:
        """Make topics, or change how many partitions they have; none deletes."""
        names = False
        for name, count in partitions.items():
            before = self.topics.infos.get(name)
            names = names or before is None or count == 0
            topic_id = uuid5(NAMESPACE_DNS, f"{name}-{len(self.topics.infos)}") if before is None else before.topic_id
            self.topics.infos[name] = TopicInfo(name, topic_id, count, racks)
            if count == 0:
                del self.topics.infos[name]
        self.coordinator.topics_changed(list(partitions), names=names)

    def start(self) -> None:
        """Start the broker: load every partition."""
        self.coordinator = self.make()
        for partition in range(self.partitions):
            self.coordinator.load(partition, 0)
        self.time.run()

    def restart(self) -> None:
        """Crash, and start again."""
        self.topic.crash()
        self.time.forget()
        self.start()

    def done(self, promise: Promise[Any], for_ms: float = 0) -> Any:
        """The answer, which must be there after ``for_ms``."""
        self.time.run(for_ms)
        return promise.result()

    # -- requests --------------------------------------------------------------------------------------------------

    def join(
        self,
        member_id: str = "",
        *,
        group: str = GROUP,
        instance: str | None = None,
        protocols: tuple[tuple[str, bytes], ...] = (("range", b"meta"),),
        kind: str = "consumer",
        session_ms: int = 10_000,
        rebalance_ms: int = 60_000,
        version: int = 9,
        client: str = "c",
    ) -> Promise[JoinGroupResponse]:
        """Send JoinGroup."""
        request = JoinGroupRequest(
            group_id=group,
            session_timeout_ms=session_ms,
            rebalance_timeout_ms=rebalance_ms,
            member_id=member_id,
            group_instance_id=instance,
            protocol_type=kind,
            protocols=[JoinGroupRequestProtocol(name=name, metadata=metadata) for name, metadata in protocols],
        )
        return self.coordinator.join_group(Caller(client, "/127.0.0.1", version), request)

    def sync(
        self,
        member_id: str,
        generation: int,
        assignments: dict[str, bytes] | None = None,
        *,
        group: str = GROUP,
        instance: str | None = None,
        kind: str | None = "consumer",
        protocol: str | None = "range",
        version: int = 5,
    ) -> Promise[SyncGroupResponse]:
        """Send SyncGroup."""
        request = SyncGroupRequest(
            group_id=group,
            generation_id=generation,
            member_id=member_id,
            group_instance_id=instance,
            protocol_type=kind,
            protocol_name=protocol,
            assignments=[SyncGroupRequestAssignment(member_id=k, assignment=v) for k, v in (assignments or {}).items()],
        )
        return self.coordinator.sync_group(Caller("c", "/127.0.0.1", version), request)

    def heartbeat(self, member_id: str, generation: int, *, group: str = GROUP, instance: str | None = None) -> int:
        """Send Heartbeat; the code of the answer."""
        request = HeartbeatRequest(group_id=group, generation_id=generation, member_id=member_id, group_instance_id=instance)
        return self.coordinator.heartbeat(request).error_code

    def leave(self, *members: str | tuple[str, str], group: str = GROUP, version: int = 5) -> LeaveGroupResponse:
        """Send LeaveGroup for member ids, or pairs of member id and instance id."""
        pairs = [(each, None) if isinstance(each, str) else each for each in members]
        request = LeaveGroupRequest(
            group_id=group, members=[MemberIdentity(member_id=member, group_instance_id=instance) for member, instance in pairs]
        )
        if version < 3:
            request = LeaveGroupRequest(group_id=group, member_id=pairs[0][0])
        answer = self.done(self.coordinator.leave_group(Caller("c", "/127.0.0.1", version), request))
        assert isinstance(answer, LeaveGroupResponse)
        return answer

    def commit(
        self,
        offset: int,
        member_id: str = "",
        generation: int = -1,
        *,
        group: str = GROUP,
        topic: str = "t",
        partition: int = 0,
        metadata: str | None = "",
        instance: str | None = None,
        version: int = 9,
        retention_ms: int = -1,
        topic_id: UUID = ZERO_UUID,
    ) -> int:
        """Send OffsetCommit for one partition; the code of the answer."""
        return int(self.done(self.commit_later(offset, member_id, generation, group, topic, partition, metadata, instance,
                                               version, retention_ms, topic_id)).topics[0].partitions[0].error_code)  # fmt: skip

    def commit_later(
        self,
        offset: int,
        member_id: str = "",
        generation: int = -1,
        group: str = GROUP,
        topic: str = "t",
        partition: int = 0,
        metadata: str | None = "",
        instance: str | None = None,
        version: int = 9,
        retention_ms: int = -1,
        topic_id: UUID = ZERO_UUID,
    ) -> Promise[Any]:
        """Send OffsetCommit for one partition."""
        asked = OffsetCommitRequestPartition(
            partition_index=partition, committed_offset=offset, committed_leader_epoch=0, committed_metadata=metadata
        )
        request = OffsetCommitRequest(
            group_id=group,
            generation_id_or_member_epoch=generation,
            member_id=member_id,
            group_instance_id=instance,
            retention_time_ms=retention_ms,
            topics=[OffsetCommitRequestTopic(name=topic, topic_id=topic_id, partitions=[asked])],
        )
        if not self.quick or retention_ms != -1:
            return self.coordinator.commit_offsets(Caller("c", "/127.0.0.1", version), request)
        return commit_quickly(self.coordinator, Caller("c", "/127.0.0.1", version), request)

    def fetch(self, topic: str = "t", partition: int = 0, *, group: str = GROUP, stable: bool = False) -> Any:
        """Send OffsetFetch for one partition; the answer for it."""
        topics = [OffsetFetchRequestTopics(name=topic, partition_indexes=[partition])]
        asked = OffsetFetchRequestGroup(group_id=group, topics=topics)
        return self.done(self.coordinator.fetch_offsets(asked, require_stable=stable)).topics[0].partitions[0]

    def fetched(self, topic: str = "t", partition: int = 0, *, group: str = GROUP) -> int:
        """The committed offset of a partition."""
        return int(self.fetch(topic, partition, group=group).committed_offset)

    def delete_offset(self, topic: str = "t", partition: int = 0, *, group: str = GROUP) -> Any:
        """Send OffsetDelete for one partition; the response."""
        asked = OffsetDeleteRequestTopic(name=topic, partitions=[OffsetDeleteRequestPartition(partition_index=partition)])
        return self.done(self.coordinator.delete_offsets(OffsetDeleteRequest(group_id=group, topics=[asked])))

    def describe(self, group: str = GROUP, version: int = 6) -> DescribedGroup:
        """Send DescribeGroups."""
        caller = Caller("c", "/127.0.0.1", version)
        response = self.done(self.coordinator.describe_groups(caller, DescribeGroupsRequest(groups=[group])))
        answer: DescribedGroup = response.groups[0]
        return answer

    def listed(self, states: tuple[str, ...] = (), types: tuple[str, ...] = ()) -> dict[str, tuple[str, str]]:
        """Send ListGroups; type and state by group."""
        request = ListGroupsRequest(states_filter=list(states), types_filter=list(types))
        answer = self.done(self.coordinator.list_groups(request))
        return {group.group_id: (group.group_type, group.group_state) for group in answer.groups}

    def delete_group(self, group: str = GROUP) -> int:
        """Send DeleteGroups; the code of the answer."""
        return int(self.done(self.coordinator.delete_groups(DeleteGroupsRequest(groups_names=[group]))).results[0].error_code)

    # -- the consumer protocol -------------------------------------------------------------------------------------

    def beat(
        self,
        member_id: str,
        epoch: int = 0,
        *,
        group: str = GROUP,
        topics: tuple[str, ...] | None = ("t",),
        owned: Held | None = None,
        instance: str | None = None,
        rack: str | None = None,
        regex: str | None = None,
        assignor: str | None = None,
        rebalance_ms: int | None = None,
        version: int = 1,
    ) -> ConsumerGroupHeartbeatResponse:
        """Send ConsumerGroupHeartbeat: a full one to join (epoch 0), otherwise one without what does not change."""
        joins = epoch == 0
        held = [TopicPartitions(topic_id=self.topics.id_of(name), partitions=each) for name, each in (owned or {}).items()]
        request = ConsumerGroupHeartbeatRequest(
            group_id=group,
            member_id=member_id,
            member_epoch=epoch,
            instance_id=instance,
            rack_id=rack,
            rebalance_timeout_ms=(60_000 if rebalance_ms is None else rebalance_ms) if joins else -1,
            subscribed_topic_names=list(topics) if joins and topics is not None else None,
            subscribed_topic_regex=regex,
            server_assignor=assignor,
            topic_partitions=held if joins or owned is not None else None,
        )
        caller = Caller("c", "/127.0.0.1", version)
        answer = self.done(self.coordinator.consumer_heartbeat(caller, request))
        assert isinstance(answer, ConsumerGroupHeartbeatResponse)
        return answer

    def given(self, answer: ConsumerGroupHeartbeatResponse) -> Held | None:
        """The partitions in an answer, by topic name."""
        if answer.assignment is None:
            return None
        held = {}
        for each in answer.assignment.topic_partitions:
            info = self.topics.by_id(each.topic_id)
            held["?" if info is None else info.name] = each.partitions
        return held

    def describe_consumer(self, group: str = GROUP) -> DescribedConsumerGroup:
        """Send ConsumerGroupDescribe."""
        response = self.done(self.coordinator.describe_consumer_groups(ConsumerGroupDescribeRequest(group_ids=[group])))
        answer: DescribedConsumerGroup = response.groups[0]
        return answer

    # -- whole stories ---------------------------------------------------------------------------------------------

    def join_together(self, *each: dict[str, Any]) -> list[tuple[str, Promise[JoinGroupResponse]]]:
        """Hand out ids to new members, and let them join at the same moment."""
        ids = [self.done(self.join(**more)).member_id for more in each]
        return [(member_id, self.join(member_id, **more)) for member_id, more in zip(ids, each, strict=True)]

    def join_two_step(self, **more: Any) -> tuple[str, Promise[JoinGroupResponse]]:
        """Ask for a member id and join with it."""
        return self.join_together(more)[0]

    def form(self, size: int, **more: Any) -> tuple[list[str], int]:
        """A stable group of new members, each assigned its own id; member ids (leader first) and generation."""
        joins = dict(self.join_together(*[more] * size))
        self.time.run(self.settings.initial_rebalance_delay_ms + 1)
        answers = {member: join.result() for member, join in joins.items()}
        leader = next(iter(answers.values())).leader
        generation = answers[leader].generation_id
        everybody = {member: member.encode() for member in joins}
        group = {key: more[key] for key in ("group",) if key in more}
        syncs = [self.sync(member, generation, everybody if member == leader else None, **group) for member in joins]
        self.time.run(10)
        assert all(sync.result().error_code == 0 for sync in syncs)
        return [leader, *(member for member in joins if member != leader)], generation

"""A group coordinator over an internal topic in memory, in virtual time, with short words for what members send."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from kafkax.coordinator.groups.coordinator import GroupCoordinator
from kafkax.coordinator.groups.settings import Caller, GroupSettings
from kafkax.coordinator.promise import Promise
from kafkax.coordinator.runtime import RuntimeSettings
from kafkax.protocol.coordinator_records.consumer_protocol import ConsumerProtocolSubscription
from kafkax.protocol.messages.delete_groups import DeleteGroupsRequest
from kafkax.protocol.messages.describe_groups import DescribedGroup, DescribeGroupsRequest
from kafkax.protocol.messages.heartbeat import HeartbeatRequest
from kafkax.protocol.messages.join_group import JoinGroupRequest, JoinGroupRequestProtocol, JoinGroupResponse
from kafkax.protocol.messages.leave_group import LeaveGroupRequest, LeaveGroupResponse, MemberIdentity
from kafkax.protocol.messages.list_groups import ListGroupsRequest
from kafkax.protocol.messages.offset_commit import OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic
from kafkax.protocol.messages.offset_delete import OffsetDeleteRequest, OffsetDeleteRequestPartition, OffsetDeleteRequestTopic
from kafkax.protocol.messages.offset_fetch import OffsetFetchRequestGroup, OffsetFetchRequestTopics
from kafkax.protocol.messages.sync_group import SyncGroupRequest, SyncGroupRequestAssignment, SyncGroupResponse
from kafkax.protocol.schema import ZERO_UUID
from tests.sim.virtual import MemoryTopic, VirtualTime

GROUP = "g"


def subscription(*topics: str) -> bytes:
    """What a consumer says in JoinGroup."""
    return ConsumerProtocolSubscription(topics=list(topics)).to_bytes(1)


class GroupsWorld:
    """One broker that coordinates every group."""

    def __init__(self, settings: GroupSettings | None = None, partitions: int = 1) -> None:
        self.time = VirtualTime()
        self.topic = MemoryTopic(self.time)
        self.settings = settings or GroupSettings(initial_rebalance_delay_ms=0)
        self.partitions = partitions
        self.start()

    def make(self) -> GroupCoordinator:
        """The coordinator of a fresh broker process."""
        return GroupCoordinator(
            self.topic, self.topic, self.time, self.time, self.settings, RuntimeSettings(), partitions=self.partitions
        )

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
        return self.coordinator.commit_offsets(Caller("c", "/127.0.0.1", version), request)

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

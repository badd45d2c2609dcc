"""The fake broker with what groups of one member, and administration, need beside."""

from __future__ import annotations

from typing import Any

from kafkax.errors import ErrorCode
from kafkax.protocol.messages.create_topics import CreatableTopicResult, CreateTopicsResponse
from kafkax.protocol.messages.describe_cluster import DescribeClusterBroker, DescribeClusterResponse
from kafkax.protocol.messages.find_coordinator import Coordinator, FindCoordinatorResponse
from kafkax.protocol.messages.heartbeat import HeartbeatResponse
from kafkax.protocol.messages.join_group import JoinGroupResponse, JoinGroupResponseMember
from kafkax.protocol.messages.leave_group import LeaveGroupResponse
from kafkax.protocol.messages.offset_commit import (
    OffsetCommitResponse,
    OffsetCommitResponsePartition,
    OffsetCommitResponseTopic,
)
from kafkax.protocol.messages.offset_fetch import (
    OffsetFetchResponse,
    OffsetFetchResponseGroup,
    OffsetFetchResponsePartitions,
    OffsetFetchResponseTopics,
)
from kafkax.protocol.messages.sync_group import SyncGroupResponse
from tests.unit.client.fake import FakeBroker

OFFSET_COMMIT, OFFSET_FETCH, FIND_COORDINATOR, JOIN_GROUP, HEARTBEAT, LEAVE_GROUP, SYNC_GROUP = 8, 9, 10, 11, 12, 13, 14
CREATE_TOPICS, DESCRIBE_CLUSTER = 19, 60


class FakeCoordinator(FakeBroker):
    """Lets everybody be the only member of its group, the leader.

    Attributes:
        committed: offsets by topic and partition.
        created: names of topics that were asked for; they are not made.
    """

    def __init__(self, partitions: int = 1) -> None:
        self.generation = 0
        self.committed: dict[tuple[str, int], int] = {}
        self.created: list[str] = []
        super().__init__(partitions)

    def _10(self, request: Any) -> FindCoordinatorResponse:
        found = [Coordinator(key=key, node_id=1, host="127.0.0.1", port=self.port) for key in request.coordinator_keys]
        return FindCoordinatorResponse(coordinators=found)

    def _11(self, request: Any) -> JoinGroupResponse:
        name = request.member_id or "m"
        self.generation += 1
        protocol = request.protocols[0]
        return JoinGroupResponse(
            generation_id=self.generation,
            protocol_type="consumer",
            protocol_name=protocol.name,
            leader=name,
            member_id=name,
            members=[JoinGroupResponseMember(member_id=name, metadata=bytes(protocol.metadata))],
        )

    def _14(self, request: Any) -> SyncGroupResponse:
        if not request.assignments:
            # The only member leads; one that did not hear of itself has to join again.
            return SyncGroupResponse(error_code=ErrorCode.REBALANCE_IN_PROGRESS)
        (mine,) = request.assignments
        return SyncGroupResponse(protocol_type="consumer", protocol_name="range", assignment=bytes(mine.assignment))

    def _12(self, request: Any) -> HeartbeatResponse:
        return HeartbeatResponse(error_code=0 if request.generation_id == self.generation else 22)

    def _13(self, request: Any) -> LeaveGroupResponse:
        return LeaveGroupResponse()

    def _8(self, request: Any) -> OffsetCommitResponse:
        topics = []
        for topic in request.topics:
            for each in topic.partitions:
                self.committed[topic.name, each.partition_index] = each.committed_offset
            parts = [OffsetCommitResponsePartition(partition_index=each.partition_index) for each in topic.partitions]
            topics.append(OffsetCommitResponseTopic(name=topic.name, partitions=parts))
        return OffsetCommitResponse(topics=topics)

    def _9(self, request: Any) -> OffsetFetchResponse:
        groups = []
        for group in request.groups:
            topics = [
                OffsetFetchResponseTopics(
                    name=topic.name,
                    partitions=[
                        OffsetFetchResponsePartitions(
                            partition_index=each, committed_offset=self.committed.get((topic.name, each), -1), metadata=""
                        )
                        for each in topic.partition_indexes
                    ],
                )
                for topic in group.topics
            ]
            groups.append(OffsetFetchResponseGroup(group_id=group.group_id, topics=topics))
        return OffsetFetchResponse(groups=groups)

    def _19(self, request: Any) -> CreateTopicsResponse:
        self.created += [each.name for each in request.topics]
        return CreateTopicsResponse(topics=[CreatableTopicResult(name=each.name, num_partitions=1) for each in request.topics])

    def _60(self, request: Any) -> DescribeClusterResponse:
        brokers = [DescribeClusterBroker(broker_id=1, host="127.0.0.1", port=self.port)]
        return DescribeClusterResponse(cluster_id="fake", controller_id=1, brokers=brokers)

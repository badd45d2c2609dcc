"""Records of `__consumer_offsets` for share groups (KIP-932)."""

from __future__ import annotations

from uuid import UUID

from kafkax.protocol.coordinator_records.framing import CoordinatorKey, CoordinatorValue
from kafkax.protocol.schema import Struct, array, int8, int32, int64, string, uuid


class ShareGroupCurrentMemberAssignmentKey(CoordinatorKey, key=14, versions="0"):
    group_id: str = string("0+")
    member_id: str = string("0+")


class TopicPartitions(Struct):
    topic_id: UUID = uuid("0+")
    partitions: list[int] = array(int32, "0+")


class ShareGroupCurrentMemberAssignmentValue(CoordinatorValue, key=14, versions="0", flexible="0+"):
    member_epoch: int = int32("0+")
    previous_member_epoch: int = int32("0+")
    state: int = int8("0+")
    assigned_partitions: list[TopicPartitions] = array(TopicPartitions, "0+")


class ShareGroupMemberMetadataKey(CoordinatorKey, key=10, versions="0"):
    group_id: str = string("0+")
    member_id: str = string("0+")


class ShareGroupMemberMetadataValue(CoordinatorValue, key=10, versions="0", flexible="0+"):
    rack_id: str | None = string("0+", nullable="0+")
    client_id: str = string("0+")
    client_host: str = string("0+")
    subscribed_topic_names: list[str] = array(string, "0+")


class ShareGroupMetadataKey(CoordinatorKey, key=11, versions="0"):
    group_id: str = string("0+")


class ShareGroupMetadataValue(CoordinatorValue, key=11, versions="0", flexible="0+"):
    epoch: int = int32("0+")
    metadata_hash: int = int64("0+")


class ShareGroupStatePartitionMetadataKey(CoordinatorKey, key=15, versions="0"):
    group_id: str = string("0+")


class TopicPartitionsInfo(Struct):
    topic_id: UUID = uuid("0+")
    topic_name: str = string("0+")
    partitions: list[int] = array(int32, "0+")


class TopicInfo(Struct):
    topic_id: UUID = uuid("0+")
    topic_name: str = string("0+")


class ShareGroupStatePartitionMetadataValue(CoordinatorValue, key=15, versions="0", flexible="0+"):
    initializing_topics: list[TopicPartitionsInfo] = array(TopicPartitionsInfo, "0+")
    initialized_topics: list[TopicPartitionsInfo] = array(TopicPartitionsInfo, "0+")
    deleting_topics: list[TopicInfo] = array(TopicInfo, "0+")


class ShareGroupTargetAssignmentMemberKey(CoordinatorKey, key=13, versions="0"):
    group_id: str = string("0+")
    member_id: str = string("0+")


class TopicPartition(Struct):
    topic_id: UUID = uuid("0+")
    partitions: list[int] = array(int32, "0+")


class ShareGroupTargetAssignmentMemberValue(CoordinatorValue, key=13, versions="0", flexible="0+"):
    topic_partitions: list[TopicPartition] = array(TopicPartition, "0+")


class ShareGroupTargetAssignmentMetadataKey(CoordinatorKey, key=12, versions="0"):
    group_id: str = string("0+")


class ShareGroupTargetAssignmentMetadataValue(CoordinatorValue, key=12, versions="0", flexible="0+"):
    assignment_epoch: int = int32("0+")
    assignment_timestamp: int = int64("0+", tag=0, ignorable=True)

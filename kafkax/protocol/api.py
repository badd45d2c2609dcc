"""The table of APIs: numbers, names and versions, without importing a single message.

Versions are those that this codec can read and write.  What a broker serves is its own list, never wider than this one.
"""

from __future__ import annotations

import re
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, NamedTuple, cast

if TYPE_CHECKING:
    from kafkax.protocol.message import Request, Response

__all__ = ["API_KEYS", "ApiKey"]


class ApiKey(NamedTuple):
    """An API.

    Attributes:
        key: its number on the wire.
        name: Kafka's name, like ``CreateTopics``.
        min_version: oldest version known.
        max_version: newest version known.
        flexible_since: first version with compact lengths and tagged fields (KIP-482), None when there is none.
    """

    key: int
    name: str
    min_version: int
    max_version: int
    flexible_since: int | None

    def flexible(self, version: int) -> bool:
        """Whether the version has compact lengths and tagged fields; newer versions than the known ones have."""
        return self.flexible_since is not None and version >= self.flexible_since

    def covers(self, version: int) -> bool:
        """Whether the version is known."""
        return self.min_version <= version <= self.max_version

    def request_type(self) -> type[Request]:
        """The request's class; imports its module."""
        return cast("type[Request]", _message(self.name, "Request"))

    def response_type(self) -> type[Response]:
        """The response's class; imports its module."""
        return cast("type[Response]", _message(self.name, "Response"))


@cache
def _message(name: str, suffix: str) -> object:
    module = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()
    return getattr(import_module(f"kafkax.protocol.messages.{module}"), name + suffix)


API_KEYS: dict[int, ApiKey] = {
    row[0]: ApiKey(*row)
    for row in (
        (0, "Produce", 0, 13, 9),
        (1, "Fetch", 0, 18, 12),
        (2, "ListOffsets", 0, 11, 6),
        (3, "Metadata", 0, 13, 9),
        (4, "LeaderAndIsr", 0, 7, 4),
        (5, "StopReplica", 0, 4, 2),
        (6, "UpdateMetadata", 0, 8, 6),
        (7, "ControlledShutdown", 0, 3, 3),
        (8, "OffsetCommit", 0, 10, 8),
        (9, "OffsetFetch", 0, 10, 6),
        (10, "FindCoordinator", 0, 6, 3),
        (11, "JoinGroup", 0, 9, 6),
        (12, "Heartbeat", 0, 4, 4),
        (13, "LeaveGroup", 0, 5, 4),
        (14, "SyncGroup", 0, 5, 4),
        (15, "DescribeGroups", 0, 6, 5),
        (16, "ListGroups", 0, 5, 3),
        (17, "SaslHandshake", 0, 1, None),
        (18, "ApiVersions", 0, 4, 3),
        (19, "CreateTopics", 0, 7, 5),
        (20, "DeleteTopics", 0, 6, 4),
        (21, "DeleteRecords", 0, 2, 2),
        (22, "InitProducerId", 0, 6, 2),
        (23, "OffsetForLeaderEpoch", 0, 4, 4),
        (24, "AddPartitionsToTxn", 0, 5, 3),
        (25, "AddOffsetsToTxn", 0, 4, 3),
        (26, "EndTxn", 0, 5, 3),
        (27, "WriteTxnMarkers", 0, 2, 1),
        (28, "TxnOffsetCommit", 0, 5, 3),
        (29, "DescribeAcls", 0, 3, 2),
        (30, "CreateAcls", 0, 3, 2),
        (31, "DeleteAcls", 0, 3, 2),
        (32, "DescribeConfigs", 0, 4, 4),
        (33, "AlterConfigs", 0, 2, 2),
        (34, "AlterReplicaLogDirs", 0, 2, 2),
        (35, "DescribeLogDirs", 0, 5, 2),
        (36, "SaslAuthenticate", 0, 2, 2),
        (37, "CreatePartitions", 0, 3, 2),
        (38, "CreateDelegationToken", 0, 3, 2),
        (39, "RenewDelegationToken", 0, 2, 2),
        (40, "ExpireDelegationToken", 0, 2, 2),
        (41, "DescribeDelegationToken", 0, 3, 2),
        (42, "DeleteGroups", 0, 2, 2),
        (43, "ElectLeaders", 0, 2, 2),
        (44, "IncrementalAlterConfigs", 0, 1, 1),
        (45, "AlterPartitionReassignments", 0, 1, 0),
        (46, "ListPartitionReassignments", 0, 0, 0),
        (47, "OffsetDelete", 0, 0, None),
        (48, "DescribeClientQuotas", 0, 1, 1),
        (49, "AlterClientQuotas", 0, 1, 1),
        (50, "DescribeUserScramCredentials", 0, 0, 0),
        (51, "AlterUserScramCredentials", 0, 0, 0),
        (55, "DescribeQuorum", 0, 2, 0),
        (56, "AlterPartition", 0, 3, 0),
        (57, "UpdateFeatures", 0, 2, 0),
        (58, "Envelope", 0, 0, 0),
        (60, "DescribeCluster", 0, 2, 0),
        (61, "DescribeProducers", 0, 0, 0),
        (64, "UnregisterBroker", 0, 0, 0),
        (65, "DescribeTransactions", 0, 0, 0),
        (66, "ListTransactions", 0, 2, 0),
        (67, "AllocateProducerIds", 0, 0, 0),
        (68, "ConsumerGroupHeartbeat", 0, 1, 0),
        (69, "ConsumerGroupDescribe", 0, 1, 0),
        (71, "GetTelemetrySubscriptions", 0, 0, 0),
        (72, "PushTelemetry", 0, 0, 0),
        (74, "ListConfigResources", 0, 1, 0),
        (75, "DescribeTopicPartitions", 0, 0, 0),
        (76, "ShareGroupHeartbeat", 1, 1, 0),
        (77, "ShareGroupDescribe", 1, 1, 0),
        (78, "ShareFetch", 1, 2, 0),
        (79, "ShareAcknowledge", 1, 2, 0),
        (80, "AddRaftVoter", 0, 1, 0),
        (81, "RemoveRaftVoter", 0, 0, 0),
        (83, "InitializeShareGroupState", 0, 0, 0),
        (84, "ReadShareGroupState", 0, 0, 0),
        (85, "WriteShareGroupState", 0, 1, 0),
        (86, "DeleteShareGroupState", 0, 0, 0),
        (87, "ReadShareGroupStateSummary", 0, 1, 0),
        (88, "StreamsGroupHeartbeat", 0, 0, 0),
        (89, "StreamsGroupDescribe", 0, 0, 0),
        (90, "DescribeShareGroupOffsets", 0, 1, 0),
        (91, "AlterShareGroupOffsets", 0, 0, 0),
        (92, "DeleteShareGroupOffsets", 0, 0, 0),
    )
}
"""Every API by its number."""

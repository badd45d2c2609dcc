"""The control plane's codec: messages of realistic sizes, encoded and decoded by the compiled codec."""

from __future__ import annotations

from uuid import UUID

from kafkax.protocol.messages.metadata import (
    MetadataResponse,
    MetadataResponseBroker,
    MetadataResponsePartition,
    MetadataResponseTopic,
)
from kafkax.protocol.messages.offset_commit import (
    OffsetCommitRequest,
    OffsetCommitRequestPartition,
    OffsetCommitRequestTopic,
)


def metadata(topics: int) -> MetadataResponse:
    """Of a cluster of three with six partitions a topic."""
    partitions = [
        MetadataResponsePartition(
            partition_index=index, leader_id=index % 3, leader_epoch=4, replica_nodes=[0, 1, 2], isr_nodes=[0, 1, 2]
        )
        for index in range(6)
    ]
    return MetadataResponse(
        brokers=[MetadataResponseBroker(node_id=node, host=f"broker{node}.example.org", port=9092) for node in range(3)],
        cluster_id="cluster",
        topics=[
            MetadataResponseTopic(name=f"topic-{index}", topic_id=UUID(int=index + 1), partitions=partitions)
            for index in range(topics)
        ],
    )


class Metadata:
    params = (1, 100, 1000)
    param_names = ("topics",)

    def setup(self, topics: int) -> None:
        self.message = metadata(topics)
        self.encoded = self.message.encode(12)
        MetadataResponse.decode(self.encoded, 12)

    def time_encode(self, topics: int) -> None:
        self.message.encode(12)

    def time_decode(self, topics: int) -> None:
        MetadataResponse.decode(self.encoded, 12)

    def peakmem_decode(self, topics: int) -> None:
        MetadataResponse.decode(self.encoded, 12)


class OffsetCommit:
    """What a consumer of 50 partitions sends every few seconds."""

    def setup(self) -> None:
        partitions = [OffsetCommitRequestPartition(partition_index=index, committed_offset=10**9) for index in range(50)]
        self.message = OffsetCommitRequest(
            group_id="group", topics=[OffsetCommitRequestTopic(name="events", partitions=partitions)]
        )
        self.encoded = self.message.encode(9)
        OffsetCommitRequest.decode(self.encoded, 9)

    def time_encode(self) -> None:
        self.message.encode(9)

    def time_decode(self) -> None:
        OffsetCommitRequest.decode(self.encoded, 9)

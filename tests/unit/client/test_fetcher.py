"""What the fetcher asks of which broker."""

from __future__ import annotations

from typing import Any

import kafkax
from kafkax.protocol.messages.fetch import FetchableTopicResponse, FetchResponse, PartitionData
from kafkax.protocol.messages.metadata import MetadataResponseBroker
from kafkax.protocol.record import Record
from kafkax.protocol.records import build_batch
from tests.unit.client.fake import FETCH, METADATA, TOPIC_ID, FakeBroker


def test_the_follower_that_the_leader_names_is_read_until_it_fails(broker: FakeBroker) -> None:
    follower = FakeBroker(partitions=2)
    racks: list[str] = []

    def two_brokers(request: Any, default: Any) -> Any:
        answer = default()
        answer.brokers.append(MetadataResponseBroker(node_id=2, host="127.0.0.1", port=follower.port, rack="near"))
        return answer

    def send_elsewhere(request: Any, default: Any) -> Any:
        racks.append(request.rack_id)
        if len(racks) > 1:
            return default()
        data = PartitionData(partition_index=0, high_watermark=2, last_stable_offset=2, preferred_read_replica=2)
        return FetchResponse(responses=[FetchableTopicResponse(topic_id=TOPIC_ID, partitions=[data])])

    broker.handlers[METADATA] = two_brokers
    broker.handlers[FETCH] = send_elsewhere
    for each, values in ((broker, (b"0", b"1")), (follower, (b"0",))):
        for value in values:
            each.append(0, build_batch([Record(None, value, (), 5)]))
    with kafkax.Consumer({"bootstrap.servers": broker.address, "client.rack": "near", "fetch.wait.max.ms": 10}) as consumer:
        consumer.assign([kafkax.TopicPartition("t", 0, 0)])
        first = consumer.poll(30)
        assert first is not None
        assert (first.value(), "Fetch" in follower.seen) == (b"0", True)
        follower.close()
        second = consumer.poll(30)
        assert second is not None
        assert second.value() == b"1"
    assert racks[0] == "near"

"""KIP-951: who asks the wrong broker hears who leads, and where."""

from __future__ import annotations

from types import SimpleNamespace
from uuid import uuid4

import pytest

from kafkax.broker.handlers import fetch, produce
from kafkax.broker.handlers.spec import RequestContext
from kafkax.errors import ErrorCode, KafkaError
from kafkax.protocol.messages.fetch import FetchPartition, FetchRequest, FetchTopic
from kafkax.protocol.messages.produce import PartitionProduceData, ProduceRequest, TopicProduceData

TOPIC_ID = uuid4()
IMAGE = {0: (2, 7), 1: (3, 4), 2: (1, 5), 3: (2, 8)}
"""Broker and epoch by partition as the image has them; broker 3 is not there."""
REPLICAS = {0: (1, 6), 1: (-1, -1), 2: (2, 6), 3: (1, 8)}
"""As the replicas here were told, of a later one once; -1: not at all."""
LEADERS = {0: (2, 7), 1: (3, 4), 2: (2, 6), 3: (2, 8)}


def refuse(*_: object) -> None:
    raise KafkaError(ErrorCode.NOT_LEADER_OR_FOLLOWER)


def context(version: int) -> RequestContext:
    """A broker that leads nothing, beside broker 2."""
    endpoint = SimpleNamespace(host="two", port=9092)
    brokers = {2: SimpleNamespace(broker_id=2, endpoints={"PLAINTEXT": endpoint}, rack="r")}
    image = SimpleNamespace(
        names={TOPIC_ID: "t"},
        partition=lambda topic, index: SimpleNamespace(leader=IMAGE[index][0], leader_epoch=IMAGE[index][1]),
        brokers=brokers,
    )
    registry = SimpleNamespace(
        get=lambda topic, index: SimpleNamespace(leadership=REPLICAS[index]),
        get_by_id=lambda topic_id, index: SimpleNamespace(leadership=REPLICAS[index]),
    )
    services = SimpleNamespace(
        image=image, registry=registry, partition=refuse, partition_by_id=refuse, config={"fetch.max.bytes": 1 << 20}
    )
    return RequestContext(services, version, None, SimpleNamespace(listener="PLAINTEXT"))  # type: ignore[arg-type]


@pytest.mark.parametrize("version", [9, 10, 12, 13])
async def test_produce(version: int) -> None:
    data = [PartitionProduceData(index=index, records=b"") for index in LEADERS]
    topic = TopicProduceData(name="" if version >= 13 else "t", topic_id=TOPIC_ID, partition_data=data)
    response = await produce.handle(context(version), ProduceRequest(acks=1, topic_data=[topic]))
    assert response is not None
    told = {
        part.index: (part.current_leader.leader_id, part.current_leader.leader_epoch)
        for part in response.responses[0].partition_responses
    }
    assert told == (LEADERS if version >= 10 else dict.fromkeys(LEADERS, (-1, -1)))
    endpoints = [(node.node_id, node.host, node.port, node.rack) for node in response.node_endpoints]
    assert endpoints == ([(2, "two", 9092, "r")] if version >= 10 else [])


@pytest.mark.parametrize("version", [12, 15, 16, 18])
async def test_fetch(version: int) -> None:
    wanted = [FetchPartition(partition=index) for index in LEADERS]
    topic = FetchTopic(topic="" if version >= 13 else "t", topic_id=TOPIC_ID, partitions=wanted)
    response = await fetch.handle(context(version), FetchRequest(session_epoch=-1, topics=[topic]))
    told = {
        part.partition_index: (part.current_leader.leader_id, part.current_leader.leader_epoch)
        for part in response.responses[0].partitions
    }
    assert told == (LEADERS if version >= 16 else dict.fromkeys(LEADERS, (-1, -1)))
    assert [(node.node_id, node.host, node.port) for node in response.node_endpoints] == (
        [(2, "two", 9092)] if version >= 16 else []
    )

"""Consumers read from the replica in their rack (KIP-392), and what they get there is what is committed."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("confluent_kafka")

from kafkax.errors import ErrorCode
from kafkax.protocol.messages.fetch import FetchPartition, FetchRequest, FetchTopic, PartitionData
from tests.system.clusters import Admin, Node, TestCluster, wait_until
from tests.system.wire import Wire
from tests.zookeeper_server import missing

pytestmark = [pytest.mark.skipif(missing() is not None, reason=str(missing())), pytest.mark.timeout(300)]

TOPIC = "near"
COUNT = 100


def fetch(node: Node, rack: str) -> PartitionData:
    """What a broker answers to a consumer in a rack."""
    topic = FetchTopic(topic=TOPIC, partitions=[FetchPartition(partition=0, fetch_offset=0, partition_max_bytes=1 << 20)])
    with Wire(node.address, timeout=60) as wire:
        answer = wire.ask(FetchRequest(max_wait_ms=100, min_bytes=1, topics=[topic], rack_id=rack), 12)
    return answer.responses[0].partitions[0]


def test_consumers_read_from_the_replica_in_their_rack(tmp_path: Path) -> None:
    from confluent_kafka import Consumer, Producer
    from confluent_kafka import TopicPartition as Place

    selector = "org.apache.kafka.common.replica.RackAwareReplicaSelector"
    cluster = TestCluster(tmp_path, (11, 12), {"replica.selector.class": selector, "offsets.topic.replication.factor": "1"})
    for node in cluster.nodes.values():
        node.configs["broker.rack"] = f"rack-{node.number}"
    try:
        cluster.start()
        admin = Admin(cluster.bootstrap)
        admin.create(TOPIC, 1, 2)
        wait_until(lambda: admin.leader(TOPIC) != -1, "somebody leads")
        leader = cluster.nodes[admin.leader(TOPIC)]
        (follower,) = [node for node in cluster.nodes.values() if node is not leader]
        producer = Producer({"bootstrap.servers": cluster.bootstrap})
        for number in range(COUNT):
            producer.produce(TOPIC, b"%d" % number)
        assert producer.flush(60) == 0
        # the follower hears of the mark with its next fetch
        wait_until(lambda: fetch(follower, f"rack-{follower.number}").high_watermark == COUNT, "the follower's mark moves")

        sent_on = fetch(leader, f"rack-{follower.number}")
        assert (sent_on.error_code, sent_on.preferred_read_replica, sent_on.records) == (0, follower.number, b"")
        near, own = fetch(follower, f"rack-{follower.number}"), fetch(leader, f"rack-{leader.number}")
        assert near.error_code == own.error_code == ErrorCode.NONE
        assert own.preferred_read_replica == -1
        assert bytes(near.records or b"") == bytes(own.records or b"") != b""
        assert fetch(follower, "").error_code == ErrorCode.NOT_LEADER_OR_FOLLOWER

        settings = {"bootstrap.servers": cluster.bootstrap, "group.id": "near", "auto.offset.reset": "earliest"}
        consumer = Consumer({**settings, "client.rack": f"rack-{follower.number}"})
        consumer.assign([Place(TOPIC, 0, 0)])
        seen: list[int] = []
        wait_until(lambda: seen.extend(int(m.value()) for m in consumer.consume(COUNT, 0.2)) or len(seen) >= COUNT, "all is read")
        consumer.close()
        assert seen == list(range(COUNT))
    except BaseException:
        print(cluster.logs())
        raise
    finally:
        cluster.close()

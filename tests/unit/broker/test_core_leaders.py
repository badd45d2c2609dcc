"""The core tells of leaders what the image says, at first and after each change."""

from __future__ import annotations

from pathlib import Path
from uuid import UUID, uuid4

from kafkax._core.reactor import Reactor
from kafkax.broker.core_leaders import CoreLeaders
from kafkax.cluster.image import FULL_UPDATE, MetadataCache
from kafkax.errors import ErrorCode
from kafkax.protocol.messages.update_metadata import (
    UpdateMetadataBroker,
    UpdateMetadataEndpoint,
    UpdateMetadataPartitionState,
    UpdateMetadataRequest,
    UpdateMetadataTopicState,
)
from tests.unit._core.test_leaders import NO_ID, NO_PARTITION, Session, nodes, told
from tests.unit._core.topics import serving

SELF = 4
A, B, AGAIN = uuid4(), uuid4(), uuid4()
INTERNAL = UpdateMetadataEndpoint(host="inside", port=1, listener="INTERNAL", security_protocol=0)


def broker(broker_id: int, host: str, rack: str | None = None) -> UpdateMetadataBroker:
    outside = UpdateMetadataEndpoint(host=host, port=9000 + broker_id, listener="PLAINTEXT", security_protocol=0)
    return UpdateMetadataBroker(id=broker_id, rack=rack, endpoints=[INTERNAL, outside] if host else [INTERNAL])


def topic(name: str, topic_id: UUID, **leaders: tuple[int, int]) -> UpdateMetadataTopicState:
    """A topic; by partition (``p0``): leader and epoch."""
    states = [
        UpdateMetadataPartitionState(partition_index=int(index[1:]), leader=leader, leader_epoch=epoch)
        for index, (leader, epoch) in leaders.items()
    ]
    return UpdateMetadataTopicState(topic_name=name, topic_id=topic_id, partition_states=states)


def test_the_core_follows_the_image(tmp_path: Path) -> None:
    cache = MetadataCache("cluster")

    def update(*topics: UpdateMetadataTopicState, brokers: list[UpdateMetadataBroker], full: bool = False) -> None:
        cache.update(UpdateMetadataRequest(topic_states=list(topics), live_brokers=brokers, type=FULL_UPDATE if full else 0))

    def follow(reactor: Reactor) -> None:
        CoreLeaders(cache, reactor, SELF)

    two, three = broker(2, "two", "r"), broker(3, "three")
    update(topic("a", A, p0=(2, 1), p2=(-1, 4)), topic("b", B, p0=(3, 9)), brokers=[two, three])
    with serving(tmp_path, elsewhere=True, prepare=follow) as (topics, server):
        session = Session(topics, server.client())

        def says() -> tuple[list[tuple[int, int] | int], list[int]]:
            """Who is said to lead a-0, a-1, a-2, b-0 and b-0 of later; the nodes."""
            asked = (A, 0), (A, 1), (A, 2), (B, 0), (AGAIN, 0)
            found = session.add(*asked)
            return [told(found)[partition] for partition in asked], [node[0] for node in nodes(found)]

        assert says() == ([(2, 1), NO_PARTITION, (-1, 4), (3, 9), NO_ID], [2, 3])
        assert nodes(session.add((A, 0))) == [(2, "two", 9002, "r"), (3, "three", 9003, None)]
        update(topic("a", A, p1=(3, 1)), brokers=[two, three])
        assert says() == ([(2, 1), (3, 1), (-1, 4), (3, 9), NO_ID], [2, 3])
        update(brokers=[broker(3, "three"), broker(2, "")])
        assert says() == ([(2, 1), (3, 1), (-1, 4), (3, 9), NO_ID], [3])
        update(topic("b", AGAIN, p0=(2, 0)), brokers=[two])
        assert says() == ([(2, 1), (3, 1), (-1, 4), NO_ID, (2, 0)], [2])
        lost = topic("a", A, p2=(3, 5))
        lost.partition_states[0].offline_replicas = [3, SELF]
        update(lost, brokers=[two])
        assert says() == ([(2, 1), (3, 1), ErrorCode.KAFKA_STORAGE_ERROR, NO_ID, (2, 0)], [2])
        update(topic("a", A, p2=(3, 6)), brokers=[two])
        assert says() == ([(2, 1), (3, 1), (3, 6), NO_ID, (2, 0)], [2])
        update(topic("a", A, p0=(-2, -2), p1=(-2, -2), p2=(-2, -2)), brokers=[two])
        assert says() == ([NO_ID, NO_ID, NO_ID, NO_ID, (2, 0)], [2])
        update(topic("a", A, p0=(2, 7)), brokers=[two, three], full=True)
        assert says() == ([(2, 7), NO_PARTITION, NO_PARTITION, NO_ID, NO_ID], [2])

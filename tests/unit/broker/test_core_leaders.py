"""The core tells of leaders what the image says, at first and after each change."""

from __future__ import annotations

from pathlib import Path
from uuid import UUID, uuid4

from kafkax._core.reactor import Reactor
from kafkax.broker.core_leaders import CoreLeaders
from kafkax.cluster.image import FULL_UPDATE, MetadataCache
from kafkax.protocol.messages.update_metadata import (
    UpdateMetadataBroker,
    UpdateMetadataEndpoint,
    UpdateMetadataPartitionState,
    UpdateMetadataRequest,
    UpdateMetadataTopicState,
)
from tests.unit._core.test_leaders import NOWHERE, Session, nodes, told
from tests.unit._core.topics import serving

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
        CoreLeaders(cache, reactor)

    two, three = broker(2, "two", "r"), broker(3, "three")
    update(topic("a", A, p0=(2, 1), p2=(-1, 4)), topic("b", B, p0=(3, 9)), brokers=[two, three])
    with serving(tmp_path, elsewhere=True, prepare=follow) as (topics, server):
        session = Session(topics, server.client())

        def says() -> tuple[list[tuple[int, int]], list[int]]:
            """Who is said to lead a-0, a-1, a-2, b-0 and b-0 of later; the nodes."""
            found = session.add((A, 0), (A, 1), (A, 2), (B, 0), (AGAIN, 0))
            return list(told(found).values()), [node[0] for node in nodes(found)]

        assert says() == ([(2, 1), NOWHERE, (-1, 4), (3, 9), NOWHERE], [2, 3])
        assert nodes(session.add((A, 0))) == [(2, "two", 9002, "r"), (3, "three", 9003, None)]
        update(topic("a", A, p1=(3, 1)), brokers=[two, three])
        assert says() == ([(2, 1), (3, 1), (-1, 4), (3, 9), NOWHERE], [2, 3])
        update(brokers=[broker(3, "three"), broker(2, "")])
        assert says() == ([(2, 1), (3, 1), (-1, 4), (3, 9), NOWHERE], [3])
        update(topic("b", AGAIN, p0=(2, 0)), brokers=[two])
        assert says() == ([(2, 1), (3, 1), (-1, 4), NOWHERE, (2, 0)], [2])
        update(topic("a", A, p0=(-2, -2), p1=(-2, -2), p2=(-2, -2)), brokers=[two])
        assert says() == ([NOWHERE, NOWHERE, NOWHERE, NOWHERE, (2, 0)], [2])
        update(topic("a", A, p0=(2, 7)), brokers=[two, three], full=True)
        assert says() == ([(2, 7), NOWHERE, NOWHERE, NOWHERE, NOWHERE], [2])

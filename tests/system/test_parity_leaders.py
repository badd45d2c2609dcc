"""KIP-951: whose request asks the wrong broker, or waits while leadership moves, hears alike from core and handlers who leads.

The brokers stand alone; that others lead is what their images and replicas are told, as a controller would tell them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from kafkax.errors import ErrorCode
from kafkax.protocol.messages.delete_topics import DeleteTopicsRequest
from kafkax.protocol.messages.fetch import FetchResponse
from kafkax.protocol.messages.produce import ProduceResponse
from kafkax.protocol.messages.update_metadata import (
    UpdateMetadataBroker,
    UpdateMetadataEndpoint,
    UpdateMetadataPartitionState,
    UpdateMetadataRequest,
    UpdateMetadataTopicState,
)
from kafkax.server import Server
from tests.system.odd_batches import records
from tests.system.odd_frames import Body, Part, Place, Topic, written
from tests.system.parity import Pair, pair

VERSIONS = range(12, 19)
TELLING = range(16, 19)
"""Versions that tell who leads."""
SELF = 0
"""In a test's words: the broker itself, whatever its id."""
NOBODY = -1
OTHERS = {70: ("seventy", 7070, None), 71: ("eine.lange.adresse", 7171, "rack-71"), 72: ("seventy-two", 65000, "")}
"""Other brokers: host, port and rack."""
DEAD = 79
NOT_LEADER, FENCED = ErrorCode.NOT_LEADER_OR_FOLLOWER, ErrorCode.FENCED_LEADER_EPOCH


@pytest.fixture(scope="module")
def brokers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    with pair(tmp_path_factory.mktemp("parity") / "data") as opened:
        yield opened


@pytest.fixture
def both(brokers: Pair) -> Iterator[Pair]:
    yield brokers
    # New topics are not for brokers that are not there.
    brokers.tell(lambda server: update_metadata(server, {}, []))


def update_metadata(
    server: Server, others: dict[int, tuple[str, int, str | None]], topics: list[UpdateMetadataTopicState]
) -> None:
    image = server.services.image
    own = image.brokers[server.services.node_id]
    (end,) = own.endpoints.values()
    alive = [
        UpdateMetadataBroker(
            id=broker, rack=rack, endpoints=[UpdateMetadataEndpoint(host=host, port=port, listener="PLAINTEXT")]
        )
        for broker, (host, port, rack) in {own.broker_id: (end.host, end.port, own.rack), **others}.items()
    ]
    server.services.cache.update(
        UpdateMetadataRequest(controller_id=image.controller_id, topic_states=topics, live_brokers=alive)
    )


def image_says(both: Pair, name: str, index: int, leader: int, epoch: int) -> None:
    """UpdateMetadata: who leads a partition, and which brokers there are."""

    def update(server: Server) -> None:
        state = UpdateMetadataPartitionState(
            partition_index=index, leader=leader or server.services.node_id, leader_epoch=epoch
        )
        topic = UpdateMetadataTopicState(topic_name=name, topic_id=both.ids[name], partition_states=[state])
        update_metadata(server, OTHERS, [topic])

    both.tell(update)


def replica_hears(both: Pair, name: str, index: int, leader: int, epoch: int) -> None:
    """LeaderAndIsr: the replica here leads or follows in an epoch from now on, which wakes who waits."""

    def hear(server: Server) -> None:
        partition = server.services.partition(name, index)
        if leader == SELF:
            partition.become_leader(epoch, leader=server.services.node_id)
        else:
            partition.become_follower(epoch, leader=leader)

    both.tell(hear)


def fetch(name: str, *places: Place, version: int, **fields: Any) -> Body:
    return Body(1, version, {"max_wait_ms": 60_000, **fields}, (Topic(name, places),))


def produce(name: str, index: int) -> Body:
    return Body(0, 9, {}, (Topic(name, (Part(index, records(b"a", b"b")),)),))


def decoded(answer: bytes, version: int) -> FetchResponse:
    return FetchResponse.decode(answer[5:], version)


def leaders(response: FetchResponse) -> dict[int, tuple[int, int, int]]:
    """Error, leader and its epoch by partition."""
    return {
        part.partition_index: (part.error_code, part.current_leader.leader_id, part.current_leader.leader_epoch)
        for topic in response.responses
        for part in topic.partitions
    }


def endpoints(response: FetchResponse | ProduceResponse) -> list[tuple[int, str, int, str | None]]:
    return [(node.node_id, node.host, node.port, node.rack) for node in response.node_endpoints]


def at(*brokers: int) -> list[tuple[int, str, int, str | None]]:
    return [(broker, *OTHERS[broker]) for broker in brokers]


Move = Callable[[Pair, str], None]


def image_first(both: Pair, name: str) -> None:
    image_says(both, name, 0, 71, 3)
    replica_hears(both, name, 0, 71, 3)


def replica_first(both: Pair, name: str) -> None:
    replica_hears(both, name, 0, 70, 4)


def replica_is_not_told(both: Pair, name: str) -> None:
    image_says(both, name, 0, 72, 5)
    both.tell(lambda server: server.services.partition(name, 0).become_follower(5))


def to_nobody(both: Pair, name: str) -> None:
    replica_hears(both, name, 0, NOBODY, 6)


def to_one_that_is_gone(both: Pair, name: str) -> None:
    image_says(both, name, 0, DEAD, 7)
    replica_hears(both, name, 0, DEAD, 7)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    ("move", "leader", "nodes"),
    [
        (image_first, (71, 3), at(71)),
        (replica_first, (70, 4), at(70)),
        (replica_is_not_told, (72, 5), at(72)),
        (to_nobody, (NOBODY, 6), []),
        (to_one_that_is_gone, (DEAD, 7), []),
    ],
)
def test_a_fetch_that_waits_while_leadership_moves_hears_who_leads_now(
    both: Pair, version: int, move: Move, leader: tuple[int, int], nodes: list[Any]
) -> None:
    name = both.create(f"{move.__name__}-{version}", 2)
    image_says(both, name, 0, SELF, 0)
    answer = both.same_later(
        written(fetch(name, Place(0), Place(1), version=version), both.ids), lambda: move(both, name)
    )
    response = decoded(answer, version)
    told = version in TELLING
    assert leaders(response) == {0: (NOT_LEADER, *(leader if told else (-1, -1))), 1: (0, -1, -1)}
    assert endpoints(response) == (nodes if told else [])


@pytest.mark.parametrize("version", VERSIONS)
def test_a_fetch_that_waits_in_an_epoch_that_ends_hears_that_the_same_broker_leads_on(both: Pair, version: int) -> None:
    name = both.create(f"fenced-{version}")
    image_says(both, name, 0, SELF, 0)
    asked = written(fetch(name, Place(0, epoch=0), version=version), both.ids)
    response = decoded(both.same_later(asked, lambda: replica_hears(both, name, 0, SELF, 3)), version)
    node = both.servers[0].services.node_id
    host, port = both.servers[0].endpoints[0].host, both.servers[0].endpoints[0].port
    told = version in TELLING
    assert leaders(response) == {0: (FENCED, *((node, 3) if told else (-1, -1)))}
    assert endpoints(response) == ([(node, host, port, None)] if told else [])
    both.same(asked)


@pytest.mark.parametrize("version", VERSIONS)
def test_each_partition_has_its_leader_and_each_broker_stands_there_once_in_the_order_of_the_answer(
    both: Pair, version: int
) -> None:
    name, other = both.create(f"several-{version}", 4), both.create(f"else-{version}", 2)
    both.same(written(produce(name, 1), both.ids))
    for index, leader in ((0, 72), (2, 70), (3, 72)):
        image_says(both, name, index, leader, 10 + index)
        replica_hears(both, name, index, leader, 10 + index)
    image_says(both, other, 1, 71, 1)
    replica_hears(both, other, 1, 71, 1)
    places = tuple(Place(index) for index in range(4))
    topics = (Topic(name, places), Topic("absent", (Place(0),)), Topic(other, (Place(1), Place(9))), Topic(name, (Place(8),)))
    response = decoded(both.same(written(Body(1, version, {"max_wait_ms": 60_000}, topics), both.ids)), version)
    found = [
        (part.error_code, part.current_leader.leader_id, part.current_leader.leader_epoch)
        for topic in response.responses
        for part in topic.partitions
        if part.error_code == NOT_LEADER
    ]
    expected = [(72, 10), (70, 12), (72, 13), (71, 1)]
    told = version in TELLING
    assert found == [(NOT_LEADER, *(leader if told else (-1, -1))) for leader in expected]
    assert endpoints(response) == (at(72, 70, 71) if told else [])


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("waits", [True, False])
def test_a_session_tells_who_leads_as_a_fetch_outside_one_does(both: Pair, version: int, waits: bool) -> None:
    name = both.create(f"session-{'waits' if waits else 'comes'}-{version}", 3)
    image_says(both, name, 0, SELF, 0)
    whole = fetch(name, *(Place(index) for index in range(3)), version=version, session=(0, 0), max_wait_ms=0)
    session = decoded(both.core.ask(written(whole, both.ids), silent=False), version).session_id
    assert session > 0

    def move() -> None:
        image_says(both, name, 1, 71, 3)
        replica_hears(both, name, 1, 71, 3)

    changes = Body(1, version, {"max_wait_ms": 60_000, "session": (session, 1)}, ())
    if waits:
        answer = both.core_later(written(changes, both.ids), move)
    else:
        move()
        answer = both.core.ask(written(changes, both.ids), silent=False)
    response = decoded(answer, version)
    assert response.session_id == session
    response.session_id = 0
    outside = fetch(name, Place(1), version=version)
    _, reference = both.ask(written(outside, both.ids))
    assert response.encode(version) == decoded(reference, version).encode(version)
    assert (leaders(response)[1][1:] == (71, 3)) is (version in TELLING)
    assert endpoints(response) == (at(71) if version in TELLING else [])


@pytest.mark.parametrize("version", [9, 10, 12, 13])
def test_a_produce_that_waits_while_leadership_moves_hears_who_leads_now(both: Pair, version: int) -> None:
    name = both.create(f"produced-{version}", 2)
    for index in (0, 1):
        both.tell(lambda server, index=index: server.services.partition(name, index).become_leader(1, in_sync=2, mark="external"))
    data = tuple(Part(index, records(b"never acknowledged")) for index in (1, 0))
    asked = written(Body(0, version, {"acks": -1, "timeout_ms": 60_000}, (Topic(name, data),)), both.ids)

    def move() -> None:
        for index, leader in ((0, 71), (1, 70)):
            image_says(both, name, index, leader, 3 + index)
            replica_hears(both, name, index, leader, 3 + index)

    answer = ProduceResponse.decode(both.same_later(asked, move)[5:], version)
    (topic,) = answer.responses
    parts = topic.partition_responses
    found = [(p.index, p.error_code, p.current_leader.leader_id, p.current_leader.leader_epoch) for p in parts]
    told = version >= 10
    assert found == [(1, NOT_LEADER, *((70, 4) if told else (-1, -1))), (0, NOT_LEADER, *((71, 3) if told else (-1, -1)))]
    assert endpoints(answer) == (at(70, 71) if told else [])


@pytest.mark.parametrize("version", [4, 11, 12, 13, 16, 18])
def test_a_fetch_that_waits_on_a_topic_hears_of_all_its_partitions_that_it_is_deleted(both: Pair, version: int) -> None:
    name = both.create(f"deleted-{version}", 5)

    def delete() -> None:
        for admin in both.admins:
            (deleted,) = admin.ask(DeleteTopicsRequest(topic_names=[name], timeout_ms=60_000), 5).responses
            assert deleted.error_code == 0, deleted.error_message

    asked = fetch(name, *(Place(index) for index in range(5)), version=version)
    answer = both.same_later(written(asked, both.ids), delete)
    response = FetchResponse.decode(answer[5 if version >= 12 else 4 :], version)
    assert [told[0] for told in leaders(response).values()] == [NOT_LEADER] * 5

"""KIP-951 in the core: clients that asked the wrong broker are told of leaders what the control plane has left there."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from kafkax._core.leaders import Leaders, leadership
from kafkax.errors import ErrorCode
from kafkax.protocol.messages.fetch import FetchRequest, FetchResponse
from tests.unit._core.topics import Topics, answer, ask, encode, fetch, serving
from tests.unit._core.wire import Broker, Client

VERSION = 16
NOWHERE = (-1, -1)
NO_ID, NO_PARTITION = ErrorCode.UNKNOWN_TOPIC_ID, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
NODES = [(5, "five", 9095, None), (7, "seven.example", 65535, "a"), (300, "h" * 200, 1, "r" * 200)]


@contextmanager
def telling(folder: Path, leaders: Leaders) -> Iterator[tuple[Topics, Broker]]:
    """A broker of a cluster whose answers tell of the leaders."""
    with serving(folder, elsewhere=True, prepare=lambda reactor: reactor.tell_leaders(leaders)) as opened:
        yield opened


def told(response: FetchResponse) -> dict[tuple[UUID, int], tuple[int, int] | int]:
    """Leader and epoch by partition, of those that are not led here; the error of those that are nowhere or out of service."""
    return {
        (topic.topic_id, part.partition_index): (part.current_leader.leader_id, part.current_leader.leader_epoch)
        if part.error_code == ErrorCode.NOT_LEADER_OR_FOLLOWER
        else part.error_code
        for topic in response.responses
        for part in topic.partitions
        if part.error_code
    }


def nodes(response: FetchResponse) -> list[tuple[int, str, int, str | None]]:
    return [(node.node_id, node.host, node.port, node.rack) for node in response.node_endpoints]


class Session:
    """A fetch session that follows one partition which is led here."""

    def __init__(self, topics: Topics, client: Client) -> None:
        topics.add("here")
        self._topics, self._client, self._epoch = topics, client, 0
        self._id = self._get(fetch(topics, {("here", 0): 0}, VERSION, session_epoch=0)).session_id

    def _get(self, request: FetchRequest) -> FetchResponse:
        return ask(self._client, request, VERSION, FetchResponse)

    def add(self, *partitions: tuple[str | UUID, int], **fields: Any) -> FetchResponse:
        """The answer when these are followed, too."""
        self._epoch += 1
        wanted = dict.fromkeys(partitions, 0)
        return self._get(fetch(self._topics, wanted, VERSION, session_id=self._id, session_epoch=self._epoch, **fields))


def test_a_session_is_told_who_leads_partitions_that_were_never_here(tmp_path: Path) -> None:
    leaders, one, two = Leaders(), uuid4(), uuid4()
    leaders.set_topic(str(one), one, array("q", [leadership(7, 3), -1, leadership(-1, 4), leadership(8, 0)]), bytes([0, 1, 0, 1]))
    leaders.set_topic(str(two), two, array("q", [leadership(300, 2**31 - 1)]))
    leaders.set_nodes(0, NODES)
    with telling(tmp_path, leaders) as (topics, broker):
        session = Session(topics, broker.client())
        expected: dict[tuple[UUID, int], tuple[int, int] | int] = {(one, 0): (7, 3), (one, 1): NO_PARTITION, (one, 2): (-1, 4)}
        expected |= {(one, 3): ErrorCode.KAFKA_STORAGE_ERROR, (two, 0): (300, 2**31 - 1)}
        expected |= {(one, 4): NO_PARTITION, (one, -1): NO_PARTITION, (one, 2**31 - 1): NO_PARTITION, (uuid4(), 0): NO_ID}
        response = session.add(*expected)
        assert told(response) == expected
        assert nodes(response) == [NODES[1], NODES[2]]
        assert broker.reactor.counters()["handed_over"] == 0


@pytest.mark.parametrize("version", [7, 12])
def test_a_session_by_name_is_told_what_is_nowhere(version: int, tmp_path: Path) -> None:
    leaders, no_id = Leaders(), UUID(int=0)
    for number in range(200):
        leaders.set_topic(f"t-{number}", no_id, array("q", [leadership(number, 0)] * 2), bytes([0, number == 5]))
    leaders.set_topic("t-7", uuid4(), array("q", [-1]))
    leaders.forget_topic("t-3")
    assert len(leaders) == 199
    with telling(tmp_path, leaders) as (topics, broker):
        topics.add("here")
        client = broker.client()
        asked = fetch(topics, {("here", 0): 0}, version, session_epoch=0)
        session = ask(client, asked, version, FetchResponse).session_id
        wanted = [("t-1", 0), ("t-3", 0), ("t-5", 0), ("t-5", 1), ("t-7", 0), ("t-199", 2), ("t-1990", 0), ("", 0)]
        added: dict[tuple[str | UUID, int], int] = dict.fromkeys(wanted, 0)
        asked = fetch(topics, added, version, session_id=session, session_epoch=1)
        response = ask(client, asked, version, FetchResponse)
        found = {(topic.topic, p.partition_index): p.error_code for topic in response.responses for p in topic.partitions}
        assert found == {
            **dict.fromkeys(added, NO_PARTITION),
            ("t-1", 0): ErrorCode.NOT_LEADER_OR_FOLLOWER,
            ("t-5", 0): ErrorCode.NOT_LEADER_OR_FOLLOWER,
            ("t-5", 1): ErrorCode.KAFKA_STORAGE_ERROR,
        }


def test_marks_of_failed_replicas_are_as_many_as_partitions() -> None:
    leaders = Leaders()
    for marks in (b"\0", b"\0" * 3):
        with pytest.raises(ValueError, match="marks for 2 partitions"):
            leaders.set_topic("t", uuid4(), array("q", [-1, -1]), marks)
    assert len(leaders) == 0


def test_what_is_told_is_what_was_said_last(tmp_path: Path) -> None:
    leaders = Leaders()
    ids = [uuid4() for _ in range(300)]
    for number, topic_id in enumerate(ids):
        leaders.set_topic(str(topic_id), topic_id, array("q", [leadership(number, number)]))
    for number, topic_id in enumerate(ids[:100]):
        leaders.set_topic(str(topic_id), topic_id, array("q", [leadership(1000 + number, 5)] * 2))
    for topic_id in ids[200:]:
        leaders.forget_topic(str(topic_id))
    leaders.forget_topic(str(uuid4()))
    assert len(leaders) == 200
    leaders.set_nodes(0, [(150, "before", 1, None), (151, "gone", 1, None)])
    leaders.set_nodes(0, [(150, "after", 2, "r")])
    leaders.set_nodes(1, [(151, "by another listener", 1, None)])
    with telling(tmp_path, leaders) as (topics, broker):
        response = Session(topics, broker.client()).add(*((topic_id, 0) for topic_id in ids))
        assert told(response) == {
            (topic_id, 0): (1000 + number, 5) if number < 100 else (number, number) if number < 200 else NO_ID
            for number, topic_id in enumerate(ids)
        }
        assert nodes(response) == [(150, "after", 2, "r")]


def test_the_replica_here_and_the_image_are_believed_by_their_epoch(tmp_path: Path) -> None:
    leaders = Leaders()
    leaders.set_nodes(0, NODES)
    with telling(tmp_path, leaders) as (topics, broker):
        client = broker.client()
        session = Session(topics, client)
        partition = topics.add("t", epoch=2)
        request = fetch(topics, {("t", 0): 0}, VERSION, max_wait_ms=60_000)
        client.send(encode(request, VERSION))
        assert broker.has_read(1, 2)
        partition.become_follower(4, leader=5)
        assert partition.leadership == (5, 4)
        response = answer(client, request, VERSION, FetchResponse)
        assert (told(response), nodes(response)) == ({(topics.ids["t"], 0): (5, 4)}, [NODES[0]])
        for epoch, expected in ((3, (5, 4)), (4, (7, 4)), (5, (7, 5))):
            leaders.set_topic(str(topics.ids["t"]), topics.ids["t"], array("q", [leadership(7, epoch)]))
            assert told(session.add(("t", 0))) == {(topics.ids["t"], 0): expected}
        partition.become_follower(6)
        assert partition.leadership == NOWHERE
        assert told(session.add(("t", 0))) == {(topics.ids["t"], 0): (7, 5)}
        topics.registry.remove("t", 0)
        leaders.forget_topic(str(topics.ids["t"]))
        response = session.add(("t", 0))
        assert (told(response), nodes(response)) == ({(topics.ids["t"], 0): NO_ID}, [])


@pytest.mark.parametrize("version", [13, 15])
def test_versions_before_16_are_told_nothing(version: int, tmp_path: Path) -> None:
    leaders = Leaders()
    leaders.set_nodes(0, NODES)
    with telling(tmp_path, leaders) as (topics, broker):
        client, partition = broker.client(), topics.add("t")
        request = fetch(topics, {("t", 0): 0}, version, max_wait_ms=60_000)
        client.send(encode(request, version))
        assert broker.has_read(1)
        partition.become_follower(4, leader=5)
        response = answer(client, request, version, FetchResponse)
        assert (told(response), nodes(response)) == ({(topics.ids["t"], 0): NOWHERE}, [])


def test_nodes_are_of_listeners_that_there_may_be(tmp_path: Path) -> None:
    leaders = Leaders()
    for listener in (-1, 32):
        with pytest.raises(ValueError, match="0 to 31"):
            leaders.set_nodes(listener, NODES)
    leaders.set_nodes(31, NODES)
    with pytest.raises(AttributeError):
        leaders.set_nodes(0, [(1, "h", 1, None), (2, None, 1, None)])  # type: ignore[list-item]
    with telling(tmp_path, leaders) as (_, broker):
        assert broker.reactor.listeners == ["PLAINTEXT"]
        with pytest.raises(RuntimeError):
            broker.reactor.tell_leaders(leaders)

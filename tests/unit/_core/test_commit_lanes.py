"""Commits in the core: what the coordinator has allowed is in its log and answered as it would, everything else is its own."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from kafkax._core.batch_writer import BatchWriter
from kafkax._core.commit_lanes import CommitLanes
from kafkax._core.commit_request import CommitRequest
from kafkax._core.notify import NotifyQueue
from kafkax._core.partition import Partition
from kafkax._core.reactor import HandedRequest, Reactor
from kafkax._core.standing import StandingAnswers
from kafkax.coordinator.groups.coordinator import AS_SEEN_BY_CLIENTS, group_partition
from kafkax.coordinator.offset_records import CommittedOffset
from kafkax.coordinator.offsets import OffsetStore
from kafkax.coordinator.undo import UndoLog
from kafkax.errors import ErrorCode, KafkaError
from kafkax.net.settings import ReactorSettings
from kafkax.protocol.message import Request
from kafkax.protocol.messages.metadata import MetadataRequest
from kafkax.protocol.messages.offset_commit import OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic
from kafkax.protocol.records import iter_batches
from tests.unit._core.topics import Topics, encode
from tests.unit._core.wire import Broker, Client

VERSIONS = range(5, 11)
IDS = {"t": UUID(int=7), "u": UUID(int=8)}
LANES = 50


class Plane:
    """The control plane's side: one open lane, that of group ``g``, and what it has been told of."""

    def __init__(self, folder: Path, timeout_ms: int = 30_000, **settings: Any) -> None:
        self.topics = Topics(folder)
        self.index = group_partition("g")
        self.partition: Partition = self.topics.add("offsets", self.index, **settings)
        self.standing = StandingAnswers()
        self.queue = NotifyQueue()
        self.full: list[int] = []
        seen = {code.value: seen.value for code, seen in AS_SEEN_BY_CLIENTS.items()}
        self.lanes = CommitLanes(
            LANES, self._find, self.queue, self.full.append, seen, metadata_max=100, timeout_ms=timeout_ms, batch_max=1 << 20
        )
        self.lanes.open(self.index)
        for name, topic_id in IDS.items():
            self.lanes.know(name, topic_id, 4)

    def _find(self, index: int) -> Partition:
        found = self.topics.registry.get("offsets", index)
        if found is None:
            raise KafkaError(ErrorCode.NOT_LEADER_OR_FOLLOWER)
        return found

    def allow(self, item: HandedRequest, *, silent: bool = False) -> None:
        """What the coordinator does after a commit that it has allowed."""
        commit = CommitRequest.read(item.frame, 100)
        assert commit is not None
        round_ = self.standing.round(commit.group_id)
        self.standing.allow(commit.group_id, commit.member_id, round_, item.connection, commit.who, silent=silent)


@contextmanager
def committing(folder: Path, **settings: Any) -> Iterator[tuple[Plane, Broker]]:
    plane = Plane(folder, **settings)
    reactor = Reactor(plane.topics.registry, ReactorSettings())
    port = reactor.listen("127.0.0.1", 0, "PLAINTEXT")
    reactor.answer_standing(plane.standing)
    reactor.take_commits(plane.lanes)
    reactor.start(2)
    broker = Broker(reactor, port)
    try:
        yield plane, broker
    finally:
        broker.close()
        reactor.stop(0)
        plane.topics.close()


def part(index: int = 1, offset: int = 5, metadata: str | None = "m") -> OffsetCommitRequestPartition:
    return OffsetCommitRequestPartition(partition_index=index, committed_offset=offset, committed_metadata=metadata)


def asked(*parts: OffsetCommitRequestPartition, topic: str = "t", **who: Any) -> OffsetCommitRequest:
    """A commit of member ``m`` of group ``g``."""
    found = OffsetCommitRequestTopic(name=topic, topic_id=IDS.get(topic, UUID(int=99)), partitions=list(parts or [part()]))
    return OffsetCommitRequest(
        **{"group_id": "g", "member_id": "m", "generation_id_or_member_epoch": 3, "topics": [found], **who}
    )


def teach(plane: Plane, broker: Broker, client: Client, request: Request | None = None, version: int = 9, **how: Any) -> None:
    """Send a commit to the control plane, which answers and allows such ones from then on."""
    client.send(encode(request or asked(), version))
    (item,) = broker.handed(1)
    plane.allow(item, **how)
    broker.echo(item, b"taught")
    assert client.receive()[4:] == b"taught"


def expected(frame: bytes, code: int = 0) -> bytes:
    """What the readable way answers."""
    commit = CommitRequest.read(frame[4:], 100)
    assert commit is not None
    return commit.answer(code)


def handed(broker: Broker) -> int:
    return int(broker.reactor.counters()["handed_over"])


def stored(batches: bytes) -> dict[tuple[str, int], int]:
    """The offsets of group ``g`` that batches of the log commit."""
    store = OffsetStore(UndoLog())
    assert store.load(batches, 0, lambda _: None, lambda *_: pytest.fail("only commits are in there")) == len(batches)
    return {key: committed.offset for key, committed in store.of("g")}


@pytest.mark.parametrize("version", VERSIONS)
def test_an_allowed_commit_is_logged_and_answered_as_by_the_control_plane(version: int, tmp_path: Path) -> None:
    request = asked(part(0, 5, None), part(3, 2**40, "note"))
    request.topics.append(OffsetCommitRequestTopic(name="u", topic_id=IDS["u"], partitions=[part(2, 9, "")]))
    with committing(tmp_path) as (plane, broker):
        client = broker.client()
        teach(plane, broker, client, asked(), version)
        frame = encode(request, version, 77)
        client.send(frame)
        assert client.receive() == expected(frame)
        assert handed(broker) == 1
        assert broker.reactor.counters()["requests"][8] == 2
        batches, end = plane.lanes.take(plane.index)
        assert end == 3 == plane.partition.high_watermark
        assert batches == plane.partition.read(0, 1 << 20).records.read()
        ((_, committed),) = [(one, list(one.records())) for one in iter_batches(batches)]
        now = int.from_bytes(committed[0].value[-27:-19] if version else b"", "big")
    commit = CommitRequest.read(frame[4:], 100)
    assert commit is not None
    topics = {topic.name: Found(topic.name, topic.topic_id) for topic in request.topics}
    assert commit.find(topics, {topic.topic_id: topic.name for topic in topics.values()}, lambda raw: UUID(bytes=raw))
    commit.apply({}, CommittedOffset, now)
    writer = BatchWriter()
    commit.write(writer)
    (wanted,) = iter_batches(writer.finish(now))
    assert [(record.key, record.value) for record in committed] == [(record.key, record.value) for record in wanted.records()]


class Found:
    """A topic of a metadata image."""

    partitions = range(4)

    def __init__(self, name: str, topic_id: UUID) -> None:
        self.name, self.topic_id = name, topic_id


def test_commits_that_come_together_are_one_batch_and_answered_in_order(tmp_path: Path) -> None:
    with committing(tmp_path) as (plane, broker):
        client = broker.client()
        teach(plane, broker, client)
        frames = [encode(asked(part(n % 4, n)), 9, n) for n in range(2, 30)]
        client.send(b"".join(frames))
        assert [client.receive() for _ in frames] == [expected(frame) for frame in frames]
        batches, _ = plane.lanes.take(plane.index)
        assert len(list(iter_batches(batches))) == 1
        assert stored(batches) == {("t", n % 4): n for n in range(26, 30)}
        assert plane.lanes.take(plane.index) == (b"", 28)


@pytest.mark.parametrize(
    ("request_", "version"),
    [
        (asked(member_id="n"), 9),
        (asked(generation_id_or_member_epoch=4), 9),
        (asked(group_instance_id="i"), 9),
        (asked(group_id="h"), 9),
        (asked(), 8),
        (asked(topic="x"), 9),
        (asked(topic="x"), 10),
        (asked(part(4)), 9),
        (asked(part(-1)), 9),
        (asked(part(metadata="m" * 101)), 9),
        (asked(part(metadata="ä")), 9),
        (asked(topics=[]), 9),
    ],
    ids=[
        "member", "generation", "instance", "group", "version", "topic", "id", "partition", "negative partition", "long", "text",
        "nothing",
    ],
)  # fmt: skip
def test_what_is_not_allowed_or_not_ordinary_is_handed_over(request_: Request, version: int, tmp_path: Path) -> None:
    with committing(tmp_path) as (plane, broker):
        client = broker.client()
        teach(plane, broker, client, asked(), version if version == 10 else 9)
        client.send(encode(request_, version))
        broker.handed(1)
        assert plane.lanes.take(plane.index) == (b"", 0)


def test_another_connection_is_handed_over(tmp_path: Path) -> None:
    with committing(tmp_path) as (plane, broker):
        teach(plane, broker, broker.client())
        broker.client().send(encode(asked(), 9))
        broker.handed(1)


@pytest.mark.parametrize("what", ["revoke", "forget member", "forget group", "topic", "shut"])
def test_what_is_withdrawn_is_handed_over(what: str, tmp_path: Path) -> None:
    with committing(tmp_path) as (plane, broker):
        client = broker.client()
        teach(plane, broker, client)
        if what == "revoke":
            plane.standing.revoke("g")
        elif what == "topic":
            plane.lanes.forget(["t", "never known"])
            assert (plane.lanes.knows("t"), plane.lanes.knows("u")) == (False, True)
        elif what == "shut":
            plane.lanes.shut(plane.index)
        else:
            plane.standing.forget("g", "m" if what == "forget member" else None)
        client.send(encode(asked(), 9))
        broker.handed(1)


def test_a_round_that_is_over_allows_nothing(tmp_path: Path) -> None:
    with committing(tmp_path) as (plane, broker):
        client = broker.client()
        client.send(encode(asked(), 9))
        (item,) = broker.handed(1)
        stale = plane.standing.round("g")
        plane.standing.revoke("g")
        commit = CommitRequest.read(item.frame, 100)
        assert commit is not None
        plane.standing.allow("g", "m", stale, item.connection, commit.who, silent=False)
        broker.echo(item)
        client.receive()
        client.send(encode(asked(), 9))
        broker.handed(1)


def test_a_halted_lane_is_waited_for(tmp_path: Path) -> None:
    with committing(tmp_path) as (plane, broker):
        client, other = broker.client(), broker.client()
        teach(plane, broker, client)
        assert plane.lanes.halt(plane.index) == (b"", 0)
        frames = [encode(asked(part(0, n)), 9, n) for n in (2, 3)]
        client.send(b"".join(frames) + encode(MetadataRequest(topics=[]), 9, 4))
        assert client.quiet(0.2)
        assert plane.partition.log.log_end_offset == 0
        # who else comes to this thread is served meanwhile
        other.send(encode(MetadataRequest(topics=[]), 9, 5))
        broker.echo(broker.handed(1)[0])
        assert other.receive() == struct.pack(">i", 5)
        plane.lanes.resume(plane.index)
        assert [client.receive() for _ in frames] == [expected(frame) for frame in frames]
        (item,) = broker.handed(1)
        assert item.frame[:2] == struct.pack(">h", MetadataRequest.api_key)
        assert stored(plane.lanes.halt(plane.index)[0]) == {("t", 0): 3}


def test_what_waits_for_a_halted_lane_is_judged_anew(tmp_path: Path) -> None:
    with committing(tmp_path) as (plane, broker):
        client = broker.client()
        teach(plane, broker, client)
        plane.lanes.halt(plane.index)
        client.send(encode(asked(), 9))
        assert client.quiet(0.1)
        plane.standing.revoke("g")
        plane.lanes.resume(plane.index)
        broker.handed(1)
        assert plane.partition.log.log_end_offset == 0


def test_a_commit_for_a_halted_lane_counts_though_its_sender_is_gone(tmp_path: Path) -> None:
    with committing(tmp_path) as (plane, broker):
        client = broker.client()
        teach(plane, broker, client)
        plane.lanes.halt(plane.index)
        client.send(encode(asked(part(0, 8)), 9))
        assert client.quiet(0.1)
        client.socket.shutdown(1)
        assert client.quiet(0.1)
        plane.lanes.resume(plane.index)
        client.receive()
        assert client.ended()
        assert stored(plane.lanes.take(plane.index)[0]) == {("t", 0): 8}


def test_what_the_control_plane_has_of_a_connection_comes_first(tmp_path: Path) -> None:
    with committing(tmp_path) as (plane, broker):
        client = broker.client()
        teach(plane, broker, client)
        frame = encode(asked(), 9, 3)
        client.send(encode(MetadataRequest(topics=[]), 9, 2) + frame)
        (item,) = broker.handed(1)
        assert client.quiet(0.1)
        assert plane.partition.log.log_end_offset == 0
        broker.echo(item, b"x")
        assert [client.receive(), client.receive()] == [struct.pack(">i", 2) + b"x", expected(frame)]


def test_an_answer_waits_for_the_high_watermark(tmp_path: Path) -> None:
    with committing(tmp_path, mark="external") as (plane, broker):
        client = broker.client()
        teach(plane, broker, client)
        frames = [encode(asked(), 9, n) for n in (2, 3)]
        client.send(frames[0])
        assert broker.until(lambda: plane.partition.log.log_end_offset == 1)
        assert client.quiet(0.1)
        # what is there is there for whoever asks, committed or not
        assert len(plane.lanes.take(plane.index)[0]) > 0
        client.send(frames[1])
        assert broker.until(lambda: plane.partition.log.log_end_offset == 2)
        assert client.quiet(0.1)
        plane.partition.high_watermark = 1
        assert client.receive() == expected(frames[0])
        assert client.quiet(0.1)
        plane.partition.high_watermark = 2
        assert client.receive() == expected(frames[1])


@pytest.mark.parametrize("version", VERSIONS)
def test_lost_leadership_is_told(version: int, tmp_path: Path) -> None:
    with committing(tmp_path, mark="external") as (plane, broker):
        client = broker.client()
        request = asked(part(0), part(1))
        request.topics.append(OffsetCommitRequestTopic(name="u", topic_id=IDS["u"], partitions=[part(2)]))
        teach(plane, broker, client, asked(), version)
        frame = encode(request, version, 2)
        client.send(frame)
        assert broker.until(lambda: plane.partition.log.log_end_offset == 3)
        plane.partition.become_follower(2)
        assert client.receive() == expected(frame, ErrorCode.NOT_COORDINATOR)
        client.send(encode(asked(), version, 3))
        assert client.receive() == expected(encode(asked(), version, 3), ErrorCode.NOT_COORDINATOR)


def test_a_commit_that_takes_too_long_is_told_so(tmp_path: Path) -> None:
    with committing(tmp_path, mark="external", timeout_ms=100) as (plane, broker):
        client = broker.client()
        teach(plane, broker, client)
        frame = encode(asked(), 9, 2)
        client.send(frame)
        assert client.receive() == expected(frame, ErrorCode.COORDINATOR_NOT_AVAILABLE)
        assert plane.partition.log.log_end_offset == 1


def test_an_append_that_is_refused_leaves_nothing(tmp_path: Path) -> None:
    with committing(tmp_path, in_sync=1, min_in_sync=2) as (plane, broker):
        client = broker.client()
        teach(plane, broker, client)
        frame = encode(asked(), 9, 2)
        client.send(frame)
        assert client.receive() == expected(frame, ErrorCode.COORDINATOR_NOT_AVAILABLE)
        assert plane.lanes.take(plane.index) == (b"", 0)
        plane.partition.set_in_sync(2, 2)
        client.send(frame)
        assert client.receive() == expected(frame)


def test_fewer_in_sync_than_asked_later_on_change_nothing(tmp_path: Path) -> None:
    with committing(tmp_path, mark="external", in_sync=2, min_in_sync=2) as (plane, broker):
        client = broker.client()
        teach(plane, broker, client)
        frame = encode(asked(), 9, 2)
        client.send(frame)
        assert broker.until(lambda: plane.partition.log.log_end_offset == 1)
        assert client.quiet(0.1)
        plane.partition.set_in_sync(1, 2)
        plane.partition.high_watermark = 1
        assert client.receive() == expected(frame)


def test_a_disk_that_failed_is_told(tmp_path: Path) -> None:
    with committing(tmp_path) as (plane, broker):
        client = broker.client()
        teach(plane, broker, client)
        plane.partition.log.close()
        frame = encode(asked(), 9, 2)
        client.send(frame)
        assert client.receive() == expected(frame, ErrorCode.NOT_COORDINATOR)
        assert plane.lanes.take(plane.index) == (b"", 0)


def test_who_goes_away_while_waiting_is_forgotten(tmp_path: Path) -> None:
    with committing(tmp_path, mark="external") as (plane, broker):
        clients = [broker.client() for _ in range(4)]
        for n, client in enumerate(clients):
            who = {"member_id": f"m{n}"}
            teach(plane, broker, client, asked(**who))
            client.send(b"".join(encode(asked(part(n), **who), 9, i) for i in range(20)))
        assert broker.until(lambda: plane.partition.log.log_end_offset == 80)
        for client in clients[:3]:
            client.reset()
        assert broker.until(lambda: len(broker.closed) == 3)
        plane.partition.high_watermark = 80
        for n in range(20):
            assert clients[3].receive()[:4] == struct.pack(">i", n)
        assert sorted(stored(plane.lanes.take(plane.index)[0])) == [("t", n) for n in range(4)]


def test_the_control_plane_is_told_of_much_that_it_has_not_seen(tmp_path: Path) -> None:
    with committing(tmp_path) as (plane, broker):
        client = broker.client()
        teach(plane, broker, client)
        for _ in range(100):
            client.send(b"".join(encode(asked(), 9, n) for n in range(50)))
            for _ in range(50):
                client.receive()
        plane.queue.dispatch()
        assert plane.full == [plane.index]
        assert len(plane.lanes.take(plane.index)[0]) > 262_144
        plane.queue.dispatch()
        assert plane.full == [plane.index]


def test_a_commit_is_a_sign_of_life_unless_it_is_to_be_none(tmp_path: Path) -> None:
    with committing(tmp_path) as (plane, broker):
        for member, silent in (("m", False), ("s", True)):
            client, frame = broker.client(), encode(asked(member_id=member), 9)
            teach(plane, broker, client, asked(member_id=member), silent=silent)
            assert plane.standing.heard("g", member) == 0.0
            client.send(frame)
            assert client.receive() == expected(frame)
            assert (plane.standing.heard("g", member) > 0.0) is not silent


@pytest.mark.parametrize("group", ["g", "a-long-group.name_0123456789", "~", "polygenelubricants", "G r o u p"])
def test_a_group_has_the_lane_of_its_partition(group: str, tmp_path: Path) -> None:
    with committing(tmp_path) as (plane, broker):
        if group != "g":
            plane.topics.add("offsets", group_partition(group))
            plane.lanes.open(group_partition(group))
        client = broker.client()
        teach(plane, broker, client, asked(group_id=group))
        frame = encode(asked(group_id=group), 9)
        client.send(frame)
        assert client.receive() == expected(frame)
        assert plane.lanes.take(group_partition(group))[1] == 1


def test_groups_whose_names_are_not_ascii_are_the_control_planes(tmp_path: Path) -> None:
    with committing(tmp_path) as (plane, broker):
        for index in range(LANES):
            if index != plane.index:
                plane.topics.add("offsets", index)
                plane.lanes.open(index)
        client = broker.client()
        teach(plane, broker, client, asked(group_id="grüppe"))
        client.send(encode(asked(group_id="grüppe"), 9))
        broker.handed(1)


def test_many_topics_are_known_and_known_anew(tmp_path: Path) -> None:
    with committing(tmp_path) as (plane, _):
        names = [f"topic-{n}" for n in range(1000)]
        for n, name in enumerate(names):
            plane.lanes.know(name, UUID(int=100 + n), 1)
        plane.lanes.know(names[5], UUID(int=5000), 2)
        assert all(map(plane.lanes.knows, names))
        plane.lanes.forget(names[:500])
        assert [plane.lanes.knows(name) for name in names] == [False] * 500 + [True] * 500


def test_lanes_are_counted(tmp_path: Path) -> None:
    with committing(tmp_path) as (plane, broker):
        for bad in (-1, LANES):
            for call in (plane.lanes.open, plane.lanes.shut, plane.lanes.halt, plane.lanes.take, plane.lanes.resume):
                with pytest.raises(ValueError, match=f"lane {bad} of {LANES}"):
                    call(bad)
        with pytest.raises(KafkaError):
            plane.lanes.open((plane.index + 1) % LANES)
        with pytest.raises(RuntimeError):
            broker.reactor.take_commits(plane.lanes)

"""Sequences of group requests, good and bad, to be told to any broker; what it answers becomes a transcript to compare."""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Callable
from typing import Any
from uuid import UUID

from kafkax.protocol import headers
from kafkax.protocol.api import API_KEYS
from kafkax.protocol.coordinator_records.consumer_protocol import ConsumerProtocolSubscription
from kafkax.protocol.messages.consumer_group_describe import ConsumerGroupDescribeRequest
from kafkax.protocol.messages.consumer_group_heartbeat import ConsumerGroupHeartbeatRequest, TopicPartitions
from kafkax.protocol.messages.create_topics import CreatableTopic, CreateTopicsRequest
from kafkax.protocol.messages.delete_groups import DeleteGroupsRequest
from kafkax.protocol.messages.describe_groups import DescribeGroupsRequest
from kafkax.protocol.messages.find_coordinator import FindCoordinatorRequest
from kafkax.protocol.messages.heartbeat import HeartbeatRequest
from kafkax.protocol.messages.join_group import JoinGroupRequest, JoinGroupRequestProtocol
from kafkax.protocol.messages.leave_group import LeaveGroupRequest, MemberIdentity
from kafkax.protocol.messages.list_groups import ListGroupsRequest
from kafkax.protocol.messages.metadata import MetadataRequest, MetadataRequestTopic
from kafkax.protocol.messages.offset_commit import OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic
from kafkax.protocol.messages.offset_delete import OffsetDeleteRequest, OffsetDeleteRequestPartition, OffsetDeleteRequestTopic
from kafkax.protocol.messages.offset_fetch import (
    OffsetFetchRequest,
    OffsetFetchRequestGroup,
    OffsetFetchRequestTopic,
    OffsetFetchRequestTopics,
)
from kafkax.protocol.messages.sync_group import SyncGroupRequest, SyncGroupRequestAssignment
from tests.compat.kraft_lag import CHANGES, wait_until_shown

TOPIC = "story"
SUBSCRIBED = ConsumerProtocolSubscription(topics=[TOPIC]).to_bytes(1)
_TEXT = "error_message"
_LEFT_OUT = {"throttle_time_ms", "host", "port"}


class Wire:
    """One connection to a broker."""

    def __init__(self, address: str, client: str = "teller") -> None:
        host, port = address.rsplit(":", 1)
        self._client = client
        self._socket = socket.create_connection((host, int(port)), timeout=60)
        self._count = 0

    def send(self, message: Any, version: int) -> Callable[[], Any]:
        """Send a request; what is returned waits for the answer."""
        self._count += 1
        payload = headers.request_header(message.api_key, version, self._count, self._client) + message.encode(version)
        self._socket.sendall(struct.pack(">i", len(payload)) + payload)
        return lambda: self._receive(message.api_key, version)

    def _receive(self, key: int, version: int) -> Any:
        size = struct.unpack(">i", self._read(4))[0]
        _, body = headers.parse_response_header(self._read(size), key, version)
        return API_KEYS[key].response_type().decode(body, version)

    def _read(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            piece = self._socket.recv(size - len(data))
            if not piece:
                raise EOFError("the broker closed the connection")
            data += piece
        return data

    def close(self) -> None:
        self._socket.close()


class Teller:
    """Tells a story to a broker and writes down what it answers, with the names that the broker makes up replaced.

    Args:
        address: of the broker.
        texts: see below.
        lagging: whether the broker shows what it acknowledged only a moment later, which is then waited for.
    """

    def __init__(self, address: str, *, texts: bool = True, lagging: bool = False) -> None:
        self._address = address
        self._lagging = lagging
        self.texts = texts
        """Whether it is compared if an error has a text."""
        self._wires: dict[str, Wire] = {}
        self._names: dict[Any, str] = {}
        self.transcript: list[str] = []
        self.group = ""
        self.client = "teller"
        """Client id of the connections that begin from now on."""

    def start(
        self, message: Any, version: int, who: str = "a", prepare: Callable[[Any], None] | None = None
    ) -> Callable[[], Any]:
        """Send on the connection of ``who``; call what is returned to wait for the answer and write it down.

        ``prepare`` takes out of the answer what may differ before it is written down.
        """
        if who not in self._wires:
            self._wires[who] = Wire(self._address, self.client)
        answer = self._wires[who].send(message, version)

        def finish() -> Any:
            got = answer()
            if prepare is not None:
                prepare(got)
            self.transcript.append(f"{type(message).__name__} v{version}: {self._plain(got)}")
            if self._lagging and isinstance(message, CHANGES):
                wait_until_shown(self.quietly)
            return got

        return finish

    def ask(self, message: Any, version: int, who: str = "a", prepare: Callable[[Any], None] | None = None) -> Any:
        """Send, wait, write down."""
        return self.start(message, version, who, prepare)()

    def quietly(self, message: Any, version: int) -> Any:
        """Send and wait on a connection of its own, and write nothing down."""
        wire = Wire(self._address)
        try:
            return wire.send(message, version)()
        finally:
            wire.close()

    def close(self) -> None:
        for wire in self._wires.values():
            wire.close()

    def _plain(self, value: Any, name: str = "") -> Any:
        if name == _TEXT:
            return bool(value) if self.texts else None
        if isinstance(value, list):
            items = [self._plain(item, name) for item in value]
            return sorted(items, key=str) if name in ("members", "groups", "results", "topic_partitions") else items
        if isinstance(value, UUID):
            return "no id" if value.int == 0 else self._names.setdefault(value, f"uuid {len(self._names)}")
        if name in ("member_id", "leader") and value:
            return self._names.setdefault(value, f"name {len(self._names)}")
        slots = getattr(type(value), "__slots__", None)
        if slots is None or isinstance(value, (str, bytes)):
            return value
        return {each: self._plain(getattr(value, each), each) for each in slots if each not in _LEFT_OUT}

    # -- requests --------------------------------------------------------------------------------------------------

    def ready(self) -> UUID:
        """Make the topic and wait until the group has a coordinator; the topic's id."""
        topic = CreatableTopic(name=TOPIC, num_partitions=4, replication_factor=1)
        self.quietly(CreateTopicsRequest(topics=[topic], timeout_ms=60_000), 5)
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            found = self.quietly(FindCoordinatorRequest(key_type=0, coordinator_keys=[self.group]), 4).coordinators[0]
            asked = DescribeGroupsRequest(groups=[self.group, "", "not-there"])
            known = all(group.error_code == 0 for group in self.quietly(asked, 4).groups)
            if found.error_code == 0 and known and self.quietly(ListGroupsRequest(), 4).error_code == 0:
                names = [MetadataRequestTopic(name=TOPIC)]
                return UUID(int=self.quietly(MetadataRequest(topics=names), 12).topics[0].topic_id.int)
            time.sleep(0.2)
        raise TimeoutError("the broker has no coordinator")

    def join(self, member: str = "", version: int = 9, who: str = "a", **more: Any) -> Callable[[], Any]:
        fields: dict[str, Any] = {
            "group_id": self.group,
            "session_timeout_ms": 10_000,
            "rebalance_timeout_ms": 10_000,
            "member_id": member,
            "protocol_type": "consumer",
            "protocols": [JoinGroupRequestProtocol(name="range", metadata=SUBSCRIBED)],
            **more,
        }
        return self.start(JoinGroupRequest(**fields), version, who)

    def sync(self, member: str, generation: int, assignments: dict[str, bytes] | None = None, **more: Any) -> Any:
        version, who = more.pop("version", 5), more.pop("who", "a")
        given = [SyncGroupRequestAssignment(member_id=k, assignment=v) for k, v in (assignments or {}).items()]
        fields: dict[str, Any] = {
            "group_id": self.group,
            "generation_id": generation,
            "member_id": member,
            "protocol_type": "consumer",
            "protocol_name": "range",
            "assignments": given,
            **more,
        }
        return self.ask(SyncGroupRequest(**fields), version, who)

    def heartbeat(self, member: str, generation: int, version: int = 4, **more: Any) -> Any:
        fields: dict[str, Any] = {"group_id": self.group, "generation_id": generation, "member_id": member, **more}
        return self.ask(HeartbeatRequest(**fields), version)

    def leave(self, *members: tuple[str, str | None], version: int = 5, **more: Any) -> Any:
        identities = [MemberIdentity(member_id=member, group_instance_id=instance) for member, instance in members]
        if version < 3:
            return self.ask(LeaveGroupRequest(**{"group_id": self.group, "member_id": members[0][0], **more}), version)
        return self.ask(LeaveGroupRequest(**{"group_id": self.group, "members": identities, **more}), version)

    def commit(self, member: str = "", epoch: int = -1, version: int = 9, offset: int = 7, **more: Any) -> Any:
        partition = OffsetCommitRequestPartition(
            partition_index=more.pop("partition", 0), committed_offset=offset, committed_metadata=more.pop("metadata", "")
        )
        topic = OffsetCommitRequestTopic(
            name=more.pop("topic", TOPIC), topic_id=more.pop("topic_id", UUID(int=0)), partitions=[partition]
        )
        fields: dict[str, Any] = {
            "group_id": self.group,
            "generation_id_or_member_epoch": epoch,
            "member_id": member,
            "topics": [topic],
            **more,
        }
        return self.ask(OffsetCommitRequest(**fields), version)

    def fetch(self, version: int, topics: dict[str, list[int]] | None, **more: Any) -> Any:
        stable = more.pop("stable", False)
        if version < 8:
            old = None if topics is None else [OffsetFetchRequestTopic(name=k, partition_indexes=v) for k, v in topics.items()]
            request = OffsetFetchRequest(**{"group_id": self.group, "topics": old, "require_stable": stable, **more})
        else:
            new = None if topics is None else [OffsetFetchRequestTopics(name=k, partition_indexes=v) for k, v in topics.items()]
            group = OffsetFetchRequestGroup(**{"group_id": self.group, "topics": new, **more})
            request = OffsetFetchRequest(groups=[group], require_stable=stable)
        return self.ask(request, version)

    def delete_offsets(self, topics: dict[str, list[int]], **more: Any) -> Any:
        named = [
            OffsetDeleteRequestTopic(name=k, partitions=[OffsetDeleteRequestPartition(partition_index=p) for p in v])
            for k, v in topics.items()
        ]
        return self.ask(OffsetDeleteRequest(**{"group_id": self.group, "topics": named, **more}), 0)

    def describe(self, *groups: str) -> None:
        for version in (4, 6):
            self.ask(DescribeGroupsRequest(groups=list(groups or (self.group,))), version)

    def describe_consumer(self, *groups: str) -> None:
        self.ask(ConsumerGroupDescribeRequest(group_ids=list(groups or (self.group,))), 1)

    def delete(self, *groups: str) -> Any:
        return self.ask(DeleteGroupsRequest(groups_names=list(groups or (self.group,))), 2)

    def listed(self, **filters: list[str]) -> None:
        """Whether the story's group is listed, and as what."""
        found = self.quietly(ListGroupsRequest(**filters), 5).groups
        mine = [(g.protocol_type, g.group_state, g.group_type) for g in found if g.group_id == self.group]
        self.transcript.append(f"listed with {filters}: {mine}")

    def beat(self, member: str, epoch: int = 0, version: int = 1, **more: Any) -> Any:
        joins = epoch == 0
        fields: dict[str, Any] = {
            "group_id": self.group,
            "member_id": member,
            "member_epoch": epoch,
            "rebalance_timeout_ms": 10_000 if joins else -1,
            "subscribed_topic_names": [TOPIC] if joins else None,
            "topic_partitions": [] if joins else None,
            **more,
        }
        return self.ask(ConsumerGroupHeartbeatRequest(**fields), version)

    def form(self, **more: Any) -> tuple[str, int]:
        """A stable classic group of one member; its id and the generation."""
        member = self.join(**more)().member_id
        generation = self.join(member, **more)().generation_id
        self.sync(member, generation, {member: b"mine"})
        return member, generation


# -- the stories --------------------------------------------------------------------------------------------------------


def groups_that_do_not_exist(t: Teller) -> None:
    t.join("made-up")()
    t.join("made-up", version=3)()
    t.join("made-up", group_instance_id="i")()
    t.sync("made-up", 1)
    t.sync("made-up", 1, version=2, protocol_type=None, protocol_name=None)
    t.heartbeat("made-up", 1)
    for version in (1, 5):
        t.leave(("made-up", None), version=version)
    for version in (7, 9):
        t.commit("made-up", 3, version)
    t.fetch(9, {TOPIC: [0]})
    t.fetch(9, {TOPIC: [0]}, member_id="made-up", member_epoch=3)
    t.fetch(9, None)
    t.delete_offsets({TOPIC: [0]})
    t.describe()
    t.describe_consumer()
    t.delete()
    t.listed()


def empty_group_ids(t: Teller) -> None:
    t.join(group_id="")()
    t.sync("m", 1, group_id="")
    t.heartbeat("m", 1, group_id="")
    for version in (1, 5):
        t.leave(("m", None), version=version, group_id="")
    t.commit(group_id="")
    t.fetch(9, {TOPIC: [0]}, group_id="")
    t.describe("")
    t.beat("m", group_id="")


def absurd_timeouts(t: Teller) -> None:
    for timeout in (0, -1, 5_999, 1_800_001, 2**31 - 1):
        t.join(session_timeout_ms=timeout)()
    for timeout in (0, -1):
        member = t.join(rebalance_timeout_ms=timeout)().member_id
        t.join(member, rebalance_timeout_ms=timeout)()


def protocols_that_do_not_fit(t: Teller) -> None:
    t.join(protocols=[])()
    t.join(protocol_type="")()
    member, generation = t.form()
    t.join(protocol_type="connect", who="b")()
    t.join(protocols=[JoinGroupRequestProtocol(name="other", metadata=b"")], who="b")()
    t.join(protocols=[], who="b")()
    t.sync(member, generation, protocol_name="other")
    t.sync(member, generation, protocol_type="other")
    t.sync(member, generation, protocol_name=None)


def one_member_comes_and_goes(t: Teller) -> None:
    member, generation = t.form()
    t.describe()
    t.listed()
    t.listed(states_filter=["Stable"])
    t.listed(states_filter=["stable", "empty"])
    t.listed(states_filter=["Empty"])
    t.listed(types_filter=["classic"])
    t.listed(types_filter=["consumer"])
    t.heartbeat(member, generation)
    t.heartbeat(member, generation - 1)
    t.heartbeat(member, generation + 1)
    t.heartbeat("other", generation)
    t.heartbeat(member, generation, group_instance_id="i")
    t.sync(member, generation)
    t.sync(member, generation + 1)
    t.sync("other", generation)
    t.commit(member, generation)
    t.commit(member, generation - 1)
    t.commit("other", generation)
    t.commit()
    t.commit(group_instance_id="i", epoch=generation)
    t.delete()
    t.delete_offsets({TOPIC: [0], "other": [0]})
    t.leave(("other", None), (member, None), (member, None), ("", None), ("", "i"))
    t.describe()
    t.listed()
    t.commit()
    t.heartbeat(member, generation)
    t.sync(member, generation)
    t.join(member)()
    t.delete()
    t.describe()


def old_versions(t: Teller) -> None:
    joined = t.join(version=0)()
    t.sync(joined.member_id, joined.generation_id, {joined.member_id: b"x"}, version=0, protocol_type=None, protocol_name=None)
    t.heartbeat(joined.member_id, joined.generation_id, version=0)
    for version in range(2, 10):
        t.commit(joined.member_id, joined.generation_id, version)
    t.leave((joined.member_id, None), version=0)
    t.leave((joined.member_id, None), version=2)


def static_members(t: Teller) -> None:
    first = t.join(group_instance_id="i")()
    member, generation = first.member_id, first.generation_id
    t.sync(member, generation, {member: b"mine"}, group_instance_id="i")
    t.heartbeat(member, generation, group_instance_id="i")
    t.heartbeat(member, generation)
    second = t.join(group_instance_id="i", who="b")()
    t.heartbeat(member, generation, group_instance_id="i")
    t.heartbeat(member, generation)
    t.sync(member, generation, group_instance_id="i")
    t.commit(member, generation, group_instance_id="i")
    t.join(member, group_instance_id="i", who="c")()
    t.leave((member, "i"))
    t.sync(second.member_id, generation, group_instance_id="i")
    third = t.join(group_instance_id="i", who="b", version=8)()
    t.heartbeat(third.member_id, generation, group_instance_id="i")
    t.join(third.member_id, who="b", group_instance_id="j")()
    t.describe()
    t.leave(("", "i"))
    t.describe()


def two_members_rebalance(t: Teller) -> None:
    a, generation = t.form()
    b = t.join(who="b")().member_id
    waiting = t.join(b, who="b")
    time.sleep(0.3)
    t.heartbeat(a, generation)
    t.describe()
    t.sync(a, generation)
    t.commit(a, generation)
    t.commit(b, generation)
    t.heartbeat(b, generation)
    joined = t.join(a)()
    waiting()
    t.describe()
    t.commit(a, joined.generation_id)
    t.heartbeat(b, joined.generation_id)
    t.join(b, who="b")()
    t.sync(a, joined.generation_id, {a: b"A", b: b"B", "stranger": b"?"})
    t.sync(b, joined.generation_id, who="b")
    t.join(b, who="b")()
    t.leave((b, None))
    t.heartbeat(a, joined.generation_id)


def a_member_that_never_syncs(t: Teller) -> None:
    member = t.join(rebalance_timeout_ms=1_000)().member_id
    generation = t.join(member, rebalance_timeout_ms=1_000)().generation_id
    t.heartbeat(member, generation)
    time.sleep(3)
    t.heartbeat(member, generation)
    t.describe()


def a_member_that_does_not_join_again(t: Teller) -> None:
    a, generation = t.form(rebalance_timeout_ms=1_000)
    b = t.join(who="b", rebalance_timeout_ms=1_000)().member_id
    t.join(b, who="b", rebalance_timeout_ms=1_000)()
    t.heartbeat(a, generation)
    t.join(a)()


def simple_consumers(t: Teller) -> None:
    t.commit(metadata="x" * 4096)
    t.commit(metadata="x" * 4097)
    t.commit(metadata=None)
    t.commit(metadata="\u00e4" * 4096)
    t.commit(topic="not-there")
    t.commit(partition=99)
    t.commit(partition=-1)
    t.commit(offset=-5)
    t.commit("member", -1)
    t.commit("", -1, group_instance_id="i")
    t.commit("", 0)
    for version in range(1, 10):
        t.fetch(version, {TOPIC: [0, 1, 99], "not-there": [0]})
    for version in (2, 7, 8, 9):
        t.fetch(version, None)
        t.fetch(version, {})
    t.fetch(7, {TOPIC: [0]}, stable=True)
    t.describe()
    t.listed()
    t.delete_offsets({TOPIC: [0, 99], "not-there": [0]})
    t.fetch(9, {TOPIC: [0]})
    t.delete("", t.group, t.group, "not-there")
    t.listed()


def commits_that_follow_one_another(t: Teller) -> None:
    """The same committer again and again, between whatever changes what it may do and what others see."""
    for offset in (1, 2, 3):
        t.commit(offset=offset)
    t.fetch(9, {TOPIC: [0]})
    t.delete_offsets({TOPIC: [0]})
    t.fetch(9, {TOPIC: [0]})
    t.commit(offset=4)
    t.commit(offset=5, metadata="x" * 4097)
    t.commit(offset=6, partition=99)
    t.fetch(9, None)
    t.delete(t.group)
    t.commit(offset=7)
    t.fetch(9, None)
    t.listed()
    a, generation = t.form()
    t.commit(offset=8)
    for offset in (9, 10):
        t.commit(a, generation, offset=offset)
    t.commit(a, generation - 1, offset=11)
    t.fetch(9, None)
    b = t.join(who="b")().member_id
    waiting = t.join(b, who="b")
    time.sleep(0.3)
    t.commit(a, generation, offset=12)
    t.fetch(9, None)
    second = t.join(a)().generation_id
    waiting()
    t.commit(a, generation, offset=13)
    t.commit(a, second, offset=14)
    t.sync(a, second, {a: b"A", b: b"B"})
    for offset in (15, 16):
        t.commit(a, second, offset=offset)
        t.commit(b, second, offset=offset, partition=1)
    t.leave((b, None))
    t.commit(b, second, offset=17)
    t.commit(a, second, offset=18)
    t.fetch(9, None)
    t.leave((a, None))
    t.commit(a, second, offset=19)
    for offset in (20, 21):
        t.commit(offset=offset)
    t.fetch(9, None)
    t.describe()


def a_static_member_is_replaced_between_commits(t: Teller) -> None:
    first = t.join(group_instance_id="i")()
    member, generation = first.member_id, first.generation_id
    t.sync(member, generation, {member: b"mine"}, group_instance_id="i")
    for offset in (1, 2):
        t.commit(member, generation, offset=offset, group_instance_id="i")
    second = t.join(group_instance_id="i", who="b")()
    t.commit(member, generation, offset=3, group_instance_id="i")
    for offset in (4, 5):
        t.commit(second.member_id, generation, offset=offset, group_instance_id="i")
    t.fetch(9, None)


def topic_ids(t: Teller) -> None:
    topic_id = t.ready()
    t.commit(version=10, topic="", topic_id=topic_id)
    t.commit(version=10, topic="", topic_id=UUID(int=12345))
    for found in (topic_id, UUID(int=12345)):
        group = OffsetFetchRequestGroup(
            group_id=t.group, topics=[OffsetFetchRequestTopics(topic_id=found, partition_indexes=[0, 1])]
        )
        t.ask(OffsetFetchRequest(groups=[group]), 10)
    t.ask(OffsetFetchRequest(groups=[OffsetFetchRequestGroup(group_id=t.group, topics=None)]), 10)


def odd_coordinators(t: Teller) -> None:
    t.ask(FindCoordinatorRequest(key="", key_type=0), 3)
    t.ask(FindCoordinatorRequest(key_type=0, coordinator_keys=[t.group, "", t.group]), 4)
    t.ask(FindCoordinatorRequest(key_type=0, coordinator_keys=[]), 4)


def consumer_heartbeats_that_contradict_themselves(t: Teller) -> None:
    t.beat("")
    t.beat("", version=0, subscribed_topic_names=[])
    t.beat("m", instance_id="")
    t.beat("m", rack_id="")
    t.beat("m", rebalance_timeout_ms=-1)
    t.beat("m", subscribed_topic_names=None)
    t.beat("m", subscribed_topic_names=[])
    t.beat("m", topic_partitions=None)
    t.beat("m", topic_partitions=[TopicPartitions(topic_id=UUID(int=1), partitions=[0])])
    t.beat("m", -2)
    t.beat("m", -3)
    t.beat("m", server_assignor="none")
    t.beat("m", 5)
    t.beat("m", -1)
    t.beat("m", -2, instance_id="i")
    t.listed()


def a_consumer_group_lives(t: Teller) -> None:
    topic_id = t.ready()
    a = t.beat("A")
    t.beat("A", a.member_epoch)
    t.beat("A", a.member_epoch + 1)
    t.beat("A", a.member_epoch - 1)
    t.beat("B", 3)
    t.beat("A", a.member_epoch, instance_id="i")
    t.beat("A")
    t.describe_consumer()
    t.describe()
    for filters in ({}, {"types_filter": ["consumer"]}, {"types_filter": ["classic"]}, {"states_filter": ["Stable"]}):
        t.listed(**filters)
    t.commit("A", a.member_epoch)
    t.commit("A", a.member_epoch - 1)
    t.commit("A", a.member_epoch + 1)
    t.commit("B", a.member_epoch)
    t.commit()
    t.commit("A", a.member_epoch, version=8)
    t.fetch(9, {TOPIC: [0]})
    t.fetch(9, {TOPIC: [0]}, member_id="A", member_epoch=a.member_epoch)
    t.fetch(9, {TOPIC: [0]}, member_id="A", member_epoch=a.member_epoch + 1)
    t.fetch(9, {TOPIC: [0]}, member_id="B", member_epoch=1)
    t.delete_offsets({TOPIC: [0]})
    t.delete()
    t.heartbeat("A", a.member_epoch)
    t.sync("A", a.member_epoch)
    time.sleep(1.1)
    b = t.beat("B")
    a = t.beat("A", a.member_epoch)
    half = [TopicPartitions(topic_id=each.topic_id, partitions=each.partitions) for each in a.assignment.topic_partitions]
    t.beat("A", a.member_epoch, topic_partitions=[TopicPartitions(topic_id=topic_id, partitions=[0, 1, 2, 3])])
    t.describe_consumer()
    a = t.beat("A", a.member_epoch, topic_partitions=half)
    t.beat("B", b.member_epoch)
    t.describe_consumer()
    t.beat("B", -1)
    t.beat("B", -1)
    t.leave(("A", None), ("A", None), ("", "i"))
    t.beat("A", -1)
    t.listed()
    t.describe_consumer()
    t.delete()


def static_consumers(t: Teller) -> None:
    a = t.beat("A", instance_id="i")
    t.beat("B", instance_id="i")
    t.beat("A", a.member_epoch)
    t.beat("B", a.member_epoch, instance_id="i")
    t.beat("A", -2)
    t.beat("B", -2, instance_id="i")
    t.beat("A", -2, instance_id="i")
    t.describe_consumer()
    t.beat("A", a.member_epoch, instance_id="i")
    t.beat("B", instance_id="i")
    t.beat("A", a.member_epoch, instance_id="i")
    t.beat("B", -1, instance_id="i")
    t.listed()


def regular_expressions(t: Teller) -> None:
    t.beat("A", subscribed_topic_names=None, subscribed_topic_regex="(")
    t.beat("A", subscribed_topic_names=None, subscribed_topic_regex="")
    t.listed()


def groups_that_change_their_protocol(t: Teller) -> None:
    member, generation = t.form()
    t.beat("N")
    t.heartbeat(member, generation)
    t.leave((member, None))
    t.delete()
    t.commit()
    t.beat("N")
    t.listed()
    t.beat("N", -1)
    t.join()()
    t.listed()


def oversized_metadata(t: Teller) -> None:
    """What a leader gives a member may be larger than a record of the internal topic."""
    member = t.join()().member_id
    joined = t.join(member)()
    t.sync(member, joined.generation_id, {member: b"x" * 1_100_000})
    t.heartbeat(member, joined.generation_id)
    t.commit(member, joined.generation_id, metadata="x" * 4097)
    t.commit("x" * 10_000, joined.generation_id)
    t.heartbeat("x" * 10_000, joined.generation_id)
    t.describe("x" * 10_000)


def absurd_consumers(t: Teller) -> None:
    t.beat("A", rebalance_timeout_ms=0)
    t.beat("A", rebalance_timeout_ms=2**31 - 1)
    t.beat("A", rebalance_timeout_ms=-2)
    t.beat("A" * 37)
    t.beat("B", subscribed_topic_names=["", "..", TOPIC, TOPIC, "x" * 300])
    t.beat("D", 2**31 - 1)
    t.beat("D", -(2**31))
    t.listed()


def a_consumer_that_does_not_give_up_its_partitions(t: Teller) -> None:
    t.ready()
    a = t.beat("A", rebalance_timeout_ms=1_000)
    held = [TopicPartitions(topic_id=each.topic_id, partitions=each.partitions) for each in a.assignment.topic_partitions]
    t.beat("A", a.member_epoch, topic_partitions=held)
    time.sleep(1.1)
    b = t.beat("B", rebalance_timeout_ms=1_000)
    asked = t.beat("A", a.member_epoch, topic_partitions=held)
    t.commit("A", asked.member_epoch)
    time.sleep(2)
    t.beat("A", asked.member_epoch, topic_partitions=held)
    t.commit("A", asked.member_epoch)
    t.beat("B", b.member_epoch)
    t.describe_consumer()


def members_that_fall_silent(t: Teller) -> None:
    """One in every phase: told an id and not heard of again, in a stable group, static, not taking what the leader gives."""
    phases = ("told", "stable", "static", "unassigned")
    names = dict(zip(phases, (f"{t.group}-{phase}" for phase in phases), strict=True))
    short = {"session_timeout_ms": 6_000, "rebalance_timeout_ms": 2_000}
    for t.group in names.values():
        t.ready()
    t.group = names["told"]
    told = t.join(**short)().member_id
    t.group = names["stable"]
    stable, generation = t.form(**short)
    t.group = names["static"]
    static = t.join(group_instance_id="i", **short)()
    t.sync(static.member_id, static.generation_id, {static.member_id: b"mine"}, group_instance_id="i")
    t.group = names["unassigned"]
    leader, _ = t.form(**short)
    other = t.join(who="b", **short)().member_id
    waiting = t.join(other, who="b", **short)
    time.sleep(0.3)
    joined = t.join(leader, **short)()
    waiting()
    t.sync(leader, joined.generation_id, {leader: b"A", other: b"B"})
    for _ in range(4):
        time.sleep(2)
        t.heartbeat(leader, joined.generation_id)
    t.describe(*names.values())
    t.group = names["told"]
    t.join(told, **short)()
    t.group = names["stable"]
    t.heartbeat(stable, generation)
    t.commit(stable, generation)
    t.group = names["static"]
    t.heartbeat(static.member_id, static.generation_id, group_instance_id="i")


STORIES = [
    groups_that_do_not_exist,
    empty_group_ids,
    absurd_timeouts,
    protocols_that_do_not_fit,
    one_member_comes_and_goes,
    old_versions,
    static_members,
    two_members_rebalance,
    a_member_that_never_syncs,
    a_member_that_does_not_join_again,
    simple_consumers,
    commits_that_follow_one_another,
    a_static_member_is_replaced_between_commits,
    topic_ids,
    odd_coordinators,
    consumer_heartbeats_that_contradict_themselves,
    a_consumer_group_lives,
    static_consumers,
    regular_expressions,
    groups_that_change_their_protocol,
    oversized_metadata,
    absurd_consumers,
    a_consumer_that_does_not_give_up_its_partitions,
]
LONG_STORIES = [members_that_fall_silent]


def tell(
    story: Callable[[Teller], None], address: str, *, about_groups: bool = True, attempt: int = 0, lagging: bool = False
) -> list[str]:
    """What the broker answers to a story."""
    teller = Teller(address, texts=about_groups, lagging=lagging)
    teller.group = f"{story.__name__}-group-{attempt}"
    try:
        if about_groups:
            teller.ready()
        story(teller)
    finally:
        teller.close()
    return teller.transcript


def told_by_both(
    story: Callable[[Teller], None], kafka: str, ours: str, *, about_groups: bool = True
) -> tuple[list[str], list[str]]:
    """What Apache Kafka and our broker answer to a story.

    If they differ it is told again, twice at most: on a busy machine a timeout may run out in the midst of a story. What
    Apache Kafka acknowledged may be seen only a moment later, which is waited for; ours has to show it at once.
    """
    for attempt in range(3):
        expected = tell(story, kafka, about_groups=about_groups, attempt=attempt, lagging=True)
        answered = tell(story, ours, about_groups=about_groups, attempt=attempt)
        if answered == expected:
            break
    return expected, answered

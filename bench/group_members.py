"""Groups of many members for ``bench/groups``: how long a rebalance takes, what a large group costs."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from itertools import cycle
from typing import Any

from bench.brokers import Broker
from bench.group_load import Line, await_coordinator
from kafkax.cli.perf.bootstrap import Address
from kafkax.errors import ErrorCode
from kafkax.protocol.coordinator_records.consumer_protocol import (
    ConsumerProtocolAssignment,
    ConsumerProtocolAssignmentTopicPartition,
    ConsumerProtocolSubscription,
)
from kafkax.protocol.messages.consumer_group_heartbeat import ConsumerGroupHeartbeatRequest, TopicPartitions
from kafkax.protocol.messages.heartbeat import HeartbeatRequest
from kafkax.protocol.messages.join_group import JoinGroupRequest, JoinGroupRequestProtocol
from kafkax.protocol.messages.sync_group import SyncGroupRequest, SyncGroupRequestAssignment

MEMBERS = 100
PARTITIONS = 1000
HEARTBEAT_S = 5.0
LEADER_FIRST_S = 0.05
Figures = dict[str, object]


def rebalance_classic(broker: Broker) -> Figures:
    """100 members over 1,000 partitions: one more joins, and everybody joins again; seconds until all have their assignment."""
    lines = [Line(broker.address) for _ in range(MEMBERS)]
    await_coordinator(lines[0], ["classic"])
    metadata = ConsumerProtocolSubscription(topics=["members"]).to_bytes(1)

    def join(member: str) -> tuple[JoinGroupRequest, int]:
        protocols = [JoinGroupRequestProtocol(name="range", metadata=metadata)]
        request = JoinGroupRequest(
            group_id="classic",
            session_timeout_ms=45_000,
            rebalance_timeout_ms=60_000,
            member_id=member,
            protocol_type="consumer",
            protocols=protocols,
        )
        return request, 7

    names = [line.ask(*join("")).member_id for line in lines]
    leader, took = 0, 0.0
    # first the group forms, then the leader calls everybody together again
    for _ in range(2):
        began = time.monotonic()
        lines[leader].send(join(names[leader]))
        time.sleep(LEADER_FIRST_S)
        for at, line in enumerate(lines):
            if at != leader:
                line.send(join(names[at]))
        answers = [line.receive() for line in lines]
        if len({(answer.error_code, answer.generation_id) for answer in answers}) > 1:
            raise RuntimeError("the members are not in one generation")
        leader = names.index(answers[0].leader)
        _sync(lines, names, answers)
        took = time.monotonic() - began
    return {"s for a classic rebalance of 100 members over 1,000 partitions": round(took, 3)}


def _sync(lines: list[Line], names: list[str], answers: list[Any]) -> None:
    generation = max(answer.generation_id for answer in answers)
    leader = next(answer.leader for answer in answers if answer.generation_id == generation)
    shares = [
        SyncGroupRequestAssignment(
            member_id=name,
            assignment=ConsumerProtocolAssignment(
                assigned_partitions=[
                    ConsumerProtocolAssignmentTopicPartition(topic="members", partitions=list(range(at, PARTITIONS, MEMBERS)))
                ]
            ).to_bytes(1),
        )
        for at, name in enumerate(names)
    ]
    for line, name in zip(lines, names, strict=True):
        request = SyncGroupRequest(
            group_id="classic",
            generation_id=generation,
            member_id=name,
            protocol_type="consumer",
            protocol_name="range",
            assignments=shares if name == leader else [],
        )
        line.send((request, 5))
    codes = {line.receive().error_code for line in lines}
    if codes != {0}:
        raise RuntimeError(f"assignments were refused with {codes}")


class _Member:
    """A member of the consumer protocol as its client keeps it."""

    def __init__(self, name: str, group: str) -> None:
        self.name = name
        self.group = group
        self.epoch = 0
        self.held: dict[Any, list[int]] = {}

    def request(self, *, full: bool = False) -> tuple[ConsumerGroupHeartbeatRequest, int]:
        joins = self.epoch == 0
        held = [TopicPartitions(topic_id=topic, partitions=partitions) for topic, partitions in self.held.items()]
        return ConsumerGroupHeartbeatRequest(
            group_id=self.group,
            member_id=self.name,
            member_epoch=self.epoch,
            rebalance_timeout_ms=300_000 if joins else -1,
            subscribed_topic_names=["members"] if joins else None,
            topic_partitions=held if joins or full else None,
        ), 1

    def take(self, answer: Any) -> bool:
        """Take what the coordinator says; whether it gave or took partitions."""
        if answer.error_code:
            raise RuntimeError(f"{self.name}: {ErrorCode(answer.error_code).name} {answer.error_message}")
        self.epoch = answer.member_epoch
        if answer.assignment is None:
            return False
        self.held = {each.topic_id: each.partitions for each in answer.assignment.topic_partitions}
        return True


def rebalance_consumer(broker: Broker) -> Figures:
    """100 members over 1,000 partitions: one leaves; how many heartbeat intervals pass until the others have everything.

    Members heartbeat every 5 s, spread evenly, and at once when they have something to say, as clients do.
    """
    line = Line(broker.address)
    await_coordinator(line, ["consumer"])
    members = [_Member(f"member-{at}", "consumer") for at in range(MEMBERS)]
    _settle(line, members)
    gone = members.pop()
    leaving = ConsumerGroupHeartbeatRequest(group_id="consumer", member_id=gone.name, member_epoch=-1)
    line.ask(leaving, 1)
    began = time.monotonic()
    due = {member.name: began + HEARTBEAT_S * (at + 1) / len(members) for at, member in enumerate(members)}
    while sum(len(partitions) for member in members for partitions in member.held.values()) < PARTITIONS:
        member = min(members, key=lambda each: due[each.name])
        time.sleep(max(0.0, due[member.name] - time.monotonic()))
        changed = member.take(line.ask(*member.request(full=True)))
        due[member.name] = time.monotonic() + (0.0 if changed else HEARTBEAT_S)
        if time.monotonic() - began > 60:
            raise RuntimeError("the group does not settle")
    took = time.monotonic() - began
    return {"heartbeat intervals for a consumer rebalance of 100 members over 1,000 partitions": round(took / HEARTBEAT_S, 2)}


def _settle(line: Line, members: list[_Member]) -> None:
    """Heartbeat until everybody has his share."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        for member in members:
            member.take(line.ask(*member.request(full=True)))
        if sum(len(partitions) for member in members for partitions in member.held.values()) == PARTITIONS:
            shares = [sum(map(len, member.held.values())) for member in members]
            if max(shares) - min(shares) <= 1:
                return
        time.sleep(0.05)
    raise RuntimeError("the group does not settle")


def join_large(address: Address, group: str, count: int) -> tuple[list[Line], list[_Member]]:
    """Have very many members join over a few connections, and settle."""
    lines = [Line(address) for _ in range(20)]
    await_coordinator(lines[0], [group])
    members = [_Member(f"member-{at:05}-{'x' * 22}", group) for at in range(count)]
    for _ in range(3):
        for start in range(0, count, len(lines)):
            pairs = list(zip(lines, members[start : start + len(lines)], strict=False))
            for line, member in pairs:
                line.send(member.request())
            for line, member in pairs:
                member.take(line.receive())
    return lines, members


class _Single:
    """The only member of a classic group."""

    def __init__(self, group: str) -> None:
        self.group = group
        self.member_id = ""
        self.generation = -1

    def join(self) -> tuple[JoinGroupRequest, int]:
        metadata = ConsumerProtocolSubscription(topics=["members"]).to_bytes(1)
        return JoinGroupRequest(
            group_id=self.group,
            session_timeout_ms=45_000,
            rebalance_timeout_ms=60_000,
            member_id="",
            protocol_type="consumer",
            protocols=[JoinGroupRequestProtocol(name="range", metadata=metadata)],
        ), 3

    def sync(self) -> tuple[SyncGroupRequest, int]:
        share = [SyncGroupRequestAssignment(member_id=self.member_id, assignment=b"")]
        return SyncGroupRequest(
            group_id=self.group, generation_id=self.generation, member_id=self.member_id, assignments=share
        ), 2

    def request(self) -> tuple[HeartbeatRequest, int]:
        return HeartbeatRequest(group_id=self.group, generation_id=self.generation, member_id=self.member_id), 4

    def take(self, answer: Any) -> bool:
        if answer.error_code:
            raise RuntimeError(f"{self.group}: {ErrorCode(answer.error_code).name}")
        return False


def join_singles(address: Address, count: int) -> tuple[list[Line], list[_Single]]:
    """Have very many classic groups of one member each."""
    lines = [Line(address) for _ in range(20)]
    await_coordinator(lines[0], ["single-0"])
    members = [_Single(f"single-{at}") for at in range(count)]
    for start in range(0, count, len(lines)):
        pairs = list(zip(lines, members[start : start + len(lines)], strict=False))
        for line, member in pairs:
            line.send(member.join())
        for line, member in pairs:
            answer = line.receive()
            member.take(answer)
            member.member_id, member.generation = answer.member_id, answer.generation_id
            line.send(member.sync())
        for line, member in pairs:
            member.take(line.receive())
    return lines, members


def heartbeat_all(
    broker: Broker, lines: list[Line], members: Sequence[_Member | _Single], seconds: float, interval: float = HEARTBEAT_S
) -> float:
    """Heartbeat each member once in an interval, spread evenly; what part of a core the broker used."""
    pause = interval / len(members) * len(lines)
    turn = cycle(range(0, len(members), len(lines)))
    # the first of each is not measured: from then on nothing is new
    _beat(turn, pause, lines, members, interval)
    began, before = time.monotonic(), broker.cpu_seconds()
    _beat(turn, pause, lines, members, seconds)
    return (broker.cpu_seconds() - before) / (time.monotonic() - began)


def _beat(
    turn: Iterator[int], pause: float, lines: list[Line], members: Sequence[_Member | _Single], seconds: float
) -> None:
    began, sent = time.monotonic(), 0
    while time.monotonic() - began < seconds:
        start = next(turn)
        pairs = list(zip(lines, members[start : start + len(lines)], strict=False))
        for line, member in pairs:
            line.send(member.request())
        for line, member in pairs:
            member.take(line.receive())
        sent += 1
        time.sleep(max(0.0, began + sent * pause - time.monotonic()))

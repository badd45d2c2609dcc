"""Membership of a consumer in a classic group: joining, heartbeats, rebalances; on the I/O thread."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from kafkax.client.assignors import ASSIGNORS, Member
from kafkax.client.cluster import GROUP, Cluster, check
from kafkax.client.membership import MOVED, Membership, Owner
from kafkax.client.types import by_topic
from kafkax.errors import ErrorCode, KafkaError, ProtocolError, error_code
from kafkax.protocol.coordinator_records.consumer_protocol import (
    ConsumerProtocolAssignment,
    ConsumerProtocolAssignmentTopicPartition,
    ConsumerProtocolSubscription,
)
from kafkax.protocol.coordinator_records.consumer_protocol import TopicPartition as OwnedTopic
from kafkax.protocol.messages.heartbeat import HeartbeatRequest, HeartbeatResponse
from kafkax.protocol.messages.join_group import JoinGroupRequest, JoinGroupRequestProtocol, JoinGroupResponse
from kafkax.protocol.messages.leave_group import LeaveGroupRequest, LeaveGroupResponse, MemberIdentity
from kafkax.protocol.messages.sync_group import SyncGroupRequest, SyncGroupRequestAssignment, SyncGroupResponse

__all__ = ["GroupMember"]

Key = tuple[str, int]
_LOST = frozenset({ErrorCode.UNKNOWN_MEMBER_ID, ErrorCode.ILLEGAL_GENERATION})
_COOPERATIVE = "cooperative-sticky"


class GroupMember(Membership):
    """A member of a group.

    Args:
        cluster: connections and metadata.
        owner: the consumer.
    """

    def __init__(self, cluster: Cluster, owner: Owner) -> None:
        super().__init__(cluster, owner)
        self.assignor: str | None = None
        self._seen: dict[str, int] = {}
        self._leader = False
        self._cooperative = _COOPERATIVE in self._config["partition.assignment.strategy"]

    def _metadata_came(self) -> None:
        """A leader divides anew when topics come, go or grow; a member with a pattern joins anew when others match."""
        if self._task is None or self.generation < 0:
            return
        if self._patterns and self._counts(self.wanted()).keys() != self._joined:
            self._rejoin.set()
        if self._leader and self._sizes(self._seen) != self._seen:
            self._rejoin.set()

    def _sizes(self, names: Iterable[str]) -> dict[str, int]:
        """How many partitions topics have; those that are not there (yet) have none."""
        return {**dict.fromkeys(names, 0), **self._counts(names)}

    # the member's life

    async def _run(self) -> None:
        while True:
            try:
                self._rejoin.clear()
                if self._topics or self._patterns:
                    await self._join()
                await self._stay()
            except KafkaError as error:
                await self._recover(error)

    async def _recover(self, error: KafkaError) -> None:
        self._cluster.report(error)
        if error.code in MOVED or error.code is ErrorCode.REQUEST_TIMED_OUT:
            self._cluster.lost_coordinator(GROUP, self.group)
        if error.code in _LOST or error.code is ErrorCode.FENCED_INSTANCE_ID:
            self.generation = -1
            if error.code is not ErrorCode.ILLEGAL_GENERATION:
                self.member_id = ""
            await self._owner.revoke(self._owner.owned(), True)
        if (
            error.retriable
            or error.code in _LOST
            or error.code in (ErrorCode.REBALANCE_IN_PROGRESS, ErrorCode.MEMBER_ID_REQUIRED)
        ):
            await asyncio.sleep(self._config["retry.backoff.ms"] / 1000 if error.retriable else 0)
            return
        self.fatal(error)
        await asyncio.sleep(self._config["retry.backoff.max.ms"] / 1000)

    async def _stay(self) -> None:
        """Send heartbeats until it is time to join again."""
        while not self._rejoin.is_set():
            try:
                await asyncio.wait_for(self._rejoin.wait(), self._interval())
                return
            except (TimeoutError, asyncio.TimeoutError):
                if self.generation < 0:
                    continue
            if not self._owner.progress():
                await self._too_slow()
                return
            if await self._heartbeat():
                return

    def _interval(self) -> float:
        return float(self._config["heartbeat.interval.ms"] / 1000)

    async def _beat(self) -> None:
        if await self._heartbeat():
            self._rejoin.set()

    async def _heartbeat(self) -> bool:
        """Send one; True when the group rebalances."""
        request = HeartbeatRequest(
            group_id=self.group,
            generation_id=self.generation,
            member_id=self.member_id,
            group_instance_id=self.instance_id,
        )
        try:
            answer = await self._ask(request, HeartbeatResponse)
        except KafkaError as error:
            if not error.retriable:
                raise
            self._cluster.lost_coordinator(GROUP, self.group)
            return False
        code = error_code(answer.error_code)
        if code is ErrorCode.REBALANCE_IN_PROGRESS:
            return True
        if code in MOVED or code is ErrorCode.COORDINATOR_LOAD_IN_PROGRESS:
            self._cluster.lost_coordinator(GROUP, self.group)
            return False
        check(answer.error_code, f"heartbeat in group {self.group}")
        self.stand_in.beat(await self._cluster.coordinator(GROUP, self.group), request, self._interval())
        return False

    # joining

    async def _join(self) -> None:
        if not self._cooperative:
            await self._beating(self._owner.revoke(self._owner.owned(), False))
        await self._cluster.refresh(
            None if self._patterns else self._topics, create=bool(self._config["allow.auto.create.topics"])
        )
        # Heartbeats that were sent meanwhile said again that the group rebalances.
        self._rejoin.clear()
        answer = await self._join_group()
        self.member_id, self.generation, self.assignor = answer.member_id, answer.generation_id, answer.protocol_name
        self._leader = answer.leader == answer.member_id
        assignments: list[SyncGroupRequestAssignment] = []
        if self._leader and not answer.skip_assignment:
            assignments = await self._divide(answer)
        request = SyncGroupRequest(
            group_id=self.group,
            generation_id=self.generation,
            member_id=self.member_id,
            group_instance_id=self.instance_id,
            protocol_type="consumer",
            protocol_name=self.assignor,
            assignments=assignments,
        )
        synced = await self._ask(request, SyncGroupResponse, self._rebalance_timeout())
        if synced.error_code == ErrorCode.REBALANCE_IN_PROGRESS:
            self._rejoin.set()
            return
        check(synced.error_code, f"sync in group {self.group}")
        await self._assigned(self._read(synced.assignment))

    async def _join_group(self) -> JoinGroupResponse:
        topics = self.wanted()
        self._joined = self._counts(topics).keys()
        owned = self._owner.owned()
        while True:
            request = JoinGroupRequest(
                group_id=self.group,
                session_timeout_ms=self._config["session.timeout.ms"],
                rebalance_timeout_ms=self._config["max.poll.interval.ms"],
                member_id=self.member_id,
                group_instance_id=self.instance_id,
                protocol_type="consumer",
                protocols=[
                    JoinGroupRequestProtocol(name=name, metadata=self._subscription(topics, owned))
                    for name in self._config["partition.assignment.strategy"]
                ],
            )
            answer: JoinGroupResponse = await self._ask(request, JoinGroupResponse, self._rebalance_timeout())
            if answer.error_code == ErrorCode.MEMBER_ID_REQUIRED:
                self.member_id = answer.member_id
                continue
            check(answer.error_code, f"joining group {self.group}")
            return answer

    def _subscription(self, topics: list[str], owned: list[Key]) -> bytes:
        return ConsumerProtocolSubscription(
            topics=topics,
            owned_partitions=[OwnedTopic(topic=topic, partitions=numbers) for topic, numbers in by_topic(owned).items()],
            generation_id=self.generation,
            rack_id=self._config["client.rack"] or None,
        ).to_bytes()

    async def _divide(self, answer: JoinGroupResponse) -> list[SyncGroupRequestAssignment]:
        members: dict[str, Member] = {}
        for each in answer.members:
            said = self._said(each.member_id, each.metadata)
            owned = [(topic.topic, number) for topic in said.owned_partitions for number in topic.partitions]
            members[each.member_id] = Member(said.topics, owned, said.generation_id, each.group_instance_id)
        names = sorted({topic for member in members.values() for topic in member.topics})
        self._cluster.watched.update(names)
        if self._counts(names).keys() != set(names):
            await self._cluster.refresh(names)
        self._seen = self._sizes(names)
        assignor = ASSIGNORS.get(self.assignor or "")
        if assignor is None:
            raise KafkaError(
                ErrorCode.INCONSISTENT_GROUP_PROTOCOL, f"group {self.group} uses {self.assignor!r}, which is not known"
            )
        return [
            SyncGroupRequestAssignment(
                member_id=name,
                assignment=ConsumerProtocolAssignment(
                    assigned_partitions=[
                        ConsumerProtocolAssignmentTopicPartition(topic=topic, partitions=numbers)
                        for topic, numbers in by_topic(keys).items()
                    ]
                ).to_bytes(),
            )
            for name, keys in assignor(members, self._seen).items()
        ]

    def _said(self, member: str, data: bytes) -> ConsumerProtocolSubscription:
        try:
            return ConsumerProtocolSubscription.from_bytes(data)
        except (ProtocolError, KafkaError) as error:
            code = ErrorCode.INCONSISTENT_GROUP_PROTOCOL
            raise KafkaError(code, f"what member {member} of group {self.group} subscribes to: {error}") from error

    def _read(self, data: bytes) -> list[Key]:
        if not data:
            return []
        try:
            assigned = ConsumerProtocolAssignment.from_bytes(data).assigned_partitions
        except ProtocolError as error:
            raise KafkaError(ErrorCode.INCONSISTENT_GROUP_PROTOCOL, f"the assignment of group {self.group}: {error}") from error
        return [(topic.topic, number) for topic in assigned for number in topic.partitions]

    async def _assigned(self, keys: list[Key]) -> None:
        owned = set(self._owner.owned())
        given_up = sorted(owned - set(keys))
        if given_up:
            await self._beating(self._owner.revoke(given_up, False))
            # What was given up can be given to its new owner in the next round only.
            self._rejoin.set()
        added = sorted(set(keys) - owned)
        await self._beating(self._owner.take(await self.committed(added) if added else {}))

    async def leave(self) -> None:
        """Leave the group at once; a static member stays, so that its next life takes over (KIP-345)."""
        member_id, self.member_id, self.generation = self.member_id, "", -1
        if not member_id or self.instance_id is not None:
            return
        node = await self._cluster.coordinator(GROUP, self.group)
        connection = await self._cluster.connection(node)
        version = connection.version(LeaveGroupRequest)
        if version >= 3:
            request = LeaveGroupRequest(group_id=self.group, members=[MemberIdentity(member_id=member_id)])
        else:
            request = LeaveGroupRequest(group_id=self.group, member_id=member_id)
        await connection.request(request, LeaveGroupResponse, self._cluster.timeout, version)

"""Membership of a consumer in a group of the new protocol (KIP-848): the broker assigns, heartbeats carry everything."""

from __future__ import annotations

import asyncio
import base64
import uuid
from collections.abc import Iterable

from kafkax.client.cluster import GROUP, Cluster, check
from kafkax.client.membership import MOVED, Membership, Owner
from kafkax.client.types import by_topic
from kafkax.errors import ErrorCode, KafkaError, error_code
from kafkax.protocol.messages.consumer_group_heartbeat import (
    ConsumerGroupHeartbeatRequest,
    ConsumerGroupHeartbeatResponse,
    TopicPartitions,
)

__all__ = ["ConsumerGroupMember"]

Key = tuple[str, int]
_JOIN, _LEAVE, _LEAVE_FOR_NOW = 0, -1, -2
"""Member epochs with a meaning; the last is a static member's, whose next life takes over."""
_FENCED = frozenset({ErrorCode.UNKNOWN_MEMBER_ID, ErrorCode.FENCED_MEMBER_EPOCH})
_MEMBERS_MAKE_IDS = 1
_FIRST_INTERVAL = 3.0


class ConsumerGroupMember(Membership):
    """A member of a group with ``group.protocol=consumer``.

    Args:
        cluster: connections and metadata.
        owner: the consumer.
    """

    def __init__(self, cluster: Cluster, owner: Owner) -> None:
        super().__init__(cluster, owner)
        self._heartbeat_interval = _FIRST_INTERVAL
        self._target: set[Key] | None = None
        self._unresolved: list[TopicPartitions] = []
        self._told: tuple[list[str], list[Key]] | None = None
        self._changed = asyncio.Event()

    def _metadata_came(self) -> None:
        """Topics that match a pattern come and go; ids of an assignment become known."""
        if self._task is None or self.generation < 0:
            return
        if self._unresolved:
            self._resolve(self._unresolved)
        if self._patterns and self._told is not None and self.wanted() != self._told[0]:
            self._changed.set()

    def _interval(self) -> float:
        return self._heartbeat_interval

    # the member's life

    async def _run(self) -> None:
        while True:
            try:
                await self._live()
            except KafkaError as error:
                await self._recover(error)

    async def _live(self) -> None:
        while self._topics or self._patterns:
            if self.generation > 0 and not self._owner.progress():
                await self._too_slow()
            await self._beat()
            if self._target is not None and self._target != set(self._owner.owned()):
                await self._beating(self._reconcile())
                continue
            try:
                await asyncio.wait_for(self._news(), self._interval())
            except (TimeoutError, asyncio.TimeoutError):
                continue
        await self._rejoin.wait()
        self._rejoin.clear()

    async def _news(self) -> None:
        """Wait until there is a reason not to wait for the next heartbeat's time."""
        waits = [asyncio.ensure_future(event.wait()) for event in (self._changed, self._rejoin)]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in waits:
                each.cancel()
            self._changed.clear()
            self._rejoin.clear()

    async def _recover(self, error: KafkaError) -> None:
        self._cluster.report(error)
        if error.code in MOVED or error.code is ErrorCode.REQUEST_TIMED_OUT:
            self._cluster.lost_coordinator(GROUP, self.group)
        if error.code in _FENCED:
            await self._forget()
        elif error.retriable:
            await asyncio.sleep(self._config["retry.backoff.ms"] / 1000)
        else:
            self.fatal(error)
            await asyncio.sleep(self._config["retry.backoff.max.ms"] / 1000)

    async def _forget(self) -> None:
        """The group has thrown this member out: give everything up and join anew."""
        self.generation = -1
        self._target, self._told, self._unresolved = None, None, []
        await self._owner.revoke(self._owner.owned(), True)

    async def _reconcile(self) -> None:
        """Give up what goes to others, tell the group, then take what is new."""
        target, owned = self._target or set(), set(self._owner.owned())
        given_up, added = sorted(owned - target), sorted(target - owned)
        if given_up:
            await self._owner.revoke(given_up, False)
        if added:
            await self._owner.take(await self.committed(added))

    # heartbeats

    async def _beat(self) -> None:
        node = await self._cluster.coordinator(GROUP, self.group)
        connection = await self._cluster.connection(node)
        version = connection.version(ConsumerGroupHeartbeatRequest)
        if not self.member_id and version >= _MEMBERS_MAKE_IDS:
            self.member_id = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        topics, owned = self.wanted(), self._owner.owned()
        request = self._request(topics, owned)
        answer = await connection.request(request, ConsumerGroupHeartbeatResponse, self._cluster.timeout, version)
        code = error_code(answer.error_code)
        if code is not ErrorCode.NONE:
            self._told = None
            if code is ErrorCode.UNSUPPORTED_VERSION:
                raise KafkaError(code, f"group {self.group}: {connection.address} does not serve group.protocol=consumer")
            check(answer.error_code, f"heartbeat in group {self.group}", answer.error_message)
        self._told = (topics, owned)
        self.member_id, self.generation = answer.member_id or self.member_id, answer.member_epoch
        self._heartbeat_interval = max(answer.heartbeat_interval_ms, 10) / 1000
        if answer.assignment is not None:
            self._resolve(answer.assignment.topic_partitions)
        # One that says everything is taken even if the epoch has moved on in an answer that nobody read.
        self.stand_in.beat(node, self._everything(topics, self._owner.owned()), self._interval())

    def _everything(self, topics: list[str], owned: list[Key]) -> ConsumerGroupHeartbeatRequest:
        return ConsumerGroupHeartbeatRequest(
            group_id=self.group,
            member_id=self.member_id,
            member_epoch=max(self.generation, _JOIN),
            instance_id=self.instance_id,
            rack_id=self._config["client.rack"] or None,
            rebalance_timeout_ms=self._config["max.poll.interval.ms"],
            server_assignor=self._config["group.remote.assignor"],
            subscribed_topic_names=topics,
            topic_partitions=self._named(owned),
        )

    def _request(self, topics: list[str], owned: list[Key]) -> ConsumerGroupHeartbeatRequest:
        """A heartbeat with what the coordinator does not know yet; with everything after a doubt."""
        told = self._told if self.generation > 0 else None
        if told is None:
            return self._everything(topics, owned)
        return ConsumerGroupHeartbeatRequest(
            group_id=self.group,
            member_id=self.member_id,
            member_epoch=self.generation,
            subscribed_topic_names=topics if told[0] != topics else None,
            topic_partitions=self._named(owned) if told[1] != owned else None,
        )

    def _named(self, owned: Iterable[Key]) -> list[TopicPartitions]:
        known = self._cluster.metadata.topics
        return [
            TopicPartitions(topic_id=known[topic].topic_id, partitions=numbers)
            for topic, numbers in by_topic(owned).items()
            if topic in known
        ]

    def _resolve(self, assigned: list[TopicPartitions]) -> None:
        """Find the names of what was assigned; topics that are not known yet follow when the metadata is there."""
        names = self._cluster.metadata.names
        self._unresolved = assigned if any(each.topic_id not in names for each in assigned) else []
        self._target = {
            (names[each.topic_id], number) for each in assigned if each.topic_id in names for number in each.partitions
        }
        if self._unresolved:
            self._cluster.watched.update(self._topics)
            self._cluster.refresh_soon()
        self._changed.set()

    # the end

    async def leave(self) -> None:
        """Leave the group at once; a static member says that it comes back."""
        epoch, self.generation = self.generation, -1
        self._target, self._told, self._unresolved = None, None, []
        if epoch < 0:
            return
        request = ConsumerGroupHeartbeatRequest(
            group_id=self.group,
            member_id=self.member_id,
            member_epoch=_LEAVE if self.instance_id is None else _LEAVE_FOR_NOW,
            instance_id=self.instance_id,
        )
        await self._ask(request, ConsumerGroupHeartbeatResponse)

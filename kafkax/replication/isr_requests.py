"""AlterPartition from the leader's side: changes of in-sync replicas brought to the controller (KIP-497)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import NamedTuple, cast
from uuid import UUID

from kafkax.errors import ErrorCode, KafkaError, ProtocolError
from kafkax.model import TopicPartition
from kafkax.protocol.messages.alter_partition import (
    AlterPartitionRequest,
    AlterPartitionRequestPartitionData,
    AlterPartitionRequestTopicData,
    AlterPartitionResponse,
    AlterPartitionResponsePartitionData,
    BrokerState,
)
from kafkax.replication.leaders import Leaders
from kafkax.replication.leadership import IsrChange

__all__ = ["IsrRequestQueue"]

_log = logging.getLogger(__name__)
_RETRY_SECONDS = 0.1
_SETTLED = frozenset(
    {
        ErrorCode.INVALID_UPDATE_VERSION,
        ErrorCode.FENCED_LEADER_EPOCH,
        ErrorCode.UNKNOWN_TOPIC_ID,
        ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
        ErrorCode.NEW_LEADER_ELECTED,
    }
)
"""The controller knows a newer state, which it tells everybody; asking again would not help."""

Ask = Callable[[AlterPartitionRequest], Awaitable[AlterPartitionResponse]]
Altered = Callable[[TopicPartition, tuple[int, ...], int], None]


class _Wish(NamedTuple):
    topic_id: UUID
    change: IsrChange


class IsrRequestQueue:
    """Collects changes and asks for all of them at once, one request at a time, until each is decided.

    Args:
        broker_id, broker_epoch: of this broker.
        leaders: who wants the changes.
        ask: sends a request to the controller.
        altered: takes a change that was made: partition, ISR, partition epoch.
    """

    def __init__(self, broker_id: int, broker_epoch: Callable[[], int], leaders: Leaders, ask: Ask, altered: Altered) -> None:
        self._broker_id = broker_id
        self._broker_epoch = broker_epoch
        self._leaders = leaders
        self._ask = ask
        self._altered = altered
        self._wishes: dict[TopicPartition, _Wish] = {}
        self._task: asyncio.Task[None] | None = None

    def ask(self, partition: TopicPartition, topic_id: object, change: IsrChange) -> None:
        """Ask for a change until the controller decides."""
        self._wishes[partition] = _Wish(cast(UUID, topic_id), change)
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._run())

    async def close(self) -> None:
        """Stop asking."""
        self._wishes.clear()
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _run(self) -> None:
        while True:
            self._wishes = {key: wish for key, wish in self._wishes.items() if self._leaders.is_asked(key, wish.change)}
            asked = dict(self._wishes)
            if not asked:
                return
            try:
                response = await self._ask(self._request(asked))
                if response.error_code != ErrorCode.NONE:
                    raise KafkaError(ErrorCode(response.error_code))
            except (KafkaError, ProtocolError) as error:
                # It may have been done: the changes stay asked for, and are asked for again as they are.
                _log.info("in-sync replicas could not be changed, trying again: %s", error)
                await asyncio.sleep(_RETRY_SECONDS)
                continue
            self._decided(asked, response)

    def _request(self, asked: dict[TopicPartition, _Wish]) -> AlterPartitionRequest:
        topics: dict[UUID, AlterPartitionRequestTopicData] = {}
        for key, (topic_id, change) in asked.items():
            topic = topics.setdefault(topic_id, AlterPartitionRequestTopicData(topic_name=key.topic, topic_id=topic_id))
            topic.partitions.append(
                AlterPartitionRequestPartitionData(
                    partition_index=key.partition,
                    leader_epoch=change.leader_epoch,
                    new_isr_with_epochs=[BrokerState(broker_id=member, broker_epoch=e) for member, e in change.members.items()],
                    partition_epoch=change.partition_epoch,
                )
            )
        return AlterPartitionRequest(broker_id=self._broker_id, broker_epoch=self._broker_epoch(), topics=list(topics.values()))

    def _decided(self, asked: dict[TopicPartition, _Wish], response: AlterPartitionResponse) -> None:
        by_id = {(wish.topic_id, key.partition): (key, wish) for key, wish in asked.items()}
        for topic in response.topics:
            for answer in topic.partitions:
                found = by_id.pop((topic.topic_id, answer.partition_index), None)
                if found is not None:
                    self._forget(*found)
                    self._take(*found, answer)
        for key, wish in by_id.values():
            self._forget(key, wish)
            self._leaders.refused(key, wish.change, retriable=True)

    def _forget(self, key: TopicPartition, wish: _Wish) -> None:
        """A wish is decided; one that a newer leadership has put in its place meanwhile is not."""
        if self._wishes.get(key) is wish:
            del self._wishes[key]

    def _take(self, key: TopicPartition, wish: _Wish, answer: AlterPartitionResponsePartitionData) -> None:
        code = ErrorCode(answer.error_code)
        if code is ErrorCode.NONE:
            if answer.leader_epoch == wish.change.leader_epoch:
                self._altered(key, tuple(answer.isr), answer.partition_epoch)
            return
        _log.info("%s: the controller refused the in-sync replicas %s: %s", key, sorted(wish.change.members), code.name)
        self._leaders.refused(key, wish.change, retriable=code not in _SETTLED)

"""ISR changes: a leader asks, the controller decides and writes (KIP-497, 704, 841, 903)."""

from __future__ import annotations

from kafkax.cluster.controller.context import Context, Leadership
from kafkax.cluster.controller.ledger import Ledger
from kafkax.cluster.znodes import PartitionState
from kafkax.errors import ErrorCode, KafkaError
from kafkax.model import TopicPartition
from kafkax.protocol.messages.alter_partition import (
    AlterPartitionRequest,
    AlterPartitionRequestPartitionData,
    AlterPartitionResponse,
    AlterPartitionResponsePartitionData,
    AlterPartitionResponseTopicData,
)
from kafkax.protocol.schema import ZERO_UUID

__all__ = ["alter_partitions"]

_UNCHECKED_EPOCH = -1


async def alter_partitions(
    context: Context, ledger: Ledger, request: AlterPartitionRequest
) -> tuple[AlterPartitionResponse, set[TopicPartition]]:
    """Validate and write the ISR changes of one leader; returns its answer and the partitions that changed."""
    live = context.brokers.get(request.broker_id)
    if live is None or live.epoch != request.broker_epoch:
        return AlterPartitionResponse(error_code=ErrorCode.STALE_BROKER_EPOCH), set()
    states: dict[TopicPartition, PartitionState] = {}
    outcomes: dict[TopicPartition, ErrorCode] = {}
    named = [(topic, topic.topic_name or context.names.get(topic.topic_id, "")) for topic in request.topics]
    for topic, name in named:
        missing = ErrorCode.UNKNOWN_TOPIC_ID if topic.topic_id != ZERO_UUID else ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
        for data in topic.partitions:
            partition = TopicPartition(name, data.partition_index)
            leadership = context.leaderships.get(partition)
            if leadership is None or name in context.deleting:
                outcomes[partition] = missing if name not in context.topics else ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
                continue
            try:
                changed = _decide(context, partition, leadership, data, request.broker_id)
            except KafkaError as error:
                outcomes[partition] = error.code
                continue
            outcomes[partition] = ErrorCode.NONE
            if changed is not None:
                states[partition] = changed
    written = await ledger.update_states(states)
    for partition in states.keys() - written:
        outcomes[partition] = ErrorCode.INVALID_UPDATE_VERSION
    topics = []
    for topic, name in named:
        answers = [
            _answer(context, TopicPartition(name, data.partition_index), outcomes[TopicPartition(name, data.partition_index)])
            for data in topic.partitions
        ]
        topics.append(AlterPartitionResponseTopicData(topic_name=topic.topic_name, topic_id=topic.topic_id, partitions=answers))
    return AlterPartitionResponse(topics=topics), written


def _decide(
    context: Context, partition: TopicPartition, leadership: Leadership, data: AlterPartitionRequestPartitionData, broker_id: int
) -> PartitionState | None:
    """The state after the change, None when nothing changes.

    Raises:
        KafkaError: the change is refused.
    """
    state, version = leadership
    wanted = {member.broker_id: member.broker_epoch for member in data.new_isr_with_epochs} or dict.fromkeys(
        data.new_isr, _UNCHECKED_EPOCH
    )
    if data.leader_epoch > state.leader_epoch or data.partition_epoch > version:
        # The leader knows of a newer state than this controller: it has been replaced.
        raise KafkaError(ErrorCode.NOT_CONTROLLER)
    if data.leader_epoch < state.leader_epoch:
        raise KafkaError(ErrorCode.FENCED_LEADER_EPOCH)
    if broker_id != state.leader or broker_id not in wanted:
        raise KafkaError(ErrorCode.INVALID_REQUEST)
    isr, recovering = tuple(wanted), data.leader_recovery_state == 1
    if data.partition_epoch < version:
        if set(isr) == set(state.isr) and recovering == state.recovering:
            # The answer to this very change was lost.
            return None
        raise KafkaError(ErrorCode.INVALID_UPDATE_VERSION)
    if (recovering and len(isr) > 1) or (recovering and not state.recovering):
        raise KafkaError(ErrorCode.INVALID_REQUEST)
    assignment = context.assignment(partition)
    assert assignment is not None
    for member, epoch in wanted.items():
        if member not in assignment.replicas:
            raise KafkaError(ErrorCode.INVALID_REQUEST)
        live = context.brokers.get(member)
        if not context.is_online(member, partition) or live is None or epoch not in (_UNCHECKED_EPOCH, live.epoch):
            raise KafkaError(ErrorCode.INELIGIBLE_REPLICA)
    if set(isr) == set(state.isr) and recovering == state.recovering:
        return None
    return PartitionState(state.leader, state.leader_epoch, isr, context.epoch, recovering)


def _answer(context: Context, partition: TopicPartition, code: ErrorCode) -> AlterPartitionResponsePartitionData:
    leadership = context.leaderships.get(partition)
    if code is not ErrorCode.NONE or leadership is None:
        return AlterPartitionResponsePartitionData(partition_index=partition.partition, error_code=code)
    state = leadership.state
    return AlterPartitionResponsePartitionData(
        partition_index=partition.partition,
        leader_id=state.leader,
        leader_epoch=state.leader_epoch,
        isr=list(state.isr),
        leader_recovery_state=int(state.recovering),
        partition_epoch=leadership.version,
    )

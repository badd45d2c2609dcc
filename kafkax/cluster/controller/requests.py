"""From decisions to requests: collects what brokers have to hear and puts it into as few requests as possible."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from kafkax.cluster.controller.context import Context
from kafkax.cluster.image import FULL_UPDATE, LEADER_DURING_DELETE
from kafkax.cluster.znodes import Endpoint
from kafkax.model import TopicPartition
from kafkax.protocol.messages.leader_and_isr import (
    LeaderAndIsrLiveLeader,
    LeaderAndIsrPartitionState,
    LeaderAndIsrRequest,
    LeaderAndIsrTopicState,
)
from kafkax.protocol.messages.stop_replica import StopReplicaPartitionState, StopReplicaRequest, StopReplicaTopicState
from kafkax.protocol.messages.update_metadata import (
    UpdateMetadataBroker,
    UpdateMetadataEndpoint,
    UpdateMetadataPartitionState,
    UpdateMetadataRequest,
    UpdateMetadataTopicState,
)

__all__ = ["EPOCH_DURING_DELETE", "ControlRequest", "RequestBatch", "security_protocol_id"]

EPOCH_DURING_DELETE = -2
"""As the leader epoch in StopReplica: the topic is being deleted, whatever the epoch is."""

_INCREMENTAL_UPDATE = 0

_NO_EPOCH = -1
_SECURITY_PROTOCOLS = {"PLAINTEXT": 0, "SSL": 1, "SASL_PLAINTEXT": 2, "SASL_SSL": 3}

ControlRequest = LeaderAndIsrRequest | StopReplicaRequest | UpdateMetadataRequest


def security_protocol_id(name: str) -> int:
    """The number of a security protocol on the wire."""
    return _SECURITY_PROTOCOLS[name]


class _Stop(NamedTuple):
    leader_epoch: int
    delete: bool


class RequestBatch:
    """What one event makes known.  :meth:`build` turns it into requests, once.

    Args:
        context: read when building, so that requests carry what is true then.
        listener: name of the listener that brokers use among themselves.
    """

    def __init__(self, context: Context, listener: str) -> None:
        self._context = context
        self._listener = listener
        self._lead: dict[int, dict[TopicPartition, bool]] = {}
        self._stop: dict[int, dict[TopicPartition, _Stop]] = {}
        self._metadata_to: dict[int, None] = {}
        self._metadata: dict[TopicPartition, None] = {}
        self._full_metadata_to: dict[int, None] = {}

    def lead(self, partition: TopicPartition, brokers: Iterable[int], *, is_new: bool = False) -> None:
        """Tell brokers the partition's leader and ISR, and every broker its metadata."""
        for broker in brokers:
            if broker in self._context.brokers:
                wanted = self._lead.setdefault(broker, {})
                wanted[partition] = is_new or wanted.get(partition, False)
        self.metadata(self._context.brokers, (partition,))

    def stop(self, partition: TopicPartition, broker: int, *, delete: bool) -> None:
        """Tell a broker to stop following or leading the partition, and to delete the replica if so."""
        if broker not in self._context.brokers:
            return
        leadership = self._context.leaderships.get(partition)
        epoch = _NO_EPOCH if leadership is None else leadership.state.leader_epoch
        if partition.topic in self._context.deleting:
            epoch = EPOCH_DURING_DELETE
        self._stop.setdefault(broker, {})[partition] = _Stop(epoch, delete)

    def metadata(self, brokers: Iterable[int], partitions: Iterable[TopicPartition] = ()) -> None:
        """Tell brokers who lives, and the state of some partitions."""
        self._metadata_to.update(dict.fromkeys(brokers))
        self._metadata.update(dict.fromkeys(partitions))

    def full_metadata(self, brokers: Iterable[int]) -> None:
        """Tell brokers everything: who lives, and the state of every partition."""
        self._full_metadata_to.update(dict.fromkeys(brokers))

    def build(self) -> list[tuple[int, ControlRequest]]:
        """The requests by broker, in the order in which each broker must get them."""
        requests: list[tuple[int, ControlRequest]] = []
        for broker, partitions in self._lead.items():
            if broker in self._context.brokers:
                requests.append((broker, self._leader_and_isr(broker, partitions)))
        requests += self._update_metadata()
        for broker, stops in self._stop.items():
            if broker in self._context.brokers:
                requests.append((broker, self._stop_replica(broker, stops)))
        return requests

    def _leader_and_isr(self, broker: int, partitions: dict[TopicPartition, bool]) -> LeaderAndIsrRequest:
        context = self._context
        topics: dict[str, LeaderAndIsrTopicState] = {}
        leaders: set[int] = set()
        for partition, is_new in partitions.items():
            assignment = context.assignment(partition)
            leadership = context.leaderships.get(partition)
            if assignment is None or leadership is None:
                continue
            topic = topics.get(partition.topic)
            if topic is None:
                topic_id = context.topics[partition.topic].topic_id
                topic = topics[partition.topic] = LeaderAndIsrTopicState(topic_name=partition.topic, topic_id=topic_id)
            state = leadership.state
            leaders.add(state.leader)
            topic.partition_states.append(
                LeaderAndIsrPartitionState(
                    topic_name=partition.topic,
                    partition_index=partition.partition,
                    controller_epoch=state.controller_epoch,
                    leader=state.leader,
                    leader_epoch=state.leader_epoch,
                    isr=list(state.isr),
                    partition_epoch=leadership.version,
                    replicas=list(assignment.replicas),
                    adding_replicas=list(assignment.adding),
                    removing_replicas=list(assignment.removing),
                    is_new=is_new,
                    leader_recovery_state=int(state.recovering),
                )
            )
        return LeaderAndIsrRequest(
            controller_id=context.broker_id,
            controller_epoch=context.epoch,
            broker_epoch=context.brokers[broker].epoch,
            topic_states=list(topics.values()),
            live_leaders=self._live_leaders(leaders),
        )

    def _live_leaders(self, leaders: set[int]) -> list[LeaderAndIsrLiveLeader]:
        found = []
        for leader in sorted(leaders & self._context.brokers.keys()):
            endpoint = internal_endpoint(self._context.brokers[leader].registration.endpoints, self._listener)
            found.append(LeaderAndIsrLiveLeader(broker_id=leader, host_name=endpoint.host, port=endpoint.port))
        return found

    def _update_metadata(self) -> list[tuple[int, ControlRequest]]:
        context = self._context
        brokers = [
            _broker(live.registration.broker_id, live.registration.endpoints, live.registration.rack)
            for live in context.brokers.values()
        ]
        requests: list[tuple[int, ControlRequest]] = []
        some = [broker for broker in self._metadata_to if broker not in self._full_metadata_to]
        every = list(self._full_metadata_to)
        whole = [partition for partition, _ in context.partitions()] if every else []
        for targets, partitions, kind in ((some, list(self._metadata), _INCREMENTAL_UPDATE), (every, whole, FULL_UPDATE)):
            # The states are shared between the requests to several brokers; who gets one only reads it.
            topics = self._topic_states(partitions) if targets else []
            for broker in targets:
                if broker not in context.brokers:
                    continue
                request = UpdateMetadataRequest(
                    type=kind,
                    controller_id=context.broker_id,
                    controller_epoch=context.epoch,
                    broker_epoch=context.brokers[broker].epoch,
                    topic_states=topics,
                    live_brokers=brokers,
                )
                requests.append((broker, request))
        return requests

    def _topic_states(self, partitions: list[TopicPartition]) -> list[UpdateMetadataTopicState]:
        context = self._context
        topics: dict[str, UpdateMetadataTopicState] = {}
        for partition in partitions:
            assignment = context.assignment(partition)
            leadership = context.leaderships.get(partition)
            if assignment is None or leadership is None:
                continue
            topic = topics.get(partition.topic)
            if topic is None:
                topic_id = context.topics[partition.topic].topic_id
                topic = topics[partition.topic] = UpdateMetadataTopicState(topic_name=partition.topic, topic_id=topic_id)
            state = leadership.state
            leader = LEADER_DURING_DELETE if partition.topic in context.deleting else state.leader
            topic.partition_states.append(
                UpdateMetadataPartitionState(
                    topic_name=partition.topic,
                    partition_index=partition.partition,
                    controller_epoch=state.controller_epoch,
                    leader=leader,
                    leader_epoch=state.leader_epoch,
                    isr=list(state.isr),
                    zk_version=leadership.version,
                    replicas=list(assignment.replicas),
                    offline_replicas=[r for r in assignment.replicas if not context.is_alive(r, partition)],
                )
            )
        return list(topics.values())

    def _stop_replica(self, broker: int, stops: dict[TopicPartition, _Stop]) -> StopReplicaRequest:
        topics: dict[str, StopReplicaTopicState] = {}
        for partition, stop in stops.items():
            topic = topics.setdefault(partition.topic, StopReplicaTopicState(topic_name=partition.topic))
            topic.partition_states.append(
                StopReplicaPartitionState(
                    partition_index=partition.partition, leader_epoch=stop.leader_epoch, delete_partition=stop.delete
                )
            )
        return StopReplicaRequest(
            controller_id=self._context.broker_id,
            controller_epoch=self._context.epoch,
            broker_epoch=self._context.brokers[broker].epoch,
            topic_states=list(topics.values()),
        )


def internal_endpoint(endpoints: tuple[Endpoint, ...], listener: str) -> Endpoint:
    """The endpoint of the listener between brokers; the first one of a broker that lacks it."""
    return next((endpoint for endpoint in endpoints if endpoint.listener == listener), endpoints[0])


def _broker(broker_id: int, endpoints: tuple[Endpoint, ...], rack: str | None) -> UpdateMetadataBroker:
    return UpdateMetadataBroker(
        id=broker_id,
        rack=rack,
        endpoints=[
            UpdateMetadataEndpoint(
                port=e.port, host=e.host, listener=e.listener, security_protocol=security_protocol_id(e.security_protocol)
            )
            for e in endpoints
        ],
    )

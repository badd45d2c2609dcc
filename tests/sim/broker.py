"""A broker as the controller sees it: a registration, an image, and replicas that only remember what they were told."""

from __future__ import annotations

import asyncio
from random import Random
from uuid import UUID

from kafkax.cluster.controller import Controller
from kafkax.cluster.controller.channels import BrokerChannel
from kafkax.cluster.controller.tenure import Settings
from kafkax.cluster.dynamic_configs import DynamicConfigs
from kafkax.cluster.fence import ControllerFence
from kafkax.cluster.image import FULL_UPDATE, MetadataCache
from kafkax.cluster.registration import Membership, prepare_cluster
from kafkax.cluster.store import CoordinationStore, StoreError
from kafkax.cluster.topic_admin import TopicAdmin
from kafkax.cluster.znodes import BrokerRegistration, Endpoint
from kafkax.config import BrokerConfig
from kafkax.errors import ErrorCode, KafkaError
from kafkax.model import TopicPartition
from kafkax.protocol.message import Request, Response
from kafkax.protocol.messages.alter_partition import (
    AlterPartitionRequest,
    AlterPartitionRequestPartitionData,
    AlterPartitionRequestTopicData,
    AlterPartitionResponse,
    BrokerState,
)
from kafkax.protocol.messages.leader_and_isr import (
    LeaderAndIsrPartitionError,
    LeaderAndIsrPartitionState,
    LeaderAndIsrRequest,
    LeaderAndIsrResponse,
)
from kafkax.protocol.messages.stop_replica import StopReplicaRequest, StopReplicaResponse
from kafkax.protocol.messages.update_metadata import UpdateMetadataRequest, UpdateMetadataResponse


class LoopClock:
    """The event loop's time, which may be virtual."""

    def wall_ms(self) -> int:
        return int(asyncio.get_running_loop().time() * 1000)

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()


class Cluster:
    """Brokers by id; requests between them take up to ``latency`` seconds and fail when the target is down."""

    def __init__(self, random: Random | None = None, latency: float = 0.0, loss: float = 0.0, late: float = 0.0) -> None:
        self.random = random or Random(0)
        self.latency = latency
        self.loss = loss
        """How likely a connection breaks before a request arrives, and again before its answer does."""
        self.late = late
        """How likely a controller's request is held up on the way until its sender is no longer there, and arrives then."""
        self.brokers: dict[int, SimBroker] = {}
        self.channels: set[_Channel] = set()

    async def delay(self) -> None:
        await asyncio.sleep(self.random.uniform(0, self.latency))

    def channel(self, registration: BrokerRegistration) -> BrokerChannel:
        channel = _Channel(self, registration)
        self.channels.add(channel)
        return channel

    def connections_break(self, broker_id: int) -> None:
        """A process died: whoever was connected to it hears so."""
        for channel in [channel for channel in self.channels if channel.target == broker_id]:
            if channel.on_lost is not None:
                channel.on_lost()

    def controllers(self) -> list[int]:
        return [broker.broker_id for broker in self.brokers.values() if broker.up and broker.controller.active]


class _Channel(BrokerChannel):
    def __init__(self, cluster: Cluster, registration: BrokerRegistration) -> None:
        self._cluster = cluster
        self._target = registration
        self._held: list[Request] = []

    @property
    def target(self) -> int:
        return self._target.broker_id

    async def probe(self) -> None:
        await self._cluster.delay()
        broker = self._cluster.brokers.get(self.target)
        if broker is None or not broker.up:
            raise ConnectionRefusedError(f"broker {self.target} is down")

    async def send(self, request: Request) -> Response:
        await self._cluster.delay()
        self._break("before the request arrived")
        if self._cluster.late and self._cluster.random.random() < self._cluster.late:
            self._held.append(request)
            raise ConnectionResetError(f"the connection to broker {self._target.broker_id} broke with a request on it")
        broker = self._cluster.brokers.get(self._target.broker_id)
        if broker is None or not broker.up:
            raise ConnectionRefusedError(f"broker {self._target.broker_id} is down")
        response = broker.handle(request)
        await self._cluster.delay()
        if not broker.up:
            raise ConnectionResetError(f"broker {self._target.broker_id} died")
        self._break("before the answer arrived")
        return response

    def _break(self, when: str) -> None:
        if self._cluster.random.random() < self._cluster.loss:
            raise ConnectionResetError(f"the connection to broker {self._target.broker_id} broke {when}")

    async def close(self) -> None:
        self._cluster.channels.discard(self)
        for request in self._held:
            asyncio.get_running_loop().call_later(self._cluster.random.uniform(0, 10), self._arrive_late, request)

    def _arrive_late(self, request: Request) -> None:
        broker = self._cluster.brokers.get(self.target)
        if broker is not None and broker.up:
            broker.handle(request)


class SimBroker:
    """A candidate for controller with remembering replicas."""

    def __init__(
        self,
        broker_id: int,
        cluster: Cluster,
        store: CoordinationStore,
        *,
        rack: str | None = None,
        settings: Settings | None = None,
    ) -> None:
        self.broker_id = broker_id
        self.cluster = cluster
        self.store = store
        self.up = False
        self.epoch = -1
        self.obeyed = ControllerFence()
        endpoint = Endpoint("PLAINTEXT", f"127.0.0.{broker_id}", 9092, "PLAINTEXT")
        self.registration = BrokerRegistration(broker_id, (endpoint,), rack)
        self.membership = Membership(store, lambda: self.registration, self._joined, self._refused)
        self.controller = Controller(broker_id, store, cluster.channel, settings, clock=LoopClock())
        self.cache = MetadataCache("")
        self.configs = DynamicConfigs(store, self.cache, LoopClock())
        config = BrokerConfig({"listeners": "PLAINTEXT://127.0.0.1:9092", "node.id": str(broker_id), "log.dirs": "/nowhere"})
        self.admin = TopicAdmin(store, self.cache, config, cluster.random)
        self.replicas: dict[TopicPartition, LeaderAndIsrPartitionState] = {}
        self.topic_ids: dict[TopicPartition, UUID] = {}
        self.broken: set[TopicPartition] = set()
        """Replicas whose log directory is to fail."""
        self.deleted: list[TopicPartition] = []

    async def start(self) -> None:
        await prepare_cluster(self.store)
        await self.membership.join()
        self.up = True
        self.cluster.brokers[self.broker_id] = self
        await self.configs.start()
        await self.controller.start()

    async def stop(self) -> None:
        """Stop without handing anything over; the session ends at once."""
        await self.crash()
        await self.store.close()

    def _joined(self, epoch: int) -> None:
        self.epoch = epoch

    def _refused(self, error: KafkaError) -> None:
        self.up = False

    async def crash(self) -> None:
        """Stop answering."""
        self.up = False
        self.cluster.connections_break(self.broker_id)
        await self.membership.leave()
        await self.configs.close()
        await self.controller.close()

    def handle(self, request: Request) -> Response:
        if isinstance(request, UpdateMetadataRequest):
            code = self._fence(request.controller_epoch, request.broker_epoch)
            if code is ErrorCode.NONE:
                self.cache.update(request)
                self._learn_isrs(request)
                if request.type == FULL_UPDATE:
                    self._drop_strays()
            return UpdateMetadataResponse(error_code=code)
        if isinstance(request, LeaderAndIsrRequest):
            return self._leader_and_isr(request)
        assert isinstance(request, StopReplicaRequest)
        code = self._fence(request.controller_epoch, request.broker_epoch)
        if code is ErrorCode.NONE:
            for topic in request.topic_states:
                for state in topic.partition_states:
                    partition = TopicPartition(topic.topic_name, state.partition_index)
                    self.replicas.pop(partition, None)
                    if state.delete_partition:
                        self.deleted.append(partition)
        return StopReplicaResponse(error_code=code)

    def _learn_isrs(self, request: UpdateMetadataRequest) -> None:
        for topic in request.topic_states:
            for update in topic.partition_states:
                known = self.replicas.get(TopicPartition(topic.topic_name, update.partition_index))
                if known is not None and known.leader_epoch == update.leader_epoch and known.partition_epoch < update.zk_version:
                    known.isr, known.partition_epoch = list(update.isr), update.zk_version

    def _drop_strays(self) -> None:
        for partition in list(self.replicas):
            known = self.cache.image.partition(*partition)
            if known is None or self.broker_id not in known.replicas:
                del self.replicas[partition]

    def _leader_and_isr(self, request: LeaderAndIsrRequest) -> LeaderAndIsrResponse:
        code = self._fence(request.controller_epoch, request.broker_epoch)
        errors = []
        if code is ErrorCode.NONE:
            for topic in request.topic_states:
                for state in topic.partition_states:
                    partition = TopicPartition(topic.topic_name, state.partition_index)
                    known = self.replicas.get(partition)
                    if partition in self.broken:
                        errors.append(self._error(partition, ErrorCode.KAFKA_STORAGE_ERROR))
                    elif known is None or self._is_newer(partition, topic.topic_id, state):
                        self.replicas[partition] = state
                        self.topic_ids[partition] = topic.topic_id
        return LeaderAndIsrResponse(error_code=code, partition_errors=errors)

    def _is_newer(self, partition: TopicPartition, topic_id: UUID, state: LeaderAndIsrPartitionState) -> bool:
        """Also when it is of a topic that was created anew under the old one's name, and begins at epoch 0 again."""
        return self.topic_ids[partition] != topic_id or state.leader_epoch >= self.replicas[partition].leader_epoch

    def _error(self, partition: TopicPartition, code: ErrorCode) -> LeaderAndIsrPartitionError:
        return LeaderAndIsrPartitionError(topic_name=partition.topic, partition_index=partition.partition, error_code=code)

    def _fence(self, controller_epoch: int, broker_epoch: int) -> ErrorCode:
        return self.obeyed.admit(controller_epoch, broker_epoch, self.epoch)

    def leads(self, partition: TopicPartition) -> bool:
        state = self.replicas.get(partition)
        return self.up and state is not None and state.leader == self.broker_id

    async def change_isr(self, partition: TopicPartition, isr: list[int]) -> AlterPartitionResponse | None:
        """As the partition's leader, ask whoever is controller for another ISR; None when nobody is."""
        state = self.replicas[partition]
        controllers = self.cluster.controllers()
        if not controllers:
            return None
        brokers = self.cluster.brokers
        members = [BrokerState(broker_id=member, broker_epoch=brokers[member].epoch) for member in isr]
        data = AlterPartitionRequestPartitionData(
            partition_index=partition.partition,
            leader_epoch=state.leader_epoch,
            new_isr_with_epochs=members,
            partition_epoch=state.partition_epoch,
        )
        topic = AlterPartitionRequestTopicData(topic_name=partition.topic, partitions=[data])
        request = AlterPartitionRequest(broker_id=self.broker_id, broker_epoch=self.epoch, topics=[topic])
        try:
            response = await brokers[controllers[0]].controller.alter_partition(request)
        except (StoreError, asyncio.CancelledError):
            return None
        if response.error_code == ErrorCode.NONE and self.replicas.get(partition) is state:
            answer = response.topics[0].partitions[0]
            if answer.error_code == ErrorCode.NONE:
                state.isr, state.partition_epoch = list(answer.isr), answer.partition_epoch
        return response

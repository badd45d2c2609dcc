"""A cluster with data: controllers, leaders, followers, producers and disks, through crashes and power failures, from a seed.

Logs are lists of (epoch, value); everything that decides is the product's own.  A value that a producer was told is committed
must be on every in-sync replica at its offset in the end, and whatever a consumer once read must never change.
"""

from __future__ import annotations

import asyncio
from random import Random

from kafkax.cluster import znodes
from kafkax.cluster.store import StoreError
from kafkax.cluster.topic_admin import NewTopic
from kafkax.cluster.znodes import NO_LEADER, PartitionState
from kafkax.errors import ErrorCode, KafkaError
from kafkax.model import TopicPartition
from kafkax.protocol.message import Request, Response
from kafkax.protocol.messages.alter_partition import (
    AlterPartitionRequest,
    AlterPartitionRequestPartitionData,
    AlterPartitionRequestTopicData,
    BrokerState,
)
from kafkax.protocol.messages.leader_and_isr import LeaderAndIsrPartitionState, LeaderAndIsrRequest
from kafkax.replication.following import Following, divergence
from kafkax.replication.leadership import IsrChange, Leadership
from tests.sim.broker import Cluster, SimBroker
from tests.sim.controller_simulation import Violation, WatchfulZooKeeper

LAG_MS = 2000
BATCH = 5
SEGMENT = 7
_SETTLED = (ErrorCode.INVALID_UPDATE_VERSION, ErrorCode.FENCED_LEADER_EPOCH)


class SimLog:
    """A log on a disk: what is not flushed is lost when the power fails, and the epochs in memory with every crash.

    Where epochs began is written down when a segment is full; what recovery reads, the last segment, tells the rest.
    """

    def __init__(self) -> None:
        self.records: list[tuple[int, str]] = []
        self.starts: list[tuple[int, int]] = []
        self.written: list[tuple[int, int]] = []
        self.bases = [0]
        self.flushed = 0

    @property
    def log_end_offset(self) -> int:
        return len(self.records)

    def epochs(self) -> list[tuple[int, int]]:
        return self.starts

    def end_offset_for_epoch(self, epoch: int) -> tuple[int, int]:
        if not self.starts or epoch > self.starts[-1][0]:
            return -1, -1
        if epoch == self.starts[-1][0]:
            return epoch, len(self.records)
        below = [known for known, _ in self.starts if known <= epoch]
        next_start = next(start for known, start in self.starts if known > epoch)
        return (below[-1] if below else epoch), next_start

    def assign_epoch(self, epoch: int, offset: int | None = None) -> None:
        start = len(self.records) if offset is None else offset
        if not self.starts or epoch > self.starts[-1][0]:
            self.starts = [entry for entry in self.starts if entry[1] < start] + [(epoch, start)]

    def append(self, records: list[tuple[int, str]]) -> None:
        for epoch, value in records:
            if len(self.records) - self.bases[-1] >= SEGMENT:
                self.write_epochs()
                self.bases.append(len(self.records))
            self.assign_epoch(epoch)
            self.records.append((epoch, value))

    def write_epochs(self) -> None:
        self.written = list(self.starts)

    def truncate(self, offset: int) -> None:
        del self.records[offset:]
        while len(self.bases) > 1 and self.bases[-1] >= offset:
            self.bases.pop()
        self.starts = [entry for entry in self.starts if entry[1] < offset]
        self.flushed = min(self.flushed, offset)

    def recover(self) -> None:
        base = self.bases[-1]
        self.starts = [entry for entry in self.written if entry[1] < base]
        for offset in range(base, len(self.records)):
            self.assign_epoch(self.records[offset][0], offset)

    def lose_power(self, random: Random) -> None:
        if self.flushed < len(self.records):
            self.truncate(random.randint(self.flushed, len(self.records)))


class Hosted:
    """A replica of a running broker."""

    def __init__(self, log: SimLog, state: LeaderAndIsrPartitionState, topic_id: object) -> None:
        self.log = log
        self.state = state
        self.topic_id = topic_id
        self.high_watermark = 0
        self.leadership: Leadership | None = None
        self.following: Following | None = None


class DataBroker(SimBroker):
    """A broker with logs.  ``disk`` outlives it."""

    def __init__(self, broker_id: int, cluster: DataCluster, store: object, disk: dict[TopicPartition, SimLog]) -> None:
        super().__init__(broker_id, cluster, store)
        self.disk = disk
        self.hosted: dict[TopicPartition, Hosted] = {}
        self.tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        self._spawn(self._flush_forever())
        self._spawn(self._mind_isrs_forever())
        await super().start()

    async def crash(self) -> None:
        for task in self.tasks:
            task.cancel()
        await super().crash()

    def _spawn(self, work: object) -> None:
        task = asyncio.ensure_future(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    def now_ms(self) -> int:
        return int(asyncio.get_running_loop().time() * 1000)

    # What the controller says

    def handle(self, request: Request) -> Response:
        response = super().handle(request)
        if isinstance(request, LeaderAndIsrRequest) and response.error_code == 0:
            for topic in request.topic_states:
                for state in topic.partition_states:
                    partition = TopicPartition(topic.topic_name, state.partition_index)
                    if self.replicas.get(partition) is state:
                        self._apply(partition, topic.topic_id, state)
        for partition, state in self.replicas.items():
            hosted = self.hosted.get(partition)
            if hosted is not None and hosted.leadership is not None and hosted.state.leader_epoch == state.leader_epoch:
                hosted.leadership.update(state.replicas, state.isr, state.partition_epoch, self.now_ms())
                self._advance(hosted)
        for partition in [partition for partition in self.hosted if partition not in self.replicas]:
            del self.hosted[partition]
        return response

    def _apply(self, partition: TopicPartition, topic_id: object, state: LeaderAndIsrPartitionState) -> None:
        known = self.hosted.get(partition)
        if known is not None and known.state.leader_epoch == state.leader_epoch:
            known.state = state
            return
        hosted = Hosted(self.disk.setdefault(partition, SimLog()), state, topic_id)
        hosted.high_watermark = 0 if known is None else known.high_watermark
        self.hosted[partition] = hosted
        if state.leader == self.broker_id:
            log = hosted.log
            log.assign_epoch(state.leader_epoch)
            hosted.leadership = Leadership(
                self.broker_id,
                self.epoch,
                state.leader_epoch,
                log.log_end_offset,
                state.replicas,
                state.isr,
                state.partition_epoch,
                self.now_ms(),
            )
            self._advance(hosted)
        elif state.leader != NO_LEADER:
            hosted.following = Following(state.leader, state.leader_epoch)
            self._spawn(self._follow(partition, hosted, hosted.following))

    # Leading

    def contribution(self, log: SimLog) -> int:
        """What a replica contributes to the high watermark."""
        return log.flushed if self.cluster.flushed else log.log_end_offset

    def _advance(self, hosted: Hosted) -> None:
        if hosted.leadership is not None:
            own = self.contribution(hosted.log)
            minimum = self.cluster.min_in_sync
            hosted.high_watermark = hosted.leadership.committed(own, hosted.high_watermark, minimum, self.now_ms(), LAG_MS)

    async def _flush_forever(self) -> None:
        while True:
            await asyncio.sleep(self.cluster.random.uniform(0.01, 0.6))
            for hosted in self.hosted.values():
                hosted.log.flushed = hosted.log.log_end_offset
                self._advance(hosted)

    def produce(self, partition: TopicPartition, value: str) -> tuple[Hosted, int]:
        """Append as the leader; returns where it stands."""
        hosted = self.hosted.get(partition)
        if hosted is None or hosted.leadership is None:
            raise KafkaError(ErrorCode.NOT_LEADER_OR_FOLLOWER)
        if len(hosted.leadership.isr) < self.cluster.min_in_sync:
            raise KafkaError(ErrorCode.NOT_ENOUGH_REPLICAS)
        hosted.log.append([(hosted.state.leader_epoch, value)])
        self._advance(hosted)
        return hosted, hosted.log.log_end_offset - 1

    def fetch(
        self, partition: TopicPartition, replica: int, broker_epoch: int, leader_epoch: int, offset: int, last_epoch: int
    ) -> tuple[ErrorCode, tuple[int, int] | None, int, list[tuple[int, str]]]:
        """Answer a follower's fetch."""
        hosted = self.hosted.get(partition)
        if hosted is None or hosted.leadership is None:
            return ErrorCode.NOT_LEADER_OR_FOLLOWER, None, -1, []
        if leader_epoch != hosted.state.leader_epoch:
            older = leader_epoch < hosted.state.leader_epoch
            return ErrorCode.FENCED_LEADER_EPOCH if older else ErrorCode.UNKNOWN_LEADER_EPOCH, None, -1, []
        log = hosted.log
        try:
            diverging = divergence(log, offset, last_epoch)
        except KafkaError as error:
            return error.code, None, -1, []
        if diverging is not None:
            return ErrorCode.NONE, diverging, hosted.high_watermark, []
        if offset > log.log_end_offset:
            return ErrorCode.OFFSET_OUT_OF_RANGE, None, -1, []
        if hosted.leadership.fetched(replica, broker_epoch, offset, log.log_end_offset, self.now_ms()):
            self._advance(hosted)
        return ErrorCode.NONE, None, hosted.high_watermark, log.records[offset : offset + BATCH]

    # Following

    def _ask(self, partition: TopicPartition, following: Following, offset: int, last_epoch: int) -> asyncio.Future[tuple]:
        """Send a fetch."""
        arguments = (partition, self.broker_id, self.epoch, following.leader_epoch, offset, last_epoch)
        answer = asyncio.ensure_future(self.cluster.fetch(following.leader, arguments))
        answer.add_done_callback(lambda done: done.cancelled() or done.exception())
        return answer

    async def _follow(self, partition: TopicPartition, hosted: Hosted, following: Following) -> None:
        log = hosted.log
        ahead: asyncio.Future[tuple] | None = None
        while self.up and self.hosted.get(partition) is hosted:
            if self.cluster.flushed and ahead is None:
                # It asks for more only when what it has is on the disk.
                await asyncio.sleep(self.cluster.random.uniform(0, 0.02))
                if self.hosted.get(partition) is not hosted:
                    return
                log.flushed = log.log_end_offset
            try:
                answer = ahead or self._ask(partition, following, log.log_end_offset, following.last_epoch(log))
                ahead = None
                code, diverging, mark, records = await answer
            except OSError:
                await asyncio.sleep(0.1)
                continue
            if not self.up or self.hosted.get(partition) is not hosted:
                return
            if records and following.may_ask_ahead(end := log.log_end_offset + len(records), mark):
                ahead = self._ask(partition, following, end, records[-1][0])
                await asyncio.sleep(self.cluster.random.uniform(0, 0.05))
                if not self.up or self.hosted.get(partition) is not hosted:
                    return
            step = following.answered(log, code, diverging, mark)
            if step.gone:
                return
            if step.truncate_to is None:
                log.append(records)
            if step.high_watermark is not None:
                hosted.high_watermark = max(hosted.high_watermark, min(step.high_watermark, log.log_end_offset))
            if step.truncate_to is not None:
                if step.truncate_to < hosted.high_watermark:
                    what = f"{partition}: {self.broker_id} cuts at {step.truncate_to}, below its mark {hosted.high_watermark}"
                    self.cluster.violations.append(Violation(what))
                log.truncate(step.truncate_to)
            if step.look_up_range:
                log.truncate(following.in_range(log, 0, await self.cluster.end_of(following.leader, partition))[0])
            if not records:
                await asyncio.sleep(0.1)

    # ISR

    async def _mind_isrs_forever(self) -> None:
        while True:
            await asyncio.sleep(self.cluster.random.uniform(0.2, 0.6))
            for partition, hosted in list(self.hosted.items()):
                if hosted.leadership is not None:
                    change = hosted.leadership.change(hosted.log.log_end_offset, hosted.high_watermark, self.now_ms(), LAG_MS)
                    if change is not None:
                        self._spawn(self._alter(partition, hosted, change))

    async def _alter(self, partition: TopicPartition, hosted: Hosted, change: IsrChange) -> None:
        data = AlterPartitionRequestPartitionData(
            partition_index=partition.partition,
            leader_epoch=change.leader_epoch,
            new_isr_with_epochs=[BrokerState(broker_id=member, broker_epoch=epoch) for member, epoch in change.members.items()],
            partition_epoch=change.partition_epoch,
        )
        topic = AlterPartitionRequestTopicData(topic_name=partition.topic, partitions=[data])
        request = AlterPartitionRequest(broker_id=self.broker_id, broker_epoch=self.epoch, topics=[topic])
        leadership = hosted.leadership
        assert leadership is not None
        try:
            response = await self.cluster.alter_partition(request)
        except (OSError, StoreError, asyncio.CancelledError):
            # It may have been written: keep counting who was asked for, and ask again with the same wish.
            await asyncio.sleep(0.5)
            if leadership.asked is change and self.hosted.get(partition) is hosted:
                await self._alter(partition, hosted, change)
            return
        code = response.error_code or response.topics[0].partitions[0].error_code
        if code == ErrorCode.NONE:
            answer = response.topics[0].partitions[0]
            leadership.update(hosted.state.replicas, answer.isr, answer.partition_epoch, self.now_ms())
            self._advance(hosted)
        elif leadership.asked is change:
            leadership.refused(retriable=code not in _SETTLED)


class DataCluster(Cluster):
    """Brokers that fetch from each other."""

    def __init__(self, random: Random, *, flushed: bool, min_in_sync: int) -> None:
        super().__init__(random, latency=0.02, loss=0.02)
        self.flushed = flushed
        self.min_in_sync = min_in_sync
        self.violations: list[Violation] = []
        self.held: asyncio.Event | None = None
        """Holds requests to the controller up until it is set."""

    async def _to(self, broker_id: int) -> DataBroker:
        await self.delay()
        broker = self.brokers[broker_id]
        if not broker.up or self.random.random() < self.loss:
            raise ConnectionResetError
        return broker

    async def _back(self, broker: DataBroker) -> None:
        await self.delay()
        if not broker.up or self.random.random() < self.loss:
            raise ConnectionResetError

    async def fetch(self, leader: int, arguments: tuple) -> tuple:
        broker = await self._to(leader)
        answer = broker.fetch(*arguments)
        await self._back(broker)
        return answer

    async def end_of(self, leader: int, partition: TopicPartition) -> int:
        hosted = self.brokers[leader].hosted.get(partition)
        return 0 if hosted is None else hosted.log.log_end_offset

    async def alter_partition(self, request: AlterPartitionRequest) -> object:
        controllers = self.controllers()
        if not controllers:
            raise ConnectionRefusedError
        if self.held is not None:
            await self.held.wait()
        broker = await self._to(controllers[0])
        answer = await broker.controller.alter_partition(request)
        await self._back(broker)
        return answer


class ReplicationSimulation:
    """One run.

    Args:
        seed: everything random follows from it.
        flushed: the durability: whether replicas contribute what they have flushed, in which case power failures happen, or
            their log's end.
    """

    def __init__(self, seed: int, *, flushed: bool = True, steps: int = 16) -> None:
        self.random = Random(seed)
        self.steps = steps
        self.zookeeper = WatchfulZooKeeper(self.random, latency=0.01, session_timeout=3.0)
        self.cluster = DataCluster(self.random, flushed=flushed, min_in_sync=self.random.choice([1, 2]))
        self.disks: dict[int, dict[TopicPartition, SimLog]] = {broker_id: {} for broker_id in (1, 2, 3)}
        self.partitions = [TopicPartition("t", index) for index in range(2)]
        self.acknowledged: dict[tuple[TopicPartition, int], str] = {}
        self.read: dict[tuple[TopicPartition, int], str] = {}
        self.starting: set[int] = set()
        self.history: list[str] = []
        self.tasks: set[asyncio.Task[None]] = set()
        self.defects: list[BaseException] = []

    async def run(self) -> None:
        for broker_id in self.disks:
            await self._start(broker_id)
        await asyncio.sleep(1)
        topic = NewTopic("t", assignments={0: [1, 2, 3], 1: [2, 3, 1]})
        await self.cluster.brokers[1].admin.create_topics([topic], timeout_ms=5000)
        workers = [asyncio.ensure_future(self._produce(number)) for number in range(3)]
        workers.append(asyncio.ensure_future(self._consume()))
        await self.happen()
        self._note("heal")
        for _ in range(6):
            for broker_id in self._down():
                await self._start(broker_id)
            for broker in self.cluster.brokers.values():
                broker.store.reconnect()
            await asyncio.sleep(3)
        for worker in workers:
            worker.cancel()
        await asyncio.sleep(6)
        for worker in workers:
            if not worker.cancelled() and worker.done() and worker.exception() is not None:
                raise worker.exception()
        self._check()

    async def happen(self) -> None:
        """The faults."""
        for _ in range(self.steps):
            await asyncio.sleep(self.random.expovariate(1.0))
            self.random.choice([self._crash, self._crash, self._restart, self._restart, self._cut, self._blackout])()

    def _note(self, text: str) -> None:
        self.history.append(f"{asyncio.get_running_loop().time():8.3f} {text}")

    def _spawn(self, work: object) -> None:
        task = asyncio.ensure_future(work)
        self.tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self.tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None and not isinstance(error, StoreError):
            # Only a broker that is killed while it starts may fail.
            self.defects.append(error)

    def _down(self) -> list[int]:
        return [b for b in self.disks if not self.cluster.brokers[b].up and b not in self.starting]

    async def _start(self, broker_id: int) -> None:
        self.starting.add(broker_id)
        try:
            await DataBroker(broker_id, self.cluster, self.zookeeper.connect(), self.disks[broker_id]).start()
        finally:
            self.starting.discard(broker_id)

    def _crash(self) -> None:
        up = [broker for broker in self.cluster.brokers.values() if broker.up]
        if up:
            self._kill(self.random.choice(up), power=self.cluster.flushed and self.random.random() < 0.5)

    def _blackout(self) -> None:
        """All at once: by power where what counts is flushed, otherwise as processes."""
        for broker in list(self.cluster.brokers.values()):
            if broker.up:
                self._kill(broker, power=self.cluster.flushed)

    def _kill(self, broker: DataBroker, *, power: bool) -> None:
        self._note(f"{'power failure' if power else 'crash'} of {broker.broker_id}")
        broker.up = False
        broker.store.kill()
        self._spawn(broker.crash())
        for log in broker.disk.values():
            if power:
                log.lose_power(self.random)
            log.recover()

    def _restart(self) -> None:
        down = self._down()
        if down:
            broker_id = self.random.choice(down)
            self._note(f"restart {broker_id}")
            self.starting.add(broker_id)
            self._spawn(self._start(broker_id))

    def _cut(self) -> None:
        up = [broker for broker in self.cluster.brokers.values() if broker.up]
        if up:
            broker = self.random.choice(up)
            self._note(f"cut {broker.broker_id} off ZooKeeper")
            broker.store.disconnect()
            asyncio.get_running_loop().call_later(self.random.uniform(0, 6), broker.store.reconnect)

    # Clients

    def _leaders(self, partition: TopicPartition) -> list[DataBroker]:
        """Whoever believes to lead; there may be several for a while."""
        hosts = self.cluster.brokers.values()
        return [b for b in hosts if b.up and partition in b.hosted and b.hosted[partition].leadership is not None]

    async def _produce(self, number: int) -> None:
        count = 0
        while True:
            await asyncio.sleep(self.random.expovariate(5))
            partition = self.random.choice(self.partitions)
            leaders = self._leaders(partition)
            if not leaders:
                continue
            broker, count = self.random.choice(leaders), count + 1
            value = f"{number}-{count}"
            try:
                hosted, offset = broker.produce(partition, value)
            except KafkaError:
                continue
            self._spawn(self._await_commit(broker, partition, hosted, offset, value))

    async def _await_commit(self, broker: DataBroker, partition: TopicPartition, hosted: Hosted, offset: int, value: str) -> None:
        for _ in range(200):
            if not broker.up or broker.hosted.get(partition) is not hosted:
                return
            if hosted.high_watermark > offset and len(hosted.leadership.isr) >= self.cluster.min_in_sync:
                self.acknowledged[partition, offset] = value
                return
            await asyncio.sleep(0.05)

    async def _consume(self) -> None:
        while True:
            await asyncio.sleep(0.25)
            for partition in self.partitions:
                for broker in self._leaders(partition):
                    hosted = broker.hosted[partition]
                    end = min(hosted.high_watermark, hosted.log.log_end_offset)
                    for offset in range(max(0, end - 30), end):
                        value = hosted.log.records[offset][1]
                        if (partition, offset) not in self.read:
                            self._check_copies(partition, offset, hosted.log.records[offset])
                        if self.read.setdefault((partition, offset), value) != value:
                            was = self.read[partition, offset]
                            raise Violation(f"{partition} offset {offset} was read as {was}, now {broker.broker_id} has {value}")

    def _check_copies(self, partition: TopicPartition, offset: int, record: tuple[int, str]) -> None:
        """What can be read first is on as many disks as have to be in sync."""
        logs = [disk[partition].records for disk in self.disks.values() if partition in disk]
        copies = sum(offset < len(log) and log[offset] == record for log in logs)
        if copies < self.cluster.min_in_sync:
            raise Violation(f"{partition} offset {offset} can be read and is on {copies} disks")

    # The end

    def _check(self) -> None:
        for error in (*self.defects, *self.zookeeper.violations, *self.cluster.violations):
            raise error
        for partition in self.partitions:
            path = znodes.state_path(*partition)
            state = PartitionState.decode(path, self.zookeeper.tree.get(path)[0])
            if state.leader == NO_LEADER or set(state.isr) != set(self.disks):
                raise Violation(f"{partition} did not come to rest: {state}")
            logs = {broker_id: disk[partition].records for broker_id, disk in self.disks.items()}
            leader = logs[state.leader]
            for broker_id, records in logs.items():
                if records != leader:
                    raise Violation(f"{partition}: {broker_id} differs from the leader {state.leader}")
            for what, values in (("acknowledged", self.acknowledged), ("read", self.read)):
                for (of, offset), value in values.items():
                    if of == partition and (offset >= len(leader) or leader[offset][1] != value):
                        have = leader[offset][1] if offset < len(leader) else "nothing"
                        raise Violation(f"{partition} offset {offset}: {value} was {what}, there is {have}")

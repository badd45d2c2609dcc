"""A cluster of controllers and remembering brokers through crashes, restarts and lost connections, all from a seed.

While it runs, every write of a partition's state is checked, and every leadership that a broker takes.  At the end everything
is healed; then the cluster must come to rest with all that was asked for done and everybody knowing the same.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from random import Random

from kafkax.cluster import znodes
from kafkax.cluster.controller.controller import ElectionType
from kafkax.cluster.controller.requests import ControlRequest
from kafkax.cluster.store import MultiError, Op, OpResult, StoreError
from kafkax.cluster.topic_admin import NewTopic
from kafkax.cluster.znodes import NO_LEADER, PartitionState, TopicAssignment
from kafkax.errors import KafkaError
from kafkax.model import TopicPartition
from kafkax.protocol.message import Response
from kafkax.protocol.messages.leader_and_isr import LeaderAndIsrRequest
from tests.sim.broker import Cluster, SimBroker
from tests.sim.zookeeper import FakeStore, FakeZooKeeper

_REST_SECONDS = 60.0


class Violation(AssertionError):
    """The cluster broke a rule."""


class WatchfulZooKeeper(FakeZooKeeper):
    """Checks every change of a partition's state against the one before."""

    def __init__(self, random: Random, latency: float, session_timeout: float = 6.0) -> None:
        super().__init__(random, latency, session_timeout)
        self.violations: list[Violation] = []
        """What was found; raised at the end, since whoever wrote might go on from an error."""

    def transact(self, ops: Sequence[Op], session: int) -> list[OpResult] | MultiError:
        before = {op.path: self.tree.get(op.path) for op in ops if op.path.endswith("/state")}
        result = super().transact(ops, session)
        if not isinstance(result, MultiError):
            for path, former in before.items():
                after = self.tree.get(path)
                if former is not None and after is not None:
                    try:
                        check_transition(path, PartitionState.decode(path, former[0]), PartitionState.decode(path, after[0]))
                    except Violation as violation:
                        self.violations.append(violation)
        return result


def check_transition(path: str, before: PartitionState, after: PartitionState) -> None:
    """Only a replica in sync may lead, epochs never go back, and a replaced controller writes nothing."""
    if after.controller_epoch < before.controller_epoch:
        raise Violation(f"{path}: controller {after.controller_epoch} wrote after {before.controller_epoch}")
    if after.leader_epoch < before.leader_epoch:
        raise Violation(f"{path}: the leader epoch went back: {before} to {after}")
    if after.leader not in (before.leader, NO_LEADER) and after.leader not in before.isr:
        raise Violation(f"{path}: {after.leader} leads, but was not in sync: {before} to {after}")
    if after.leader not in (before.leader, NO_LEADER) and after.leader_epoch == before.leader_epoch:
        raise Violation(f"{path}: another leader in the same epoch: {before} to {after}")
    if not after.isr or (after.leader != NO_LEADER and after.leader not in after.isr):
        raise Violation(f"{path}: the leader is not in sync: {after}")
    if after.leader_epoch != before.leader_epoch and not set(after.isr) <= set(before.isr):
        raise Violation(f"{path}: an election took a replica into the ISR: {before} to {after}")


class WatchfulBroker(SimBroker):
    """Notes which leaderships it took, and whom it obeyed."""

    newest_obeyed = 0
    """Epoch of the newest controller that it obeyed."""

    def handle(self, request: ControlRequest) -> Response:
        response = super().handle(request)
        if response.error_code == 0:
            if request.controller_epoch < self.newest_obeyed:
                self._object(f"obeyed controller {request.controller_epoch} after {self.newest_obeyed}")
            if request.broker_epoch < self.epoch:
                self._object(f"took what was meant for its life {request.broker_epoch} in {self.epoch}: {request}")
            self.newest_obeyed = max(self.newest_obeyed, request.controller_epoch)
        if isinstance(request, LeaderAndIsrRequest) and response.error_code == 0:
            self.cluster.leaderships(self)
        return response

    def _object(self, what: str) -> None:
        self.cluster.violations.append(Violation(f"broker {self.broker_id} {what}"))


class WatchfulCluster(Cluster):
    """Checks that an epoch of a partition has one leader only."""

    def __init__(self, random: Random, latency: float, loss: float, late: float) -> None:
        super().__init__(random, latency, loss, late)
        self.violations: list[Violation] = []
        self._led: dict[tuple[TopicPartition, object, int], int] = {}

    def leaderships(self, broker: SimBroker) -> None:
        for partition, state in broker.replicas.items():
            if state.leader != broker.broker_id:
                continue
            key = (partition, broker.topic_ids[partition], state.leader_epoch)
            other = self._led.setdefault(key, broker.broker_id)
            if other != broker.broker_id:
                what = f"{partition} epoch {state.leader_epoch} is led by {other} and {broker.broker_id}"
                self.violations.append(Violation(what))


class Simulation:
    """One run.

    Args:
        seed: everything random follows from it.
        steps: how many things happen.
    """

    def __init__(self, seed: int, steps: int = 40) -> None:
        self.random = Random(seed)
        self.steps = steps
        self.zookeeper = WatchfulZooKeeper(self.random, latency=0.01)
        self.cluster = WatchfulCluster(self.random, latency=0.02, loss=0.05, late=0.03)
        self.ids = list(range(1, self.random.randint(3, 4) + 1))
        self.tasks: set[asyncio.Task[object]] = set()
        self.starting: set[int] = set()
        self.history: list[str] = []

    async def run(self) -> None:
        """Start, let things happen, heal, and check."""
        await asyncio.gather(*(self._start(broker_id) for broker_id in self.ids))
        await asyncio.sleep(1)
        for number in range(3):
            self._spawn(self._create(f"t{number}"))
        for _ in range(self.steps):
            await asyncio.sleep(self.random.expovariate(1.0))
            self._happen()
        await self._heal()
        await asyncio.sleep(_REST_SECONDS)
        for violation in (*self.zookeeper.violations, *self.cluster.violations):
            raise violation
        self._check_tasks()
        self._check_rest()

    # What happens

    def _happen(self) -> None:
        faults = [self._crash, self._restart, self._cut, self._shrink] * 2 + [self._mend, self._expand]
        wishes = [self._create_topic, self._delete_topic, self._reassign, self._prefer, self._hand_over, self._grow]
        self.random.choice([*faults, *wishes])()

    def _note(self, text: str) -> None:
        self.history.append(f"{asyncio.get_running_loop().time():8.3f} {text}")

    def _spawn(self, work: object) -> None:
        task = asyncio.ensure_future(work)
        self.tasks.add(task)

    def _up(self) -> list[SimBroker]:
        return [broker for broker in self.cluster.brokers.values() if broker.up]

    def _down(self) -> list[int]:
        return [broker_id for broker_id in self.ids if not self.cluster.brokers[broker_id].up and broker_id not in self.starting]

    def _pick(self) -> SimBroker | None:
        up = self._up()
        return self.random.choice(up) if up else None

    async def _start(self, broker_id: int) -> None:
        broker = WatchfulBroker(broker_id, self.cluster, self.zookeeper.connect())
        former = self.cluster.brokers.get(broker_id)
        if former is not None:
            # What is on the disk survives: which replicas it has is what the controller tells anyway.
            broker.deleted = former.deleted
        self.starting.add(broker_id)
        try:
            await broker.start()
        finally:
            self.starting.discard(broker_id)

    def _crash(self) -> None:
        broker = self._pick()
        if broker is not None and len(self._up()) > 1:
            self._note(f"crash {broker.broker_id}")
            broker.up = False
            broker.store.kill()
            self._spawn(broker.crash())

    def _restart(self) -> None:
        down = self._down()
        if down:
            broker_id = self.random.choice(down)
            self._note(f"restart {broker_id}")
            self.starting.add(broker_id)
            self._spawn(self._start(broker_id))

    def _cut(self) -> None:
        broker = self._pick()
        if broker is not None:
            self._note(f"cut {broker.broker_id} off ZooKeeper")
            store = broker.store
            store.disconnect()
            loop = asyncio.get_running_loop()
            loop.call_later(self.random.uniform(0, 10), self._mend_store, broker, store)

    def _mend(self) -> None:
        for broker in self._up():
            self._mend_store(broker, broker.store)

    def _mend_store(self, broker: SimBroker, store: FakeStore) -> None:
        store.reconnect()

    def _led(self) -> list[tuple[SimBroker, TopicPartition]]:
        return [(broker, partition) for broker in self._up() for partition in broker.replicas if broker.leads(partition)]

    def _shrink(self) -> None:
        led = self._led()
        if led:
            broker, partition = self.random.choice(led)
            isr = broker.replicas[partition].isr
            others = [member for member in isr if member != broker.broker_id]
            if others:
                self._spawn(broker.change_isr(partition, [m for m in isr if m != self.random.choice(others)]))

    def _expand(self) -> None:
        for broker, partition in self._led():
            state = broker.replicas[partition]
            outside = [r for r in state.replicas if r not in state.isr and self.cluster.brokers[r].up]
            if outside:
                self._spawn(broker.change_isr(partition, [*state.isr, *outside]))

    def _create_topic(self) -> None:
        self._spawn(self._create(f"t{self.random.randint(3, 6)}"))

    async def _create(self, name: str) -> None:
        broker = self._pick()
        live = len(broker.cache.image.brokers) if broker is not None else 0
        if broker is not None and live:
            self._note(f"create {name}")
            topic = NewTopic(name, self.random.randint(1, 3), self.random.randint(1, min(3, live)))
            await broker.admin.create_topics([topic], timeout_ms=1000)

    def _delete_topic(self) -> None:
        broker = self._pick()
        topics = sorted(broker.cache.image.topics) if broker is not None else []
        if topics:
            name = self.random.choice(topics)
            self._note(f"delete {name}")
            self._spawn(broker.admin.delete_topics([name], timeout_ms=1000))

    def _grow(self) -> None:
        broker = self._pick()
        topics = sorted(broker.cache.image.topics) if broker is not None else []
        if topics:
            name = self.random.choice(topics)
            count = len(broker.cache.image.topics[name].partitions) + 1
            self._note(f"grow {name} to {count}")
            self._spawn(broker.admin.create_partitions(name, count, timeout_ms=1000))

    def _controller(self) -> SimBroker | None:
        active = self.cluster.controllers()
        return self.cluster.brokers[active[0]] if active else None

    def _reassign(self) -> None:
        controller = self._controller()
        led = self._led()
        if controller is not None and led:
            _, partition = self.random.choice(led)
            target = self.random.sample(self.ids, self.random.randint(1, len(self.ids)))
            self._note(f"reassign {partition} to {target}")
            self._spawn(controller.controller.alter_reassignments({partition: target}))

    def _prefer(self) -> None:
        controller = self._controller()
        if controller is not None:
            self._note("elect preferred leaders")
            self._spawn(controller.controller.elect_leaders(ElectionType.PREFERRED, None))

    def _hand_over(self) -> None:
        controller, broker = self._controller(), self._pick()
        if controller is not None and broker is not None and len(self._up()) > 2:
            self._note(f"{broker.broker_id} hands over and stops")
            self._spawn(self._stop_orderly(controller, broker))

    async def _stop_orderly(self, controller: SimBroker, broker: SimBroker) -> None:
        try:
            await asyncio.wait_for(controller.controller.shut_down_broker(broker.broker_id, broker.epoch), 5)
        finally:
            if broker.up:
                await broker.stop()

    # The end

    async def _heal(self) -> None:
        self._note("heal")
        for _ in range(12):
            # Also those that had been about to stop.
            for broker_id in self._down():
                await self._start(broker_id)
            self._mend()
            await asyncio.sleep(2)
            self._expand()

    def _check_tasks(self) -> None:
        """Errors that a client may get are fine; any other is a defect."""
        for task in self.tasks:
            if task.done() and not task.cancelled():
                error = task.exception()
                if error is not None and not isinstance(error, KafkaError | asyncio.TimeoutError) and not _expected(error):
                    raise Violation(f"{error!r}") from error

    def _check_rest(self) -> None:
        tree = self.zookeeper.tree
        if len(self.cluster.controllers()) != 1:
            raise Violation(f"controllers: {self.cluster.controllers()}")
        if tree.children(znodes.ADMIN_DELETE_TOPICS):
            raise Violation(f"not deleted: {tree.children(znodes.ADMIN_DELETE_TOPICS)}")
        topics = {
            name: TopicAssignment.decode(name, tree.get(znodes.topic_path(name))[0]) for name in tree.children(znodes.TOPICS)
        }
        for broker in self._up():
            image = broker.cache.image
            if sorted(image.brokers) != self.ids or sorted(image.topics) != sorted(topics):
                raise Violation(f"{broker.broker_id} knows brokers {sorted(image.brokers)} and topics {sorted(image.topics)}")
        for name, topic in topics.items():
            for index, assignment in topic.partitions.items():
                self._check_partition(TopicPartition(name, index), assignment)

    def _check_partition(self, partition: TopicPartition, assignment: znodes.ReplicaAssignment) -> None:
        path = znodes.state_path(*partition)
        found = self.zookeeper.tree.get(path)
        if found is None:
            raise Violation(f"{partition} never got a leader")
        state = PartitionState.decode(path, found[0])
        if state.leader == NO_LEADER or state.leader not in state.isr:
            raise Violation(f"{partition} rests without leader: {state}")
        if assignment.reassigning or set(state.isr) != set(assignment.replicas):
            raise Violation(f"{partition} rests unfinished: {assignment}, {state}")
        for broker in self._up():
            image = broker.cache.image.partition(*partition)
            if image is None or (image.leader, image.leader_epoch, set(image.isr)) != (
                state.leader,
                state.leader_epoch,
                set(state.isr),
            ):
                raise Violation(f"{broker.broker_id} has {image} of {partition}, which is {state}")
            told = broker.replicas.get(partition)
            if (told is not None) != (broker.broker_id in assignment.replicas):
                raise Violation(f"{broker.broker_id} has a replica of {partition}: {told is not None}, {assignment}")
            if told is not None and (told.leader, told.leader_epoch) != (state.leader, state.leader_epoch):
                raise Violation(f"{broker.broker_id} was told {told} of {partition}, which is {state}")


def _expected(error: BaseException) -> bool:
    return isinstance(error, StoreError | OSError)

"""Members of a simulated group, the network between them and their coordinator, and the checker that watches both."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast
from uuid import UUID

from kafkax.coordinator.groups.classic import ClassicGroup
from kafkax.coordinator.groups.commits import may_commit
from kafkax.coordinator.groups.consumer_group import ConsumerGroup
from kafkax.coordinator.groups.coordinator import GroupCoordinator
from kafkax.coordinator.groups.settings import Caller, GroupSettings
from kafkax.coordinator.groups.topics import TopicInfo
from kafkax.coordinator.offsets import OffsetStore
from kafkax.coordinator.promise import Promise
from kafkax.coordinator.runtime import RuntimeSettings
from kafkax.coordinator.undo import UndoLog
from kafkax.errors import ErrorCode
from kafkax.protocol.coordinator_records.consumer_protocol import (
    ConsumerProtocolAssignment,
    ConsumerProtocolAssignmentTopicPartition,
    ConsumerProtocolSubscription,
)
from kafkax.protocol.messages.consumer_group_heartbeat import ConsumerGroupHeartbeatRequest, TopicPartitions
from kafkax.protocol.messages.heartbeat import HeartbeatRequest
from kafkax.protocol.messages.join_group import JoinGroupRequest, JoinGroupRequestProtocol
from kafkax.protocol.messages.leave_group import LeaveGroupRequest, MemberIdentity
from kafkax.protocol.messages.offset_commit import OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic
from kafkax.protocol.messages.offset_fetch import OffsetFetchRequestGroup, OffsetFetchRequestTopics
from kafkax.protocol.messages.sync_group import SyncGroupRequest, SyncGroupRequestAssignment
from tests.sim.groups_world import GROUP, Topics, commit_quickly, decoded_commit, ordinary_commit
from tests.sim.lanes import Served, VirtualLanes
from tests.sim.standing import VirtualStanding
from tests.sim.virtual import Handle, MemoryTopic, VirtualTime

if TYPE_CHECKING:
    from kafkax._core.standing import StandingAnswers

HEARTBEAT_MS = 3_000
SESSION_MS = 10_000
REBALANCE_MS = 15_000
REQUEST_TIMEOUT_MS = 20_000
_LOADING = (ErrorCode.COORDINATOR_LOAD_IN_PROGRESS, ErrorCode.NOT_COORDINATOR, ErrorCode.COORDINATOR_NOT_AVAILABLE)


class Violation(AssertionError):
    """The coordinator broke a promise."""


class Life:
    """The timers of one broker process: they die with it."""

    def __init__(self, time: VirtualTime) -> None:
        self._time = time
        self.alive = True

    def soon(self, callback: Callable[[], None]) -> None:
        self.after(0, callback)

    def after(self, delay_ms: float, callback: Callable[[], None]) -> Handle:
        return self._time.after(delay_ms, lambda: callback() if self.alive else None)


class Simulation:
    """A broker that crashes, a network that loses and delays, topics that change, and members.

    Args:
        seed: decides everything.
        classic, consumer: how many members of each protocol.
    """

    def __init__(self, seed: int, classic: int, consumer: int) -> None:
        self.random = random.Random(seed)
        self.time = VirtualTime()
        self.log = MemoryTopic(self.time)
        self.log.commit_delay_ms = lambda: self.random.choice((0, 1, 5, 30))
        self.log.fail_append = lambda: ErrorCode.NOT_ENOUGH_REPLICAS if self.chaos and self.random.random() < 0.02 else None
        self.topics = Topics()
        self.settings = GroupSettings(
            initial_rebalance_delay_ms=self.random.choice((0, 3_000)),
            consumer_session_timeout_ms=SESSION_MS,
            consumer_heartbeat_interval_ms=HEARTBEAT_MS,
            consumer_assignment_interval_ms=self.random.choice((0, 1_000)),
        )
        self.chaos = True
        self.coordinator: GroupCoordinator | None = None
        self.life = Life(self.time)
        self.acked: dict[int, int] = {}
        self._arrival: dict[str, float] = {}
        """When the last request of each caller arrives."""
        self._grow(self.random.randint(1, 8))
        self.start()
        self.members: list[Member] = [
            *(ClassicMember(self, f"classic-{n}") for n in range(classic)),
            *(ConsumerMember(self, f"consumer-{n}", static=self.random.random() < 0.3) for n in range(consumer)),
        ]

    @property
    def partitions(self) -> int:
        return self.topics.infos["t"].partitions

    def _grow(self, partitions: int) -> None:
        self.topics.infos["t"] = TopicInfo("t", UUID(int=7), partitions)
        if self.coordinator is not None:
            self.coordinator.topics_changed(["t"], names=False)

    # -- the broker ------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start a broker process."""
        self.life = Life(self.time)
        self.standing = VirtualStanding(self.time)
        self.lanes = VirtualLanes(self.log, self.standing, self.time, self.life.soon)
        self.coordinator = GroupCoordinator(
            self.log,
            self.log,
            self.life,
            self.time,
            self.settings,
            RuntimeSettings(),
            partitions=1,
            topics=lambda: self.topics,
            new_id=lambda: str(UUID(int=self.random.getrandbits(128), version=4)),
            standing=cast("StandingAnswers", self.standing),
            lanes=self.lanes,
        )
        self.coordinator.load(0, 0)

    def crash(self) -> None:
        """Kill it; it is back after a while."""
        if self.coordinator is None:
            return
        self.life.alive = False
        self.coordinator = None
        self.log.crash(self.random)
        self.time.after(self.random.choice((10, 1_000, 8_000)), self.start)

    @property
    def group(self) -> ClassicGroup | ConsumerGroup | None:
        """The group as the coordinator has it; None when there is no coordinator."""
        if self.coordinator is None or 0 not in self.coordinator.runtime.active():
            return None
        return self.coordinator.runtime.shard(0).groups.get(GROUP)

    # -- the network -----------------------------------------------------------------------------------------------

    def call(self, caller: str, send: Callable[[GroupCoordinator], Any], answered: Callable[[Any], None]) -> None:
        """Send a request; ``answered`` gets the answer, or None when there was none in time.

        A consumer has one connection to its coordinator, and the broker begins a request of a connection when it has
        answered the one before: requests of one caller are lost or late, but none overtakes another.
        """
        done = False
        life = self.life

        def finish(answer: Any) -> None:
            nonlocal done
            if not done:
                done = True
                answered(answer)

        def deliver() -> None:
            if self.coordinator is None or not life.alive:
                return
            result = send(self.coordinator)
            promise = result if isinstance(result, Promise) else Promise.of(result)
            promise.on_done(lambda p: self._answer(p, finish, life))

        self.time.after(REQUEST_TIMEOUT_MS if life.alive and self.coordinator else 500, lambda: finish(None))
        if not self._lost():
            self._arrival[caller] = max(self._arrival.get(caller, 0.0) + 1e-6, self.time.now + self._latency() / 1000)
            self.time.after((self._arrival[caller] - self.time.now) * 1000, deliver)

    def heartbeat(
        self,
        coordinator: GroupCoordinator,
        connection: str,
        request: HeartbeatRequest | ConsumerGroupHeartbeatRequest,
        ask: Callable[[Callable[[int, Any], None]], Any],
    ) -> Any:
        """Have a heartbeat answered as the broker does: by a network thread where its answer stands.

        Every other time the coordinator is asked all the same, and must not say anything else.
        """
        frame, member = request.encode(type(request).max_version), request.member_id
        standing = self.standing
        answer = standing.standing(GROUP, member, connection, frame)
        if answer is not None and int(self.time.now * 1000) % 2:
            standing.answered(GROUP, member)
            return answer
        asked = ask(lambda round_, response: standing.keep(GROUP, member, round_, connection, frame, response))
        if answer is not None:
            (asked if isinstance(asked, Promise) else Promise.of(asked)).on_done(lambda p: self._same(answer, p.result()))
        return asked

    def commit(
        self, coordinator: GroupCoordinator, connection: str, caller: Caller, request: OffsetCommitRequest
    ) -> Promise[Any]:
        """Commit in one of the ways in which a broker does: by the network thread where it may, or by the coordinator."""
        way = int(self.time.now * 1000) % 4
        commit = ordinary_commit(coordinator, caller, request)
        answer: Promise[Any] = Promise()
        life = self.life

        def attempt() -> None:
            if self.life is not life or not life.alive:
                return
            served = Served.HANDED_OVER
            if way and commit is not None:
                served = self.lanes.commit(connection, commit, lambda said: answer.resolve(decoded_commit(said, caller.version)))
            if served is Served.WAITS:
                life.soon(attempt)
            elif served is Served.HANDED_OVER:
                quick = way % 2
                asked = (
                    commit_quickly(coordinator, caller, request, connection)
                    if quick
                    else coordinator.commit_offsets(caller, request)
                )
                asked.on_done(lambda promise: answer.resolve(promise.result()))
            elif commit is not None and (self.group is None or not may_commit(self.group, commit)):
                raise Violation(f"a network thread took the commit of {commit.member_id}, which may not commit")

        attempt()
        return answer

    @staticmethod
    def _same(standing: Any, said: Any) -> None:
        if said.error_code not in _LOADING and standing != said:
            raise Violation(f"{standing} stands, the coordinator says {said}")

    def _answer(self, promise: Promise[Any], finish: Callable[[Any], None], life: Life) -> None:
        if life.alive and not self._lost():
            self.time.after(self._latency(), lambda: finish(promise.result()))

    def _lost(self) -> bool:
        return self.chaos and self.random.random() < 0.03

    def _latency(self) -> float:
        return self.random.choice((0, 1, 2, 20)) if not self.chaos or self.random.random() < 0.95 else 4_000

    # -- running ---------------------------------------------------------------------------------------------------

    def run(self, chaos_s: int = 60, calm_s: int = 80) -> None:
        """Let faults happen for a while, then let the group settle; checks after every step.

        Raises:
            Violation: a promise is broken.
        """
        end = self.time.now + chaos_s
        while self.time.now < end:
            self._fault()
            pause = self.time.now + self.random.expovariate(1 / 5)
            self._steps(pause)
        self.chaos = False
        self.log.resume()
        for member in self.members:
            member.start()
        if self.coordinator is None:
            self._steps(self.time.now + 9)
        self._steps(self.time.now + calm_s)
        self._check_settled()

    def _steps(self, until: float) -> None:
        while (when := self.time.next_at()) is not None and when <= until:
            self.time.step()
            self.check()
        self.time.now = max(self.time.now, until)

    def _fault(self) -> None:
        member = self.random.choice(self.members)
        kind = self.random.random()
        if kind < 0.25:
            member.crash()
        elif kind < 0.35:
            member.leave()
        elif kind < 0.7:
            member.start()
        elif kind < 0.8:
            self.crash()
        elif kind < 0.85 and self.partitions < 12:
            self._grow(self.partitions + 1)
        elif kind < 0.9:
            self.log.stalled = True
            self.time.after(self.random.choice((100, 6_000)), self.log.resume)
            if self.random.random() < 0.5:
                # what was answered by now must be there afterwards
                self.time.after(self.random.choice((500, 3_000)), self.crash)

    # -- the checker -----------------------------------------------------------------------------------------------

    def acknowledged(self, partition: int, offset: int) -> None:
        """A commit was answered with success."""
        before = self.acked.get(partition, -1)
        if offset < before:
            raise Violation(f"partition {partition}: {offset} was acknowledged after {before}")
        self.acked[partition] = offset

    @staticmethod
    def fetched(partition: int, offset: int, acked: int) -> None:
        """A fetch was answered that was asked after a commit was acknowledged."""
        if offset < acked:
            raise Violation(f"partition {partition}: {offset} was fetched after {acked} was acknowledged")

    def check(self) -> None:
        """Look for broken promises."""
        group = self.group
        if isinstance(group, ConsumerGroup):
            self._check_owners(group)
        owners: dict[int, str] = {}
        for member in self.members:
            if group is None or not member.is_current(group):
                continue
            for partition in member.held:
                if partition in owners:
                    raise Violation(f"partition {partition} belongs to {owners[partition]} and {member.name}")
                owners[partition] = member.name
        if self.coordinator is not None and 0 in self.coordinator.runtime.active():
            offsets = self.coordinator.runtime.shard(0).offsets
            for partition, offset in self.acked.items():
                stored = self.lanes.untaken.get(("t", partition)) or offsets.get(GROUP, "t", partition)
                if stored is None or stored.offset < offset:
                    raise Violation(f"partition {partition}: {offset} was acknowledged, {stored} is stored")

    @staticmethod
    def _check_owners(group: ConsumerGroup) -> None:
        seen: dict[tuple[Any, int], str] = {}
        for member in group.members.values():
            for held in (member.assigned, member.revoking):
                for topic_id, partitions in held.items():
                    for partition in partitions:
                        if (topic_id, partition) in seen:
                            raise Violation(f"{partition} is given to {seen[topic_id, partition]} and {member.member_id}")
                        seen[topic_id, partition] = member.member_id
        if seen.keys() != group.owners.keys():
            raise Violation("the group's owners are not those of its members")

    def _check_settled(self) -> None:
        group = self.group
        state = None if group is None else group.state.value
        if state != "Stable" or group is None:
            raise Violation(f"the group does not settle, it is {state}")
        names = {member.member_id for member in self.members}
        if set(group.members) != names:
            raise Violation(f"the group has {sorted(group.members)}, not {sorted(names)}")
        held = sorted(partition for member in self.members for partition in member.held)
        if held != list(range(self.partitions)):
            raise Violation(f"of {self.partitions} partitions {held} are read")
        self._check_log()

    def _check_log(self) -> None:
        """What the coordinator knows of commits is what the log says."""
        assert self.coordinator is not None
        self.coordinator.runtime.catch_up(0)
        told = OffsetStore(UndoLog())
        for batch in self.log.read(0):
            told.load(batch, 0, lambda _: None, lambda *_: None)
        known = dict(self.coordinator.runtime.shard(0).offsets.of(GROUP))
        if known != dict(told.of(GROUP)):
            raise Violation(f"the log has {dict(told.of(GROUP))}, the coordinator {known}")


class Member:
    """A consumer: what it has, how far it has read, and whether it runs."""

    def __init__(self, sim: Simulation, name: str) -> None:
        self.sim = sim
        self.name = name
        self.member_id = ""
        self.epoch = -1
        self.held: dict[int, int] = {}
        """Position by partition; -1 until it is known."""
        self.life = 0
        self.processes = 0
        self.running = False
        self.start()

    def start(self) -> None:
        """Start, if it doesn't run."""
        if not self.running:
            self.running = True
            self.life += 1
            self.processes += 1
            self.reset()
            self.go()
            self._commit_later()

    @property
    def connection(self) -> str:
        """Of the present process to the coordinator."""
        return f"{self.name} {self.processes}"

    def crash(self) -> None:
        """Stop without a word."""
        self.running = False
        self.life += 1
        self.held = {}
        self.epoch = -1

    def leave(self) -> None:
        """Stop with a word."""
        if self.running:
            self.say_goodbye()
            self.crash()

    def call(self, send: Callable[[GroupCoordinator], Any], answered: Callable[[Any], None]) -> None:
        """Send a request; the answer is dropped when the member has begun anew meanwhile."""
        life = self.life
        self.sim.call(self.connection, send, lambda answer: answered(answer) if self.life == life else None)

    def later(self, delay_ms: float, callback: Callable[[], None]) -> None:
        """Call back unless the member has begun anew meanwhile."""
        life = self.life
        self.sim.time.after(delay_ms, lambda: callback() if self.life == life else None)

    def begin_anew(self) -> None:
        """The coordinator does not know this member any more."""
        self.life += 1
        self.reset()
        self.go()
        self._commit_later()

    def reset(self) -> None:
        self.held = {}
        self.epoch = -1

    def go(self) -> None:
        raise AssertionError("every kind of member has its own way to begin")

    def say_goodbye(self) -> None:
        raise AssertionError("every kind of member has its own way to leave")

    def is_current(self, group: ClassicGroup | ConsumerGroup) -> bool:
        """Whether the coordinator regards what this member has as the member's."""
        if isinstance(group, ClassicGroup):
            return self.member_id in group.members and self.epoch == group.generation
        return self.member_id in group.members and self.epoch == group.members[self.member_id].epoch

    # -- reading and committing ------------------------------------------------------------------------------------

    def take(self, partitions: list[int]) -> None:
        """Have exactly these partitions; read on from what is committed."""
        self.held = {partition: self.held.get(partition, -1) for partition in partitions}
        self._fetch()

    def _fetch(self) -> None:
        unknown = [partition for partition, position in self.held.items() if position < 0]
        if not unknown:
            return
        request = OffsetFetchRequestGroup(group_id=GROUP, topics=[OffsetFetchRequestTopics(name="t", partition_indexes=unknown)])
        epoch = self.epoch

        def answered(answer: Any) -> None:
            if answer is None or answer.error_code:
                self.later(200, self._fetch)
                return
            for each in answer.topics[0].partitions:
                if self.held.get(each.partition_index) == -1 and self.epoch == epoch:
                    self.held[each.partition_index] = max(each.committed_offset, 0)
            self.later(500, self._fetch)

        def send(coordinator: GroupCoordinator) -> Promise[Any]:
            acked = dict(self.sim.acked)

            def check(promise: Promise[Any]) -> None:
                # What was acknowledged when the coordinator heard the question is in its answer, however late that arrives.
                for topic in promise.result().topics:
                    for each in topic.partitions:
                        self.sim.fetched(each.partition_index, each.committed_offset, acked.get(each.partition_index, -1))

            promise = coordinator.fetch_offsets(request, require_stable=False)
            promise.on_done(check)
            return promise

        self.call(send, answered)

    def _commit_later(self) -> None:
        self.later(self.sim.random.uniform(200, 2_000), self._commit)

    def _commit(self) -> None:
        positions = {partition: position for partition, position in self.held.items() if position >= 0}
        for partition in positions:
            positions[partition] += self.sim.random.randint(0, 10)
            self.held[partition] = positions[partition]
        if not positions:
            self._commit_later()
            return
        partitions = [
            OffsetCommitRequestPartition(partition_index=p, committed_offset=offset, committed_metadata="")
            for p, offset in positions.items()
        ]
        request = OffsetCommitRequest(
            group_id=GROUP,
            generation_id_or_member_epoch=self.epoch,
            member_id=self.member_id,
            topics=[OffsetCommitRequestTopic(name="t", topic_id=self.sim.topics.id_of("t"), partitions=partitions)],
        )

        def done(promise: Promise[Any]) -> None:
            # What is acknowledged counts from when the coordinator says so, whether or not the member hears it.
            for each in promise.result().topics[0].partitions:
                if each.error_code == 0:
                    self.sim.acknowledged(each.partition_index, positions[each.partition_index])

        def send(coordinator: GroupCoordinator) -> Promise[Any]:
            promise = self.sim.commit(coordinator, self.connection, Caller(self.name, "/h", 9), request)
            promise.on_done(done)
            return promise

        self.call(send, lambda _: self._commit_later())


class ClassicMember(Member):
    """A member of the classic protocol that gives everything up before it joins again."""

    assigned_of: int | None = None
    """For a leader, how many partitions there were when it assigned them."""

    def reset(self) -> None:
        super().reset()
        self.member_id = ""

    def go(self) -> None:
        self.held = {}
        metadata = ConsumerProtocolSubscription(topics=["t"]).to_bytes(1)
        request = JoinGroupRequest(
            group_id=GROUP,
            session_timeout_ms=SESSION_MS,
            rebalance_timeout_ms=REBALANCE_MS,
            member_id=self.member_id,
            protocol_type="consumer",
            protocols=[JoinGroupRequestProtocol(name="range", metadata=metadata)],
        )
        self.call(lambda c: c.join_group(Caller(self.name, "/h", 9), request), self._joined)

    def _joined(self, answer: Any) -> None:
        if answer is None or answer.error_code in _LOADING or answer.error_code == ErrorCode.REBALANCE_IN_PROGRESS:
            self.later(100, self.go)
        elif answer.error_code == ErrorCode.MEMBER_ID_REQUIRED:
            self.member_id = answer.member_id
            self.go()
        elif answer.error_code:
            self.later(100, self.begin_anew)
        else:
            self.member_id, self.epoch = answer.member_id, answer.generation_id
            self.assigned_of = self.sim.partitions if answer.members else None
            self._sync(self._assign([member.member_id for member in answer.members]))

    def _assign(self, members: list[str]) -> list[SyncGroupRequestAssignment]:
        """What the leader hands out: every partition to one of the members."""
        shares: dict[str, list[int]] = {member: [] for member in members}
        for partition in range(self.sim.partitions if members else 0):
            shares[members[partition % len(members)]].append(partition)
        return [
            SyncGroupRequestAssignment(
                member_id=member,
                assignment=ConsumerProtocolAssignment(
                    assigned_partitions=[ConsumerProtocolAssignmentTopicPartition(topic="t", partitions=share)]
                ).to_bytes(1),
            )
            for member, share in shares.items()
        ]

    def _sync(self, assignments: list[SyncGroupRequestAssignment]) -> None:
        request = SyncGroupRequest(
            group_id=GROUP,
            generation_id=self.epoch,
            member_id=self.member_id,
            protocol_type="consumer",
            protocol_name="range",
            assignments=assignments,
        )

        def answered(answer: Any) -> None:
            if answer is None or answer.error_code in _LOADING:
                self.later(100, lambda: self._sync(assignments))
            elif answer.error_code == ErrorCode.REBALANCE_IN_PROGRESS:
                self.go()
            elif answer.error_code:
                self.later(100, self.begin_anew)
            else:
                given = ConsumerProtocolAssignment.from_bytes(answer.assignment) if answer.assignment else None
                self.take([partition for each in (given.assigned_partitions if given else []) for partition in each.partitions])
                self.later(HEARTBEAT_MS, self._beat)

        self.call(lambda c: c.sync_group(Caller(self.name, "/h", 5), request), answered)

    def _beat(self) -> None:
        if self.assigned_of not in (None, self.sim.partitions):
            self.go()  # the leader has seen the topic grow
            return
        request = HeartbeatRequest(group_id=GROUP, generation_id=self.epoch, member_id=self.member_id)

        def answered(answer: Any) -> None:
            code = ErrorCode.NONE if answer is None else answer.error_code
            if code == ErrorCode.REBALANCE_IN_PROGRESS:
                self.go()
            elif code and code not in _LOADING:
                self.begin_anew()
            else:
                self.later(HEARTBEAT_MS, self._beat)

        def send(coordinator: GroupCoordinator) -> Any:
            return self.sim.heartbeat(coordinator, self.connection, request, lambda keep: coordinator.heartbeat(request, keep))

        self.call(send, answered)

    def say_goodbye(self) -> None:
        request = LeaveGroupRequest(group_id=GROUP, members=[MemberIdentity(member_id=self.member_id)])
        self.sim.call(self.connection, lambda c: c.leave_group(Caller(self.name, "/h", 5), request), lambda _: None)


class ConsumerMember(Member):
    """A member of the consumer protocol."""

    def __init__(self, sim: Simulation, name: str, *, static: bool) -> None:
        self.instance_id = f"i-{name}" if static else None
        self.told: list[TopicPartitions] | None = None
        """What the coordinator has answered that it holds; None when an answer is missing."""
        self.lives = 0
        super().__init__(sim, name)

    def reset(self) -> None:
        super().reset()
        self.lives += 1
        self.member_id = f"{self.name}-{self.lives}"
        self.epoch = 0
        self.told = None

    def go(self) -> None:
        self._beat()

    def _owned(self) -> list[TopicPartitions]:
        return [TopicPartitions(topic_id=self.sim.topics.id_of("t"), partitions=sorted(self.held))] if self.held else []

    def _request(self, epoch: int) -> ConsumerGroupHeartbeatRequest:
        if epoch > 0 and self.told == self._owned():
            # the coordinator has heard everything else
            return ConsumerGroupHeartbeatRequest(
                group_id=GROUP, member_id=self.member_id, member_epoch=epoch, instance_id=self.instance_id
            )
        return ConsumerGroupHeartbeatRequest(
            group_id=GROUP,
            member_id=self.member_id,
            member_epoch=epoch,
            instance_id=self.instance_id,
            rebalance_timeout_ms=REBALANCE_MS if epoch >= 0 else -1,
            subscribed_topic_names=["t"] if epoch >= 0 else None,
            topic_partitions=self._owned() if epoch >= 0 else None,
        )

    def _beat(self) -> None:
        request = self._request(self.epoch)
        caller = Caller(self.name, "/h", 1)

        def send(coordinator: GroupCoordinator) -> Any:
            return self.sim.heartbeat(
                coordinator, self.connection, request, lambda keep: coordinator.consumer_heartbeat(caller, request, keep)
            )

        owned = self._owned()
        self.call(send, lambda answer: self._answered(answer, owned))

    def _answered(self, answer: Any, told: list[TopicPartitions]) -> None:
        code = None if answer is None else answer.error_code
        self.told = told if code == 0 else None
        if code is None or code in _LOADING:
            self.later(200, self._beat)
        elif code in (ErrorCode.UNRELEASED_INSTANCE_ID, ErrorCode.GROUP_ID_NOT_FOUND):
            self.later(1_000, self.begin_anew)
        elif code:
            self.begin_anew()
        else:
            self.epoch = answer.member_epoch
            before = set(self.held)
            if answer.assignment is not None:
                self.take([partition for each in answer.assignment.topic_partitions for partition in each.partitions])
            # Whoever gives up tells so at once.
            self.later(10 if before - set(self.held) else HEARTBEAT_MS, self._beat)

    def say_goodbye(self) -> None:
        request = self._request(-2 if self.instance_id is not None else -1)
        self.sim.call(self.connection, lambda c: c.consumer_heartbeat(Caller(self.name, "/h", 1), request), lambda _: None)

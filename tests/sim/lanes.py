"""Commits that the network threads take by themselves, in virtual time."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import NamedTuple

from kafkax._core.batch_writer import BatchWriter
from kafkax._core.commit_request import CommitRequest
from kafkax.coordinator.batches import finish_batch
from kafkax.coordinator.groups.coordinator import AS_SEEN_BY_CLIENTS
from kafkax.coordinator.offset_records import CommittedOffset
from kafkax.errors import KafkaError
from tests.sim.standing import VirtualStanding
from tests.sim.virtual import MemoryTopic, VirtualTime

Answer = Callable[[bytes], object]


class Served(Enum):
    """What a network thread did with a commit."""

    TAKEN = "taken"
    HANDED_OVER = "handed over"
    WAITS = "waits"


class _Gathered(NamedTuple):
    commit: CommitRequest
    answer: Answer


class VirtualLanes:
    """What ``kafkax._core.commit_lanes.CommitLanes`` is to a coordinator with one partition, and a network thread's part.

    Args:
        topic: the internal topic.
        standing: who may commit.
        time: time.
        soon: calls back in the network thread's next turn, if the process lives then.
    """

    def __init__(
        self, topic: MemoryTopic, standing: VirtualStanding, time: VirtualTime, soon: Callable[[Callable[[], None]], object]
    ) -> None:
        self._topic = topic
        self._standing = standing
        self._time = time
        self._soon = soon
        self._open = self._halted = False
        self._gathered: list[_Gathered] = []
        self._taken: list[bytes] = []
        self._end = 0
        self.taken = 0
        """Commits that were taken so far."""
        self.untaken: dict[tuple[str, int], CommittedOffset] = {}
        """What the coordinator has not taken over yet."""

    def open(self, index: int) -> None:
        """As in the core."""
        assert index == 0
        self._open, self._halted, self._end = True, False, 0

    def shut(self, index: int) -> None:
        """As in the core."""
        self._flush()
        self._open = self._halted = False
        self._taken.clear()
        self.untaken.clear()

    def halt(self, index: int) -> tuple[bytes, int]:
        """As in the core."""
        taken = self.take(index)
        self._halted = True
        return taken

    def resume(self, index: int) -> None:
        """As in the core."""
        self._halted = False

    def take(self, index: int) -> tuple[bytes, int]:
        """As in the core."""
        self._flush()
        taken, self._taken = self._taken, []
        self.untaken.clear()
        return b"".join(taken), self._end

    def commit(self, connection: str, commit: CommitRequest, answer: Answer) -> Served:
        """What a network thread does with a commit whose topics exist."""
        if not self._open or not self._standing.allowed(commit.group_id, commit.member_id, connection, commit.who):
            return Served.HANDED_OVER
        if self._halted:
            return Served.WAITS
        self.taken += 1
        self._gathered.append(_Gathered(commit, answer))
        self._soon(self._flush)
        return Served.TAKEN

    def _flush(self) -> None:
        gathered, self._gathered = self._gathered, []
        if not gathered:
            return
        writer, now, offsets = BatchWriter(), self._time.wall_ms(), dict[tuple[str, int], CommittedOffset]()
        for each in gathered:
            each.commit.apply(offsets, CommittedOffset, now)
            each.commit.write(writer)
        batch = finish_batch(writer, now)

        def done(error: KafkaError | None) -> None:
            for each in gathered:
                each.answer(each.commit.answer(0 if error is None else AS_SEEN_BY_CLIENTS.get(error.code, error.code).value))

        try:
            self._end = self._topic.append(0, batch)
        except KafkaError as error:
            done(error)
            return
        self._taken.append(batch)
        self.untaken.update(offsets)
        self._topic.when_committed(0, self._end, done)

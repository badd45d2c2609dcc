"""Writes of the active controller: every one is a transaction that fails once another controller was elected (KAFKA-6082)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from kafkax.cluster import znodes
from kafkax.cluster.controller.context import Context, Leadership
from kafkax.cluster.controller.election import Choice, next_state
from kafkax.cluster.store import (
    Check,
    CoordinationStore,
    Create,
    Delete,
    MultiError,
    NodeError,
    NoNodeError,
    Op,
    OpResult,
    SetData,
    Stat,
)
from kafkax.cluster.znodes import PartitionState, ReplicaAssignment
from kafkax.model import TopicPartition

__all__ = ["Choose", "ControllerMovedError", "Ledger"]

_CHUNK = 200
"""Partitions per transaction: well below ZooKeeper's limit of 1 MiB a request."""
_ATTEMPTS = 3

Choose = Callable[[TopicPartition, ReplicaAssignment, PartitionState], Choice | None]


class ControllerMovedError(Exception):
    """Another broker was elected controller: this one may neither write nor send."""


class Ledger:
    """Keeps the context and the coordination store in step.

    Only what the store took enters the context; what the store refused is read again.
    """

    def __init__(self, store: CoordinationStore, context: Context) -> None:
        self._store = store
        self._context = context

    def _fence(self) -> Check:
        return Check(znodes.CONTROLLER_EPOCH, self._context.epoch_version)

    async def commit_all(self, transactions: Iterable[Sequence[Op]]) -> list[list[OpResult] | NodeError]:
        """Run fenced transactions, each for itself; returns results or the error of each.

        Raises:
            ControllerMovedError: the fence held.
        """
        outcomes: list[list[OpResult] | NodeError] = []
        for outcome in await self._store.multi_all([[self._fence(), *ops] for ops in transactions]):
            if isinstance(outcome, MultiError):
                if outcome.index == 0:
                    raise ControllerMovedError("the controller epoch changed")
                outcomes.append(outcome.error)
            else:
                outcomes.append(outcome[1:])
        return outcomes

    async def commit(self, ops: Sequence[Op]) -> list[OpResult]:
        """Run one fenced transaction.

        Raises:
            ControllerMovedError: the fence held.
            NodeError: an operation did not fit.
        """
        outcome = (await self.commit_all([ops]))[0]
        if isinstance(outcome, NodeError):
            raise outcome
        return outcome

    async def create_states(self, states: Mapping[TopicPartition, PartitionState]) -> None:
        """Give new partitions their first state.  A state that is there already, of a creation cut short, is taken over."""
        opened = {partition.topic for partition in self._context.leaderships}
        items = list(states.items())
        chunks = [items[at : at + _CHUNK] for at in range(0, len(items), _CHUNK)]
        transactions = [[op for partition, state in chunk for op in _creations(partition, state, opened)] for chunk in chunks]
        unclear: list[TopicPartition] = []
        for chunk, outcome in zip(chunks, await self.commit_all(transactions), strict=True):
            if isinstance(outcome, NodeError):
                unclear += [partition for partition, _ in chunk]
            else:
                self._context.leaderships.update((partition, Leadership(state, 0)) for partition, state in chunk)
        if unclear:
            await self._store.ensure_paths(znodes.partition_path(*partition) for partition in unclear)
            await self.commit_all([[Create(znodes.state_path(*p), states[p].encode())] for p in unclear])
            await self.refresh(unclear)

    async def update_states(self, states: Mapping[TopicPartition, PartitionState]) -> set[TopicPartition]:
        """Replace states; returns the partitions that were written.  The others have their present state in the context."""
        items = list(states.items())
        chunks = [items[at : at + _CHUNK] for at in range(0, len(items), _CHUNK)]
        single: list[tuple[TopicPartition, PartitionState]] = []
        written: set[TopicPartition] = set()
        outcomes = await self.commit_all([[self._update(*item) for item in chunk] for chunk in chunks])
        for chunk, outcome in zip(chunks, outcomes, strict=True):
            if isinstance(outcome, NodeError):
                single += chunk
            else:
                written |= self._adopt(chunk, outcome)
        unclear = []
        for item, outcome in zip(single, await self.commit_all([[self._update(*item)] for item in single]), strict=True):
            if isinstance(outcome, NodeError):
                unclear.append(item[0])
            else:
                written |= self._adopt([item], outcome)
        await self.refresh(unclear)
        return written

    def _update(self, partition: TopicPartition, state: PartitionState) -> SetData:
        return SetData(znodes.state_path(*partition), state.encode(), self._context.leaderships[partition].version)

    def _adopt(self, items: list[tuple[TopicPartition, PartitionState]], results: list[OpResult]) -> set[TopicPartition]:
        for (partition, state), stat in zip(items, results, strict=True):
            assert isinstance(stat, Stat)
            self._context.leaderships[partition] = Leadership(state, stat.version)
        return {partition for partition, _ in items}

    async def refresh(self, partitions: Sequence[TopicPartition]) -> dict[TopicPartition, Stat]:
        """Read states again; returns the stats of their nodes."""
        stats: dict[TopicPartition, Stat] = {}
        paths = [znodes.state_path(*partition) for partition in partitions]
        for partition, path, found in zip(partitions, paths, await self._store.get_many(paths), strict=True):
            if found is None:
                self._context.leaderships.pop(partition, None)
            else:
                stats[partition] = found[1]
                self._context.leaderships[partition] = Leadership(PartitionState.decode(path, found[0]), found[1].version)
        return stats

    async def delete_trees(self, roots: Sequence[str]) -> None:
        """Delete nodes and everything below them, leaves first; one that does not exist is no error."""
        doomed, level = list(roots), list(roots)
        while level:
            below = await self._store.children_many(level)
            level = [f"{parent}/{name}" for parent, names in zip(level, below, strict=True) for name in names or ()]
            doomed += level
        for outcome in await self.commit_all([[Delete(path)] for path in reversed(doomed)]):
            if isinstance(outcome, NodeError) and not isinstance(outcome, NoNodeError):
                raise outcome

    async def elect(self, partitions: Iterable[TopicPartition], choose: Choose) -> set[TopicPartition]:
        """Choose and write leaders; returns the partitions that got one.  Partitions without state or choice are left out."""
        elected: set[TopicPartition] = set()
        todo = set(partitions)
        for _ in range(_ATTEMPTS):
            states: dict[TopicPartition, PartitionState] = {}
            for partition in sorted(todo):
                assignment = self._context.assignment(partition)
                leadership = self._context.leaderships.get(partition)
                if assignment is None or leadership is None:
                    continue
                choice = choose(partition, assignment, leadership.state)
                if choice is not None:
                    states[partition] = next_state(leadership.state, choice, self._context.epoch)
            written = await self.update_states(states)
            elected |= written
            todo = states.keys() - written
            if not todo:
                break
        return elected


def _creations(partition: TopicPartition, state: PartitionState, opened: set[str]) -> list[Op]:
    ops: list[Op] = []
    if partition.topic not in opened:
        opened.add(partition.topic)
        ops.append(Create(znodes.partitions_path(partition.topic)))
    ops.append(Create(znodes.partition_path(*partition)))
    ops.append(Create(znodes.state_path(*partition), state.encode()))
    return ops

"""Whole groups in simulation: random members, delays, losses, crashes and restarts, with every promise checked after each step.

``KAFKAX_SEEDS=5000 pytest tests/sim/test_groups.py`` runs as many seeds of each mix; a failure names its seed.
"""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

from kafkax.coordinator import undo
from kafkax.coordinator.groups import commits, consumer_protocol, shard
from kafkax.coordinator.groups.classic import ClassicGroup
from kafkax.coordinator.groups.classic_protocol import ClassicProtocol
from kafkax.coordinator.groups.consumer_group import NO_EPOCH
from kafkax.coordinator.promise import Promise
from kafkax.coordinator.runtime import CoordinatorRuntime
from tests.sim.groups_actors import Simulation, Violation
from tests.sim.standing import VirtualStanding

SEEDS = int(os.environ.get("KAFKAX_SEEDS", "30"))
MIXES = {"classic": (4, 0), "consumer": (0, 4), "mixed": (2, 3)}
PER_TEST = 10


@pytest.mark.parametrize("first", range(0, SEEDS, PER_TEST))
@pytest.mark.parametrize("mix", sorted(MIXES))
def test_promises_hold(mix: str, first: int) -> None:
    for seed in range(first, min(first + PER_TEST, SEEDS)):
        try:
            Simulation(seed, *MIXES[mix]).run()
        except Violation as violation:
            pytest.fail(f"{mix}, seed {seed}: {violation}")


# -- the checker itself: each of these bugs is found --------------------------------------------------------------------


def give_away_what_others_have(monkeypatch: pytest.MonkeyPatch) -> None:
    right = consumer_protocol.reconcile
    monkeypatch.setattr(
        consumer_protocol,
        "reconcile",
        lambda member, epoch, target, owned, _: right(member, epoch, target, owned, lambda *_: NO_EPOCH),
    )


def take_commits_of_any_generation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shard, "check_classic_commit", lambda group, request: None)


def take_late_commits_of_classic_members(monkeypatch: pytest.MonkeyPatch) -> None:
    right = commits.check_consumer_commit

    def wrong(group: object, caller: object, request: object) -> object:
        try:
            return right(group, caller, request)
        except Exception:
            return {}

    monkeypatch.setattr(shard, "check_consumer_commit", wrong)


def answer_before_the_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    right = CoordinatorRuntime._await_commit

    def wrong(self: CoordinatorRuntime, partition: object, end_offset: int, waiters: list) -> None:
        for waiter in waiters:
            waiter.settle(None)
        right(self, partition, end_offset, [])

    monkeypatch.setattr(CoordinatorRuntime, "_await_commit", wrong)


def keep_what_was_not_appended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(undo.UndoLog, "rollback", lambda self, mark=0: self.entries.clear())


def wait_for_ever_for_members_to_join(monkeypatch: pytest.MonkeyPatch) -> None:
    right = ClassicProtocol._begin_generation

    def wrong(self: ClassicProtocol, group: ClassicGroup) -> object:
        return right(self, group) if group.all_joined else shard.Result([], None)

    monkeypatch.setattr(ClassicProtocol, "_begin_generation", wrong)


def never_end_a_consumer_session(monkeypatch: pytest.MonkeyPatch) -> None:
    right = consumer_protocol.ConsumerProtocol._overdue

    def wrong(self: object, group_id: str, member_id: str, kind: str, epoch: int | None = None) -> object:
        return shard.Result([], None) if kind == "session" else right(self, group_id, member_id, kind, epoch)

    monkeypatch.setattr(consumer_protocol.ConsumerProtocol, "_overdue", wrong)


def forget_to_watch_after_a_failed_removal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(consumer_protocol.Writer, "when_undone", lambda self, repair: None)


def let_answers_stand_whatever_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(VirtualStanding, "revoke", lambda self, group, new=False: self._rounds.setdefault(group, 1))


def look_without_what_the_network_threads_took(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CoordinatorRuntime, "read", lambda self, index, look: Promise.of(look(self.shard(index))))


def allow_commits_whatever_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    right = VirtualStanding.allowed

    def wrong(self: VirtualStanding, group: str, member: str, connection: str, who: bytes) -> bool:
        kept = self._allowed.get((group, member))
        if kept is not None and group in self._rounds:
            self._allowed[group, member] = kept._replace(round=self._rounds[group])
        return right(self, group, member, connection, who)

    monkeypatch.setattr(VirtualStanding, "allowed", wrong)


@pytest.mark.parametrize(
    ("bug", "mix", "first"),
    [
        (give_away_what_others_have, "consumer", 0),
        (take_commits_of_any_generation, "classic", 0),
        (take_late_commits_of_classic_members, "mixed", 0),
        (answer_before_the_commit, "mixed", 0),
        (keep_what_was_not_appended, "mixed", 10),
        (wait_for_ever_for_members_to_join, "classic", 0),
        (never_end_a_consumer_session, "consumer", 0),
        (forget_to_watch_after_a_failed_removal, "mixed", 120),
        (let_answers_stand_whatever_changes, "classic", 0),
        (let_answers_stand_whatever_changes, "consumer", 0),
        (look_without_what_the_network_threads_took, "classic", 0),
        (allow_commits_whatever_changes, "mixed", 0),
        (allow_commits_whatever_changes, "consumer", 0),
    ],
    ids=lambda value: getattr(value, "__name__", str(value)),
)
def test_the_checker_finds_planted_bugs(
    bug: Callable[[pytest.MonkeyPatch], None], mix: str, first: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    bug(monkeypatch)
    for seed in range(first, first + 60):
        try:
            Simulation(seed, *MIXES[mix]).run()
        except Violation:
            return
    pytest.fail("60 seeds went by without a complaint")

"""Heartbeats that the network threads answer by themselves, in virtual time."""

from __future__ import annotations

from typing import Any, NamedTuple

from tests.sim.virtual import VirtualTime


class _Kept(NamedTuple):
    round: int
    connection: str
    frame: bytes
    answer: Any


class VirtualStanding:
    """What ``kafkax._core.standing.StandingAnswers`` is to a coordinator, and what a network thread does with it."""

    def __init__(self, time: VirtualTime) -> None:
        self._time = time
        self._rounds: dict[str, int] = {}
        self._kept: dict[tuple[str, str], _Kept] = {}
        self._allowed: dict[tuple[str, str], _Kept] = {}
        self._heard: dict[tuple[str, str], float] = {}
        self._last = 0

    def round(self, group: str) -> int:
        """As in the core."""
        if group not in self._rounds:
            self.revoke(group, new=True)
        return self._rounds[group]

    def keep(self, group: str, member: str, round: int, connection: str, frame: bytes, answer: Any) -> None:
        """As in the core."""
        if self._rounds.get(group) == round:
            self._kept[group, member] = _Kept(round, connection, frame, answer)

    def allow(self, group: str, member: str, round: int, connection: str, who: bytes, *, silent: bool) -> None:
        """As in the core."""
        if self._rounds.get(group) == round:
            self._allowed[group, member] = _Kept(round, connection, who, silent)

    def revoke(self, group: str, *, new: bool = False) -> None:
        """As in the core."""
        self._last += 1
        if new or group in self._rounds:
            self._rounds[group] = self._last

    def heard(self, group: str, member: str) -> float:
        """As in the core."""
        return self._heard.get((group, member), 0.0)

    def forget(self, group: str, member: str | None = None) -> None:
        """As in the core."""
        self.revoke(group)
        for kept in (self._kept, self._allowed, self._heard):
            for key in [key for key in kept if key[0] == group and member in (None, key[1])]:
                del kept[key]
        if member is None:
            self._rounds.pop(group, None)

    def standing(self, group: str, member: str, connection: str, frame: bytes) -> Any:
        """What a network thread would answer; None when it hands the request over."""
        kept = self._kept.get((group, member))
        if kept is None or (kept.connection, kept.frame) != (connection, frame) or kept.round != self._rounds.get(group):
            return None
        return kept.answer

    def allowed(self, group: str, member: str, connection: str, who: bytes) -> bool:
        """Whether a network thread would take a commit, which counts as a heartbeat unless it is a silent one."""
        kept = self._allowed.get((group, member))
        if kept is None or (kept.connection, kept.frame) != (connection, who) or kept.round != self._rounds.get(group):
            return False
        if not kept.answer:
            self.answered(group, member)
        return True

    def answered(self, group: str, member: str) -> None:
        """A network thread has answered."""
        self._heard[group, member] = self._time.now

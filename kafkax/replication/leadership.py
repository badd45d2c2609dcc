"""The leader's view of a replicated partition: how far its followers are, who is in sync, what is committed.  No I/O.

The high watermark is the least offset that every in-sync replica has contributed.  While a change of the ISR is with the
controller, members of both the old and the asked-for set count, so that whatever the controller decides, nothing committed is
missing on a replica that may lead (KIP-497).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

__all__ = ["Follower", "IsrChange", "Leadership"]

_UNKNOWN = -1


@dataclass
class Follower:
    """A follower as its fetches show it; offsets are -1 until the first one of this leadership.

    Attributes:
        offset: what it has, flushed if the topic's durability asks for that: it fetches from there.
        broker_epoch: of the process that fetches (KIP-903).
        caught_up_ms: when it last had everything that the leader had.
    """

    caught_up_ms: int
    offset: int = _UNKNOWN
    broker_epoch: int = _UNKNOWN
    _asked_at_ms: int = 0
    _leader_end: int = 0

    def fetched(self, offset: int, leader_end: int, now_ms: int) -> None:
        """It fetches from ``offset``, so it has everything before; the leader's log ends at ``leader_end`` now."""
        if offset >= leader_end:
            self.caught_up_ms = now_ms
        elif self.offset != _UNKNOWN and offset >= self._leader_end:
            # It has all there was when it asked last; what came since is no sign of falling behind.
            self.caught_up_ms = max(self.caught_up_ms, self._asked_at_ms)
        self.offset, self._leader_end, self._asked_at_ms = offset, leader_end, now_ms


class IsrChange(NamedTuple):
    """An ISR to ask the controller for: broker epochs by id (-1 when not known), and the states it is derived from."""

    members: dict[int, int]
    leader_epoch: int
    partition_epoch: int


class Leadership:
    """One partition that this broker leads in one leader epoch.

    Args:
        broker_id: this broker.
        broker_epoch: its epoch.
        leader_epoch: the epoch of the leadership.
        epoch_start: the log's end when it began: a follower joins the ISR only once it has reached it (KAFKA-7128).
        replicas: all replicas, this one included.
        isr, partition_epoch: as the controller wrote them.
    """

    def __init__(
        self,
        broker_id: int,
        broker_epoch: int,
        leader_epoch: int,
        epoch_start: int,
        replicas: Iterable[int],
        isr: Iterable[int],
        partition_epoch: int,
        now_ms: int,
    ) -> None:
        self.broker_id = broker_id
        self.broker_epoch = broker_epoch
        self.leader_epoch = leader_epoch
        self.epoch_start = epoch_start
        self.isr = tuple(isr)
        self.partition_epoch = partition_epoch
        self.followers = {replica: Follower(now_ms) for replica in replicas if replica != broker_id}
        self._asked: IsrChange | None = None

    @property
    def asked(self) -> IsrChange | None:
        """The change that is with the controller."""
        return self._asked

    def update(self, replicas: Iterable[int], isr: Iterable[int], partition_epoch: int, now_ms: int) -> None:
        """Take over a newer state of the same leader epoch; what was asked for before it is settled."""
        if partition_epoch < self.partition_epoch:
            return
        wanted = [replica for replica in replicas if replica != self.broker_id]
        self.followers = {replica: self.followers.get(replica) or Follower(now_ms) for replica in wanted}
        self.isr, self.partition_epoch = tuple(isr), partition_epoch
        self._asked = None

    def fetched(self, replica: int, broker_epoch: int, offset: int, leader_end: int, now_ms: int) -> bool:
        """A follower fetches; false when it is no replica, or a former life of one."""
        follower = self.followers.get(replica)
        if follower is None or (broker_epoch != _UNKNOWN and broker_epoch < follower.broker_epoch):
            return False
        follower.broker_epoch = max(follower.broker_epoch, broker_epoch)
        follower.fetched(offset, leader_end, now_ms)
        return True

    def progressed(self, replica: int, broker_epoch: int, offset: int, caught_up_ms: int) -> None:
        """Take over what the core noted of a follower's fetches, by the rules of :meth:`fetched`."""
        follower = self.followers.get(replica)
        if follower is not None:
            follower.broker_epoch, follower.offset, follower.caught_up_ms = broker_epoch, offset, caught_up_ms

    # What is committed

    def committed(self, own: int, high_watermark: int, min_in_sync: int, now_ms: int, lag_max_ms: int) -> int:
        """The high watermark that follows; never below the present one.  In a broker the core computes it, by the same rules.

        Args:
            own: what the leader itself contributes: its flushed offset, or its log's end with durability ``replicated``.
            min_in_sync: ``min.insync.replicas``; with fewer in sync the mark stays, so that what is committed is on that many.
            lag_max_ms: ``replica.lag.time.max.ms``; a follower that is about to join is waited for as long as this.
        """
        if len(self.isr) < min_in_sync:
            return high_watermark
        least = own
        for replica, follower in self.followers.items():
            joining = now_ms - follower.caught_up_ms <= lag_max_ms and follower.offset >= max(high_watermark, self.epoch_start)
            if replica in self.isr or (self._asked is not None and replica in self._asked.members) or joining:
                least = min(least, follower.offset)
        return max(least, high_watermark)

    # Who is in sync

    def change(self, leader_end: int, high_watermark: int, now_ms: int, lag_max_ms: int) -> IsrChange | None:
        """The ISR to ask the controller for now, None when it is right or a change is under way.  Marks it as under way."""
        if self._asked is not None:
            return None
        members = {self.broker_id: self.broker_epoch}
        for replica, follower in sorted(self.followers.items()):
            if replica in self.isr:
                behind = follower.offset < leader_end and now_ms - follower.caught_up_ms > lag_max_ms
                keep = not behind
            else:
                keep = follower.offset != _UNKNOWN and follower.offset >= max(high_watermark, self.epoch_start)
            if keep:
                members[replica] = follower.broker_epoch
        if members.keys() == set(self.isr):
            return None
        self._asked = IsrChange(members, self.leader_epoch, self.partition_epoch)
        return self._asked

    def refused(self, *, retriable: bool) -> None:
        """The controller refused or could not be asked.

        Args:
            retriable: whether asking again may help; otherwise a newer state is on its way, and until it comes the set that
                was asked for keeps counting, since it may have been written.
        """
        if retriable:
            self._asked = None

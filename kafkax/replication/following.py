"""The follower's side of a replicated partition: what to fetch, and what an answer means for the log.  No I/O.

A follower names the epoch of its last record with each fetch.  Where the leader's log took another way, the answer says so,
and the follower cuts its log by epochs, never by its high watermark (KIP-101, 279, 595).
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

from kafkax.errors import ErrorCode, KafkaError

__all__ = ["EpochLog", "Following", "Step", "divergence", "truncation_point"]

NO_EPOCH = -1


class EpochLog(Protocol):
    """What of a log the decisions need; :class:`kafkax._core.log.Log` has it."""

    @property
    def log_end_offset(self) -> int:
        """Offset after the last record."""

    def end_offset_for_epoch(self, epoch: int) -> tuple[int, int]:
        """The largest known epoch that is not above ``epoch``, and where it ends; (-1, -1) when none is known."""

    def epochs(self) -> list[tuple[int, int]]:
        """Epochs with their start offsets."""


def divergence(leader: EpochLog, fetch_offset: int, last_fetched_epoch: int) -> tuple[int, int] | None:
    """On the leader: the (epoch, end offset) from which a follower's log is not the leader's, None when it agrees.

    Raises:
        KafkaError: OFFSET_OUT_OF_RANGE when the leader knows no epoch of the follower's, so that nothing can be compared.
    """
    if last_fetched_epoch == NO_EPOCH:
        return None
    epoch, end = leader.end_offset_for_epoch(last_fetched_epoch)
    if epoch == NO_EPOCH:
        raise KafkaError(ErrorCode.OFFSET_OUT_OF_RANGE, f"epoch {last_fetched_epoch} of the follower's last record is not known")
    return (epoch, end) if epoch < last_fetched_epoch or end < fetch_offset else None


def truncation_point(log: EpochLog, epoch: int, end_offset: int) -> int:
    """On the follower: the offset to cut the log at, given where the leader's log parts from it."""
    own_epoch, own_end = log.end_offset_for_epoch(epoch)
    if own_epoch == NO_EPOCH:
        return min(end_offset, log.log_end_offset)
    if own_epoch == epoch:
        return min(own_end, end_offset, log.log_end_offset)
    # That epoch never wrote here: whatever came after the one before it is in question.
    return min(own_end, log.log_end_offset)


class Step(NamedTuple):
    """What to do after an answer; exactly one of the fields is set, none for ``append``-nothing."""

    truncate_to: int | None = None
    """Cut the log at this offset, then fetch again."""
    high_watermark: int | None = None
    """Append the records, then let the high watermark be this, but not above the log's end."""
    look_up_range: bool = False
    """The leader holds other offsets: ask it for its earliest and latest."""
    wait: bool = False
    """Nothing can be fetched now; try again a little later."""
    gone: bool = False
    """This broker's idea of the partition is out of date: stop until the controller says more."""


class Following:
    """One partition that this broker follows in one leader epoch."""

    def __init__(self, leader: int, leader_epoch: int) -> None:
        self.leader = leader
        self.leader_epoch = leader_epoch

    def last_epoch(self, log: EpochLog) -> int:
        """The epoch of the last record, to be named with a fetch."""
        end = log.log_end_offset
        return next((epoch for epoch, start in reversed(log.epochs()) if start < end), NO_EPOCH)

    def may_ask_ahead(self, end: int, high_watermark: int) -> bool:
        """Whether to ask for what comes from ``end`` on while what is before it is still being written, and not yet flushed.

        A leader takes a fetch for the word that the follower has everything before.  Below what the leader said is committed
        that word moves nothing and lets nobody join those in sync: the mark never falls in one leader epoch, and a follower that
        is in sync has all that is below it.
        """
        return end < high_watermark

    def answered(self, log: EpochLog, code: ErrorCode, diverging: tuple[int, int] | None, high_watermark: int) -> Step:
        """What an answer to a fetch asks for."""
        if code is ErrorCode.NONE:
            if diverging is not None:
                return Step(truncate_to=truncation_point(log, *diverging))
            # Only now: before the logs agree the leader's mark says nothing about this log (KAFKA-14704).
            return Step(high_watermark=high_watermark)
        if code is ErrorCode.OFFSET_OUT_OF_RANGE:
            return Step(look_up_range=True)
        if code is ErrorCode.FENCED_LEADER_EPOCH:
            return Step(gone=True)
        return Step(wait=True)

    def in_range(self, log: EpochLog, leader_start: int, leader_end: int) -> tuple[int, bool]:
        """After OFFSET_OUT_OF_RANGE: the offset to go on from, and whether the log begins anew there.

        A log that ends before the leader's begins has nothing in common with it; one that goes beyond the leader's end after
        an unclean election is cut there.
        """
        if log.log_end_offset < leader_start:
            return leader_start, True
        return min(log.log_end_offset, leader_end), False

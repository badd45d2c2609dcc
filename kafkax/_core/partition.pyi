"""A partition as the data plane sees it: a log plus leadership."""

from collections.abc import Callable
from typing import NamedTuple
from uuid import UUID

from typing_extensions import Buffer

from kafkax._core.log import AbortedTransaction, AppendResult, Log
from kafkax._core.notify import NotifyQueue
from kafkax._core.segment import FileSlice

class ReplicaProgress(NamedTuple):
    """A follower as its fetches show it; offset and broker epoch are -1 until the first one of this leadership."""

    replica: int
    offset: int
    broker_epoch: int
    caught_up_ms: int
    """When it last had everything that the leader had, on the monotonic clock."""

class ReadResult(NamedTuple):
    """What Fetch answers for a partition; ``records`` is ``None`` when there is nothing yet."""

    records: FileSlice | None
    high_watermark: int
    last_stable_offset: int
    log_start_offset: int
    log_end_offset: int
    aborted: list[AbortedTransaction] | None

class Wait:
    """A registration made by ``Partition.wait``."""

    def cancel(self) -> bool:
        """Withdraw; whether it had not been woken yet (the callback does not run then)."""

class Partition:
    """A partition: one log plus leadership. Thread-safe.

    Args:
        topic: name; index: number of the partition; topic_id: id of the topic; log: its log.

    Begins as neither leader nor follower: ``append`` and ``read`` raise KafkaError NOT_LEADER_OR_FOLLOWER.
    """

    def __init__(self, topic: str, index: int, topic_id: UUID, log: Log) -> None: ...
    log: Log
    topic: str
    @property
    def index(self) -> int: ...
    @property
    def topic_id(self) -> UUID: ...
    @property
    def is_leader(self) -> bool: ...
    @property
    def leader_epoch(self) -> int: ...
    @property
    def leadership(self) -> tuple[int, int]:
        """Who leads, by broker id, and in which epoch, as the role was given here; (-1, -1) when that was not said."""

    @property
    def high_watermark(self) -> int: ...
    @high_watermark.setter
    def high_watermark(self, offset: int) -> None:
        """Set by the replica manager for replicated partitions (``external`` mark); never above the log end."""

    def replace_log(self, log: Log, settle: Callable[[], object]) -> None:
        """Have another log stand for the partition from now on (AlterReplicaLogDirs).

        ``settle`` is called while nothing can be appended: it brings ``log`` to exactly what the log in place holds, flushed,
        and may raise to leave everything as it was.  Reads and waiters go over; the former log is closed to both.  Other locks
        that ``settle`` takes must be held before, since it runs under the log's append lock.
        """

    def become_leader(
        self, epoch: int, *, in_sync: int = 1, min_in_sync: int = 1, mark: str = "auto", leader: int | None = None
    ) -> None:
        """Lead from ``epoch`` on; the epoch's start is on disk when this returns.

        ``mark``: who moves the high watermark: ``auto`` (one replica: it follows what is flushed, or the log end with durability
        ``replicated``) or ``external`` (see ``set_replicas``). Raises KafkaError FENCED_LEADER_EPOCH for an older epoch.
        ``leader``: this broker's id, for clients that know of an older epoch.
        """

    def become_follower(self, epoch: int, *, leader: int | None = None) -> None:
        """Follow from ``epoch`` on; everyone who waits is woken, and is told of the ``leader`` (-1: nobody) where it is given."""

    def set_in_sync(self, in_sync: int, min_in_sync: int) -> None:
        """Size of the in-sync replica set (leader included) and min.insync.replicas."""

    def append(
        self,
        records: Buffer,
        *,
        acks: int = -1,
        api_version: int = 13,
        origin: str = "client",
        validated: bool = False,
        now_ms: int = -1,
    ) -> AppendResult:
        """As ``Log.append`` with the partition's epoch.

        Also raises NOT_LEADER_OR_FOLLOWER, NOT_ENOUGH_REPLICAS, INVALID_REQUIRED_ACKS.
        """

    def committed(self, required_offset: int, leader_epoch: int) -> bool:
        """Whether an acks=all append is acknowledged. Raises NOT_LEADER_OR_FOLLOWER or NOT_ENOUGH_REPLICAS_AFTER_APPEND."""

    def read(
        self,
        offset: int,
        max_bytes: int,
        *,
        current_leader_epoch: int = -1,
        isolation: str = "read_uncommitted",
        min_one_batch: bool = True,
        any_replica: bool = False,
    ) -> ReadResult:
        """What a Fetch gets; ``isolation``: ``read_uncommitted``, ``read_committed`` or ``log_end`` (a follower's fetch).

        ``any_replica``: serve although not the leader (KIP-392). Raises OFFSET_OUT_OF_RANGE, NOT_LEADER_OR_FOLLOWER,
        FENCED_LEADER_EPOCH, UNKNOWN_LEADER_EPOCH, KAFKA_STORAGE_ERROR.
        """

    def check_epoch(self, current_leader_epoch: int, *, any_replica: bool = False) -> None:
        """Raise what a request with that leader epoch (-1: none) deserves."""

    def wait(self, kind: str, offset: int, queue: NotifyQueue, callback: Callable[[int], object]) -> Wait | None:
        """Have ``queue.dispatch()`` call ``callback(mark)`` once the mark ``kind`` reaches ``offset``.

        ``kind``: ``high_watermark``, ``last_stable`` or ``log_end``. ``None``: it is there already. Called early when leadership,
        log or disk go away.
        """

    def set_replicas(
        self,
        queue: NotifyQueue,
        callback: Callable[[int], object],
        replicas: list[tuple[int, bool]],
        *,
        leader_epoch: int,
        epoch_start: int,
        lag_max_ms: int,
        throttled: bool = False,
    ) -> None:
        """As leader with the mark ``external``: have the high watermark follow what these replicas (id, counts) have.

        Those that count are waited for; another one as well while it is about to join, having been caught up within
        ``lag_max_ms`` and being past ``epoch_start``. What is known of a replica's progress in the same leader epoch is kept.
        ``queue.dispatch()`` calls ``callback(id)`` when one that does not count may join. Does nothing in another epoch.
        ``throttled``: what they fetch is held against the registry's quota, and those that do not count wait for it.
        """

    def forget_replicas(self, queue: NotifyQueue) -> None:
        """Know no followers any more; the high watermark stays where it is."""

    def follower_fetched(self, replica: int, broker_epoch: int, offset: int, *, leader_epoch: int = -1) -> None:
        """A follower has everything before ``offset``, the log being the leader's that far.

        Raises KafkaError NOT_LEADER_OR_FOLLOWER when there is no such replica, or only a later life of it is known.
        """

    def throttle(self, replica: int) -> tuple[bool, bool]:
        """Whether what that follower fetches is held against the quota, and whether it has to wait where that is used up."""

    def replicas(self) -> list[ReplicaProgress]:
        """How far the followers are, as far as this leadership knows."""

    def settle(self) -> None:
        """Compute the high watermark anew: time alone may have ended the wait for a replica that was about to join."""

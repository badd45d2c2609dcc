"""Offset commits that the network threads take by themselves."""

from collections.abc import Callable, Iterable
from uuid import UUID

from kafkax._core.notify import NotifyQueue
from kafkax._core.partition import Partition

class CommitLanes:
    """A lane for each partition of ``__consumer_offsets``, by which allowed commits reach its log past the coordinator.

    Who may commit is said by ``StandingAnswers.allow``, for which topics by ``know``.  For one Python thread; the network
    threads of the reactor that takes commits write to the lanes meanwhile.

    Args:
        count: offsets.topic.num.partitions.
        find: the partition of an index, led here; may raise KafkaError.
        queue: brings ``full`` to the loop.
        full: told the index of a lane that has appended so much that it should be asked for it.
        as_seen: what clients are told in place of an error code, by that code.
        metadata_max: metadata of a commit has at most so many bytes; more is the coordinator's to judge.
        timeout_ms: how long a commit waits for the high watermark.
        batch_max: largest batch that the internal topic takes.
    """

    def __init__(
        self,
        count: int,
        find: Callable[[int], Partition],
        queue: NotifyQueue,
        full: Callable[[int], object],
        as_seen: dict[int, int],
        *,
        metadata_max: int,
        timeout_ms: int,
        batch_max: int,
    ) -> None: ...
    def open(self, index: int) -> None:
        """Take commits from now on; what ``find`` raises otherwise."""

    def shut(self, index: int) -> None:
        """Take no more, and forget what was not asked for: the coordinator is another's."""

    def halt(self, index: int) -> tuple[bytes, int]:
        """Take no more until ``resume``; else as ``take``."""

    def resume(self, index: int) -> None:
        """Go on after ``halt``."""

    def take(self, index: int) -> tuple[bytes, int]:
        """Append what has been taken so far.

        Returns:
            The batches that were appended since this or ``halt`` was last asked, and the offset after the last one ever; 0 when
            there was none since ``open``.
        """

    def know(self, name: str, topic_id: UUID, partitions: int) -> None:
        """Let a topic be committed for, partitions 0 to ``partitions`` - 1."""

    def knows(self, name: str) -> bool:
        """Whether a topic may be committed for."""

    def forget(self, topics: Iterable[str]) -> None:
        """Leave topics to the coordinator again: they changed."""

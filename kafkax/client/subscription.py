"""The partitions that a consumer has, where it stands in them, and what was fetched for it."""

from __future__ import annotations

import contextlib
import math
import os
import select
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from kafkax._core.message import Message
from kafkax.client.batch import Batch
from kafkax.client.connection import Connection
from kafkax.client.types import OFFSET_INVALID
from kafkax.errors import KafkaError
from kafkax.protocol.schema import ZERO_UUID

__all__ = ["Assigned", "Fetched", "Inbox"]

Key = tuple[str, int]


class Assigned:
    """One partition of the consumer.

    Attributes:
        position: offset of the next record for the caller; OFFSET_INVALID before it is known.
        fetch_offset: offset of the next record to be fetched.
        epoch: rises when what was fetched before counts no more.
        stored: offset to be committed when the caller stores offsets itself.
        committed: what was committed last.
        preferred: broker id to fetch from in place of the leader, -1 for none, and until when (loop's time).
        topic_id: of the topic that the offsets belong to.
        start: wish for where to begin, an offset or one of ``OFFSET_*``.
    """

    __slots__ = (
        "batch",
        "committed",
        "epoch",
        "fetch_offset",
        "high_watermark",
        "key",
        "last_stable_offset",
        "leader_epoch",
        "live",
        "log_start_offset",
        "paused",
        "position",
        "preferred",
        "queued",
        "resolving",
        "start",
        "stored",
        "topic_id",
    )

    def __init__(self, key: Key, start: int) -> None:
        self.key = key
        self.start = start
        self.position = OFFSET_INVALID
        self.fetch_offset = OFFSET_INVALID
        self.epoch = 0
        self.stored = OFFSET_INVALID
        self.committed = OFFSET_INVALID
        self.paused = False
        self.live = True
        self.queued = 0
        self.resolving = False
        self.high_watermark = -1
        self.last_stable_offset = -1
        self.log_start_offset = -1
        self.leader_epoch = -1
        self.preferred = (-1, 0.0)
        self.topic_id = ZERO_UUID
        self.batch: Batch | None = None

    def place(self, offset: int) -> None:
        """Go on from an offset; what was fetched before is dropped."""
        self.epoch += 1
        self.position = self.fetch_offset = offset
        self.queued = 0
        self.drop()

    def drop(self) -> None:
        """Give nothing more out of the batch that is being read."""
        batch, self.batch = self.batch, None
        if batch is not None:
            batch.drop()

    def at_end(self, committed: int) -> bool:
        """Whether all that was there when last seen is fetched; of what is committed only if ``committed``."""
        end = self.last_stable_offset if committed else self.high_watermark
        return 0 <= end <= self.fetch_offset

    def current(self) -> int:
        """Offset after the last record that the caller got."""
        batch = self.batch
        return max(self.position, batch.position) if batch is not None and batch.given else self.position


class Fetched(NamedTuple):
    """Something for the caller: batches of a partition and the offset after them, or an event in place of a record."""

    state: Assigned
    epoch: int
    batches: Iterator[Batch] | tuple[()]
    size: int
    next_offset: int
    event: Message | None = None


class Inbox:
    """What waits for the caller; mostly filled by the I/O thread."""

    def __init__(self) -> None:
        self.items: deque[Fetched] = deque()
        self.errors: deque[KafkaError] = deque()
        self.listener: Callable[[], None] | None = None
        self._waiting = 0
        self._event = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)

    def __del__(self) -> None:
        os.close(self._event)

    def put(self, item: Fetched) -> None:
        """Add something and wake the caller."""
        self.items.append(item)
        self.wake()

    def wake(self) -> None:
        """Have a waiting caller look."""
        if self._waiting:
            os.eventfd_write(self._event, 1)
        if self.listener is not None:
            self.listener()

    def wait(self, done: Callable[[], bool], connections: Sequence[Connection], timeout: float | None) -> None:
        """Wait until something is there, or may be; Ctrl-C interrupts it.

        Args:
            done: whether there is no need to wait; looked at once.
            connections: those that are received from, here, when something arrives on them.
            timeout: seconds; None waits as long as it takes.
        """
        self._waiting += 1
        try:
            if done():
                return
            poller = select.poll()
            poller.register(self._event, select.POLLIN)
            descriptors = {}
            for each in connections:
                descriptor = each.descriptor
                if descriptor >= 0:
                    each.take_over()
                    poller.register(descriptor, select.POLLIN)
                    descriptors[descriptor] = each
            ready = poller.poll(None if timeout is None else math.ceil(timeout * 1000))
        finally:
            self._waiting -= 1
        for descriptor, _ in ready:
            if descriptor == self._event:
                with contextlib.suppress(BlockingIOError):
                    os.eventfd_read(self._event)
            else:
                descriptors[descriptor].receive()

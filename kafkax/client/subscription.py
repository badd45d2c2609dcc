"""What was fetched and waits for the caller."""

from __future__ import annotations

import contextlib
import math
import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from kafkax._core.assigned import Assigned
from kafkax._core.message import Message
from kafkax._core.socket_io import wait_readable
from kafkax.client.batch import Batch
from kafkax.client.connection import Connection
from kafkax.errors import KafkaError

__all__ = ["Fetched", "Inbox"]


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
            descriptors = [self._event]
            for each in connections:
                descriptors.append(each.descriptor)
                each.take_over()
            ready = wait_readable(descriptors, -1 if timeout is None else math.ceil(timeout * 1000))
        finally:
            self._waiting -= 1
        for place in ready:
            if place:
                connections[place - 1].receive()
            else:
                with contextlib.suppress(BlockingIOError):
                    os.eventfd_read(self._event)

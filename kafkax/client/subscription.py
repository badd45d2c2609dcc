"""What was fetched and waits for the caller."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable

from kafkax._core.assigned import Fetched
from kafkax._core.lookout import Lookout
from kafkax.client.batch import Batch
from kafkax.client.connection import Connection
from kafkax.errors import KafkaError

__all__ = ["Inbox"]


class Inbox:
    """What waits for the caller; mostly filled by the I/O thread."""

    def __init__(self) -> None:
        self.items: deque[Fetched[Batch]] = deque()
        self.errors: deque[KafkaError] = deque()
        self.listener: Callable[[], None] | None = None
        self._lookout = Lookout()

    def put(self, item: Fetched[Batch]) -> None:
        """Add something and wake the caller."""
        self.items.append(item)
        self.wake()

    def wake(self) -> None:
        """Have a waiting caller look."""
        self._lookout.wake()
        if self.listener is not None:
            self.listener()

    def wait(self, done: Callable[[], bool], connections: list[Connection], timeout: float | None) -> None:
        """Wait until something is there, or may be; Ctrl-C interrupts it.

        Args:
            done: whether there is no need to wait; looked at once.
            connections: those that are received from, here, when something arrives on them.
            timeout: seconds; None waits as long as it takes.
        """
        self._lookout.wait(done, connections, -1 if timeout is None else math.ceil(timeout * 1000))

"""Waiting on the event loop for a partition's marks: the control plane's counterpart of the core's parked requests."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kafkax._core.notify import NotifyQueue
    from kafkax._core.partition import Partition, Wait

__all__ = ["Purgatory"]


class Purgatory:
    """Futures that partitions complete.

    Args:
        queue: the loop's queue of events from the core.
    """

    def __init__(self, queue: NotifyQueue) -> None:
        self._queue = queue

    async def any_reaches(self, marks: Iterable[tuple[Partition, str, int]], timeout: float) -> bool:
        """Wait until one of the marks is reached, or something else about its partition changed.

        Args:
            marks: partition, kind (``high_watermark``, ``last_stable`` or ``log_end``) and the offset that it must reach.
            timeout: seconds.

        Returns:
            False when the time ran out first.
        """
        woken: asyncio.Future[bool] = asyncio.get_running_loop().create_future()

        def wake(_: int) -> None:
            if not woken.done():
                woken.set_result(True)

        waits: list[Wait] = []
        try:
            for partition, kind, offset in marks:
                wait = partition.wait(kind, offset, self._queue, wake)
                if wait is None:
                    return True
                waits.append(wait)
            return await asyncio.wait_for(woken, timeout)
        except (TimeoutError, asyncio.TimeoutError):
            return False
        finally:
            for wait in waits:
                wait.cancel()

"""One event after the other: the controller's only concurrency is in waiting."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

__all__ = ["EventQueue"]

_log = logging.getLogger(__name__)
_T = TypeVar("_T")
Event = Callable[[], Awaitable[Any]]


class EventQueue:
    """Runs events in order, each to its end.

    Args:
        failed: called with what an event raised, on the queue's task, when nobody waits for the event's outcome.
    """

    def __init__(self, failed: Callable[[Exception], None]) -> None:
        self._failed = failed
        self._events: deque[tuple[object, Event, asyncio.Future[Any] | None]] = deque()
        self._hinted: set[object] = set()
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to run events."""
        self._task = asyncio.get_running_loop().create_task(self._run())

    def hint(self, key: object, event: Event) -> None:
        """Queue an event unless one with the same key waits already: it reads the state when it runs, so one is enough."""
        if key not in self._hinted:
            self._hinted.add(key)
            self._put(key, event, None)

    def put(self, event: Event) -> None:
        """Queue an event."""
        self._put(None, event, None)

    async def run(self, event: Callable[[], Awaitable[_T]]) -> _T:
        """Queue an event and wait for its outcome."""
        future: asyncio.Future[_T] = asyncio.get_running_loop().create_future()
        self._put(None, event, future)
        return await future

    def _put(self, key: object, event: Event, future: asyncio.Future[Any] | None) -> None:
        self._events.append((key, event, future))
        self._wake.set()

    async def _run(self) -> None:
        while True:
            while not self._events:
                self._wake.clear()
                await self._wake.wait()
            key, event, future = self._events.popleft()
            self._hinted.discard(key)
            try:
                outcome = await event()
                if future is not None and not future.done():
                    future.set_result(outcome)
            except Exception as error:
                if future is not None and not future.done():
                    future.set_exception(error)
                else:
                    self._failed(error)

    async def close(self) -> None:
        """Stop; who waits for an outcome is cancelled."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
            self._task = None
        for _, _, future in self._events:
            if future is not None:
                future.cancel()
        self._events.clear()

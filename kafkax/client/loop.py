"""The thread of a client: an event loop that owns its sockets, and the ways in from other threads.

Everything that talks to brokers runs on it, so requests, heartbeats and retries go on whatever the caller's code does.
Callers wait with :meth:`IoThread.run`, which Ctrl-C interrupts.
"""

from __future__ import annotations

import asyncio
import atexit
import concurrent.futures
import os
import threading
import weakref
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from kafkax.errors import ErrorCode, KafkaError

__all__ = ["IoThread", "timed_out"]

T = TypeVar("T")
_threads: weakref.WeakSet[IoThread] = weakref.WeakSet()


def timed_out(what: str, seconds: float | None) -> KafkaError:
    """The error of something that took longer than the caller allowed."""
    return KafkaError(ErrorCode.REQUEST_TIMED_OUT, f"{what} took longer than {seconds:g} s" if seconds else f"{what} timed out")


class IoThread:
    """An event loop in a daemon thread.

    Args:
        name: of the thread.

    Attributes:
        closed: whether :meth:`close` was called.
        forked: whether this is a process that was forked off after the thread had started.
        ident: number of the thread.
    """

    def __init__(self, name: str) -> None:
        import uvloop

        self.loop: asyncio.AbstractEventLoop = uvloop.new_event_loop()
        self.forked = False
        self.on_fork: Callable[[BaseException], None] | None = None
        self.closed = False
        self._tasks: set[asyncio.Task[Any]] = set()
        self._thread = threading.Thread(target=self._main, name=name, daemon=True)
        self._thread.start()
        self.ident = self._thread.ident
        _threads.add(self)

    def _main(self) -> None:
        asyncio.set_event_loop(self.loop)
        try:
            self.loop.run_forever()
            self.loop.run_until_complete(self._settle())
        finally:
            self.loop.close()

    async def _settle(self) -> None:
        # A task that ends may start another one, so once is not enough.
        for _ in range(20):
            if not self._tasks:
                return
            for task in list(self._tasks):
                task.cancel()
            await asyncio.wait(list(self._tasks), timeout=0.05)

    def check(self) -> None:
        """Refuse to go on after close, or in a process that was forked off.

        Raises:
            RuntimeError: the client can't be used any more, and why.
        """
        if self.forked:
            raise _forked()
        if self.closed:
            raise RuntimeError("this client is closed")

    def spawn(self, coroutine: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Start a task; on the loop's thread only. It is cancelled when the thread ends."""
        task = self.loop.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    @property
    def inside(self) -> bool:
        """Whether this is the client's own thread."""
        return threading.get_ident() == self.ident

    def aside(self, function: Callable[..., object], *arguments: Any) -> None:
        """Run a function on the loop's thread: now if this is it, else soon, unless the client is closed by then."""
        if self.inside:
            function(*arguments)
        elif not self.closed and not self.forked:
            self.loop.call_soon_threadsafe(function, *arguments)

    def call(self, function: Callable[..., object], *arguments: Any) -> None:
        """Run a function on the loop's thread, soon."""
        self.check()
        self.loop.call_soon_threadsafe(function, *arguments)

    def submit(self, coroutine: Coroutine[Any, Any, T]) -> concurrent.futures.Future[T]:
        """Run a coroutine on the loop's thread; from any other thread."""
        try:
            self.check()
        except RuntimeError:
            coroutine.close()
            raise
        future: concurrent.futures.Future[T] = concurrent.futures.Future()
        self.loop.call_soon_threadsafe(self._start, coroutine, future)
        return future

    def _start(self, coroutine: Coroutine[Any, Any, T], future: concurrent.futures.Future[T]) -> None:
        task = self.spawn(coroutine)
        future.add_done_callback(lambda done: self._cancelled(done, task))

        def finish(done: asyncio.Task[T]) -> None:
            if future.cancelled():
                if not done.cancelled():
                    done.exception()
            elif done.cancelled():
                future.set_exception(RuntimeError("this client was closed while it was at work"))
            elif (error := done.exception()) is not None:
                future.set_exception(error)
            else:
                future.set_result(done.result())

        task.add_done_callback(finish)

    def _cancelled(self, future: concurrent.futures.Future[T], task: asyncio.Task[T]) -> None:
        if future.cancelled() and not self.loop.is_closed():
            self.loop.call_soon_threadsafe(task.cancel)

    def run(self, coroutine: Coroutine[Any, Any, T], timeout: float | None = None, what: str = "the operation") -> T:
        """Run a coroutine and wait for it; Ctrl-C and the timeout cancel it.

        Args:
            timeout: seconds; None waits as long as it takes.
            what: names the work in the error.

        Raises:
            KafkaError: REQUEST_TIMED_OUT after ``timeout``, or what the coroutine raised.
            RuntimeError: the client is closed or was forked.
        """
        if threading.current_thread() is self._thread:
            coroutine.close()
            raise RuntimeError(f"{what}: a callback on the client's own thread can't wait for the client; do it elsewhere")
        future = self.submit(coroutine)
        try:
            return future.result(timeout)
        except concurrent.futures.TimeoutError:
            if future.done():
                raise
            future.cancel()
            raise timed_out(what, timeout) from None
        except BaseException:
            future.cancel()
            raise

    def close(self, timeout: float = 5.0) -> None:
        """Cancel what is under way, end the thread and wait for it, at most ``timeout`` seconds."""
        if self.closed or self.forked:
            self.closed = True
            return
        self.closed = True
        self.loop.call_soon_threadsafe(self.loop.stop)
        if threading.current_thread() is not self._thread:
            self._thread.join(timeout)


def _forked() -> RuntimeError:
    return RuntimeError(
        f"this client was made before process {os.getpid()} was forked off; its thread and sockets stayed with the parent. "
        "Make a client of its own in each process"
    )


def _after_fork() -> None:
    for thread in list(_threads):
        thread.forked = True
        if thread.on_fork is not None:
            thread.on_fork(_forked())


def _at_exit() -> None:
    # A thread that still runs while the interpreter takes itself apart may crash it.
    for thread in list(_threads):
        thread.close(1.0)


os.register_at_fork(after_in_child=_after_fork)
atexit.register(_at_exit)

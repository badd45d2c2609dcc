"""A result that arrives later, without an event loop.

State machines hand these out, so that the same code runs under asyncio in the broker and under a virtual clock in
simulation.  A promise may be awaited inside asyncio.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator, Sequence
from typing import Any, Generic, TypeVar

__all__ = ["Promise"]

T = TypeVar("T")

_PENDING: Any = object()


class Promise(Generic[T]):
    """A value or an error, set once; what is set later is ignored."""

    __slots__ = ("_callbacks", "_error", "_value")

    def __init__(self) -> None:
        self._value: T = _PENDING
        self._error: BaseException | None = None
        self._callbacks: list[Callable[[Promise[T]], None]] | None = None

    @classmethod
    def of(cls, value: T) -> Promise[T]:
        """A promise kept already."""
        promise = cls()
        promise._value = value
        return promise

    @classmethod
    def all(cls, promises: Sequence[Promise[T]]) -> Promise[list[T]]:
        """A promise of every value, in order; fails with the first error once all are done."""
        joined: Promise[list[T]] = Promise()
        left = len(promises)

        def one_more(_: Promise[T]) -> None:
            nonlocal left
            left -= 1
            if left == 0:
                error = next((promise._error for promise in promises if promise._error is not None), None)
                if error is not None:
                    joined.fail(error)
                else:
                    joined.resolve([promise._value for promise in promises])

        if not promises:
            joined.resolve([])
        for promise in promises:
            promise.on_done(one_more)
        return joined

    @property
    def done(self) -> bool:
        """Whether the value or the error is there."""
        return self._value is not _PENDING or self._error is not None

    @property
    def error(self) -> BaseException | None:
        """The error, if that is what arrived."""
        return self._error

    def resolve(self, value: T) -> None:
        """Set the value."""
        if not self.done:
            self._value = value
            self._run()

    def fail(self, error: BaseException) -> None:
        """Set the error."""
        if not self.done:
            self._error = error
            self._run()

    def result(self) -> T:
        """The value; raises the error, or RuntimeError when neither is there yet."""
        if self._error is not None:
            raise self._error
        if self._value is _PENDING:
            raise RuntimeError("the promise is still pending")
        return self._value

    def on_done(self, callback: Callable[[Promise[T]], None]) -> None:
        """Call back with this promise once it is done; at once if it is."""
        if self.done:
            callback(self)
        elif self._callbacks is None:
            self._callbacks = [callback]
        else:
            self._callbacks.append(callback)

    def map(self, convert: Callable[[T], Any], recover: Callable[[BaseException], Any] | None = None) -> Promise[Any]:
        """A promise of the converted value; an error passes through, or becomes what ``recover`` returns."""
        mapped: Promise[Any] = Promise()

        def settle(source: Promise[T]) -> None:
            try:
                if source._error is None:
                    mapped.resolve(convert(source._value))
                elif recover is None:
                    mapped.fail(source._error)
                else:
                    mapped.resolve(recover(source._error))
            except Exception as error:
                mapped.fail(error)

        self.on_done(settle)
        return mapped

    def _run(self) -> None:
        callbacks, self._callbacks = self._callbacks, None
        for callback in callbacks or ():
            callback(self)

    def __await__(self) -> Generator[Any, None, T]:
        if not self.done:
            waiter = asyncio.get_running_loop().create_future()

            def wake(_: Promise[T]) -> None:
                if not waiter.done():
                    waiter.set_result(None)

            self.on_done(wake)
            yield from waiter
        return self.result()

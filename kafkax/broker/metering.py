"""Holding clients to their quotas: what stands between the router and the handlers once anybody has a quota.

As long as nobody has one, the core answers Produce and Fetch itself and this is not asked.  From the first quota on, each
connection's next request is handed over; a connection whose client has no quota goes back to the core, one that has stays here,
with one request at a time, as every connection of Apache Kafka's has.
"""

from __future__ import annotations

from collections.abc import Awaitable, Generator
from inspect import isawaitable
from time import perf_counter
from typing import TYPE_CHECKING, Any

from kafkax.broker.quotas import CONSUMER, PRODUCER, REQUEST
from kafkax.protocol.messages.fetch import FetchRequest, FetchResponse

if TYPE_CHECKING:
    from kafkax.broker.handlers.spec import Answer, Handler, RequestContext
    from kafkax.broker.quotas import ClientQuotas, Quotas
    from kafkax.protocol.headers import RequestHeader

__all__ = ["Meter"]

_PRODUCE, _FETCH = 0, 1
_NOT_THROTTLED = frozenset({17, 18, 36})
"""Requests that open a connection and say who one is."""


class Meter:
    """Measures requests, and has clients beyond their quota wait.

    Args:
        quotas: who has which.
    """

    def __init__(self, quotas: Quotas) -> None:
        self._quotas = quotas

    @property
    def active(self) -> bool:
        """Whether requests have to come here."""
        return self._quotas.enforced

    def handle(
        self, handler: Handler, context: RequestContext, header: RequestHeader, request: Any, size: int
    ) -> bytes | Awaitable[bytes | None] | None:
        """Have a request answered: its encoded answer.

        Args:
            handler: of its API.
            context: who asks.
            header, request: what is asked.
            size: bytes of the request.
        """
        quotas = None if _of_broker(handler, request) else self._quotas.of(context.user, context.client_id or "")
        if quotas is None:
            context.connection.free(self._quotas.generation)
            answer = handler.handle(context, request)
            return _later(answer, context.version) if isawaitable(answer) else _encoded(answer, context.version)
        return self._measured(quotas, handler, context, header.api_key, request, size)

    async def _measured(
        self, quotas: ClientQuotas, handler: Handler, context: RequestContext, key: int, request: Any, size: int
    ) -> bytes | None:
        if key == _FETCH and (most := quotas.most_bytes()) is not None:
            request.max_bytes = min(request.max_bytes, most)
        began = perf_counter()
        answer: Any = handler.handle(context, request)
        spent = perf_counter() - began
        if isawaitable(answer):
            timed = _Timed(answer)
            answer = await timed
            spent += timed.spent
        if key in _NOT_THROTTLED:
            return _encoded(answer, context.version)
        began = perf_counter()
        encoded = _encoded(answer, context.version)
        now = self._quotas.clock.monotonic()
        wait = quotas.use_time(spent + perf_counter() - began, now) if REQUEST in quotas else 0
        if key == _PRODUCE:
            wait = max(wait, quotas.use(PRODUCER, size, now))
        elif key == _FETCH and encoded is not None:
            wait = max(wait, quotas.use(CONSUMER, len(encoded), now))
        if wait == 0:
            return encoded
        context.connection.throttle_ms = wait = max(wait, context.connection.throttle_ms)
        if key == _FETCH and encoded is not None:
            quotas.give_back(CONSUMER, len(encoded), now)
            answer = _nothing(request, answer)
        if answer is None or isinstance(answer, bytes):
            return encoded
        answer.throttle_time_ms = wait
        return _encoded(answer, context.version)


def _of_broker(handler: Handler, request: Any) -> bool:
    """Whether brokers ask each other; followers' Fetches have quotas of their own in Kafka."""
    if handler.spec.key == _FETCH:
        return bool(request.replica_id >= 0 or request.replica_state.replica_id >= 0)
    return handler.spec.between_brokers


def _nothing(request: FetchRequest, answer: FetchResponse) -> FetchResponse:
    """What a client beyond its quota gets: no records, and so nothing that would count."""
    return FetchResponse(error_code=answer.error_code, session_id=answer.session_id)


def _encoded(answer: Answer, version: int) -> bytes | None:
    return answer if answer is None or isinstance(answer, bytes) else answer.encode(version)


async def _later(answer: Awaitable[Answer], version: int) -> bytes | None:
    return _encoded(await answer, version)


class _Timed:
    """Awaits something and counts the seconds in which it ran, which is less than the time until it was done."""

    __slots__ = ("_awaitable", "spent")

    def __init__(self, awaitable: Awaitable[Any]) -> None:
        self._awaitable = awaitable
        self.spent = 0.0

    def __await__(self) -> Generator[Any, Any, Any]:
        steps: Any = self._awaitable.__await__()
        send: Any = steps.__next__
        given: tuple[Any, ...] = ()
        while True:
            began = perf_counter()
            try:
                waited = send(*given)
            except StopIteration as done:
                return done.value
            finally:
                self.spent += perf_counter() - began
            try:
                yield waited
                send, given = steps.__next__, ()
            except BaseException as error:
                send, given = steps.throw, (error,)

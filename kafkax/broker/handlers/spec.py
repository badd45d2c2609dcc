"""What every handler module declares: ``SPEC`` beside a function ``handle(context, request)``.

``handle`` is a plain function where the answer needs no waiting, and a coroutine function where it does.  It gets the decoded
request and returns the response message (or its bytes in the request's version, where it is always the same), or ``None``
where the protocol has no answer (Produce with acks=0).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from kafkax.broker.services import Services
    from kafkax.net.connection import Connection
    from kafkax.protocol.message import Message

__all__ = ["ANONYMOUS", "Handler", "RequestContext", "Spec"]

ANONYMOUS = "ANONYMOUS"
"""Who has not authenticated."""

Answer: TypeAlias = "Message | bytes | None"


@dataclass(frozen=True)
class Spec:
    """The versions of one API that this broker serves.

    Attributes:
        key: the API key (int16).
        min_version, max_version: the served range; ApiVersions advertises it.
        before_authentication: whether a connection may send it before SASL has finished.
        overlaps: whether requests of one connection need not wait for each other's answer, only begin in order.
        between_brokers: whether it is served in a cluster only, and only by the listener that brokers use among themselves.
    """

    key: int
    min_version: int
    max_version: int
    before_authentication: bool = False
    between_brokers: bool = False
    overlaps: bool = False
    advertise_from: int | None = None
    """Lowest version in ApiVersions where that is not ``min_version``: clients that look for it would not come otherwise."""


class RequestContext(NamedTuple):
    """Who asks, and what the handler may use to answer."""

    services: Services
    version: int
    client_id: str | None
    connection: Connection
    frame: bytes = b""
    """The request, header and body."""

    @property
    def listener(self) -> str:
        """Name of the listener that the request came in by."""
        return self.connection.listener

    @property
    def user(self) -> str:
        """Name of who asks."""
        return getattr(self.connection.state, "user", ANONYMOUS)

    def throttle(self, answer: Any, wait: int) -> None:
        """Have the client wait for some ms after its answer, which tells it so."""
        if wait > 0:
            answer.throttle_time_ms = max(answer.throttle_time_ms, wait)
            self.connection.throttle_ms = max(self.connection.throttle_ms, wait)


class Handler(NamedTuple):
    """A registered handler module.

    Attributes:
        quick: answers the ordinary case of a request that comes very often from its connection and frame: gets what to
            call with the response and its header; false when the request is out of the ordinary, and nothing was done.
    """

    spec: Spec
    handle: Callable[[RequestContext, Any], Answer | Awaitable[Answer]]
    quick: Callable[[Services, Connection, bytes, Callable[[bytes], object]], bool] | None = None

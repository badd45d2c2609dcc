"""A client's connection as the control plane sees it, whichever listener it came in by."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

if TYPE_CHECKING:
    from kafkax._core.segment import FileSlice

__all__ = ["Connection", "Link", "Payload"]

Payload: TypeAlias = "bytes | list[bytes | FileSlice]"
"""A response without length prefix, whole or in parts."""


class Link(Protocol):
    """What carries a connection's answers: the reactor, or a TLS transport. ``Reactor`` has these very methods."""

    def respond(self, connection: int, token: int, payload: Payload) -> Awaitable[None] | None:
        """Answer a request; what it returns is awaited before the connection's next request begins."""

    def skip(self, connection: int, token: int) -> None:
        """Answer a request with nothing."""

    def close(self, connection: int) -> None:
        """Close a connection."""

    def end(self, connection: int, token: int) -> None:
        """Close a connection for the request that came with ``token``, which gets no answer."""

    def authenticated(self, connection: int, *, fast: bool) -> None:
        """Lift the limits of a connection that has not authenticated."""

    def free(self, connection: int, generation: int) -> None:
        """Serve a connection in the core again, which quotas of this generation do not limit."""

    def pause(self, connection: int, *, paused: bool) -> None:
        """Read nothing of a connection, or read on."""


class Connection:
    """One client connection.

    Attributes:
        id: number that no other connection of this process has on the same link.
        listener: name of the listener.
        peer: ``host:port`` of the client.
        certificate: the client's TLS certificate as ``ssl.SSLSocket.getpeercert`` tells it; None without.
        software: name and version of the client's software, as it tells them; empty before it does.
        throttle_ms: set by a handler to have the next request wait so long after this one's answer.
        free_in: the generation of the quotas that do not limit the client, see :meth:`free`.
        state: what the broker keeps about the connection (its principal, a SASL exchange); None at first.
        ordered: whether the link itself keeps answers in the order of their requests.
        ending: it is being closed, and nothing more of it is handled.
        busy: a request is being answered, and those that wait have to.
        overlapping: requests that are being answered and that others of their kind need not wait for.
        waiting: token and frame of the requests that have not begun.
    """

    __slots__ = (
        "_link",
        "busy",
        "certificate",
        "ending",
        "free_in",
        "id",
        "listener",
        "ordered",
        "overlapping",
        "peer",
        "software",
        "state",
        "throttle_ms",
        "waiting",
    )

    def __init__(self, link: Link, number: int, listener: str, peer: str, *, ordered: bool = False) -> None:
        self._link = link
        self.id = number
        self.listener = listener
        self.peer = peer
        self.certificate: dict[str, Any] | None = None
        self.software: tuple[str, str] = ("", "")
        self.throttle_ms = 0
        self.free_in = 0
        self.state: Any = None
        self.ordered = ordered
        self.ending = False
        self.busy = False
        self.overlapping = 0
        self.waiting: deque[tuple[int, bytes]] = deque()

    def respond(self, token: int, payload: Payload) -> Awaitable[None] | None:
        """Answer the request that came with ``token``; an awaitable when that takes time."""
        return self._link.respond(self.id, token, payload)

    def skip(self, token: int) -> None:
        """Answer the request that came with ``token`` with nothing."""
        self._link.skip(self.id, token)

    def close(self) -> None:
        """Close at once; answers that did not leave yet are lost."""
        self.waiting.clear()
        self.ending = True
        self._link.close(self.id)

    def end(self, token: int) -> None:
        """Close for the request that came with ``token``: those before it are still answered, nothing behind it is handled."""
        self.waiting.clear()
        self.ending = True
        self._link.end(self.id, token)

    def free(self, generation: int) -> None:
        """Have the core serve the connection, which quotas of this generation do not limit."""
        if self.free_in != generation:
            self.free_in = generation
            self._link.free(self.id, generation)

    def pause(self, *, paused: bool) -> None:
        """Have nothing read from the client, or read on."""
        self._link.pause(self.id, paused=paused)

    def authenticated(self, *, fast: bool) -> None:
        """Lift the frame limit that holds before authentication; ``fast``: Produce and Fetch may be served by the core."""
        self._link.authenticated(self.id, fast=fast)

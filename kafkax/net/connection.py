"""A client's connection as the control plane sees it, whichever listener it came in by."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

if TYPE_CHECKING:
    from kafkax._core.segment import FileSlice

__all__ = ["Connection", "Link", "Payload"]

Payload: TypeAlias = "bytes | list[bytes | FileSlice]"
"""A response without length prefix, whole or in parts."""


class Link(Protocol):
    """What carries a connection's answers: the reactor, or a TLS transport. ``Reactor`` has these very methods."""

    def respond(self, connection: int, token: int, payload: Payload) -> None: ...
    def skip(self, connection: int, token: int) -> None: ...
    def close(self, connection: int) -> None: ...
    def authenticated(self, connection: int, *, fast: bool) -> None: ...


class Connection:
    """One client connection.

    Attributes:
        id: number that no other connection of this process has on the same link.
        listener: name of the listener.
        peer: ``host:port`` of the client.
        state: what the broker keeps about the connection (its principal, a SASL exchange); None at first.
    """

    __slots__ = ("_link", "busy", "id", "listener", "peer", "state", "waiting")

    def __init__(self, link: Link, number: int, listener: str, peer: str) -> None:
        self._link = link
        self.id = number
        self.listener = listener
        self.peer = peer
        self.state: Any = None
        self.busy = False
        self.waiting: deque[tuple[int, bytes]] = deque()

    def respond(self, token: int, payload: Payload) -> None:
        """Answer the request that came with ``token``."""
        self._link.respond(self.id, token, payload)

    def skip(self, token: int) -> None:
        """Answer the request that came with ``token`` with nothing."""
        self._link.skip(self.id, token)

    def close(self) -> None:
        """Close at once; answers that did not leave yet are lost."""
        self.waiting.clear()
        self._link.close(self.id)

    def authenticated(self, *, fast: bool) -> None:
        """Lift the frame limit that holds before authentication; ``fast``: Produce and Fetch may be served by the core."""
        self._link.authenticated(self.id, fast=fast)

"""How long kazoo waits for a ZooKeeper server that accepts a connection and then says nothing."""

from __future__ import annotations

from typing import Any

from kazoo.handlers.threading import SequentialThreadingHandler

__all__ = ["PatienceHandler", "patience_seconds"]

_LONGEST_SECONDS = 3.0


def patience_seconds(session_timeout_ms: int, hosts: int) -> float:
    """How long one server may take to greet: every server gets its turn twice within a session, and none more than 3 s."""
    return min(session_timeout_ms / 1000 / (2 * hosts), _LONGEST_SECONDS)


class PatienceHandler(SequentialThreadingHandler):  # type: ignore[misc]
    """Kazoo's threads, with an end to the wait for a server that doesn't greet.

    A server that is just starting may accept a connection and lose the request for a session; a host that is down may swallow
    packets.  Kazoo itself waits for either as long as the session lasts, after which the session is lost.

    Parameters:
        seconds: for the connection, and then for each answer until the session is there.
    """

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self._seconds = seconds
        self._greeting = False

    def create_connection(self, *args: Any, timeout: float, **kwargs: Any) -> Any:
        """Connect; a failure is the one of kazoo's own handler."""
        self._greeting = True
        return super().create_connection(*args, timeout=min(timeout, self._seconds), **kwargs)

    def select(self, readers: list[Any], writers: list[Any], errors: list[Any], timeout: float | None = None) -> Any:
        """Wait for sockets.  Kazoo waits for its queue of requests besides the socket as soon as the session is there."""
        self._greeting = self._greeting and len(readers) + len(writers) < 2
        if self._greeting:
            timeout = self._seconds if timeout is None else min(timeout, self._seconds)
        return super().select(readers, writers, errors, timeout)

"""The network threads, as Python starts, feeds and stops them."""

from collections.abc import Callable, Iterable, Mapping
from ipaddress import IPv4Address, IPv6Address
from typing import Any, Protocol

from kafkax._core.commit_lanes import CommitLanes
from kafkax._core.leaders import Leaders
from kafkax._core.registry import Registry
from kafkax._core.standing import StandingAnswers

class _Settings(Protocol):
    """The fields of ``kafkax.net.settings.ReactorSettings``."""

    @property
    def socket_request_max_bytes(self) -> int: ...

class HandedRequest:
    """A request that the control plane has to answer, once, by ``respond`` or ``skip``."""

    @property
    def connection(self) -> int:
        """Id of the connection; never used again for another one."""

    @property
    def token(self) -> int:
        """Place of the request on its connection; ascending."""

    @property
    def listener(self) -> str:
        """Name of the listener that it came in by."""

    @property
    def frame(self) -> bytes:
        """Request header and body, without the length prefix."""

    @property
    def peer(self) -> str:
        """``host:port`` of the client."""

class ClosedConnection:
    """A connection that is gone: one that handed requests over, or one that broke a rule. Answers to it are dropped."""

    @property
    def connection(self) -> int: ...
    @property
    def listener(self) -> str: ...
    @property
    def peer(self) -> str: ...
    @property
    def reason(self) -> str:
        """Why, in words."""

class NewConnection:
    """A connection that waits to be let in by ``pause(connection, paused=False)``, see ``Reactor.screen``."""

    @property
    def connection(self) -> int: ...
    @property
    def listener(self) -> str: ...
    @property
    def peer(self) -> str:
        """``host:port`` of the client."""

class Reactor:
    """``num.network.threads`` threads that serve Produce and Fetch without the GIL and hand every other request over.

    Life: ``listen`` as often as needed, ``start``, ``stop``; it does not start again.  All methods may be called from any
    Python thread.  Responses leave each connection in the order of its requests, whatever the order of ``respond``.
    """

    def __init__(self, registry: Registry | None, settings: _Settings) -> None: ...
    def listen(
        self,
        host: str,
        port: int,
        listener_name: str,
        *,
        fast: bool = True,
        authenticated: bool = True,
        between_brokers: bool = False,
    ) -> int:
        """Open a listener and return its port (``port`` 0 lets the kernel choose).

        ``fast=False``: everything is handed over, Produce and Fetch too.  ``authenticated=False``: so it is, and frames are
        limited to ``sasl.server.max.receive.size``, until ``authenticated`` is called for the connection.
        ``between_brokers``: followers may fetch here (``inter.broker.listener.name`` in a cluster).
        Raises OSError when the address cannot be bound.
        """

    def start(self, threads: int) -> None:
        """Start ``threads`` network threads (1 to 64). Raises OSError when the system refuses."""

    def stop(self, timeout: float) -> None:
        """Stop reading, send what is due for at most ``timeout`` seconds, close everything; returns when the threads ended.

        Long polls are answered at once.  Call it from another thread than the one that answers handed-over requests.
        """

    def fileno(self) -> int:
        """eventfd that is readable while something waits for ``take``."""

    def take(self) -> list[HandedRequest | NewConnection | ClosedConnection]:
        """Everything that came since the last call, oldest first."""

    def respond(self, connection: int, token: int, payload: bytes | Iterable[Any]) -> None:
        """Answer a request: response header and body as bytes or as parts, each bytes or FileSlice, without length prefix.

        Unknown connections and tokens that were answered are ignored, since a connection may end at any time.
        """

    def gather(self, soon: Callable[[], object]) -> None:
        """From now on ``respond`` leaves the network threads asleep, so that many answers wake them once.

        Args:
            soon: called by the first ``respond``; it has ``announce`` called a little later.  ``respond`` is for one Python
                thread then.
        """

    def announce(self) -> None:
        """Wake the network threads that answers wait for."""

    def answer_standing(self, answers: StandingAnswers) -> None:
        """Answer the heartbeats whose answers stand; called before ``start``."""

    def take_commits(self, lanes: CommitLanes) -> None:
        """Have the network threads take commits where lanes are open; before ``start``."""

    def tell_leaders(self, leaders: Leaders) -> None:
        """Have clients that asked the wrong broker told who leads; before ``start``."""

    @property
    def listeners(self) -> list[str]:
        """Names of the listeners, in the order that they were opened in."""

    def skip(self, connection: int, token: int) -> None:
        """Answer a request with nothing (Produce with acks=0)."""

    def close(self, connection: int) -> None:
        """Close a connection without waiting for its answers."""

    def end(self, connection: int, token: int) -> None:
        """Close a connection when the answers of the requests before ``token`` have left; it is read no further."""

    def authenticated(self, connection: int, *, fast: bool) -> None:
        """Lift the limits of a connection that has not authenticated; ``fast``: serve Produce and Fetch in the core."""

    def set_api_versions(self, version: int, body: bytes | None) -> None:
        """Have ApiVersions requests of that version answered with that body, from now on, without the control plane.

        Args:
            version: 0 to 15.
            body: the response without its header; None: requests of that version are handed over, as they are at first, and
                as are those that do not name the client's software properly.

        Raises:
            ValueError: no such version.
        """

    def meter(self, generation: int) -> None:
        """Hand over the next request of every connection, and from then on all of them, one at a time, until ``free``.

        ``generation``: a number that the quotas were not known by before; 0: nobody has a quota, so nothing is metered.
        """

    def free(self, connection: int, generation: int) -> None:
        """Serve a connection's Produce and Fetch in the core again, unless quotas have changed since ``generation``."""

    def pause(self, connection: int, *, paused: bool) -> None:
        """Read nothing of a connection, or read on."""

    def screen(self, screening: bool) -> None:
        """Whether new connections are paused, and announced by ``take``, until the control plane lets them in."""

    def limit(self, connections: int, per_address: int, own: Mapping[IPv4Address | IPv6Address, int]) -> None:
        """From now on there may be so many connections, so many of one address, and of some addresses a number of their own."""

    def counters(self) -> dict[str, Any]:
        """Totals since the start: ``bytes_in``, ``bytes_out``, ``handed_over``, ``accepted``, ``requests`` by API key,
        ``closed`` by reason, ``cold_reads`` (ranges that a helper had to read from disk before they were sent), ``stood_in``
        (parked requests answered by the thread that made it possible), ``looks`` and ``looks_in_vain`` (waits that began by
        looking, and those in which nothing came); and the present ``connections``, ``waiting_for_control_plane``,
        ``held_bytes``, ``fetch_sessions``."""

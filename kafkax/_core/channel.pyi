"""A client's end of a connection: what was asked and not yet answered, and the frames that arrive."""

from asyncio import AbstractEventLoop
from collections.abc import Callable
from typing import Any

from kafkax._core.latch import Latch
from kafkax.errors import KafkaError

class Pending:
    """A request that waits for its answer.

    Attributes:
        correlation_id: goes out with the request and comes back with its answer.
        deadline: monotonic seconds at which the connection is given up without an answer.
        timeout: seconds from sending to ``deadline``.
    """

    correlation_id: int
    api_key: int
    deadline: float
    timeout: float

class Channel:
    """Frames out and in, without a Python object for what they are made of.

    Who inherits supplies the methods that the last part names; those that return nothing are called on the loop's thread.

    Args:
        address: ``host:port`` as it appears in errors.
        limit: largest response in bytes.

    Attributes:
        shared_fd: descriptor of the socket while any thread may send to it and receive from it; else -1, as with TLS.
        taken_until: monotonic seconds until which a caller receives, so that the I/O thread need not.
        loop: of the thread that owns the connection; without one its methods are called where there is need.
        produces: how many Produce requests are under way.
    """

    address: str
    fd: int
    shared_fd: int
    taken_until: float
    transport: Any
    used: float
    watched_until: float
    loop: AbstractEventLoop | None
    lock: Latch
    unsent: list[Any]
    in_flight: int
    produces: int

    def __init__(self, address: str, limit: int) -> None: ...
    def send(
        self, api_key: int, version: int, parts: list[Any], timeout: float, answer: Callable[[memoryview | KafkaError], object]
    ) -> None:
        """Send a request whose body is encoded already; from any thread without TLS.

        Args:
            parts: the body, as buffers that do not change until the answer is there.
            timeout: seconds until the connection is given up without an answer.
            answer: called once with the response's frame or an error, on whatever thread receives it.
        """

    def ask(
        self, api_key: int, version: int, parts: list[Any], timeout: float, answer: Callable[[memoryview | KafkaError], object]
    ) -> None:
        """:meth:`send` with an answer that is to be called on the loop's thread."""

    def send_unanswered(self, api_key: int, version: int, parts: list[Any]) -> None:
        """Send a request that has no response (Produce with acks=0).

        Raises:
            KafkaError: the connection is closed.
        """

    def take_over(self) -> None:
        """Say that the calling thread receives from here for the next 20 ms; the I/O thread goes on after that."""

    def receive(self) -> None:
        """Take what has arrived and hand it out; from any thread without TLS."""

    def flush(self) -> bool:
        """Send what the socket did not take before; whether all is sent.

        Raises:
            OSError: the connection is broken.
        """

    def get_buffer(self, sizehint: int) -> memoryview:
        """Where the next bytes go: straight into a large frame, or into the scratch buffer."""

    def buffer_updated(self, nbytes: int) -> None:
        """Bytes have arrived."""

    def soonest(self) -> Pending | None:
        """Of the requests that wait, the one whose time is over first."""

    def give_up(self, error: KafkaError) -> None:
        """Answer all that wait with an error."""

    # what who inherits supplies

    def header(self, api_key: int, version: int) -> bytes:
        """The header of a request; its correlation id is put in by the channel."""

    def gone(self) -> KafkaError:
        """Why nothing can be sent."""

    def abort(self, error: KafkaError) -> None:
        """The connection is of no use any more."""

    def await_room(self) -> None:
        """Have :meth:`flush` called when the socket takes more."""

    def expect(self, deadline: float) -> None:
        """Look at ``deadline`` (monotonic seconds) whether an answer is overdue."""

"""Requests to brokers: one queue and one sender per living broker, in order, repeated until answered."""

from __future__ import annotations

import asyncio
import logging
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Awaitable, Callable, Iterable

from kafkax.cluster.controller.context import LiveBroker
from kafkax.cluster.controller.requests import ControlRequest
from kafkax.cluster.znodes import BrokerRegistration
from kafkax.protocol.message import Request, Response

__all__ = ["BrokerChannel", "ChannelFactory", "Channels", "LocalChannel"]

_RETRY_SECONDS = 0.1
_log = logging.getLogger(__name__)


class BrokerChannel(ABC):
    """A way to one broker.

    Attributes:
        on_lost: called when a connection that was made broke.
    """

    on_lost: Callable[[], None] | None = None

    @abstractmethod
    async def send(self, request: Request) -> Response:
        """Send a request and wait for its answer.

        Raises:
            ConnectionRefusedError: nobody listens where the broker should: its process is gone.
            OSError: the broker cannot be reached, or the connection broke: the request may or may not have arrived.
        """

    @abstractmethod
    async def probe(self) -> None:
        """Connect if there is no connection.  Raises as :meth:`send`."""

    @abstractmethod
    async def close(self) -> None:
        """Let go of the connection."""


ChannelFactory = Callable[[BrokerRegistration], BrokerChannel]
Handle = Callable[[Request], Awaitable[Response]]
Answered = Callable[[int, ControlRequest, Response], None]
Refused = Callable[[LiveBroker], None]


class LocalChannel(BrokerChannel):
    """The way to the broker in this process: its handler is called with the message itself."""

    def __init__(self, handle: Handle) -> None:
        self._handle = handle

    async def probe(self) -> None:
        """It is there."""

    async def send(self, request: Request) -> Response:
        """Handle the request."""
        return await self._handle(request)

    async def close(self) -> None:
        """Nothing to let go of."""


class _Sender:
    """Sends one broker its requests in order; a request that got no answer is sent again, which every handler must bear.

    A broker that answered before and where nobody listens any more is told to be refused: its process died.
    """

    def __init__(self, broker: LiveBroker, channel: BrokerChannel, answered: Answered, refused: Refused) -> None:
        self.broker = broker
        self._channel = channel
        self._answered = answered
        self._refused = refused
        self._reached = False
        self._lost = False
        self._said = ""
        channel.on_lost = self._connection_lost
        self._queue: deque[ControlRequest] = deque()
        self._wake = asyncio.Event()
        self.idle = asyncio.Event()
        self.idle.set()
        self._closed = False
        self._task = asyncio.get_running_loop().create_task(self._run())

    def put(self, request: ControlRequest) -> None:
        self._queue.append(request)
        self.idle.clear()
        self._wake.set()

    async def _run(self) -> None:
        while not self._closed:
            if not self._queue:
                self.idle.set()
            while not (self._queue or self._lost):
                self._wake.clear()
                await self._wake.wait()
            if not self._queue:
                await self._probe()
                continue
            request = self._queue[0]
            try:
                answer = await self._channel.send(request)
            except OSError as error:
                await self._failed(error)
                continue
            except Exception:
                _log.exception("broker %d cannot handle a %s", self.broker.registration.broker_id, type(request).__name__)
                self._queue.popleft()
                continue
            self._queue.popleft()
            self._reached, self._lost, self._said = True, False, ""
            self._answered(self.broker.registration.broker_id, request, answer)

    def _connection_lost(self) -> None:
        if self._reached and not self._closed:
            self._lost = True
            self._wake.set()

    async def _probe(self) -> None:
        """See whether a broker whose connection broke still listens."""
        try:
            await self._channel.probe()
            self._lost, self._said = False, ""
        except OSError as error:
            await self._failed(error)

    async def _failed(self, error: OSError) -> None:
        # Silence or a broken connection prove nothing, that is for the coordination store to say; only a machine that answers
        # that nobody listens where somebody did is proof.
        if str(error) != self._said:
            self._said = str(error)
            _log.warning("broker %d cannot be told anything, trying on: %s", self.broker.registration.broker_id, error)
        if self._reached and isinstance(error, ConnectionRefusedError):
            self._refused(self.broker)
        await asyncio.sleep(_RETRY_SECONDS)

    async def close(self) -> None:
        self._closed = True
        self.idle.set()
        self._task.cancel()
        await asyncio.wait([self._task])
        await self._channel.close()


class Channels:
    """The senders of the active controller.

    Args:
        factory: makes the way to a broker.
        answered: called with each answer.
        refused: called with a broker whose process is gone.
    """

    def __init__(self, factory: ChannelFactory, answered: Answered, refused: Refused) -> None:
        self._factory = factory
        self._answered = answered
        self._refused = refused
        self._senders: dict[int, _Sender] = {}
        self._closing: set[asyncio.Task[None]] = set()

    def update(self, brokers: dict[int, LiveBroker]) -> None:
        """Have a sender for exactly these brokers; a broker that restarted or moved gets a new one with an empty queue."""
        for broker_id, sender in list(self._senders.items()):
            if brokers.get(broker_id) != sender.broker:
                del self._senders[broker_id]
                task = asyncio.get_running_loop().create_task(sender.close())
                self._closing.add(task)
                task.add_done_callback(self._closing.discard)
        for broker_id, broker in brokers.items():
            if broker_id not in self._senders:
                self._senders[broker_id] = _Sender(
                    broker, self._factory(broker.registration), self._answered, self._refused
                )

    def put(self, broker_id: int, request: ControlRequest) -> None:
        """Queue a request; one for a broker that is gone is dropped."""
        sender = self._senders.get(broker_id)
        if sender is not None:
            sender.put(request)

    async def answered(self, brokers: Iterable[int], seconds: float) -> None:
        """Wait, no longer than this, until these brokers have answered everything that they were sent."""
        waits = [asyncio.ensure_future(sender.idle.wait()) for b, sender in self._senders.items() if b in set(brokers)]
        if waits:
            _, late = await asyncio.wait(waits, timeout=seconds)
            for wait in late:
                wait.cancel()

    async def close(self) -> None:
        """Stop all senders; what they still had to send is dropped."""
        self.update({})
        if self._closing:
            await asyncio.wait(self._closing)

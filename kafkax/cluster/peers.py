"""The other brokers of the cluster, as this one reaches them, and the controller among them."""

from __future__ import annotations

import time
from collections.abc import Iterable
from functools import partial
from typing import TypeVar

from kafkax.cluster.controller.controller import Controller
from kafkax.cluster.image import MetadataCache
from kafkax.errors import ErrorCode, KafkaError
from kafkax.net.outbound import BrokerLink, OutboundSettings
from kafkax.protocol.message import Request, Response
from kafkax.protocol.messages.alter_partition import AlterPartitionRequest, AlterPartitionResponse
from kafkax.protocol.messages.controlled_shutdown import ControlledShutdownRequest, ControlledShutdownResponse

__all__ = ["ControllerLink", "Peers"]

_ALTER_PARTITION_VERSION = 3
_CONTROLLED_SHUTDOWN_VERSION = 3
_DOUBT_SECONDS = 0.3
"""How long a broker is in doubt after a connection to it broke: about as long as the controller needs when it died."""
_Response = TypeVar("_Response", bound=Response)


class Peers:
    """Where brokers are, by the listener that they use among themselves.

    Args:
        listener: ``inter.broker.listener.name``.
        settings: of every link.
    """

    def __init__(self, cache: MetadataCache, listener: str, settings: OutboundSettings) -> None:
        self._cache = cache
        self._listener = listener
        self._settings = settings
        self._broken: dict[tuple[str, int], float] = {}

    def address(self, broker_id: int) -> tuple[str, int] | None:
        """Host and port of a living broker, None while it is not known to live."""
        broker = self._cache.image.brokers.get(broker_id)
        endpoint = None if broker is None else broker.endpoints.get(self._listener)
        return None if endpoint is None else (endpoint.host, endpoint.port)

    def connect(self, host: str, port: int) -> BrokerLink:
        """A link to an address."""
        link = BrokerLink(host, port, self._settings)
        link.on_lost = partial(self._lost, (host, port))
        return link

    def _lost(self, address: tuple[str, int]) -> None:
        self._broken[address] = time.monotonic()

    def doubted(self, brokers: Iterable[int]) -> set[int]:
        """Of these brokers, those to which a connection just broke: they may have died, and the controller not know it yet."""
        if not self._broken:
            return set()
        since = time.monotonic() - _DOUBT_SECONDS
        self._broken = {address: broke for address, broke in self._broken.items() if broke > since}
        return {broker for broker in brokers if self.address(broker) in self._broken}


class ControllerLink:
    """Asks the controller, wherever it is.

    Args:
        broker_id: this broker.
        controller: this broker's own, which may be the active one.
    """

    def __init__(self, broker_id: int, cache: MetadataCache, controller: Controller, peers: Peers) -> None:
        self._broker_id = broker_id
        self._cache = cache
        self._controller = controller
        self._peers = peers
        self._link: BrokerLink | None = None
        self._to: tuple[str, int] | None = None

    async def alter_partition(self, request: AlterPartitionRequest) -> AlterPartitionResponse:
        """Ask for changes of in-sync replicas.

        Raises:
            KafkaError: NOT_CONTROLLER, NETWORK_EXCEPTION, REQUEST_TIMED_OUT: the request may or may not have been done.
            ProtocolError: the answer does not parse.
        """
        if self._controller.active:
            return await self._controller.alter_partition(request)
        return await self._send(request, _ALTER_PARTITION_VERSION, AlterPartitionResponse)

    async def controlled_shutdown(self, broker_epoch: int) -> int:
        """Have everything that this broker leads handed over; returns how many partitions it still leads.

        Raises:
            KafkaError, ProtocolError: as :meth:`alter_partition`, and what the controller answers.
        """
        if self._controller.active:
            return len(await self._controller.shut_down_broker(self._broker_id, broker_epoch))
        request = ControlledShutdownRequest(broker_id=self._broker_id, broker_epoch=broker_epoch)
        response = await self._send(request, _CONTROLLED_SHUTDOWN_VERSION, ControlledShutdownResponse)
        if response.error_code != ErrorCode.NONE:
            raise KafkaError(ErrorCode(response.error_code))
        return len(response.remaining_partitions)

    async def _send(self, request: Request, version: int, response: type[_Response]) -> _Response:
        controller_id = self._cache.image.controller_id
        address = None if controller_id == self._broker_id else self._peers.address(controller_id)
        if address is None:
            raise KafkaError(ErrorCode.NOT_CONTROLLER, "no broker is known to be the controller at the moment")
        if self._link is None or self._to != address:
            await self.close()
            self._link, self._to = self._peers.connect(*address), address
        return await self._link.send(request, version, response)

    async def close(self) -> None:
        """Close the connection; the next request opens one."""
        link, self._link = self._link, None
        if link is not None:
            await link.close()

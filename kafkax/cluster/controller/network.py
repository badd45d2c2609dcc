"""The way to a broker in another process."""

from __future__ import annotations

from collections.abc import Callable

from kafkax.cluster.controller.channels import BrokerChannel
from kafkax.cluster.controller.requests import internal_endpoint
from kafkax.cluster.znodes import BrokerRegistration, Endpoint
from kafkax.errors import KafkaError, ProtocolError
from kafkax.net.outbound import BrokerLink
from kafkax.protocol.message import Request, Response
from kafkax.protocol.messages.leader_and_isr import LeaderAndIsrRequest, LeaderAndIsrResponse
from kafkax.protocol.messages.stop_replica import StopReplicaRequest, StopReplicaResponse
from kafkax.protocol.messages.update_metadata import UpdateMetadataRequest, UpdateMetadataResponse

__all__ = ["NetworkChannel", "network_channel"]

_RESPONSES: dict[type[Request], type[Response]] = {
    LeaderAndIsrRequest: LeaderAndIsrResponse,
    StopReplicaRequest: StopReplicaResponse,
    UpdateMetadataRequest: UpdateMetadataResponse,
}


class NetworkChannel(BrokerChannel):
    """Sends the controller's requests over a link, in the newest version, which is Kafka 3.9's."""

    def __init__(self, link: BrokerLink) -> None:
        self._link = link
        self._also_told = link.on_lost
        link.on_lost = self._link_lost

    def _link_lost(self) -> None:
        if self._also_told is not None:
            self._also_told()
        if self.on_lost is not None:
            self.on_lost()

    async def probe(self) -> None:
        """Connect if there is no connection."""
        try:
            await self._link.connect()
        except KafkaError as error:
            raise _unreachable(error) from error

    async def send(self, request: Request) -> Response:
        """Send a request and wait for its answer.

        Raises:
            ConnectionRefusedError: nobody listens where the broker should.
            ConnectionError: the broker cannot be reached, did not answer in time, or not with an answer.
        """
        try:
            return await self._link.send(request, type(request).max_version, _RESPONSES[type(request)])
        except (KafkaError, ProtocolError) as error:
            raise _unreachable(error) from error

    async def close(self) -> None:
        """Close the connection."""
        await self._link.close()


def _unreachable(error: Exception) -> ConnectionError:
    refused = isinstance(error.__cause__, ConnectionRefusedError)
    return ConnectionRefusedError(str(error)) if refused else ConnectionError(str(error))


def network_channel(registration: BrokerRegistration, listener: str, connect: Callable[[Endpoint], BrokerLink]) -> NetworkChannel:
    """A channel to a registered broker by the listener that brokers use among themselves."""
    return NetworkChannel(connect(internal_endpoint(registration.endpoints, listener)))

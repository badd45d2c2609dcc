"""From a request's bytes to the handler of its API, and from the handler's answer to bytes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from inspect import isawaitable
from typing import TYPE_CHECKING, cast

from kafkax.broker.handlers import handlers
from kafkax.broker.handlers.api_versions import unsupported
from kafkax.broker.handlers.spec import RequestContext
from kafkax.broker.metering import Meter
from kafkax.coordinator.promise import Promise
from kafkax.net.dispatch import CloseConnection
from kafkax.protocol.api import API_KEYS

if TYPE_CHECKING:
    from kafkax.broker.cluster_member import ClusterMember
    from kafkax.broker.handlers.spec import Answer, Handler
    from kafkax.broker.services import Services
    from kafkax.net.connection import Connection
    from kafkax.net.dispatch import Quick
    from kafkax.protocol.headers import RequestHeader
    from kafkax.protocol.message import Request

__all__ = ["Router"]

_API_VERSIONS = 18


class Router:
    """The dispatcher's handler: one instance serves all connections.

    Args:
        services: what the API handlers work with.
    """

    def __init__(self, services: Services) -> None:
        self._services = services
        self._handlers = handlers()
        self._meter = Meter(services.admin.quotas_in_force)

    @property
    def overlapping(self) -> list[int]:
        """Keys of the APIs whose requests need not wait for each other on a connection."""
        return [key for key, handler in self._handlers.items() if handler.spec.overlaps]

    def quick(self) -> dict[int, Quick]:
        """What answers the ordinary case of requests that come very often, by API key; nothing does while quotas are in force."""
        return {key: self._quick_of(handler.quick) for key, handler in self._handlers.items() if handler.quick is not None}

    def _quick_of(self, quick: Callable[[Services, Connection, bytes, Callable[[bytes], object]], bool]) -> Quick:
        services, meter = self._services, self._meter
        is_ready = services.member.ready.is_set

        def ordinary(connection: Connection, frame: bytes, answer: Callable[[bytes], object]) -> bool:
            return is_ready() and not meter.active and quick(services, connection, frame, answer)

        return ordinary

    def __call__(self, connection: Connection, header: RequestHeader, body: memoryview) -> bytes | Awaitable[bytes | None] | None:
        """Answer one request with the body of its response.

        Raises:
            CloseConnection: the API or its version is not served, which has no other answer.
            ProtocolError: the body does not parse.
        """
        key, version = header.api_key, header.api_version
        handler, member = self._handlers.get(key), self._services.member
        if handler is None or (handler.spec.between_brokers and not member.clustered):
            raise CloseConnection(f"{API_KEYS[key].name} (key {key}) is not served")
        if not handler.spec.min_version <= version <= handler.spec.max_version:
            if key == _API_VERSIONS:
                return unsupported().encode(0)
            raise CloseConnection(
                f"{API_KEYS[key].name} version {version} is not served; "
                f"versions {handler.spec.min_version} to {handler.spec.max_version} are"
            )
        context = RequestContext(self._services, version, header.client_id, connection, cast("bytes", body.obj))
        # librdkafka's Metadata v13 has bytes behind the message; Kafka does not mind, so real clients rely on that
        request = API_KEYS[key].request_type().decode(body, version, exact=False)
        if not member.ready.is_set() and not (handler.spec.between_brokers or handler.spec.before_authentication):
            return _when_ready(member, handler, context, request)
        if self._meter.active:
            return self._meter.handle(handler, context, header, request, len(body))
        answer = handler.handle(context, request)
        if isinstance(answer, Promise):
            return answer.map(lambda message: message.encode(version))
        if isawaitable(answer):
            return _encoded(answer, version)
        return answer if answer is None or isinstance(answer, bytes) else answer.encode(version)


async def _when_ready(member: ClusterMember, handler: Handler, context: RequestContext, request: Request) -> bytes | None:
    """Answer a request that came before this broker knows what it leads: its picture of the cluster would be wrong."""
    await member.ready.wait()
    answer = handler.handle(context, request)
    if not isawaitable(answer):
        return answer if answer is None or isinstance(answer, bytes) else answer.encode(context.version)
    return await _encoded(answer, context.version)


async def _encoded(answer: Awaitable[Answer], version: int) -> bytes | None:
    message = await answer
    return message if message is None or isinstance(message, bytes) else message.encode(version)

"""UpdateMetadata (key 6): the controller tells which brokers live and the state of partitions.

Versions: 5 carries the broker epoch and offline replicas; 6 is flexible; 7 topic ids; 8 whether it is all there is.
Only brokers send it; the replica manager fences it by controller epoch and broker epoch.
"""

from __future__ import annotations

from kafkax.broker.between_brokers import require_broker
from kafkax.broker.handlers.spec import RequestContext, Spec
from kafkax.errors import KafkaError
from kafkax.protocol.message import Response
from kafkax.protocol.messages.update_metadata import UpdateMetadataRequest, UpdateMetadataResponse

SPEC = Spec(key=6, min_version=5, max_version=8, between_brokers=True)


async def handle(context: RequestContext, request: UpdateMetadataRequest) -> Response:
    """Do what the controller says."""
    try:
        require_broker(context)
        return await context.services.member.replicas.handle(request)
    except KafkaError as error:
        return UpdateMetadataResponse(error_code=error.code)

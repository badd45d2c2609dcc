"""StopReplica (key 5): the controller tells stop hosting replicas, and perhaps delete them.

Versions: 2 is flexible and carries the broker epoch; 3 leader epochs (KIP-570); 4 tells a KRaft controller.
Only brokers send it; the replica manager fences it by controller epoch and broker epoch.
"""

from __future__ import annotations

from kafkax.broker.between_brokers import require_broker
from kafkax.broker.handlers.spec import RequestContext, Spec
from kafkax.errors import KafkaError
from kafkax.protocol.message import Response
from kafkax.protocol.messages.stop_replica import StopReplicaRequest, StopReplicaResponse

SPEC = Spec(key=5, min_version=1, max_version=4, between_brokers=True)


async def handle(context: RequestContext, request: StopReplicaRequest) -> Response:
    """Do what the controller says."""
    try:
        require_broker(context)
        return await context.services.member.replicas.handle(request)
    except KafkaError as error:
        return StopReplicaResponse(error_code=error.code)

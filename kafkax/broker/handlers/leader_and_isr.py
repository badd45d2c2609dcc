"""LeaderAndIsr (key 4): the controller tells who leads partitions and which replicas are in sync.

Versions: 1 is the first that any broker still sends; 2 carries the broker epoch (KIP-380); 3 the replicas being added and
removed; 4 is flexible; 5 topic ids; 6 the leader's recovery state (KIP-704); 7 tells a KRaft controller.
Only brokers send it; the replica manager fences it by controller epoch and broker epoch.
"""

from __future__ import annotations

from kafkax.broker.between_brokers import require_broker
from kafkax.broker.handlers.spec import RequestContext, Spec
from kafkax.errors import KafkaError
from kafkax.protocol.message import Response
from kafkax.protocol.messages.leader_and_isr import LeaderAndIsrRequest, LeaderAndIsrResponse

SPEC = Spec(key=4, min_version=1, max_version=7, between_brokers=True)


async def handle(context: RequestContext, request: LeaderAndIsrRequest) -> Response:
    """Do what the controller says."""
    try:
        require_broker(context)
        return await context.services.member.replicas.handle(request)
    except KafkaError as error:
        return LeaderAndIsrResponse(error_code=error.code)

"""AlterPartition (key 56): a leader asks the controller to change in-sync replicas (KIP-497).

Versions: 1 adds the leader's recovery state (KIP-704); 2 names topics by id; 3 adds broker epochs (KIP-903).
"""

from __future__ import annotations

from kafkax.broker.between_brokers import require_broker
from kafkax.broker.handlers.spec import RequestContext, Spec
from kafkax.errors import KafkaError
from kafkax.protocol.messages.alter_partition import AlterPartitionRequest, AlterPartitionResponse

SPEC = Spec(key=56, min_version=0, max_version=3, between_brokers=True)


async def handle(context: RequestContext, request: AlterPartitionRequest) -> AlterPartitionResponse:
    """Let this broker decide if it is the controller."""
    try:
        require_broker(context)
        return await context.services.member.controller.alter_partition(request)
    except KafkaError as error:
        return AlterPartitionResponse(error_code=error.code)

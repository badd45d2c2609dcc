"""ControlledShutdown (key 7): a broker that is about to stop has the controller hand over what it leads.

Versions: 0 has a header without client id; 1 is the first served; 2 adds the broker epoch (KIP-380); 3 is flexible.
"""

from __future__ import annotations

from kafkax.broker.between_brokers import require_broker
from kafkax.broker.handlers.spec import RequestContext, Spec
from kafkax.errors import KafkaError
from kafkax.protocol.messages.controlled_shutdown import (
    ControlledShutdownRequest,
    ControlledShutdownResponse,
    RemainingPartition,
)

SPEC = Spec(key=7, min_version=1, max_version=3, between_brokers=True)


async def handle(context: RequestContext, request: ControlledShutdownRequest) -> ControlledShutdownResponse:
    """Hand over, and answer with what the broker still leads."""
    try:
        require_broker(context)
        remaining = await context.services.member.controller.shut_down_broker(request.broker_id, request.broker_epoch)
    except KafkaError as error:
        return ControlledShutdownResponse(error_code=error.code)
    return ControlledShutdownResponse(
        remaining_partitions=[RemainingPartition(topic_name=topic, partition_index=index) for topic, index in remaining]
    )

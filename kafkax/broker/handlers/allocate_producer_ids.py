"""AllocateProducerIds (key 67): a broker asks the controller for a block of producer ids (KIP-730).

Version 0 is the only one.  Brokers of this project take their blocks from the coordination store themselves.
"""

from __future__ import annotations

from kafkax.broker.between_brokers import require_broker
from kafkax.broker.handlers.spec import RequestContext, Spec
from kafkax.errors import KafkaError
from kafkax.protocol.messages.allocate_producer_ids import AllocateProducerIdsRequest, AllocateProducerIdsResponse

SPEC = Spec(key=67, min_version=0, max_version=0, between_brokers=True)


async def handle(context: RequestContext, request: AllocateProducerIdsRequest) -> AllocateProducerIdsResponse:
    """Let this broker give out a block if it is the controller."""
    try:
        require_broker(context)
        block = await context.services.member.controller.allocate_producer_ids(request.broker_id, request.broker_epoch)
    except KafkaError as error:
        return AllocateProducerIdsResponse(error_code=error.code)
    return AllocateProducerIdsResponse(producer_id_start=block.first, producer_id_len=block.last - block.first + 1)

"""InitProducerId (key 22): a producer id for idempotent producing (KIP-98).

Versions: 2 is flexible; 3 carries the producer's current id and epoch, so that it may raise its epoch (KIP-360); 4 may answer
PRODUCER_FENCED; 5 and 6 belong to the newer transaction protocol (KIP-890, KIP-939).  A transactional id needs a transaction
coordinator, which this broker does not have: it is refused with UNSUPPORTED_VERSION, which every client treats as final.
"""

from __future__ import annotations

from kafkax.broker.handlers.spec import RequestContext, Spec
from kafkax.errors import ErrorCode, KafkaError
from kafkax.protocol.messages.init_producer_id import InitProducerIdRequest, InitProducerIdResponse

SPEC = Spec(key=22, min_version=0, max_version=5)

MAX_EPOCH = 32767


async def handle(context: RequestContext, request: InitProducerIdRequest) -> InitProducerIdResponse:
    """Give out a new producer id, or raise the epoch of the one that the producer has."""
    if request.transactional_id is not None:
        code = ErrorCode.UNSUPPORTED_VERSION if request.transactional_id else ErrorCode.INVALID_REQUEST
        return InitProducerIdResponse(error_code=code, producer_epoch=-1)
    if (request.producer_id < 0) != (request.producer_epoch < 0):
        return InitProducerIdResponse(error_code=ErrorCode.INVALID_REQUEST, producer_epoch=-1)
    try:
        producer_id = await context.services.producer_ids.next()
    except KafkaError as error:
        return InitProducerIdResponse(error_code=error.code, producer_epoch=-1)
    # without a transactional id nobody else may use the id, so a new one serves as well as a raised epoch
    return InitProducerIdResponse(producer_id=producer_id, producer_epoch=0)

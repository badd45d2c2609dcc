"""FindCoordinator (key 10): which broker coordinates a group.

Versions: 1 adds transactional ids and an error text; 3 is flexible; 4 asks for several keys at once (KIP-699); 5 may answer
TRANSACTION_ABORTABLE; 6 adds share groups (KIP-932).  Transactional ids and share groups have no coordinator here: they are
refused with UNSUPPORTED_VERSION, which every client treats as final.
"""

from __future__ import annotations

from kafkax.broker.handlers.spec import RequestContext, Spec
from kafkax.errors import ErrorCode, KafkaError
from kafkax.protocol.messages.find_coordinator import Coordinator, FindCoordinatorRequest, FindCoordinatorResponse

SPEC = Spec(key=10, min_version=0, max_version=6)

_BATCHED_SINCE = 4
_GROUP = 0
_KNOWN_TYPES = {0, 1, 2}


async def handle(context: RequestContext, request: FindCoordinatorRequest) -> FindCoordinatorResponse:
    """Answer for each key; the internal topic is created when this is the first one asked for."""
    if context.version >= _BATCHED_SINCE:
        return FindCoordinatorResponse(
            coordinators=[await _find(context, request.key_type, key) for key in request.coordinator_keys]
        )
    found = await _find(context, request.key_type, request.key)
    return FindCoordinatorResponse(
        error_code=found.error_code,
        error_message=found.error_message or "NONE",
        node_id=found.node_id,
        host=found.host,
        port=found.port,
    )


async def _find(context: RequestContext, key_type: int, key: str) -> Coordinator:
    try:
        if key_type != _GROUP:
            code = ErrorCode.UNSUPPORTED_VERSION if key_type in _KNOWN_TYPES else ErrorCode.INVALID_REQUEST
            raise KafkaError(code, f"this broker has no coordinators of type {key_type}, only of groups (0)")
        broker_id, endpoint = await context.services.groups.find(key, context.listener)
    except KafkaError as error:
        return Coordinator(key=key, node_id=-1, host="", port=-1, error_code=error.code, error_message=str(error))
    return Coordinator(key=key, node_id=broker_id, host=endpoint.host, port=endpoint.port, error_message="")

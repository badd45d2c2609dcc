"""SyncGroup (key 14): hand in the assignment as the group's leader, and get one's own part.

Versions: 3 adds static members (KIP-345); 4 is flexible; 5 names protocol type and protocol, which are then required
(KIP-559).
"""

from __future__ import annotations

from kafkax.broker.handlers.spec import RequestContext, Spec
from kafkax.errors import ErrorCode
from kafkax.protocol.messages.sync_group import SyncGroupRequest, SyncGroupResponse

SPEC = Spec(key=14, min_version=0, max_version=5)

_PROTOCOL_REQUIRED_SINCE = 5


async def handle(context: RequestContext, request: SyncGroupRequest) -> SyncGroupResponse:
    """Wait for the leader's assignment to be in the log."""
    unnamed = request.protocol_type is None or request.protocol_name is None
    if context.version >= _PROTOCOL_REQUIRED_SINCE and unnamed:
        return SyncGroupResponse(error_code=ErrorCode.INCONSISTENT_GROUP_PROTOCOL)
    groups = context.services.groups
    return await groups.coordinator.sync_group(groups.caller(context), request)

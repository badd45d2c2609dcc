"""LeaveGroup (key 13): leave a group, or remove members from it.

Versions: 3 takes several members, also static ones by instance id alone (KIP-345); 4 is flexible; 5 adds a reason (KIP-800).
"""

from __future__ import annotations

from kafkax.broker.handlers.spec import RequestContext, Spec
from kafkax.protocol.messages.leave_group import LeaveGroupRequest, LeaveGroupResponse

SPEC = Spec(key=13, min_version=0, max_version=5)


async def handle(context: RequestContext, request: LeaveGroupRequest) -> LeaveGroupResponse:
    """Each member has its own error."""
    groups = context.services.groups
    return await groups.coordinator.leave_group(groups.caller(context), request)

"""JoinGroup (key 11): become a member of a classic group's next generation.

Versions: 1 adds the rebalance timeout (KIP-62); 4 sends members without an id away with one (KIP-394); 5 static members
(KIP-345); 6 is flexible; 7 names the protocol type (KIP-559); 8 a reason (KIP-800); 9 lets a leader skip the assignment
(KIP-814).
"""

from __future__ import annotations

from kafkax.broker.handlers.spec import RequestContext, Spec
from kafkax.protocol.messages.join_group import JoinGroupRequest, JoinGroupResponse

SPEC = Spec(key=11, min_version=0, max_version=9)


async def handle(context: RequestContext, request: JoinGroupRequest) -> JoinGroupResponse:
    """Wait for the generation to begin."""
    groups = context.services.groups
    return await groups.coordinator.join_group(groups.caller(context), request)

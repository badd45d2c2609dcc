"""DeleteGroups (key 42): delete groups without members, and their offsets (KIP-229).

Versions: 1 is the same; 2 is flexible.
"""

from __future__ import annotations

from kafkax.broker.handlers.spec import RequestContext, Spec
from kafkax.protocol.messages.delete_groups import DeleteGroupsRequest, DeleteGroupsResponse

SPEC = Spec(key=42, min_version=0, max_version=2)


async def handle(context: RequestContext, request: DeleteGroupsRequest) -> DeleteGroupsResponse:
    """Delete each group by itself."""
    return await context.services.groups.coordinator.delete_groups(request)

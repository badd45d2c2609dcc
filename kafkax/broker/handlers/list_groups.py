"""ListGroups (key 16): the groups that this broker coordinates.

Versions: 3 is flexible; 4 filters by state (KIP-518); 5 by type (KIP-848).
"""

from __future__ import annotations

from kafkax.broker.handlers.spec import RequestContext, Spec
from kafkax.protocol.messages.list_groups import ListGroupsRequest, ListGroupsResponse

SPEC = Spec(key=16, min_version=0, max_version=5)


async def handle(context: RequestContext, request: ListGroupsRequest) -> ListGroupsResponse:
    """List what is committed."""
    return await context.services.groups.coordinator.list_groups(request)

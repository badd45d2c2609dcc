"""DescribeGroups (key 15): state and members of classic groups.

Versions: 3 adds authorized operations (KIP-430); 4 static members (KIP-345); 5 is flexible; 6 answers GROUP_ID_NOT_FOUND
where older versions say Dead (KIP-1043).
"""

from __future__ import annotations

from kafkax.broker.handlers.spec import RequestContext, Spec
from kafkax.broker.operations import group_operations
from kafkax.errors import ErrorCode
from kafkax.protocol.messages.describe_groups import DescribeGroupsRequest, DescribeGroupsResponse

SPEC = Spec(key=15, min_version=0, max_version=6)


async def handle(context: RequestContext, request: DescribeGroupsRequest) -> DescribeGroupsResponse:
    """Describe each group by itself."""
    groups = context.services.groups
    response = await groups.coordinator.describe_groups(groups.caller(context), request)
    if request.include_authorized_operations:
        for group in response.groups:
            if group.error_code == ErrorCode.NONE:
                group.authorized_operations = group_operations()
    return response

"""ConsumerGroupDescribe (key 69): epochs, members and assignments of consumer groups (KIP-848).

Versions: 1 tells classic members from those of the consumer protocol (KIP-1099).
"""

from __future__ import annotations

from kafkax.broker.handlers.spec import RequestContext, Spec
from kafkax.broker.operations import group_operations
from kafkax.errors import ErrorCode
from kafkax.protocol.messages.consumer_group_describe import ConsumerGroupDescribeRequest, ConsumerGroupDescribeResponse

SPEC = Spec(key=69, min_version=0, max_version=1)


async def handle(context: RequestContext, request: ConsumerGroupDescribeRequest) -> ConsumerGroupDescribeResponse:
    """Describe each group by itself."""
    response = await context.services.groups.coordinator.describe_consumer_groups(request)
    if request.include_authorized_operations:
        for group in response.groups:
            if group.error_code == ErrorCode.NONE:
                group.authorized_operations = group_operations()
    return response

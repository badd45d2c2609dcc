"""ConsumerGroupHeartbeat (key 68): join, stay in and leave a consumer group (KIP-848).

Versions: 1 adds regular expressions, and has clients make their member ids (KIP-1082).
"""

from __future__ import annotations

from kafkax.broker.handlers.spec import RequestContext, Spec
from kafkax.cluster.features import GROUP_VERSION
from kafkax.coordinator.promise import Promise
from kafkax.errors import ErrorCode
from kafkax.protocol.messages.consumer_group_heartbeat import ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse

SPEC = Spec(key=68, min_version=0, max_version=1)


def handle(context: RequestContext, request: ConsumerGroupHeartbeatRequest) -> Promise[ConsumerGroupHeartbeatResponse]:
    """Answered once what it changed is committed, at once when it changed nothing.

    From then on the network threads answer a heartbeat that says nothing new alike, until something changes.
    """
    if not context.services.admin.features.finalized()[GROUP_VERSION]:
        return Promise.of(ConsumerGroupHeartbeatResponse(error_code=ErrorCode.UNSUPPORTED_VERSION))
    groups = context.services.groups
    return groups.coordinator.consumer_heartbeat(groups.caller(context), request, groups.keeps(context, SPEC.key, request))

"""Heartbeat (key 12): stay a member of a classic group, and learn that it rebalances.

Versions: 1 adds throttle time; 3 static members (KIP-345); 4 is flexible.
"""

from __future__ import annotations

from kafkax.broker.handlers.spec import RequestContext, Spec
from kafkax.protocol.messages.heartbeat import HeartbeatRequest, HeartbeatResponse

SPEC = Spec(key=12, min_version=0, max_version=4)


def handle(context: RequestContext, request: HeartbeatRequest) -> HeartbeatResponse:
    """Answered at once: nothing is written.  From then on the network threads answer it alike until something changes."""
    groups = context.services.groups
    return groups.coordinator.heartbeat(request, groups.keeps(context, SPEC.key, request))

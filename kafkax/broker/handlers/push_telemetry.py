"""PushTelemetry (key 72): a client's own metrics (KIP-714).

Versions: 0 is the only one.
"""

from __future__ import annotations

from kafkax.broker.handlers.get_telemetry_subscriptions import who_asks
from kafkax.broker.handlers.spec import RequestContext, Spec
from kafkax.errors import KafkaError
from kafkax.protocol.messages.push_telemetry import PushTelemetryRequest, PushTelemetryResponse

SPEC = Spec(key=72, min_version=0, max_version=0)


def handle(context: RequestContext, request: PushTelemetryRequest) -> PushTelemetryResponse:
    """Keep what was pushed until the next push."""
    try:
        context.services.admin.telemetry.push(
            who_asks(context),
            request.client_instance_id,
            request.subscription_id,
            request.compression_type,
            bytes(request.metrics),
            last=request.terminating,
        )
    except KafkaError as error:
        return PushTelemetryResponse(error_code=error.code)
    return PushTelemetryResponse()

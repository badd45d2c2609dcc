"""GetTelemetrySubscriptions (key 71): which metrics a client shall push, and how often (KIP-714).

Versions: 0 is the only one.
"""

from __future__ import annotations

from kafkax.broker.handlers.spec import RequestContext, Spec
from kafkax.broker.telemetry import COMPRESSIONS, TelemetryClient
from kafkax.errors import KafkaError
from kafkax.protocol.messages.get_telemetry_subscriptions import (
    GetTelemetrySubscriptionsRequest,
    GetTelemetrySubscriptionsResponse,
)

SPEC = Spec(key=71, min_version=0, max_version=0)


def handle(context: RequestContext, request: GetTelemetrySubscriptionsRequest) -> GetTelemetrySubscriptionsResponse:
    """Answer with the subscription and, for a client that has none yet, its instance id."""
    telemetry = context.services.admin.telemetry
    try:
        instance, subscription = telemetry.subscribe(who_asks(context), request.client_instance_id)
    except KafkaError as error:
        return GetTelemetrySubscriptionsResponse(error_code=error.code, client_instance_id=request.client_instance_id)
    return GetTelemetrySubscriptionsResponse(
        client_instance_id=instance,
        subscription_id=subscription.number,
        accepted_compression_types=list(COMPRESSIONS),
        push_interval_ms=subscription.interval_ms,
        telemetry_max_bytes=telemetry.max_bytes,
        delta_temporality=True,
        requested_metrics=list(subscription.metrics),
    )


def who_asks(context: RequestContext) -> TelemetryClient:
    """The client as subscriptions can choose by."""
    name, version = context.connection.software
    address, _, port = context.connection.peer.rpartition(":")
    return TelemetryClient(context.client_id or "", name, version, address.strip("[]"), port)

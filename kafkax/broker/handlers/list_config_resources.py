"""ListConfigResources (key 74): which resources have configs (KIP-1142).

Versions: 0 (then called ListClientMetricsResources) lists client metrics subscriptions only; 1 takes the resource types.
"""

from __future__ import annotations

from kafkax.broker.handlers.spec import RequestContext, Spec
from kafkax.broker.resources import ResourceType
from kafkax.cluster import znodes
from kafkax.errors import ErrorCode
from kafkax.protocol.messages.list_config_resources import (
    ConfigResource,
    ListConfigResourcesRequest,
    ListConfigResourcesResponse,
)

SPEC = Spec(key=74, min_version=0, max_version=1)


def handle(context: RequestContext, request: ListConfigResourcesRequest) -> ListConfigResourcesResponse:
    """List the resources of the types asked for; no type means all of them."""
    if context.version == 0:
        wanted = {int(ResourceType.CLIENT_METRICS)}
    else:
        wanted = set(request.resource_types) or {int(kind) for kind in ResourceType}
    if not wanted <= {int(kind) for kind in ResourceType}:
        return ListConfigResourcesResponse(error_code=ErrorCode.UNSUPPORTED_VERSION)
    services = context.services
    found: list[tuple[ResourceType, str]] = []
    if ResourceType.TOPIC in wanted:
        found += [(ResourceType.TOPIC, topic.name) for topic in services.image.topics.values()]
    for kind, entity_type in ((ResourceType.CLIENT_METRICS, "client-metrics"), (ResourceType.GROUP, "groups")):
        if kind in wanted:
            names = [name for held, name in services.image.entity_configs if held == entity_type]
            found += [(kind, znodes.unsanitized(name)) for name in sorted(names)]
    brokers = sorted(services.image.brokers)
    for kind in (ResourceType.BROKER, ResourceType.BROKER_LOGGER):
        if kind in wanted:
            found += [(kind, str(broker)) for broker in brokers]
    return ListConfigResourcesResponse(
        config_resources=[ConfigResource(resource_name=name, resource_type=kind) for kind, name in found]
    )

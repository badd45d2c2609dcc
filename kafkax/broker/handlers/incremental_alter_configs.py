"""IncrementalAlterConfigs (key 44): set, delete, append to and subtract from single configs (KIP-339).

Versions: 1 is flexible.
"""

from __future__ import annotations

from kafkax.broker.handlers.spec import RequestContext, Spec
from kafkax.broker.loggers import set_levels
from kafkax.broker.resources import ResourceType, alter_each, check_broker_resource, refuse_unserved
from kafkax.config import ConfigChange
from kafkax.protocol.messages.incremental_alter_configs import (
    AlterConfigsResource,
    AlterConfigsResourceResponse,
    IncrementalAlterConfigsRequest,
    IncrementalAlterConfigsResponse,
)

SPEC = Spec(key=44, min_version=0, max_version=1)


async def handle(context: RequestContext, request: IncrementalAlterConfigsRequest) -> IncrementalAlterConfigsResponse:
    """Alter each resource by itself; all changes of one resource are made or none."""

    async def alter(resource: AlterConfigsResource) -> None:
        await _alter(context, resource, request.validate_only)

    return IncrementalAlterConfigsResponse(responses=await alter_each(request.resources, AlterConfigsResourceResponse, alter))


async def _alter(context: RequestContext, resource: AlterConfigsResource, validate_only: bool) -> None:
    admin, name = context.services.configs, resource.resource_name
    changes = [ConfigChange(config.name, config.config_operation, config.value) for config in resource.configs]
    if resource.resource_type == ResourceType.TOPIC:
        await admin.alter_topic(name, changes, validate_only=validate_only)
    elif resource.resource_type == ResourceType.BROKER:
        await admin.alter_broker(name, changes, validate_only=validate_only)
    elif resource.resource_type == ResourceType.GROUP:
        await admin.alter_group(name, changes, validate_only=validate_only)
    elif resource.resource_type == ResourceType.CLIENT_METRICS:
        await admin.alter_client_metrics(name, changes, validate_only=validate_only)
    elif resource.resource_type == ResourceType.BROKER_LOGGER:
        check_broker_resource(name, context.services.node_id)
        set_levels(changes, validate_only=validate_only)
    else:
        refuse_unserved(resource.resource_type)

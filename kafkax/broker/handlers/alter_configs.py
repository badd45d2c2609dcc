"""AlterConfigs (key 33): replace all configs of a resource; superseded by IncrementalAlterConfigs, which loses no update.

Versions: 2 is flexible.
"""

from __future__ import annotations

from kafkax.broker.handlers.spec import RequestContext, Spec
from kafkax.broker.resources import ResourceType, alter_each, refuse_unserved
from kafkax.errors import ErrorCode, KafkaError
from kafkax.protocol.messages.alter_configs import (
    AlterConfigsRequest,
    AlterConfigsResource,
    AlterConfigsResourceResponse,
    AlterConfigsResponse,
)

SPEC = Spec(key=33, min_version=0, max_version=2)


async def handle(context: RequestContext, request: AlterConfigsRequest) -> AlterConfigsResponse:
    """Alter each resource by itself."""

    async def alter(resource: AlterConfigsResource) -> None:
        await _replace(context, resource, request.validate_only)

    return AlterConfigsResponse(responses=await alter_each(request.resources, AlterConfigsResourceResponse, alter))


async def _replace(context: RequestContext, resource: AlterConfigsResource, validate_only: bool) -> None:
    admin, name = context.services.configs, resource.resource_name
    configs = {config.name: config.value for config in resource.configs}
    if len(configs) < len(resource.configs):
        raise KafkaError(ErrorCode.INVALID_REQUEST, "a config stands twice in the request")
    if resource.resource_type == ResourceType.TOPIC:
        await admin.replace_topic(name, configs, validate_only=validate_only)
    elif resource.resource_type == ResourceType.BROKER:
        await admin.replace_broker(name, configs, validate_only=validate_only)
    elif resource.resource_type == ResourceType.GROUP:
        await admin.replace_group(name, configs, validate_only=validate_only)
    elif resource.resource_type == ResourceType.CLIENT_METRICS:
        await admin.replace_client_metrics(name, configs, validate_only=validate_only)
    else:
        refuse_unserved(resource.resource_type)

"""DescribeConfigs (key 32): the configs of topics and brokers with value, source and synonyms (KIP-133, KIP-226).

Versions: 1 adds sources and synonyms; 3 types and documentation (KIP-569); 4 is flexible.
"""

from __future__ import annotations

from collections.abc import Sequence

from kafkax.broker.handlers.spec import RequestContext, Spec
from kafkax.broker.loggers import describe_levels
from kafkax.broker.resources import ResourceType, check_broker_resource, refuse_unserved
from kafkax.cluster import znodes
from kafkax.config import ClientMetricsConfig, ConfigEntry, ConfigSource, GroupConfig, ResourceConfig
from kafkax.errors import ErrorCode, KafkaError
from kafkax.protocol.messages.describe_configs import (
    DescribeConfigsRequest,
    DescribeConfigsResource,
    DescribeConfigsResourceResult,
    DescribeConfigsResponse,
    DescribeConfigsResult,
    DescribeConfigsSynonym,
)

SPEC = Spec(key=32, min_version=1, max_version=4)


def handle(context: RequestContext, request: DescribeConfigsRequest) -> DescribeConfigsResponse:
    """Answer each resource by itself."""
    results = []
    for resource in request.resources:
        result = DescribeConfigsResult(resource_type=resource.resource_type, resource_name=resource.resource_name)
        try:
            entries = _entries(context, resource)
            result.configs = [
                _as_result(entry, request.include_synonyms, request.include_documentation) for entry in entries
            ]
            result.error_message = None
        except KafkaError as error:
            result.error_code, result.error_message = error.code, str(error)
        results.append(result)
    return DescribeConfigsResponse(results=results)


def _entries(context: RequestContext, resource: DescribeConfigsResource) -> Sequence[ConfigEntry]:
    """The entries of one resource; ``configuration_keys`` null or empty means all."""
    services = context.services
    names = resource.configuration_keys or None
    if resource.resource_type == ResourceType.TOPIC:
        return services.topic_config(resource.resource_name).describe(names)
    if resource.resource_type == ResourceType.BROKER:
        check_broker_resource(resource.resource_name, services.node_id)
        if resource.resource_name:
            return services.config.describe(names)
        # the resource without a name holds only what was set for all brokers while they run
        source = ConfigSource.DYNAMIC_DEFAULT_BROKER_CONFIG
        chosen = [name for name in services.config.dynamic(source) if names is None or name in names]
        return [
            entry._replace(source=source, synonyms=tuple(each for each in entry.synonyms if each.source is source))
            for entry in services.config.describe(chosen)
        ]
    if resource.resource_type == ResourceType.BROKER_LOGGER:
        check_broker_resource(resource.resource_name, services.node_id)
        return describe_levels(names)
    return _resource(context, resource).describe(names)


def _resource(context: RequestContext, resource: DescribeConfigsResource) -> ResourceConfig:
    """The configs of a group or a subscription to client metrics, be it known or not."""
    services, name = context.services, znodes.sanitized(resource.resource_name)
    if resource.resource_type not in (ResourceType.GROUP, ResourceType.CLIENT_METRICS):
        refuse_unserved(resource.resource_type)
    if not name:
        raise KafkaError(ErrorCode.INVALID_REQUEST, "a group or subscription without a name has no configs; name one")
    if resource.resource_type == ResourceType.GROUP:
        return GroupConfig(services.image.entity_config("groups", name), services.config)
    return ClientMetricsConfig(services.image.entity_config("client-metrics", name), services.config)


def _as_result(entry: ConfigEntry, synonyms: bool, documentation: bool) -> DescribeConfigsResourceResult:
    """A config as the response shows it; secrets have no value."""
    hidden = entry.sensitive
    return DescribeConfigsResourceResult(
        name=entry.name,
        value=None if hidden else entry.value,
        read_only=entry.read_only,
        config_source=entry.source,
        is_sensitive=entry.sensitive,
        synonyms=[
            DescribeConfigsSynonym(name=synonym.name, value=None if hidden else synonym.value, source=synonym.source)
            for synonym in (entry.synonyms if synonyms else ())
        ],
        config_type=entry.type,
        documentation=entry.documentation if documentation else None,
    )

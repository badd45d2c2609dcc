"""Configs of topics, brokers, groups and client metrics; quotas of clients."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from kafkax.client.admin.topics import outcome
from kafkax.client.admin.types import ConfigAlteration, ConfigEntry, ConfigResource, ResourceType
from kafkax.client.cluster import Cluster, check
from kafkax.protocol.message import Request
from kafkax.protocol.messages.alter_client_quotas import (
    AlterClientQuotasRequest,
    AlterClientQuotasRequestEntryData,
    AlterClientQuotasResponse,
    OpData,
)
from kafkax.protocol.messages.alter_client_quotas import EntityData as AlteredEntity
from kafkax.protocol.messages.alter_configs import AlterableConfig as ReplacedConfig
from kafkax.protocol.messages.alter_configs import AlterConfigsRequest, AlterConfigsResponse
from kafkax.protocol.messages.alter_configs import AlterConfigsResource as ReplacedResource
from kafkax.protocol.messages.describe_client_quotas import (
    ComponentData,
    DescribeClientQuotasRequest,
    DescribeClientQuotasResponse,
)
from kafkax.protocol.messages.describe_configs import (
    DescribeConfigsRequest,
    DescribeConfigsResource,
    DescribeConfigsResourceResult,
    DescribeConfigsResponse,
)
from kafkax.protocol.messages.incremental_alter_configs import (
    AlterableConfig,
    AlterConfigsResource,
    IncrementalAlterConfigsRequest,
    IncrementalAlterConfigsResponse,
)

__all__ = ["alter_configs", "alter_quotas", "describe_configs", "describe_quotas", "replace_configs"]

_SOURCES = (
    "UNKNOWN",
    "DYNAMIC_TOPIC_CONFIG",
    "DYNAMIC_BROKER_CONFIG",
    "DYNAMIC_DEFAULT_BROKER_CONFIG",
    "STATIC_BROKER_CONFIG",
    "DEFAULT_CONFIG",
    "DYNAMIC_BROKER_LOGGER_CONFIG",
    "CLIENT_METRICS_CONFIG",
    "GROUP_CONFIG",
)
_OF_ONE_BROKER = (ResourceType.BROKER, ResourceType.BROKER_LOGGER)
Entity = tuple[tuple[str, "str | None"], ...]


def _source(number: int) -> str:
    return _SOURCES[number] if 0 <= number < len(_SOURCES) else "UNKNOWN"


def _node(resource: ConfigResource) -> int | None:
    """The broker to ask: a broker's own configs are known by itself only."""
    return int(resource.name) if resource.restype in _OF_ONE_BROKER and resource.name.isdigit() else None


def _by_node(resources: Sequence[ConfigResource]) -> dict[int | None, list[ConfigResource]]:
    grouped: dict[int | None, list[ConfigResource]] = {}
    for resource in resources:
        grouped.setdefault(_node(resource), []).append(resource)
    return grouped


async def describe_configs(
    cluster: Cluster, resources: Sequence[ConfigResource], timeout: float, documentation: bool = False
) -> dict[ConfigResource, Any]:
    """Configs of resources; gives a dict from name to :class:`ConfigEntry`, or an error, by resource."""
    results: dict[ConfigResource, Any] = {}
    for node, group in _by_node(resources).items():
        request = DescribeConfigsRequest(
            resources=[
                DescribeConfigsResource(resource_type=each.restype, resource_name=each.name, configuration_keys=None)
                for each in group
            ],
            include_synonyms=True,
            include_documentation=documentation,
        )

        async def attempt(node: int | None = node, request: DescribeConfigsRequest = request) -> DescribeConfigsResponse:
            if node is not None:
                await cluster.refresh([])
            return await cluster.request(request, DescribeConfigsResponse, node)

        answer = await cluster.retry(attempt, cluster.deadline(timeout), "describing configs")
        for each in answer.results:
            resource = ConfigResource(ResourceType(each.resource_type), each.resource_name)
            what = f"{resource.restype.name.lower()} {resource.name}"
            entries = {config.name: _entry(config) for config in each.configs}
            results[resource] = outcome(each.error_code, what, each.error_message, entries)
    return results


def _entry(config: DescribeConfigsResourceResult) -> ConfigEntry:
    synonyms = [(each.name, each.value, _source(each.source)) for each in config.synonyms]
    source = "DEFAULT_CONFIG" if config.is_default else _source(config.config_source)
    return ConfigEntry(config.name, config.value, source, config.read_only, config.is_sensitive, synonyms, config.documentation)


async def replace_configs(
    cluster: Cluster, resources: Sequence[ConfigResource], timeout: float, validate_only: bool
) -> dict[ConfigResource, Any]:
    """Leave resources with their ``set_config`` and nothing else (AlterConfigs); gives None or an error by resource."""

    def request(group: Sequence[ConfigResource]) -> Request:
        return AlterConfigsRequest(
            resources=[
                ReplacedResource(
                    resource_type=each.restype,
                    resource_name=each.name,
                    configs=[ReplacedConfig(name=name, value=value) for name, value in each.set_config.items()],
                )
                for each in group
            ],
            validate_only=validate_only,
        )

    return await _alter(cluster, resources, timeout, request, AlterConfigsResponse)


async def alter_configs(
    cluster: Cluster, changes: Mapping[ConfigResource, Sequence[ConfigAlteration]], timeout: float, validate_only: bool
) -> dict[ConfigResource, Any]:
    """Change single configs (IncrementalAlterConfigs); gives None or an error by resource."""

    def request(group: Sequence[ConfigResource]) -> Request:
        return IncrementalAlterConfigsRequest(
            resources=[
                AlterConfigsResource(
                    resource_type=resource.restype,
                    resource_name=resource.name,
                    configs=[
                        AlterableConfig(name=each.name, config_operation=each.operation, value=each.value)
                        for each in changes[resource]
                    ],
                )
                for resource in group
            ],
            validate_only=validate_only,
        )

    return await _alter(cluster, list(changes), timeout, request, IncrementalAlterConfigsResponse)


async def _alter(
    cluster: Cluster,
    resources: Sequence[ConfigResource],
    timeout: float,
    request: Callable[[Sequence[ConfigResource]], Request],
    response: type[Any],
) -> dict[ConfigResource, Any]:
    """Send each broker what it is to alter."""
    results: dict[ConfigResource, Any] = {}
    for node, group in _by_node(resources).items():

        async def attempt(node: int | None = node, group: Sequence[ConfigResource] = group) -> Any:
            target = node if node is not None else await cluster.controller()
            if node is not None:
                await cluster.refresh([])
            return await cluster.request(request(group), response, target)

        answer = await cluster.retry(attempt, cluster.deadline(timeout), "altering configs")
        for each in answer.responses:
            resource = ConfigResource(ResourceType(each.resource_type), each.resource_name)
            results[resource] = outcome(
                each.error_code, f"{resource.restype.name.lower()} {resource.name}", each.error_message, None
            )
    return results


async def describe_quotas(cluster: Cluster, entity: Mapping[str, str | None], timeout: float) -> dict[Entity, dict[str, float]]:
    """Quotas of the entities that match; an entity type without name (None) matches its default, ``*`` any name."""
    components = [
        ComponentData(
            entity_type=kind, match_type=2 if name == "*" else 1 if name is None else 0, match=None if name == "*" else name
        )
        for kind, name in entity.items()
    ]
    request = DescribeClientQuotasRequest(components=components, strict=False)

    async def attempt() -> dict[Entity, dict[str, float]]:
        answer = await cluster.request(request, DescribeClientQuotasResponse)
        check(answer.error_code, "quotas", answer.error_message)
        return {
            tuple((part.entity_type, part.entity_name) for part in entry.entity): {each.key: each.value for each in entry.values}
            for entry in answer.entries or ()
        }

    return await cluster.retry(attempt, cluster.deadline(timeout), "describing quotas")


async def alter_quotas(
    cluster: Cluster, entity: Mapping[str, str | None], changes: Mapping[str, float | None], timeout: float, validate_only: bool
) -> None:
    """Set quotas of one entity, or remove them (None)."""
    entry = AlterClientQuotasRequestEntryData(
        entity=[AlteredEntity(entity_type=kind, entity_name=name) for kind, name in entity.items()],
        ops=[OpData(key=key, value=value or 0.0, remove=value is None) for key, value in changes.items()],
    )
    request = AlterClientQuotasRequest(entries=[entry], validate_only=validate_only)

    async def attempt() -> None:
        answer = await cluster.request(request, AlterClientQuotasResponse, await cluster.controller())
        for each in answer.entries:
            check(each.error_code, "quotas", each.error_message)

    await cluster.retry(attempt, cluster.deadline(timeout), "altering quotas")

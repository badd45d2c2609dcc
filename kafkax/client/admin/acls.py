"""Access control entries (KIP-140, KIP-290)."""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum
from typing import Any, TypeVar

from kafkax.client.admin.topics import outcome
from kafkax.client.admin.types import (
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AclResourceType,
    ResourcePatternType,
)
from kafkax.client.cluster import Cluster, check
from kafkax.errors import error_code
from kafkax.protocol.messages.create_acls import AclCreation, CreateAclsRequest, CreateAclsResponse
from kafkax.protocol.messages.delete_acls import (
    DeleteAclsFilter,
    DeleteAclsFilterResult,
    DeleteAclsRequest,
    DeleteAclsResponse,
)
from kafkax.protocol.messages.describe_acls import DescribeAclsRequest, DescribeAclsResponse

__all__ = ["create_acls", "delete_acls", "describe_acls"]

E = TypeVar("E", bound=IntEnum)


async def create_acls(cluster: Cluster, acls: Sequence[AclBinding], timeout: float) -> dict[AclBinding, Any]:
    """Add entries; gives None or an error for each."""
    creations = [
        AclCreation(
            resource_type=each.restype,
            resource_name=each.name,
            resource_pattern_type=each.resource_pattern_type,
            principal=each.principal,
            host=each.host,
            operation=each.operation,
            permission_type=each.permission_type,
        )
        for each in acls
    ]
    request = CreateAclsRequest(creations=creations)

    async def attempt() -> dict[AclBinding, Any]:
        answer = await cluster.request(request, CreateAclsResponse, await cluster.controller())
        return {
            acl: outcome(each.error_code, str(acl), each.error_message, None)
            for acl, each in zip(acls, answer.results, strict=False)
        }

    return await cluster.retry(attempt, cluster.deadline(timeout), "creating ACLs")


async def describe_acls(cluster: Cluster, wanted: AclBindingFilter, timeout: float) -> list[AclBinding]:
    """Entries that a filter matches."""
    request = DescribeAclsRequest(
        resource_type_filter=wanted.restype,
        resource_name_filter=wanted.name,
        pattern_type_filter=wanted.resource_pattern_type,
        principal_filter=wanted.principal,
        host_filter=wanted.host,
        operation=wanted.operation,
        permission_type=wanted.permission_type,
    )

    async def attempt() -> list[AclBinding]:
        answer = await cluster.request(request, DescribeAclsResponse)
        check(answer.error_code, "ACLs", answer.error_message)
        return [
            _binding(resource.resource_type, resource.resource_name, resource.pattern_type, each)
            for resource in answer.resources
            for each in resource.acls
        ]

    return await cluster.retry(attempt, cluster.deadline(timeout), "describing ACLs")


def _binding(kind: int, name: str, pattern: int, entry: Any) -> AclBinding:
    return AclBinding(
        _known(AclResourceType, kind),
        name,
        _known(ResourcePatternType, pattern),
        entry.principal,
        entry.host,
        _known(AclOperation, entry.operation),
        _known(AclPermissionType, entry.permission_type),
    )


def _known(kind: type[E], number: int) -> E:
    """What a number stands for; ``UNKNOWN`` for one that only a newer broker knows, as in Kafka's AdminClient."""
    try:
        return kind(number)
    except ValueError:
        return kind(0)


async def delete_acls(cluster: Cluster, filters: Sequence[AclBindingFilter], timeout: float) -> dict[AclBindingFilter, Any]:
    """Delete what filters match; gives a list of the entries that are gone, or an error, for each filter."""
    wanted = [
        DeleteAclsFilter(
            resource_type_filter=each.restype,
            resource_name_filter=each.name,
            pattern_type_filter=each.resource_pattern_type,
            principal_filter=each.principal,
            host_filter=each.host,
            operation=each.operation,
            permission_type=each.permission_type,
        )
        for each in filters
    ]
    request = DeleteAclsRequest(filters=wanted)

    async def attempt() -> dict[AclBindingFilter, Any]:
        answer = await cluster.request(request, DeleteAclsResponse, await cluster.controller())
        return {each: _deleted(each, result) for each, result in zip(filters, answer.filter_results, strict=False)}

    return await cluster.retry(attempt, cluster.deadline(timeout), "deleting ACLs")


def _deleted(wanted: AclBindingFilter, result: DeleteAclsFilterResult) -> Any:
    parts: list[Any] = [result, *result.matching_acls]
    for part in parts:
        if part.error_code:
            return outcome(part.error_code, str(wanted), part.error_message or error_code(part.error_code).message, None)
    return [_binding(each.resource_type, each.resource_name, each.pattern_type, each) for each in result.matching_acls]

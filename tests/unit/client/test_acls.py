"""Entries of access control as the admin client lists them."""

from __future__ import annotations

from typing import Any

import kafkax
from kafkax.client.admin import AclBindingFilter, AclOperation, AclPermissionType, AclResourceType, ResourcePatternType
from kafkax.protocol.messages.describe_acls import AclDescription, DescribeAclsResource, DescribeAclsResponse
from tests.unit.client.fake import FakeBroker

NEWER = 99
"""A number that nothing in this version is known by."""


def test_what_only_a_newer_broker_knows_is_unknown(broker: FakeBroker) -> None:
    def describe(request: Any) -> DescribeAclsResponse:
        entries = [
            AclDescription(principal="User:a", host="*", operation=AclOperation.READ, permission_type=AclPermissionType.ALLOW),
            AclDescription(principal="User:b", host="*", operation=NEWER, permission_type=NEWER),
        ]
        resource = DescribeAclsResource(resource_type=NEWER, resource_name="r", pattern_type=NEWER, acls=entries)
        return DescribeAclsResponse(resources=[resource])

    setattr(broker, "_29", describe)  # noqa: B010 - an API that the broker serves from now on
    everything = AclBindingFilter(
        AclResourceType.ANY, None, ResourcePatternType.ANY, None, None, AclOperation.ANY, AclPermissionType.ANY
    )
    with kafkax.AdminClient({"bootstrap.servers": broker.address}) as admin:
        known, unknown = admin.describe_acls(everything)
    assert (known.principal, known.operation, known.permission_type) == ("User:a", AclOperation.READ, AclPermissionType.ALLOW)
    assert unknown.principal == "User:b"
    assert (unknown.restype, unknown.resource_pattern_type) == (AclResourceType.UNKNOWN, ResourcePatternType.UNKNOWN)
    assert (unknown.operation, unknown.permission_type) == (AclOperation.UNKNOWN, AclPermissionType.UNKNOWN)

"""Administration of a cluster: operations on its topics, configs, groups, records, replicas and quotas."""

from __future__ import annotations

from kafkax.client.admin.client import AdminClient
from kafkax.client.admin.types import (
    ConfigAlteration,
    ConfigOperation,
    ConfigResource,
    NewPartitions,
    NewTopic,
    OffsetSpec,
    ResourceType,
)

__all__ = [
    "AdminClient",
    "ConfigAlteration",
    "ConfigOperation",
    "ConfigResource",
    "NewPartitions",
    "NewTopic",
    "OffsetSpec",
    "ResourceType",
]

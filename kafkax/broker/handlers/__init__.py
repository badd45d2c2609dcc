"""One module per API; this list is the only place that registers them, and ApiVersions is derived from it."""

from __future__ import annotations

from functools import cache
from importlib import import_module

from kafkax.broker.handlers.spec import Handler

__all__ = ["HANDLERS", "handlers"]

HANDLERS: tuple[str, ...] = (
    "allocate_producer_ids",
    "alter_client_quotas",
    "alter_configs",
    "alter_partition",
    "alter_partition_reassignments",
    "alter_replica_log_dirs",
    "alter_user_scram_credentials",
    "api_versions",
    "consumer_group_describe",
    "consumer_group_heartbeat",
    "controlled_shutdown",
    "create_partitions",
    "create_topics",
    "delete_groups",
    "delete_records",
    "delete_topics",
    "describe_client_quotas",
    "describe_cluster",
    "describe_configs",
    "describe_groups",
    "describe_log_dirs",
    "describe_producers",
    "describe_topic_partitions",
    "describe_transactions",
    "describe_user_scram_credentials",
    "elect_leaders",
    "fetch",
    "find_coordinator",
    "get_telemetry_subscriptions",
    "heartbeat",
    "incremental_alter_configs",
    "init_producer_id",
    "join_group",
    "leader_and_isr",
    "leave_group",
    "list_config_resources",
    "list_groups",
    "list_offsets",
    "list_partition_reassignments",
    "list_transactions",
    "metadata",
    "offset_commit",
    "offset_delete",
    "offset_fetch",
    "offset_for_leader_epoch",
    "produce",
    "push_telemetry",
    "stop_replica",
    "sync_group",
    "update_features",
    "update_metadata",
)
"""Modules of this package, by name."""


@cache
def handlers() -> dict[int, Handler]:
    """The registered handlers by API key, in ascending order.

    Raises:
        ValueError: two modules claim the same key.
    """
    found: dict[int, Handler] = {}
    for name in HANDLERS:
        module = import_module(f"{__name__}.{name}")
        if module.SPEC.key in found:
            raise ValueError(f"handler module {name}: API key {module.SPEC.key} is registered twice")
        found[module.SPEC.key] = Handler(module.SPEC, module.handle, getattr(module, "quick", None))
    return dict(sorted(found.items()))

"""What an operator may set about groups and offsets."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple

__all__ = ["Caller", "ConsumerTimes", "GroupSettings", "MigrationPolicy"]


class Caller(NamedTuple):
    """Who sent a request.

    Attributes:
        client_id: from the request header; empty when it was null.
        client_host: the peer's address as Kafka shows it, ``/127.0.0.1``.
        version: of the request.
    """

    client_id: str
    client_host: str
    version: int


class MigrationPolicy(Enum):
    """Which way a group may change its protocol while it has members (group.consumer.migration.policy)."""

    DISABLED = "disabled"
    UPGRADE = "upgrade"
    DOWNGRADE = "downgrade"
    BIDIRECTIONAL = "bidirectional"

    @property
    def upgrades(self) -> bool:
        """Whether a classic group may become a consumer group."""
        return self in (MigrationPolicy.UPGRADE, MigrationPolicy.BIDIRECTIONAL)

    @property
    def downgrades(self) -> bool:
        """Whether a consumer group may become a classic group."""
        return self in (MigrationPolicy.DOWNGRADE, MigrationPolicy.BIDIRECTIONAL)


class ConsumerTimes(NamedTuple):
    """What one consumer group may set for itself (KIP-848), in milliseconds.

    Attributes:
        session_timeout_ms: consumer.session.timeout.ms.
        heartbeat_interval_ms: consumer.heartbeat.interval.ms.
        assignment_interval_ms: consumer.assignment.interval.ms, least time between two assignments.
    """

    session_timeout_ms: int
    heartbeat_interval_ms: int
    assignment_interval_ms: int


@dataclass(frozen=True)
class GroupSettings:
    """Kafka's group configs under Kafka's defaults; times in milliseconds.

    Attributes:
        min_session_timeout_ms: group.min.session.timeout.ms.
        max_session_timeout_ms: group.max.session.timeout.ms.
        initial_rebalance_delay_ms: group.initial.rebalance.delay.ms.
        max_size: group.max.size, members of a classic group.
        new_member_join_timeout_ms: how long a member may wait in its first JoinGroup.
        offset_metadata_max_bytes: offset.metadata.max.bytes.
        offsets_retention_ms: offsets.retention.minutes.
        offsets_retention_check_interval_ms: offsets.retention.check.interval.ms.
        consumer_session_timeout_ms: group.consumer.session.timeout.ms.
        consumer_heartbeat_interval_ms: group.consumer.heartbeat.interval.ms.
        consumer_max_size: group.consumer.max.size.
        consumer_assignors: group.consumer.assignors; the first is the default one.
        consumer_assignment_interval_ms: group.consumer.assignment.interval.ms, least time between two assignments of a group.
        consumer_regex_refresh_interval_ms: how old what a regular expression resolved to may become.
        migration_policy: group.consumer.migration.policy.
        own_times: the times of a group, where they may change; None for those above.
    """

    min_session_timeout_ms: int = 6_000
    max_session_timeout_ms: int = 1_800_000
    initial_rebalance_delay_ms: int = 3_000
    max_size: int = 2_147_483_647
    new_member_join_timeout_ms: int = 300_000
    offset_metadata_max_bytes: int = 4_096
    offsets_retention_ms: int = 10_080 * 60_000
    offsets_retention_check_interval_ms: int = 600_000
    consumer_session_timeout_ms: int = 45_000
    consumer_heartbeat_interval_ms: int = 5_000
    consumer_max_size: int = 2_147_483_647
    consumer_assignors: tuple[str, ...] = field(default=("uniform", "range"))
    consumer_assignment_interval_ms: int = 1_000
    consumer_regex_refresh_interval_ms: int = 600_000
    migration_policy: MigrationPolicy = MigrationPolicy.BIDIRECTIONAL
    own_times: Callable[[str], ConsumerTimes | None] = lambda _: None

    def consumer_times(self, group_id: str) -> ConsumerTimes:
        """The times of a consumer group: its own where it has any set."""
        return self.own_times(group_id) or ConsumerTimes(
            self.consumer_session_timeout_ms, self.consumer_heartbeat_interval_ms, self.consumer_assignment_interval_ms
        )

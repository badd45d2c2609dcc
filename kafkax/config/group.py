"""The configs of one group: its own settings on top of the broker's (KIP-1043)."""

from __future__ import annotations

from kafkax.config.definition import Definition, group_definitions
from kafkax.config.entry import ConfigSource
from kafkax.config.error import ConfigError
from kafkax.config.resource import ResourceConfig

__all__ = ["GroupConfig"]

_BOUNDS = {
    "consumer.assignment.interval.ms": ("group.consumer.min.assignment.interval.ms", "group.consumer.max.assignment.interval.ms"),
    "consumer.heartbeat.interval.ms": ("group.consumer.min.heartbeat.interval.ms", "group.consumer.max.heartbeat.interval.ms"),
    "consumer.session.timeout.ms": ("group.consumer.min.session.timeout.ms", "group.consumer.max.session.timeout.ms"),
}
"""The broker's configs between which a group may choose."""


class GroupConfig(ResourceConfig):
    """Typed access to a group's configs; see :class:`~kafkax.config.resource.ResourceConfig`."""

    __slots__ = ()

    kind = "group"
    source = ConfigSource.GROUP_CONFIG

    @staticmethod
    def definitions() -> dict[str, Definition]:
        """Every config of a group."""
        return group_definitions()

    def check(self) -> None:
        """Hold the values against the broker's bounds, and the heartbeat against the session."""
        for name, (lowest, highest) in _BOUNDS.items():
            low, value, high = self.broker[lowest], self[name], self.broker[highest]
            if name in self.overrides and not low <= value <= high:
                raise ConfigError(f"{name}: value {value} is refused; allowed: {low} to {high} ({lowest}, {highest})")
        heartbeat, session = self["consumer.heartbeat.interval.ms"], self["consumer.session.timeout.ms"]
        if heartbeat >= session:
            raise ConfigError(
                f"consumer.heartbeat.interval.ms: {heartbeat} is refused; it must be less than the session timeout, {session}"
            )

"""The configs of one subscription to clients' metrics (KIP-714)."""

from __future__ import annotations

import re

from kafkax.config.definition import Definition, client_metrics_definitions
from kafkax.config.entry import ConfigSource
from kafkax.config.error import ConfigError
from kafkax.config.resource import ResourceConfig
from kafkax.errors import ErrorCode

__all__ = ["CLIENT_SELECTORS", "ClientMetricsConfig"]

CLIENT_SELECTORS = (
    "client_id",
    "client_instance_id",
    "client_software_name",
    "client_software_version",
    "client_source_address",
    "client_source_port",
)
"""What a subscription can choose clients by."""

_INTERVAL_MS = (100, 3_600_000)


class ClientMetricsConfig(ResourceConfig):
    """Typed access to a subscription's configs; see :class:`~kafkax.config.resource.ResourceConfig`."""

    __slots__ = ()

    kind = "client metrics"
    source = ConfigSource.CLIENT_METRICS_CONFIG

    @staticmethod
    def definitions() -> dict[str, Definition]:
        """Every config of a subscription."""
        return client_metrics_definitions()

    def check(self) -> None:
        """Refuse intervals out of bounds and selectors that mean nothing."""
        low, high = _INTERVAL_MS
        if not low <= self["interval.ms"] <= high:
            raise ConfigError(
                f"interval.ms: value {self['interval.ms']} is refused; allowed: {low} to {high}", ErrorCode.INVALID_REQUEST
            )
        self.selectors()

    def selectors(self) -> dict[str, re.Pattern[str]]:
        """What a client must match, by selector.

        Raises:
            ConfigError: a selector is unknown, or its pattern is no regular expression.
        """
        found: dict[str, re.Pattern[str]] = {}
        for pair in self["match"]:
            name, _, pattern = pair.partition("=")
            if name.strip() not in CLIENT_SELECTORS:
                raise ConfigError(f"match: {pair!r} is refused; allowed is selector=pattern with {', '.join(CLIENT_SELECTORS)}")
            try:
                found[name.strip()] = re.compile(pattern.strip())
            except re.error as error:
                raise ConfigError(f"match: {pair!r} is refused; the pattern is no regular expression: {error}") from None
        return found

    def definition(self, name: str) -> Definition:
        """The definition of a config.

        Raises:
            ConfigError: there is no such config.
        """
        if name not in self._definitions:
            raise ConfigError(
                f"{name}: unknown client metrics config; there are {', '.join(self._definitions)}", ErrorCode.INVALID_REQUEST
            )
        return super().definition(name)

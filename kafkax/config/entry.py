"""A config as DescribeConfigs shows it: its value, and where that comes from."""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple

from kafkax.config.definition import ConfigType, Definition
from kafkax.config.values import Value, format_value

__all__ = ["ConfigEntry", "ConfigSource", "ConfigSynonym"]


class ConfigSource(IntEnum):
    """Where a value comes from, numbered as in DescribeConfigs (KIP-226)."""

    UNKNOWN = 0
    DYNAMIC_TOPIC_CONFIG = 1
    DYNAMIC_BROKER_CONFIG = 2
    DYNAMIC_DEFAULT_BROKER_CONFIG = 3
    STATIC_BROKER_CONFIG = 4
    DEFAULT_CONFIG = 5
    DYNAMIC_BROKER_LOGGER_CONFIG = 6
    CLIENT_METRICS_CONFIG = 7
    GROUP_CONFIG = 8


class ConfigSynonym(NamedTuple):
    """A place that gives a config its value, or would if those before it did not."""

    name: str
    value: str | None
    source: ConfigSource


class ConfigEntry(NamedTuple):
    """One config of a resource, with the value in force."""

    name: str
    value: str | None
    """The value as text; None when there is none or it is a secret."""
    source: ConfigSource
    type: ConfigType
    read_only: bool
    sensitive: bool
    synonyms: tuple[ConfigSynonym, ...]
    """All places that have a value, the one in force first."""
    documentation: str

    @classmethod
    def of(cls, definition: Definition, value: Value, synonyms: tuple[ConfigSynonym, ...]) -> ConfigEntry:
        """The entry of a definition whose value in force is ``value``, from the first of ``synonyms`` or by default."""
        return cls(
            definition.name,
            format_value(value),
            synonyms[0].source if synonyms else ConfigSource.DEFAULT_CONFIG,
            definition.type,
            not definition.alterable,
            definition.sensitive,
            synonyms,
            definition.documentation,
        )

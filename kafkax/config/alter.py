"""Changes to configs as IncrementalAlterConfigs asks for them (KIP-339)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import IntEnum
from typing import NamedTuple, Protocol

from kafkax.config.definition import ConfigType, Definition
from kafkax.config.error import ConfigError
from kafkax.config.values import parse_value
from kafkax.errors import ErrorCode

__all__ = ["AlterOperation", "ConfigChange", "alter"]


class AlterOperation(IntEnum):
    """What to do with a config, numbered as on the wire."""

    SET = 0
    DELETE = 1
    APPEND = 2
    SUBTRACT = 3


class ConfigChange(NamedTuple):
    """One change: ``value`` is a text, for APPEND and SUBTRACT a comma-separated list, for DELETE not looked at."""

    name: str
    operation: int
    value: str | None


class _Defined(Protocol):
    def definition(self, name: str) -> Definition:
        """The definition of a config."""


def alter(
    current: Mapping[str, str],
    changes: Iterable[ConfigChange],
    config: _Defined,
    bad_value: ErrorCode = ErrorCode.INVALID_CONFIG,
) -> dict[str, str]:
    """Apply changes to what is set, without regard to rules between configs.

    Args:
        current: what is set now, name to text.
        changes: what to do; a key may stand only once.
        config: knows the definitions: a :class:`BrokerConfig` or :class:`TopicConfig`.
        bad_value: the wire code for a value that is not allowed.

    Returns:
        What is set afterwards.

    Raises:
        ConfigError: a key is unknown or stands twice, a value is missing or not allowed, or the operation does not fit.
    """
    result = dict(current)
    seen: set[str] = set()
    for change in changes:
        if change.name in seen:
            raise ConfigError(f"{change.name}: it stands twice in the request", ErrorCode.INVALID_REQUEST)
        seen.add(change.name)
        definition = config.definition(change.name)
        text = _altered(definition, result.get(change.name), change)
        if text is None:
            result.pop(change.name, None)
        else:
            try:
                parse_value(definition, text)
            except ConfigError as error:
                raise ConfigError(str(error), bad_value) from None
            result[change.name] = text
    return result


def _altered(definition: Definition, current: str | None, change: ConfigChange) -> str | None:
    """The text after a change, None when the config is set no more."""
    if change.operation == AlterOperation.DELETE:
        return None
    if change.operation not in list(AlterOperation):
        raise ConfigError(f"{change.name}: operation {change.operation} is unknown; 0 to 3 are", ErrorCode.INVALID_REQUEST)
    if change.value is None:
        raise ConfigError(f"{change.name}: the value is null; use DELETE to go back to the default", ErrorCode.INVALID_REQUEST)
    if change.operation == AlterOperation.SET:
        return change.value
    if definition.type is not ConfigType.LIST:
        raise ConfigError(f"{change.name}: only a list can be added to or taken from; use SET")
    base = _elements(current if current is not None else definition.default_text)
    given = _elements(change.value)
    if change.operation == AlterOperation.APPEND:
        return ",".join(base + [element for element in given if element not in base])
    return ",".join(element for element in base if element not in given)


def _elements(text: str | None) -> list[str]:
    return [part.strip() for part in text.split(",")] if text else []

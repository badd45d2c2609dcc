"""Levels of the broker's loggers, as config resources of type BROKER_LOGGER (KIP-412)."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence

from kafkax.config import AlterOperation, ConfigChange, ConfigEntry, ConfigSource, ConfigSynonym, ConfigType
from kafkax.errors import ErrorCode, KafkaError

__all__ = ["describe_levels", "set_levels"]

_ROOT = "root"
_LEVELS = {
    "TRACE": logging.DEBUG,
    "DEBUG": logging.DEBUG,
    "INFO": logging.INFO,
    "WARN": logging.WARNING,
    "ERROR": logging.ERROR,
    "FATAL": logging.CRITICAL,
    "OFF": logging.CRITICAL + 1,
}
"""Kafka's levels; there is none below DEBUG here."""
_OURS = ("kafkax", "kazoo")


def describe_levels(names: Iterable[str] | None = None) -> Sequence[ConfigEntry]:
    """The loggers and the levels in force, those named or all."""
    wanted = None if names is None else set(names)
    return [_entry(name) for name in _known() if wanted is None or name in wanted]


def set_levels(changes: Sequence[ConfigChange], *, validate_only: bool = False) -> None:
    """Change levels; DELETE has a logger follow the root again.

    Raises:
        KafkaError: INVALID_CONFIG for a logger or a level that does not exist, INVALID_REQUEST for other operations.
    """
    known = set(_known())
    for name, operation, value in changes:
        if operation not in (AlterOperation.SET, AlterOperation.DELETE):
            raise KafkaError(ErrorCode.INVALID_REQUEST, f"{name}: a level can be set and deleted, nothing else")
        if name not in known:
            raise KafkaError(ErrorCode.INVALID_CONFIG, f"there is no logger {name!r}")
        if operation == AlterOperation.SET and value not in _LEVELS:
            raise KafkaError(ErrorCode.INVALID_CONFIG, f"{name}: level {value!r} is refused; allowed: {', '.join(_LEVELS)}")
        if operation == AlterOperation.DELETE and name == _ROOT:
            raise KafkaError(ErrorCode.INVALID_REQUEST, "the root has no level to go back to; set one")
    for name, operation, value in () if validate_only else changes:
        _logger(name).setLevel(_LEVELS[value or ""] if operation == AlterOperation.SET else logging.NOTSET)


def _known() -> list[str]:
    """The root and those of our loggers that exist, sorted."""
    existing = (name for name in logging.root.manager.loggerDict if name.partition(".")[0] in _OURS)
    return [_ROOT, *sorted(existing)]


def _logger(name: str) -> logging.Logger:
    return logging.root if name == _ROOT else logging.getLogger(name)


def _entry(name: str) -> ConfigEntry:
    level = _logger(name).getEffectiveLevel()
    text = next(word for word, number in _LEVELS.items() if number >= level and word != "TRACE")
    source = ConfigSource.DYNAMIC_BROKER_LOGGER_CONFIG
    return ConfigEntry(name, text, source, ConfigType.STRING, False, False, (ConfigSynonym(name, text, source),), "")

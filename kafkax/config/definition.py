"""What a config is: the row of a table in ``kafkax/config/tables``, as an object.

A table has one line per config, its fields parted by ``|``:

- name, and type as Kafka names it (``int``, ``long``, ``list``, ...);
- default, as it would stand in a properties file (``null`` for none, ``""`` for an empty string);
- allowed values: see :mod:`kafkax.config.rules`;
- update mode: ``-`` read-only, ``broker`` per broker, ``cluster`` for the whole cluster, ``topic`` for configs of
  topics, groups and client metrics;
- marks: ``unserved`` (accepted, without effect yet), ``internal`` (not listed by DescribeConfigs),
  ``fixed`` (names code, a file or an address, so a client may never set it);
- synonyms: the configs that give the value when this one is not set, first one first.
"""

from __future__ import annotations

import os
from enum import Enum, IntEnum
from functools import cache
from typing import NamedTuple

__all__ = [
    "ConfigType",
    "Definition",
    "UpdateMode",
    "broker_definitions",
    "client_metrics_definitions",
    "group_definitions",
    "topic_definitions",
]

_TABLES = os.path.join(os.path.dirname(__file__), "tables")
_TOPIC_TABLE = "topic.table"
_GROUP_TABLE = "group.table"
_CLIENT_METRICS_TABLE = "client-metrics.table"
_NOT_OF_BROKERS = (_TOPIC_TABLE, _GROUP_TABLE, _CLIENT_METRICS_TABLE)


class ConfigType(IntEnum):
    """Type of a config, numbered as in DescribeConfigs (KIP-569)."""

    BOOLEAN = 1
    STRING = 2
    INT = 3
    SHORT = 4
    LONG = 5
    DOUBLE = 6
    LIST = 7
    CLASS = 8
    PASSWORD = 9


class UpdateMode(Enum):
    """When a config may change."""

    READ_ONLY = "read-only"
    PER_BROKER = "per-broker"
    CLUSTER_WIDE = "cluster-wide"
    TOPIC = "topic"


class Definition(NamedTuple):
    """One config of a broker, a topic, a group or a subscription to client metrics."""

    name: str
    type: ConfigType
    default_text: str | None
    """Default as it would stand in a file; None when there is none."""
    allowed: str
    """Rule for values, empty for none (:mod:`kafkax.config.rules`)."""
    update: UpdateMode
    served: bool
    """Whether setting it changes what kafkax does."""
    internal: bool
    fixed: bool
    synonyms: tuple[str, ...]
    documentation: str

    @property
    def sensitive(self) -> bool:
        """Whether the value is a secret, which no answer and no log may show."""
        return self.type is ConfigType.PASSWORD

    @property
    def alterable(self) -> bool:
        """Whether a client may change it while the broker runs."""
        return self.update is not UpdateMode.READ_ONLY and not self.fixed


_UPDATE_MODES = {
    "-": UpdateMode.READ_ONLY,
    "broker": UpdateMode.PER_BROKER,
    "cluster": UpdateMode.CLUSTER_WIDE,
    "topic": UpdateMode.TOPIC,
}
_TYPES = {kind.name.lower(): kind for kind in ConfigType}


def _parse_row(line: str) -> Definition:
    name, kind, default, allowed, update, marks, synonyms, documentation = [cell.strip() for cell in line.split("|", 7)]
    return Definition(
        name,
        _TYPES[kind],
        None if default == "null" else "" if default == '""' else default,
        "" if allowed == "-" else allowed,
        _UPDATE_MODES[update],
        "unserved" not in marks,
        "internal" in marks,
        "fixed" in marks,
        () if synonyms == "-" else tuple(synonyms.split()),
        documentation,
    )


def _read_table(file_name: str) -> dict[str, Definition]:
    with open(os.path.join(_TABLES, file_name), encoding="utf-8") as table:
        rows = [_parse_row(line) for line in table if line.strip() and not line.startswith("#")]
    return {row.name: row for row in rows}


@cache
def topic_definitions() -> dict[str, Definition]:
    """Every topic config by name; the synonyms are broker configs."""
    return _read_table(_TOPIC_TABLE)


@cache
def group_definitions() -> dict[str, Definition]:
    """Every config of a group by name; the synonyms are broker configs."""
    return _read_table(_GROUP_TABLE)


@cache
def client_metrics_definitions() -> dict[str, Definition]:
    """Every config of a subscription to clients' metrics by name."""
    return _read_table(_CLIENT_METRICS_TABLE)


@cache
def broker_definitions() -> dict[str, Definition]:
    """Every broker config by name."""
    names = sorted(name for name in os.listdir(_TABLES) if name.endswith(".table") and name not in _NOT_OF_BROKERS)
    merged: dict[str, Definition] = {}
    for name in names:
        merged |= _read_table(name)
    return merged

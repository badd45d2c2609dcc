"""Rules that tie configs to each other, or that a table's row cannot say."""

from __future__ import annotations

import re
from typing import Any, Protocol

from kafkax.config.error import ConfigError

__all__ = ["Configs", "check_broker", "check_topic"]

_ZOOKEEPER = re.compile(r"[^\s,/]+:[0-9]+(,[^\s,/]+:[0-9]+)*(/\S*)?\Z")


class Configs(Protocol):
    """Something that gives the typed value of a config by its name."""

    def __getitem__(self, name: str) -> Any:
        """The value in force."""


_BROKER_ORDER = [
    ("group.min.session.timeout.ms", "group.max.session.timeout.ms"),
    ("group.consumer.min.heartbeat.interval.ms", "group.consumer.heartbeat.interval.ms"),
    ("group.consumer.heartbeat.interval.ms", "group.consumer.max.heartbeat.interval.ms"),
    ("group.consumer.min.session.timeout.ms", "group.consumer.session.timeout.ms"),
    ("group.consumer.session.timeout.ms", "group.consumer.max.session.timeout.ms"),
    ("group.consumer.heartbeat.interval.ms", "group.consumer.session.timeout.ms"),
    ("group.share.min.heartbeat.interval.ms", "group.share.heartbeat.interval.ms"),
    ("group.share.heartbeat.interval.ms", "group.share.max.heartbeat.interval.ms"),
    ("group.share.min.session.timeout.ms", "group.share.session.timeout.ms"),
    ("group.share.session.timeout.ms", "group.share.max.session.timeout.ms"),
    ("group.streams.min.heartbeat.interval.ms", "group.streams.heartbeat.interval.ms"),
    ("group.streams.heartbeat.interval.ms", "group.streams.max.heartbeat.interval.ms"),
    ("group.streams.min.session.timeout.ms", "group.streams.session.timeout.ms"),
    ("group.streams.session.timeout.ms", "group.streams.max.session.timeout.ms"),
    ("replica.fetch.wait.max.ms", "replica.lag.time.max.ms"),
    ("log.cleaner.min.compaction.lag.ms", "log.cleaner.max.compaction.lag.ms"),
]
"""Pairs of which the first may not be above the second."""


def check_broker(config: Configs) -> None:
    """Hold a broker's configs to the rules between them.

    Raises:
        ConfigError: two contradict each other, or a value has a form that it may not have.
    """
    for low, high in _BROKER_ORDER:
        if config[low] > config[high]:
            raise ConfigError(f"{low}: {config[low]} is above {high} ({config[high]}); lower the one or raise the other")
    if config["log.retention.ms"] == 0 or config["log.retention.ms"] < -1:
        raise ConfigError("log.retention.ms: retention has to be -1 (for ever) or more than nothing")
    if config["log.roll.ms"] < 1:
        raise ConfigError(f"log.roll.ms: value {config['log.roll.ms']} is refused; 1 or more is allowed")
    _check_identity(config)
    _check_log_dirs(config)
    connect = config["zookeeper.connect"]
    if connect is not None and not _ZOOKEEPER.match(connect):
        raise ConfigError(f"zookeeper.connect: value {connect!r} is refused; host:port[,host:port...][/path] is allowed")
    parse_connection_overrides(config["max.connections.per.ip.overrides"])


def _check_identity(config: Configs) -> None:
    node, broker = config["node.id"], config["broker.id"]
    if broker not in (-1, node):
        raise ConfigError(f"broker.id: {broker} differs from node.id ({node}); set one of them")
    limit = config["reserved.broker.max.id"]
    if config["zookeeper.connect"] is not None and config["broker.id.generation.enable"] and node > limit:
        raise ConfigError(f"broker.id: {node} is above reserved.broker.max.id ({limit}), where generated ids begin")


def _check_log_dirs(config: Configs) -> None:
    dirs = config["log.dirs"]
    if not dirs or "" in dirs:
        raise ConfigError("log.dirs: it names no directory, or an empty one; name at least one, parted by commas")
    if len(set(dirs)) != len(dirs):
        raise ConfigError(f"log.dirs: a directory stands twice in {','.join(dirs)}")


def parse_connection_overrides(text: str) -> dict[str, int]:
    """Parse ``max.connections.per.ip.overrides``: host to number of connections.

    Raises:
        ConfigError: a pair is malformed.
    """
    key = "max.connections.per.ip.overrides"
    result: dict[str, int] = {}
    for pair in filter(None, (part.strip() for part in text.split(","))):
        host, colon, count = pair.rpartition(":")
        if not colon or not host or not count.isdecimal():
            raise ConfigError(f"{key}: value {pair!r} is refused; host:count pairs are allowed")
        result[host.strip("[]")] = int(count)
    return result


def check_topic(config: Configs) -> None:
    """Hold a topic's configs to the rules between them.

    Raises:
        ConfigError: two contradict each other.
    """
    low, high = config["min.compaction.lag.ms"], config["max.compaction.lag.ms"]
    if low > high:
        raise ConfigError(f"min.compaction.lag.ms: {low} is above max.compaction.lag.ms ({high})")
    if config["segment.jitter.ms"] > config["segment.ms"]:
        jitter, roll = config["segment.jitter.ms"], config["segment.ms"]
        raise ConfigError(f"segment.jitter.ms: {jitter} is above segment.ms ({roll})")

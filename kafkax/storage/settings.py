"""From a topic's configs to what its logs are opened with."""

from __future__ import annotations

from typing import Any, Protocol

from kafkax._core.log import LogSettings

__all__ = ["Configs", "is_compacted", "is_deleted", "log_settings"]

_CODECS = {"producer": -1, "uncompressed": 0, "none": 0, "gzip": 1, "snappy": 2, "lz4": 3, "zstd": 4}


class Configs(Protocol):
    """Typed access to configs by Kafka's names: a topic's or a broker's."""

    def __getitem__(self, name: str) -> Any:
        """The value in force."""


def is_compacted(config: Configs) -> bool:
    """Whether the topic's ``cleanup.policy`` names ``compact``."""
    return "compact" in config["cleanup.policy"]


def is_deleted(config: Configs) -> bool:
    """Whether the topic's ``cleanup.policy`` names ``delete``."""
    return "delete" in config["cleanup.policy"]


def log_settings(config: Configs, producer_id_expiration_ms: int = 86_400_000) -> LogSettings:
    """The settings of a topic's logs.

    Args:
        config: the topic's configs.
        producer_id_expiration_ms: the broker's ``producer.id.expiration.ms``.
    """
    compacted = is_compacted(config)
    return LogSettings(
        segment_bytes=config["segment.bytes"],
        # A record becomes compactable once its segment is closed, so the segment may not stay open for longer than that.
        segment_ms=min(config["segment.ms"], config["max.compaction.lag.ms"]) if compacted else config["segment.ms"],
        segment_jitter_ms=config["segment.jitter.ms"],
        segment_index_bytes=config["segment.index.bytes"],
        index_interval_bytes=config["index.interval.bytes"],
        max_message_bytes=config["max.message.bytes"],
        timestamp_before_max_ms=config["message.timestamp.before.max.ms"],
        timestamp_after_max_ms=config["message.timestamp.after.max.ms"],
        flush_messages=config["flush.messages"],
        flush_ms=config["flush.ms"],
        producer_id_expiration_ms=producer_id_expiration_ms,
        decompressed_max_bytes=config["kafkax.decompressed.max.bytes"],
        # There is no transaction coordinator yet, so a client's transactional batch always has to be looked at, and refused.
        verify_transactions=True,
        compression=_CODECS[config["compression.type"]],
        compacted=compacted,
        log_append_time=config["message.timestamp.type"] == "LogAppendTime",
        flushed=config["kafkax.durability"] == "flushed",
        preallocate=config["preallocate"],
    )

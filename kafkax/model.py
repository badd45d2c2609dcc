"""Values that every layer shares and that belong to none."""

from __future__ import annotations

import re
from typing import NamedTuple

__all__ = ["MAX_TOPIC_LENGTH", "TopicPartition", "valid_topic_name"]

MAX_TOPIC_LENGTH = 249
"""Longest topic name in characters: a partition's folder name still fits into 255 bytes."""

_LEGAL = re.compile(r"[a-zA-Z0-9._-]+\Z")


class TopicPartition(NamedTuple):
    """A partition of a topic; prints as the name of its folder on disk."""

    topic: str
    partition: int

    def __str__(self) -> str:
        return f"{self.topic}-{self.partition}"


def valid_topic_name(name: str) -> bool:
    """Whether Kafka allows the topic name (ASCII letters, digits, ``._-``, at most 249, not ``.`` or ``..``)."""
    return len(name) <= MAX_TOPIC_LENGTH and name not in (".", "..") and _LEGAL.match(name) is not None

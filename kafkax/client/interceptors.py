"""Functions that see every record on its way out or in (as Kafka's interceptors, KIP-42): tracing, auditing, enrichment.

They are objects in the config ``interceptors``, called in their order. What one raises is logged and otherwise ignored: no record
is lost because something that watches it failed.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

from kafkax._core.message import Message
from kafkax.client.types import TopicPartition
from kafkax.errors import KafkaError

__all__ = ["ConsumerInterceptor", "Interceptors", "ProducerInterceptor", "ProducerRecord"]

T = TypeVar("T")
_log = logging.getLogger("kafkax.client")


class ProducerRecord(NamedTuple):
    """What ``produce`` was called with; make another one by ``record._replace(...)``."""

    topic: str
    value: Any = None
    key: Any = None
    partition: int = -1
    timestamp: int = 0
    headers: Mapping[str, Any] | Sequence[tuple[str, Any]] | None = None


class ProducerInterceptor:
    """Base of a producer's interceptors; both methods may be left out."""

    def on_send(self, record: ProducerRecord) -> ProducerRecord:
        """Called by ``produce`` in the caller's thread; gives the record that is sent instead."""
        return record

    def on_acknowledgement(self, error: KafkaError | None, message: Message) -> None:
        """Called where delivery reports are, before the record's own ``on_delivery``."""


class ConsumerInterceptor:
    """Base of a consumer's interceptors; both methods may be left out."""

    def on_consume(self, messages: list[Message]) -> list[Message]:
        """Called by ``poll`` and ``consume`` with what they are about to give; gives what they give instead. What
        ``batches`` gives is not shown."""
        return messages

    def on_commit(self, offsets: list[TopicPartition]) -> None:
        """Called after offsets were committed, or were not: each has its ``error``."""


class Interceptors:
    """The interceptors of a client, called one after the other.

    Args:
        chain: objects with some of the methods.
    """

    def __init__(self, chain: Sequence[Any]) -> None:
        self._chain = chain

    def _each(self, name: str) -> list[Callable[..., Any]]:
        return [method for method in (getattr(each, name, None) for each in self._chain) if method is not None]

    def _passed(self, name: str, value: T) -> T:
        for method in self._each(name):
            try:
                value = method(value)
            except Exception:
                _log.exception("interceptor %r failed", method)
        return value

    def _told(self, name: str, *arguments: Any) -> None:
        for method in self._each(name):
            try:
                method(*arguments)
            except Exception:
                _log.exception("interceptor %r failed", method)

    def send(self, record: ProducerRecord) -> ProducerRecord:
        """The record as it is to be sent."""
        return self._passed("on_send", record)

    def acknowledge(self, error: KafkaError | None, message: Message) -> None:
        """Tell of a delivery, or its failure."""
        self._told("on_acknowledgement", error, message)

    def consume(self, messages: list[Message]) -> list[Message]:
        """The messages as they are to be given."""
        return self._passed("on_consume", messages)

    def commit(self, offsets: list[TopicPartition]) -> None:
        """Tell of a commit."""
        self._told("on_commit", offsets)

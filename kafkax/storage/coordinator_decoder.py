"""What the records of Kafka's internal topics say: their keys and values as plain objects."""

from __future__ import annotations

import uuid
from functools import cache
from importlib import import_module
from typing import Any

from kafkax.protocol.coordinator_records.framing import CoordinatorKey, CoordinatorValue, leading_int16
from kafkax.protocol.record import Record
from kafkax.protocol.schema import Struct
from kafkax.storage.partition_metadata import format_uuid

__all__ = ["INTERNAL_TOPICS", "decode_internal", "plain"]

_PACKAGE = "kafkax.protocol.coordinator_records"
INTERNAL_TOPICS = {
    "__consumer_offsets": ("classic_group", "consumer_group", "share_group", "streams_group"),
    "__transaction_state": ("transaction",),
    "__share_group_state": ("share_state",),
}
"""Topic to the modules that declare its records."""


@cache
def _kinds(topic: str) -> dict[int, tuple[type[CoordinatorKey], type[CoordinatorValue]]]:
    """Key and value classes of a topic's records by their kind."""
    keys: dict[int, type[CoordinatorKey]] = {}
    values: dict[int, type[CoordinatorValue]] = {}
    for name in INTERNAL_TOPICS[topic]:
        for declared in vars(import_module(f"{_PACKAGE}.{name}")).values():
            if isinstance(declared, type) and issubclass(declared, CoordinatorKey) and declared is not CoordinatorKey:
                keys[declared.api_key] = declared
            elif isinstance(declared, type) and issubclass(declared, CoordinatorValue) and declared is not CoordinatorValue:
                values[declared.api_key] = declared
    return {kind: (key, values[kind]) for kind, key in keys.items()}


def decode_internal(topic: str, record: Record) -> dict[str, Any]:
    """A record of an internal topic: ``type``, ``key`` and ``value`` (None: a tombstone) under Kafka's names.

    Args:
        topic: one of :data:`INTERNAL_TOPICS`.
        record: the record.

    Raises:
        ProtocolError: the record does not parse.
        KafkaError: UNSUPPORTED_VERSION for a kind or version that is not known.
    """
    kind = leading_int16(record.key or b"")
    classes = _kinds(topic).get(kind)
    if classes is None:
        return {"type": f"unknown kind {kind}"}
    key_class, value_class = classes
    value = None if record.value is None else plain(value_class.from_bytes(record.value))
    return {"type": key_class.__name__.removesuffix("Key"), "key": plain(key_class.from_bytes(record.key or b"")), "value": value}


def plain(value: Any) -> Any:
    """A message as dicts and lists under Kafka's names; bytes as hex, uuids as Kafka prints them."""
    if isinstance(value, Struct):
        return {_camel(field.name): plain(getattr(value, field.name)) for field in value.__fields__}
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, uuid.UUID):
        return format_uuid(value)
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value).hex()
    return value


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(part.capitalize() for part in rest)

"""All declared messages, and values to fill them with, for tests."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator
from typing import Any
from uuid import UUID

from hypothesis import strategies as st

from kafkax.protocol import coordinator_records
from kafkax.protocol.api import API_KEYS
from kafkax.protocol.coordinator_records.framing import CoordinatorKey, CoordinatorValue, VersionedMessage
from kafkax.protocol.message import Message
from kafkax.protocol.schema import Field, Struct

_BASES = (CoordinatorKey, CoordinatorValue, VersionedMessage)
_BITS = {"int8": 8, "int16": 16, "int32": 32, "int64": 64}


def requests_and_responses() -> list[type[Message]]:
    """Both messages of every API."""
    return [cls for api in API_KEYS.values() for cls in (api.request_type(), api.response_type())]


def record_messages() -> list[type[Message]]:
    """Every message that stands inside a record."""
    found: list[type[Message]] = []
    for module in pkgutil.iter_modules(coordinator_records.__path__):
        members = vars(importlib.import_module(f"{coordinator_records.__name__}.{module.name}")).values()
        found += [m for m in members if isinstance(m, type) and issubclass(m, _BASES) and hasattr(m, "max_version")]
    return found


def all_messages() -> list[type[Message]]:
    """Everything that has versions."""
    return requests_and_responses() + record_messages()


def versions(cls: type[Message]) -> range:
    """The versions of a message."""
    return range(cls.min_version, cls.max_version + 1)


def structs(cls: type[Struct]) -> Iterator[type[Struct]]:
    """A struct and all structs in it."""
    yield cls
    for field in cls.__fields__:
        if field.struct is not None:
            yield from structs(field.struct)


_PLAIN: dict[str, st.SearchStrategy[Any]] = {
    "bool": st.booleans(),
    "uint16": st.integers(0, 0xFFFF),
    "float64": st.floats(allow_nan=False),
    "uuid": st.one_of(st.just(UUID(int=0)), st.integers(0, (1 << 128) - 1).map(lambda n: UUID(int=n))),
    "string": st.one_of(st.text(st.characters(exclude_categories=["Cs"]), max_size=5), st.integers(0, 300).map("ü".__mul__)),
    "bytes": st.one_of(st.binary(max_size=5), st.integers(0, 300).map(bytes)),
    "records": st.one_of(st.binary(max_size=5), st.integers(0, 300).map(bytes)),
    **{kind: st.integers(-(1 << bits - 1), (1 << bits - 1) - 1) for kind, bits in _BITS.items()},
}
_TAGS = st.one_of(st.none(), st.dictionaries(st.integers(500, 70_000), st.binary(max_size=3), min_size=1, max_size=2))


def values(cls: type[Struct], version: int, flexible: bool) -> st.SearchStrategy[Any]:
    """Instances with every field of the version set to something; fields of other versions keep their default."""
    chosen = {
        field.name: _value(field, version, flexible) for field in cls.__fields__ if field.versions.covers(version)
    }
    if flexible:
        chosen["unknown_tags"] = _TAGS
    return st.builds(cls, **chosen)


def _value(field: Field, version: int, flexible: bool) -> st.SearchStrategy[Any]:
    plain: st.SearchStrategy[Any]
    if field.kind == "struct":
        assert field.struct is not None
        plain = values(field.struct, version, flexible)
    elif field.kind == "array":
        element = values(field.struct, version, flexible) if field.struct is not None else _PLAIN[field.element]
        plain = st.lists(element, max_size=3)
    else:
        plain = _PLAIN[field.kind]
    return st.one_of(st.none(), plain) if field.nullable.covers(version) else plain


def example(cls: type[Struct], version: int) -> Any:
    """An instance that says something in every field of the version: numbers count up, every list has two elements."""
    return _Filler(version).fill(cls)


class _Filler:
    def __init__(self, version: int) -> None:
        self.version = version
        self.next = 0

    def fill(self, cls: type[Struct]) -> Any:
        return cls(**{f.name: self.value(f.kind, f) for f in cls.__fields__ if f.versions.covers(self.version)})

    def value(self, kind: str, field: Field) -> Any:
        self.next += 1
        if kind == "array":
            return [self.value(field.element, field) for _ in range(2)]
        if kind == "struct":
            assert field.struct is not None
            return self.fill(field.struct)
        plain: dict[str, Any] = {
            "bool": True,
            "int8": self.next % 100,
            "float64": self.next / 8,
            "uuid": UUID(int=self.next),
            "string": f"{field.name}-{self.next}",
            "bytes": bytes([self.next % 256] * 3),
            "records": bytes([self.next % 256] * 4),
        }
        return plain.get(kind, self.next)

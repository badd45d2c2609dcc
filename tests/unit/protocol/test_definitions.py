"""Every declaration agrees with Apache Kafka's own definitions, of 3.9 and of 4.3, version by version."""

from __future__ import annotations

import importlib
import pkgutil
import re
from collections.abc import Iterator
from functools import cache
from typing import Any, NamedTuple
from uuid import UUID

import pytest

from kafkax.protocol.message import Message
from kafkax.protocol.schema import Field, Struct, Versions
from tests.messages import record_messages, requests_and_responses
from tests.reference import definitions, needs_reference

pytestmark = needs_reference

RELEASES = ("3.9", "4.3")
REPLACED = {74, 76, 77, 78, 79, 83, 84, 85, 86, 87}
"""Share groups had incompatible previews in 3.9; ListClientMetricsResources became ListConfigResources, with other names for
the same bytes."""
QUORUM_ONLY = {52, 53, 54, 59, 62, 63, 70, 73, 82}
"""APIs that only KRaft controllers answer."""


class Described(NamedTuple):
    """A field at one version, from either side."""

    name: str
    type: str
    nullable: bool
    tag: int | None
    default: Any
    fields: tuple[Any, ...]


def snake(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()


def declared(cls: type[Struct], version: int) -> tuple[Described, ...]:
    return tuple(sorted((_declared(f, version) for f in cls.__fields__ if f.versions.covers(version)), key=body_first))


def _declared(field: Field, version: int) -> Described:
    kind = field.kind if field.kind not in ("array", "struct") else ""
    if field.kind == "array":
        kind = f"[]{'' if field.struct else field.element}"
    inner = declared(field.struct, version) if field.struct else ()
    default = "struct" if field.kind == "struct" and field.mutable_default else field.default()
    return Described(field.name, kind, field.nullable.covers(version), field.tag, default, inner)


def defined(fields: list[dict[str, Any]], version: int, common: dict[str, Any]) -> tuple[Described, ...]:
    chosen = [f for f in fields if Versions.parse(f.get("versions") or f["taggedVersions"]).covers(version)]
    return tuple(sorted((_defined(f, version, common) for f in chosen), key=body_first))


def _defined(field: dict[str, Any], version: int, common: dict[str, Any]) -> Described:
    base = field["type"].removeprefix("[]")
    inner: tuple[Any, ...] = ()
    shown = field["type"]
    if base[0].isupper():
        inner = defined(field.get("fields") or common[base], version, common)
        shown = field["type"].removesuffix(base)
    tag = field["tag"] if Versions.parse(field.get("taggedVersions", "none")).covers(version) else None
    nullable = Versions.parse(field.get("nullableVersions", "none")).covers(version)
    return Described(snake(field["name"]), shown, nullable, tag, default_of(field, shown), inner)


def default_of(field: dict[str, Any], shown: str) -> Any:
    text = field.get("default", "")
    if text in ("null", None) or shown == "records":
        return None
    if shown.startswith("[]"):
        return []
    if shown == "":
        return "struct"
    if shown == "bool":
        return str(text).lower() == "true"
    if shown == "uuid":
        return UUID(int=0)
    if shown == "string":
        return text
    if shown == "bytes":
        return b""
    return float(text or 0) if shown == "float64" else int(str(text or 0), 0)


def body_first(field: Described) -> tuple[int]:
    """The body keeps its order; tagged fields come by number, wherever they are written."""
    return (-1 if field.tag is None else field.tag,)


def check(cls: type[Message], definition: dict[str, Any]) -> None:
    common = {s["name"]: s["fields"] for s in definition.get("commonStructs", ())}
    valid = Versions.parse(definition["validVersions"])
    assert cls.min_version <= valid.first <= valid.last <= cls.max_version
    flexible = Versions.parse(definition["flexibleVersions"])
    for version in range(valid.first, valid.last + 1):
        assert cls.flexible(version) == flexible.covers(version)
        assert declared(cls, version) == defined(definition["fields"], version, common), f"version {version}"


@cache
def definitions_of(release: str) -> dict[tuple[int, str], dict[str, Any]]:
    """Definitions by API key and kind, without those that the release no longer has."""
    return {
        (d["apiKey"], d["type"]): d
        for d in definitions("kafka-messages", release).values()
        if "apiKey" in d and d["validVersions"] != "none"
    }


def kind_of(cls: type[Message]) -> tuple[int, str]:
    return cls.api_key, "request" if cls.__name__.endswith("Request") else "response"


@pytest.mark.parametrize("release", RELEASES)
def test_requests_and_responses(release: str) -> None:
    known = definitions_of(release)
    for cls in requests_and_responses():
        definition = known.get(kind_of(cls))
        if definition is not None and not (release == "3.9" and cls.api_key in REPLACED):
            check(cls, definition)


def test_no_version_is_declared_that_neither_release_has() -> None:
    releases = [definitions_of(release) for release in RELEASES]
    for cls in requests_and_responses():
        valid = [Versions.parse(r[kind_of(cls)]["validVersions"]) for r in releases if kind_of(cls) in r]
        assert all(any(v.covers(version) for v in valid) for version in range(cls.min_version, cls.max_version + 1)), cls


def test_every_api_that_a_broker_answers_is_declared() -> None:
    wanted = set()
    for release in RELEASES:
        for (key, kind), definition in definitions_of(release).items():
            if kind == "request" and {"broker", "zkBroker"} & set(definition.get("listeners", ())):
                wanted.add(key)
    assert {cls.api_key for cls in requests_and_responses()} == wanted
    assert not wanted & QUORUM_ONLY


def test_messages_within_records() -> None:
    known = {**definitions("coordinator-records"), **definitions("kafka-messages", "4.3")}
    for cls in record_messages():
        definition = known[cls.__name__]
        assert definition.get("apiKey", -1) == cls.api_key
        check(cls, definition)
    assert set(definitions("coordinator-records")) <= {cls.__name__ for cls in record_messages()}


def test_what_kafka_lets_be_dropped_is_ignorable() -> None:
    known = definitions_of("4.3")
    for cls in requests_and_responses():
        if kind_of(cls) in known:
            for mine, field, _ in pairs(cls, known[kind_of(cls)]):
                assert mine.ignorable == field.get("ignorable", False), f"{cls.__name__}: {mine.name}"


def pairs(cls: type[Message], definition: dict[str, Any]) -> Iterator[tuple[Field, dict[str, Any], str]]:
    """Every field that has a version, as declared and as defined, with the name of its type."""
    common = {s["name"]: s["fields"] for s in definition.get("commonStructs", ())}
    pending: list[tuple[type[Struct], list[dict[str, Any]]]] = [(cls, definition["fields"])]
    while pending:
        owner, fields = pending.pop()
        mine = {field.name: field for field in owner.__fields__}
        for field in fields:
            name = field["type"].removeprefix("[]")
            if Versions.parse(field["versions"]).last < cls.min_version:
                continue
            found = mine[snake(field["name"])]
            yield found, field, name
            if found.struct is not None:
                pending.append((found.struct, field.get("fields") or common[name]))


def test_structs_have_kafkas_names() -> None:
    known = definitions_of("3.9") | definitions_of("4.3")
    for cls in requests_and_responses():
        for mine, _, name in pairs(cls, known[kind_of(cls)]):
            assert mine.struct is None or mine.struct.__name__ in (name, cls.__name__ + name)


def test_modules_are_named_for_their_api() -> None:
    from kafkax.protocol import messages

    found = {m.name for m in pkgutil.iter_modules(messages.__path__)}
    assert found == {snake(cls.__name__.removesuffix("Request")) for cls in requests_and_responses() if "Request" in cls.__name__}
    for name in found:
        assert importlib.import_module(f"{messages.__name__}.{name}").__doc__

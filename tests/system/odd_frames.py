"""Produce and Fetch frames written field by field, so that each can be what no message class lets it be, and generated ones.

Counts may lie, lists and texts may be null where that is not allowed, tagged fields may be unknown, bytes may be missing or too
many.  What a frame says stands in plain tuples, which Hypothesis shrinks and prints.
"""

from __future__ import annotations

import struct
import uuid
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

PRODUCE_VERSIONS = range(3, 14)
FETCH_VERSIONS = range(4, 19)
_BY_ID = 13
_FLEXIBLE = {0: 9, 1: 12}
"""API key: first version with compact fields and tags."""

Tags = tuple[tuple[int, bytes], ...]


class Part(NamedTuple):
    """A partition of a Produce request."""

    index: int
    records: bytes | None
    tags: Tags = ()


class Place(NamedTuple):
    """A partition of a Fetch request."""

    index: int
    offset: int = 0
    limit: int = 1 << 20
    epoch: int = -1
    last_epoch: int = -1
    log_start: int = -1
    tags: Tags = ()


class Topic(NamedTuple):
    """A topic of either; ``lie`` is added to the count of its partitions, ``parts`` may be null."""

    name: str | bytes | None
    parts: tuple[Any, ...] | None
    lie: int = 0
    tags: Tags = ()


class Body(NamedTuple):
    """A request; ``fields`` are what stands before the topics, ``padding`` how many bytes each varint has too many, ``damage``
    what becomes of the frame's bytes."""

    key: int
    version: int
    fields: Mapping[str, Any]
    topics: tuple[Topic, ...] | None
    lie: int = 0
    client: str | bytes | None = "parity"
    header_tags: Tags = ()
    tags: Tags = ()
    padding: int = 0
    damage: tuple[Any, ...] = ()


def _uvarint(value: int, padding: int = 0) -> bytes:
    out = bytearray()
    while value >= 0x80 or padding > 0:
        padding -= value < 0x80
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes(out) + bytes([value])


class _Writer:
    def __init__(self, flexible: bool, padding: int = 0) -> None:
        self.data, self._flexible, self._padding = bytearray(), flexible, padding

    def put(self, layout: str, *values: int) -> None:
        self.data += struct.pack(">" + layout, *values)

    def count(self, value: int) -> None:
        """A list's length; -1: null."""
        if self._flexible:
            self.data += _uvarint((value + 1) & 0xFFFFFFFF, self._padding)
        else:
            self.put("i", value)

    def text(self, value: str | bytes | None) -> None:
        """A string, or bytes in its place; where its length has 16 bits, no more than those tell."""
        data = value.encode() if isinstance(value, str) else value or b""
        data = data if self._flexible else data[:0x7FFF]
        if self._flexible:
            self.count(-1 if value is None else len(data))
        else:
            self.put("h", -1 if value is None else len(data))
        self.data += data

    def blob(self, value: bytes | None) -> None:
        self.count(-1 if value is None else len(value))
        self.data += value or b""

    def tags(self, tags: Tags) -> None:
        if self._flexible:
            self.data += _uvarint(len(tags), self._padding)
            for tag, value in tags:
                self.data += _uvarint(tag, self._padding) + _uvarint(len(value), self._padding) + value

    def items(self, items: Sequence[Any] | None, lie: int = 0) -> Sequence[Any]:
        self.count(-1 if items is None else len(items) + lie)
        return items or ()


def written(body: Body, ids: Mapping[str, uuid.UUID], correlation_id: int = 7) -> bytes:
    """The frame of a request, without its length; topics that have no id in ``ids`` get one that nobody has."""
    flexible = body.version >= _FLEXIBLE[body.key]
    out = _Writer(False)
    out.put("hhi", body.key, body.version, correlation_id)
    out.text(body.client)
    tags, head = _Writer(flexible, body.padding), out.data
    tags.tags(body.header_tags)
    head += tags.data
    out = _Writer(flexible, body.padding)
    (_write_produce if body.key == 0 else _write_fetch)(out, body, ids)
    out.tags(body.tags)
    # A Fetch says first how long to wait and in which session; damage leaves that alone, and what would shift it.
    since = 8 if body.key == 0 else len(head) + _fixed(body.version)
    return _damaged(bytes(head + out.data), body.damage, since)


def _named(out: _Writer, version: int, topic: Topic, ids: Mapping[str, uuid.UUID]) -> None:
    if version >= _BY_ID:
        missing = uuid.UUID(int=0) if not topic.name else uuid.UUID("7fffffff-0000-4000-8000-0123456789ab")
        out.data += ids.get(str(topic.name), missing).bytes
    else:
        out.text(topic.name)


def _write_produce(out: _Writer, body: Body, ids: Mapping[str, uuid.UUID]) -> None:
    out.text(body.fields.get("transactional_id"))
    out.put("hi", body.fields.get("acks", 1), body.fields.get("timeout_ms", 5000))
    for topic in out.items(body.topics, body.lie):
        _named(out, body.version, topic, ids)
        for part in out.items(topic.parts, topic.lie):
            out.put("i", part.index)
            out.blob(part.records)
            out.tags(part.tags)
        out.tags(topic.tags)


def _write_fetch(out: _Writer, body: Body, ids: Mapping[str, uuid.UUID]) -> None:
    fields, version = body.fields, body.version
    if version < 15:
        out.put("i", fields.get("replica_id", -1))
    out.put("iii", fields.get("max_wait_ms", 0), fields.get("min_bytes", 1), fields.get("max_bytes", 1 << 24))
    out.put("b", fields.get("isolation_level", 0))
    if version >= 7:
        out.put("ii", *fields.get("session", (0, -1)))
    for topic in out.items(body.topics, body.lie):
        _named(out, version, topic, ids)
        for place in out.items(topic.parts, topic.lie):
            _write_place(out, place, version)
        out.tags(topic.tags)
    if version >= 7:
        for topic in out.items(fields.get("forgotten", ())):
            _named(out, version, topic, ids)
            for index in out.items(topic.parts):
                out.put("i", index)
            out.tags(topic.tags)
    if version >= 11:
        out.text(fields.get("rack_id", ""))


def _write_place(out: _Writer, place: Place, version: int) -> None:
    out.put("i", place.index)
    if version >= 9:
        out.put("i", place.epoch)
    out.put("q", place.offset)
    if version >= 12:
        out.put("i", place.last_epoch)
    if version >= 5:
        out.put("q", place.log_start)
    out.put("i", place.limit)
    out.tags(place.tags)


def _fixed(version: int) -> int:
    """Bytes of a Fetch before its topics."""
    return (4 if version < 15 else 0) + 13 + (8 if version >= 7 else 0)


def _damaged(frame: bytes, damage: tuple[Any, ...], since: int) -> bytes:
    """Cut off, longer, or with a byte that is another; the last only from ``since`` on."""
    match damage:
        case ("cut", int(size)):
            return frame[: max(12, len(frame) - size)]
        case ("longer", bytes(more)):
            return frame + more
        case ("byte", int(at), int(value)) if len(frame) > since:
            at = since + at % (len(frame) - since)
            return frame[:at] + bytes([value]) + frame[at + 1 :]
    return frame


def mostly(usual: SearchStrategy[Any], odd: SearchStrategy[Any]) -> SearchStrategy[Any]:
    """Seldom the odd one: a frame has a dozen places to be odd in, and the core leaves most odd frames to the handlers."""
    return st.sampled_from([usual] * 23 + [odd]).flatmap(lambda chosen: chosen)


def ordinary(value: Any, *others: Any) -> SearchStrategy[Any]:
    """Mostly the ordinary value, which examples shrink to."""
    return mostly(st.just(value), st.sampled_from(others))


TAGS: SearchStrategy[Tags] = ordinary(
    (), ((99, b""),), ((99, b"abc"), (100, b"\0")), ((3, b"x" * 200),), ((7, b"twice"), (7, b"so")), ((2**32 - 1, b"z"), (5, b""))
)
LIES = ordinary(0, 1, -1, -5, 1 << 20, 2**31 - 9)
PADDING = ordinary(0, 1, 3, 4)
NO_TEXT = b"\xff\xfe"
"""Bytes that are no string."""
LONG = "l" * 40_000
"""Longer than a string may be; only compact lengths can tell."""
DAMAGE = mostly(
    st.just(()),
    st.one_of(
        st.tuples(st.just("cut"), st.integers(1, 80)),
        st.tuples(st.just("longer"), st.binary(min_size=1, max_size=9)),
        st.tuples(st.just("byte"), st.integers(0, 300), st.integers(0, 255)),
    ),
)
CLIENTS = ordinary("parity", None, "", "c" * 300, "Größe", NO_TEXT, LONG)


_BAD_NAMES = (None, NO_TEXT, LONG)


def sound(body: Body) -> Body:
    """The same request without what closes a connection."""
    listed = tuple(Topic("absent" if topic.name in _BAD_NAMES else topic.name, topic.parts or ()) for topic in body.topics or ())
    fields = {**body.fields, "acks": body.fields.get("acks") or 1, "forgotten": (), "rack_id": ""}
    if body.key == 0 and (fields.get("transactional_id") in (NO_TEXT, LONG)):
        fields["transactional_id"] = "tx"
    client = "parity" if body.client == LONG else body.client
    return Body(body.key, body.version, fields, tuple(_untagged(topic) for topic in listed), client=client)


def _untagged(topic: Topic) -> Topic:
    return topic._replace(parts=tuple(part._replace(tags=()) for part in topic.parts or ()))


def topics(names: Sequence[str], parts: SearchStrategy[Any]) -> SearchStrategy[tuple[Topic, ...] | None]:
    """A few topics of those named, seldom one twice, none or others, each with a few partitions."""
    nothing = st.sampled_from([(), None])
    few = mostly(
        st.lists(parts, min_size=1, max_size=2, unique_by=lambda part: part.index).map(tuple),
        st.lists(parts, min_size=2, max_size=4).map(tuple) | nothing,
    )
    topic = st.builds(
        Topic,
        name=mostly(st.sampled_from(names), st.sampled_from(["gone", "absent", "", "..", *_BAD_NAMES])),
        parts=few,
        lie=LIES,
        tags=TAGS,
    )
    return mostly(
        st.lists(topic, min_size=1, max_size=2, unique_by=lambda topic: topic.name).map(tuple),
        st.lists(topic, min_size=2, max_size=4).map(tuple) | nothing,
    )


INDEXES = mostly(st.sampled_from([0, 1]), st.sampled_from([2, 3, -1, 2**31 - 1]))


@st.composite
def produce_requests(draw: DrawFn, names: Sequence[str], records: SearchStrategy[bytes | None]) -> Body:
    """Any Produce request: all versions, any ``acks``, batches from ``records``."""
    fields = {
        "acks": draw(mostly(st.sampled_from([1, -1]), st.sampled_from([0, 2, -2, 32767]))),
        "timeout_ms": draw(ordinary(5000, 1000, 2**31 - 1, 0, -1)),
        "transactional_id": draw(ordinary(None, "", "tx", "Größe", NO_TEXT, LONG)),
    }
    parts = st.builds(Part, INDEXES, records, TAGS)
    version = draw(st.sampled_from(PRODUCE_VERSIONS))
    named = draw(topics(names, parts))
    return Body(
        0, version, fields, named, draw(LIES), draw(CLIENTS), draw(TAGS), draw(TAGS), draw(PADDING), draw(DAMAGE)
    )


OFFSETS = st.one_of(st.integers(0, 12), st.sampled_from([-2, -1, 100, 1 << 40, -(1 << 63), (1 << 63) - 1]))
PLACES = st.builds(
    Place,
    index=INDEXES,
    offset=OFFSETS,
    limit=st.sampled_from([1 << 20] * 4 + [0, 1, 61, 150, 700, -1, 2**31 - 1]),
    epoch=ordinary(-1, 0, 1, 2, 7, -3),
    last_epoch=ordinary(-1, 0, 1, 2, 7, -2),
    log_start=ordinary(-1, 0, 5, 1 << 40),
    tags=ordinary((), ((0, bytes(16)),), ((1, struct.pack(">q", 3)),), ((1, b""),), ((0, bytes(3)),), ((99, b"abc"),)),
)


_NOBODY = struct.pack(">iqb", -1, -1, 0)
"""The replica state of a consumer, as brokers know it since version 15."""


@st.composite
def fetch_requests(draw: DrawFn, names: Sequence[str]) -> Body:
    """Any Fetch request of a consumer that does not wait long; its session, if any, is one that the broker does not know."""
    fields = {
        "replica_id": draw(ordinary(-1, -2, 1, 7)),
        "max_wait_ms": draw(ordinary(0, 1, -1)),
        "min_bytes": draw(ordinary(1, 0, -5, 100, 100_000)),
        "max_bytes": draw(ordinary(1 << 24, 0, 1, 100, 700, -1, 2**31 - 1)),
        "isolation_level": draw(mostly(st.sampled_from([0, 1]), st.sampled_from([2, -1, 127]))),
        "session": draw(ordinary((0, -1), (0, 5), (12345, 3), (-5, 1), (0, 2**31 - 1), (12345, -1))),
        "forgotten": draw(ordinary((), None, (Topic(names[0], (0, 1)),), (Topic("absent", ()), Topic(None, None)))),
        "rack_id": draw(ordinary("", "a", "b" * 200, "Größe", None, NO_TEXT, LONG)),
    }
    tags = ordinary((), ((0, b"\x02x"),), ((0, b"\0"),), ((0, b"\x05x"),), ((99, b"abc"),), ((1, _NOBODY),), ((1, _NOBODY[:-1]),))
    version = draw(st.sampled_from(FETCH_VERSIONS))
    named = draw(topics(names, PLACES))
    return Body(
        1, version, fields, named, draw(LIES), draw(CLIENTS), draw(TAGS), draw(tags), draw(PADDING), draw(DAMAGE)
    )

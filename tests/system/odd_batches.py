"""Generated records of Produce requests: sound batches, and such as no producer makes.

Checksums are mostly right, so that what is wrong is looked at by more than the first check.
"""

from __future__ import annotations

import struct
import time
import zlib
from typing import Any

from hypothesis import strategies as st

from kafkax.protocol.compression import CODECS, compress
from tests.unit._core.batches import Rec, batch, record

NOW = int(time.time() * 1000)
DAYS = 10 * 24 * 3600 * 1000
"""Milliseconds by which a timestamp is out of the bounds that a topic may set, however long the tests take."""
ABORTED, COMMITTED, OPEN = 8001, 8002, 8003
"""Producers of transactions that are decided, or not, before any request comes."""


def records(*values: bytes | None, **options: Any) -> bytes:
    return batch([Rec(value=value, timestamp=NOW + at) for at, value in enumerate(values)], **options)


def messages(magic: int, *values: bytes, attributes: int = 0, crc_error: int = 0) -> bytes:
    """A message set as clients sent it before batches were invented."""
    out = b""
    for at, value in enumerate(values):
        body = struct.pack(">bb", magic, attributes) + (struct.pack(">q", NOW) if magic else b"")
        body += struct.pack(">i", 1) + b"k" + struct.pack(">i", len(value)) + value
        out += struct.pack(">qiI", at, len(body) + 4, zlib.crc32(body) ^ crc_error) + body
    return out


def body_of(recs: list[Rec]) -> bytes:
    return b"".join(record(rec, at, recs[0].timestamp) for at, rec in enumerate(recs))


def packed(codec: int, recs: list[Rec], more: bytes, cut: int, name: int, again: bool, **options: Any) -> bytes:
    """A compressed batch whose content may be cut off, followed by something, written twice, or another codec's."""
    body = body_of(recs) * (2 if again else 1) + more
    payload = compress(CODECS[codec], body)
    return batch(recs, attributes=name or codec, payload=payload[: len(payload) - cut], **options)


def twisted(recs: list[Rec], at: int, value: int, **options: Any) -> bytes:
    """A batch with another byte among its records, under a checksum that is right."""
    body = bytearray(body_of(recs))
    body[at % len(body)] = value
    return batch(recs, payload=bytes(body), **options)


BATCHES = st.sampled_from([
    records(b"one"),
    records(b"one", b"two", None),
    records(b"x" * 1000, b"y" * 1500),
    batch([Rec(key=None, timestamp=NOW)]),
    batch([Rec(timestamp=NOW), Rec(key=None, timestamp=NOW), Rec(timestamp=NOW - DAYS), Rec(key=None, timestamp=NOW + DAYS)]),
    batch([Rec(headers=((b"h", b"1"), (b"", None)), timestamp=NOW)]),
    records(b"one") + records(b"two"),
    records(b"one") + b"\0",
    records(b"one") + messages(1, b"two"),
    records(b"one")[:-1],
    records(b"one")[:61],
    records(b"one")[:16],
    records(b"one", crc_error=1),
    records(b"one", magic=0),
    records(b"one", magic=1),
    messages(0, b"old"),
    messages(1, b"old", b"older"),
    messages(1, b"wrong", crc_error=1),
    messages(0, b"\x1f\x8b", attributes=1),
    batch(1),
    b"\0" * 100,
    b"",
    None,
])  # fmt: skip
TIMES = st.one_of(
    st.integers(NOW - 5, NOW + 5), st.integers(NOW - 5, NOW + 5), st.sampled_from([NOW - DAYS, NOW + DAYS, 0, -1, -2, 1 << 61])
)
RECS = st.lists(
    st.builds(Rec, st.none() | st.binary(max_size=3), st.none() | st.binary(max_size=40), TIMES), min_size=1, max_size=4
)
LIES = {
    "last_offset_delta": st.sampled_from([None] * 8 + [0, 3, -1]),
    "count": st.sampled_from([None] * 8 + [0, 3, -1, 2**31 - 1]),
}
PRODUCERS = {
    "producer_id": st.sampled_from([-1] * 8 + [5, 6, ABORTED, OPEN]),
    "epoch": st.sampled_from([-1, -1, 0, 1]),
    "sequence": st.sampled_from([-1, -1, 0, 1, 2, 2**31 - 1]),
}
MADE = st.builds(
    batch,
    RECS,
    attributes=st.sampled_from([0] * 24 + [1, 2, 3, 4, 5, 8, 0x10, 0x20, 0x30, 0x40, 0x80, -1]),
    magic=st.sampled_from([2] * 12 + [0, 1, 3]),
    leader_epoch=st.sampled_from([-1, 0, 9]),
    base_offset=st.sampled_from([0, 0, 7, -1]),
    length_error=st.sampled_from([0] * 12 + [1, -1, -70, 1 << 30]),
    crc_error=st.sampled_from([0] * 12 + [1]),
    max_timestamp=st.sampled_from([None] * 8 + [0, -1, NOW + DAYS]),
    **PRODUCERS,
    **LIES,
)  # fmt: skip
PACKED = st.builds(
    packed,
    st.integers(1, 4),
    RECS,
    st.sampled_from([b""] * 8 + [b"\0", b"more", bytes(3000)]),
    st.sampled_from([0] * 8 + [1, 5]),
    st.sampled_from([0] * 24 + [1, 2, 3, 4, 5, 0x11, 0x22]),
    st.sampled_from([False] * 8 + [True]),
    **LIES,
)
TWISTED = st.builds(twisted, RECS, st.integers(0, 200), st.integers(0, 255), **PRODUCERS)
RECORDS = st.one_of(BATCHES, MADE, PACKED, TWISTED)

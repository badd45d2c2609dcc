"""Records to send through every client: text of the Python standard library with keys, headers, nulls and timestamps.

Each record carries its number within its partition, so that order is seen, and everything a consumer gets back goes into
one digest per partition, so that equality is by count and by hash.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import sysconfig
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

TOTAL_BYTES = int(os.environ.get("KAFKAX_COMPAT_MEGABYTES", "25")) * 1_000_000
"""How much every client carries in every compression; ci/nightly asks for 100 MB."""

FIRST_TIMESTAMP = int(time.time() * 1000) - 86_400_000
"""Milliseconds, a day ago; the record number is added to it. Every few minutes brokers delete what is older than their
``log.retention.hours``, whether somebody is reading it or not, so records must not be."""


class Sample(NamedTuple):
    """One record as it is sent and as it must come back."""

    partition: int
    number: int
    """Position within the partition, from 0."""
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...]


def _chunks(size: int) -> Iterator[bytes]:
    sources = sorted(Path(sysconfig.get_path("stdlib")).glob("*.py"))
    assert sources, "the standard library has no source files to send"
    for source in itertools.cycle(sources):
        text = source.read_bytes()
        for start in range(0, len(text), size):
            yield text[start : start + size]


def samples(total_bytes: int, partitions: int, value_bytes: int, *, null_headers: bool = True) -> Iterator[Sample]:
    """Records whose values add up to ``total_bytes``, dealt to the partitions in turn.

    Nearly every 11th key and every 97th value is null; every 13th value is empty; every 7th record has two headers,
    one of them null where the client can send that.
    """
    chunks = _chunks(value_bytes)
    sent = 0
    for number in itertools.count():
        if sent >= total_bytes:
            return
        value: bytes | None = next(chunks)
        sent += len(value or b"")
        if number % 97 == 5:
            value = None
        elif number % 13 == 3:
            value = b""
        # aiokafka refuses records that have neither key nor value
        key = None if number % 11 == 2 and value is not None else b"key-%d" % (number % 1000)
        pairs = (("trace", b"%d" % number), ("empty", None if null_headers else b"")) if number % 7 == 0 else ()
        yield Sample(number % partitions, number // partitions, FIRST_TIMESTAMP + number, key, value, pairs)


class Digest:
    """Count and hash of the records of each partition, in the order in which they are given."""

    def __init__(self, partitions: int) -> None:
        self._hashes = [hashlib.blake2b(digest_size=16) for _ in range(partitions)]
        self.counts = [0] * partitions

    def add(
        self,
        partition: int,
        timestamp: int,
        key: bytes | None,
        value: bytes | None,
        headers: Iterable[tuple[str, bytes | None]] | None,
    ) -> None:
        """Take one record in."""
        self.counts[partition] += 1
        # lengths (-1 for null) keep neighbouring fields apart
        pairs = list(headers or ())
        shape = (timestamp, -1 if key is None else len(key), -1 if value is None else len(value), pairs)
        self._hashes[partition].update(repr(shape).encode() + (key or b"") + (value or b""))

    @property
    def result(self) -> list[tuple[int, str]]:
        """Per partition: how many records, and their hash."""
        return [(count, digest.hexdigest()) for count, digest in zip(self.counts, self._hashes, strict=True)]

    @property
    def total(self) -> int:
        """How many records so far."""
        return sum(self.counts)

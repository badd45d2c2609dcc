"""Records that are compared with the one before, and not parsed, are found to be what parsing each in Python finds."""

from __future__ import annotations

import ctypes
import random
import struct
from collections.abc import Callable, Iterator

import pytest

from kafkax._core.batch import Walk, walk
from kafkax._core.crc32c import crc32c
from kafkax._core.cursor import decode_varint, decode_varlong, encode_varint, encode_varlong
from kafkax.errors import ErrorCode, KafkaError, ProtocolError
from tests.unit._core.batches import NOW, batch

HEADER = 61
NO_KEY, TIMESTAMP = 1, 2
EDGES = (0, 1, 2, 40, 54, 55, 56, 57, 62, 63, 64, 65, 100, 8170, 8189, 8190, 8191, 8192, 8200)
"""Sizes near those at which a record's or a field's size takes another byte."""
BASES = (*[NOW] * 20, -1, 0, 8191, 8192, 8193, (1 << 63) - 1, (1 << 63) - 8193, (1 << 63) - 8192, -(1 << 63))

Rules = tuple[bool, int | None, int | None, int]


class Bytes:
    """Reads what a record holds, to the end that it is given."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    def take(self, size: int) -> bytes:
        if not 0 <= size <= len(self.data):
            raise ProtocolError(f"{size} bytes of {len(self.data)}")
        taken, self.data = self.data[:size], self.data[size:]
        return taken

    def read(self, decode: Callable[[bytes], tuple[int, int]] = decode_varint) -> int:
        value, used = decode(self.data[:10])
        self.take(used)
        return value

    def read_nullable(self) -> bytes | None:
        size = self.read()
        return None if size < 0 else self.take(size)


def parsed(data: bytes) -> Iterator[tuple[int, int, bytes | None]]:
    """(timestamp delta, offset delta, key) of each record."""
    rest = Bytes(data)
    while rest.data:
        record = Bytes(rest.take(rest.read()))
        record.take(1)
        stamp, delta, key = record.read(decode_varlong), record.read(), record.read_nullable()
        record.read_nullable()
        headers = record.read()
        if not 0 <= headers <= len(record.data):
            raise ProtocolError(f"{headers} headers")
        for _ in range(headers):
            record.take(record.read())
            record.read_nullable()
        if record.data:
            raise ProtocolError("more than the record")
        yield stamp, delta, key


def expected(data: bytes, rules: Rules) -> Walk | None:
    """What ``walk`` has to say; None: the records don't parse."""
    need_key, earliest, latest, room = rules
    (base,), (count,) = struct.unpack_from(">q", data, 27), struct.unpack_from(">i", data, 57)
    largest, largest_at, errors = -1, 0, []
    try:
        records = list(parsed(data[HEADER:]))
    except ProtocolError:
        return None
    if len(records) != max(count, 0) or [delta for _, delta, _ in records] != list(range(len(records))):
        return None
    for index, (stamp, _, key) in enumerate(records):
        timestamp = (base + stamp + (1 << 63)) % (1 << 64) - (1 << 63)
        if timestamp > largest:
            largest, largest_at = timestamp, index
        early = earliest is not None and timestamp < earliest
        late = latest is not None and timestamp > latest
        if need_key and key is None:
            errors.append((index, NO_KEY))
        elif timestamp != -1 and (early or late):
            errors.append((index, TIMESTAMP))
    kind = max((kind for _, kind in errors), default=0)
    return Walk(largest, largest_at, len(errors), kind, errors[:room])


def found(data: bytes, rules: Rules) -> Walk | None:
    need_key, earliest, latest, room = rules
    # Memory with nothing behind it, so that a sanitizer sees what is read there.
    exact = (ctypes.c_uint8 * len(data)).from_buffer_copy(data)
    try:
        return walk(exact, need_key=need_key, min_timestamp=earliest, max_timestamp=latest, room=room)
    except KafkaError as error:
        if error.code is ErrorCode.INVALID_RECORD:
            return None
        raise


def sealed(body: bytes, count: int, base: int = NOW) -> bytes:
    """A batch with that base timestamp, and with the length and the checksum that go with its bytes."""
    data = bytearray(batch([body], count=count))
    struct.pack_into(">q", data, 27, base)
    struct.pack_into(">I", data, 17, crc32c(bytes(data[21:])))
    return bytes(data)


def padded(varint: bytes) -> bytes:
    """The same value in a byte more than it takes."""
    return varint[:-1] + bytes([varint[-1] | 0x80, 0])


class Source:
    """Makes the records of one batch, each field in a manner of its own."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.base = self.random.choice(BASES)
        self.count = self.random.choice([1, 4, 5, 6, 9, 20, 70, 140])
        self.odd = self.random.choice([0.0, 0.0, 0.0, 0.02, 0.2])
        self.key, self.value = self.sizes(null=True), self.sizes(null=self.random.random() < 0.2)
        self.stamp = self.stamps()

    def sizes(self, *, null: bool) -> Callable[[], int]:
        chosen = self.random.choice([-1, 0, 5, 63, 64, 100, 8191] if null else [0, 10, 57, 58, 100, 1000, 8190])
        low, high = self.random.choice([(0, 20), (5, 63), (56, 70), (70, 500), (8150, 8250)])
        return self.random.choice(
            [
                lambda: chosen,
                lambda: chosen,
                lambda: self.random.randint(low, high),
                lambda: self.random.choice((chosen, chosen, low)),
                lambda: self.random.choice((*EDGES, -1)),
            ]
        )

    def stamps(self) -> Callable[[int], int]:
        spread = self.random.choice([1, 50, 63, 64, 65, 8190, 8191, 8192, 8193, 10**6, 1 << 62])
        step = self.random.choice([1, 3, 60, 1000])
        return self.random.choice(
            [
                lambda _: 0,
                lambda index: index // step,
                lambda index: index * step,
                lambda index: -index,
                lambda index: spread - index * step,
                lambda _: self.random.randint(-spread, spread),
                lambda _: self.random.choice((-spread, spread)),
            ]
        )

    def strange(self) -> bool:
        return self.random.random() < self.odd

    def varint(self, value: int) -> bytes:
        return padded(encode_varint(value)) if self.odd > 0.1 and self.random.random() < 0.01 else encode_varint(value)

    def nullable(self, size: int) -> bytes:
        # Any negative size is null.
        return self.varint(size) + self.random.randbytes(max(size, 0))

    def record(self, index: int) -> bytes:
        stamp = encode_varlong(self.stamp(index))
        body = bytes([7 if self.strange() else 0]) + (padded(stamp) if self.strange() and len(stamp) < 10 else stamp)
        body += self.varint(index) + self.nullable(self.key() if not self.strange() else -2) + self.nullable(self.value())
        headers = self.random.randint(1, 2) if self.strange() else 0
        body += self.varint(headers) + (self.nullable(3) + self.nullable(-1)) * headers
        return self.varint(len(body)) + body

    def records(self) -> list[bytes]:
        return [self.record(index) for index in range(self.count)]

    def rules(self) -> Rules:
        near = [None, self.base, self.base - 8192, self.base + 8191, self.base + 50, self.base + 100, self.base - 100]
        bounds = [None if bound is None else min(max(bound, -(1 << 63)), (1 << 63) - 1) for bound in near]
        if self.random.random() < 0.5:
            return self.random.random() < 0.3, None, self.random.choice(bounds), 64
        return self.random.random() < 0.3, self.random.choice(bounds), self.random.choice(bounds), self.random.choice([0, 3, 64])


@pytest.mark.parametrize("seed", range(600))
def test_records_of_many_shapes(seed: int) -> None:
    source = Source(seed)
    records = source.records()
    data = sealed(b"".join(records), len(records), source.base)
    for rules in [(False, None, None, 8), source.rules(), source.rules()]:
        assert found(data, rules) == expected(data, rules)


@pytest.mark.parametrize("seed", range(600, 1000))
def test_records_that_are_damaged(seed: int) -> None:
    source = Source(seed)
    rules = source.rules()
    records = source.records()
    for _ in range(15):
        at = source.random.randrange(len(records))
        changed = bytearray(records[at])
        for _ in range(source.random.randint(1, 2)):
            # Near its ends a record has its lengths; in between nothing can go wrong.
            near, anywhere = (source.random.randrange(end) for end in (min(12, len(changed)), len(changed)))
            place = source.random.choice([near, anywhere, -1])
            bit = 1 << source.random.randrange(8)
            changed[place] = source.random.choice([source.random.randrange(256), changed[place] ^ bit])
        body = b"".join([*records[:at], bytes(changed), *records[at + 1 :]])
        data = sealed(body, len(records), source.base)
        assert found(data, rules) == expected(data, rules)


def alike(count: int, *, key: int = 4, value: int = 70, stamp: int = 100) -> list[bytes]:
    """Records without headers, of the same sizes but for the offset delta's."""
    return [plain(encode_varint(index), key, value, stamp) for index in range(count)]


def plain(offset_delta: bytes, key: int, value: int, stamp: int) -> bytes:
    body = b"\0" + encode_varlong(stamp) + offset_delta + encode_varint(key) + bytes(max(key, 0))
    body += encode_varint(value) + b"\2" * value + b"\0"
    return encode_varint(len(body)) + body


def alternating(*series: list[bytes]) -> list[bytes]:
    """The records of the series in turn, each at its own index."""
    return [series[index % len(series)][index] for index in range(len(series[0]))]


ANY = (False, None, None, 8)
VALUES = ((3, 3), (3, 9), (70, 70), (70, 90))
SHAPES = [(key, *values, stamp) for key in (-1, 0, 4, 70) for values in VALUES for stamp in (5, -500)]


@pytest.mark.parametrize(("key", "value", "other", "stamp"), SHAPES)
def test_every_bit_of_sizes_and_deltas_counts(key: int, value: int, other: int, stamp: int) -> None:
    first, second = (alike(100, key=key, value=size, stamp=stamp) for size in (value, other))
    for count, at in ((12, 8), (12, 11), (90, 80)):
        records = alternating(first, second)[:count]
        record = records[at]
        lengths = [*range(14), *range(max(key, 0) + 4, max(key, 0) + 14), len(record) - 1]
        for place in sorted({place for place in lengths if place < len(record)}):
            for wrong in [record[place] ^ 1 << bit for bit in range(8)]:
                changed = record[:place] + bytes([wrong]) + record[place + 1 :]
                data = sealed(b"".join([*records[:at], changed, *records[at + 1 :]]), count)
                assert found(data, ANY) == expected(data, ANY)


@pytest.mark.parametrize(("key", "value", "other", "stamp"), SHAPES)
def test_batches_that_end_anywhere(key: int, value: int, other: int, stamp: int) -> None:
    first, second = (alike(9, key=key, value=size, stamp=stamp) for size in (value, other))
    records = alternating(first, second)
    whole = b"".join(records)
    right = found(sealed(whole, 9), ANY)
    assert right == expected(sealed(whole, 9), ANY) is not None
    for count in (7, 8, 10, 11, 1000):
        assert found(sealed(whole, count), ANY) is None
    for cut in range(1, len(records[-1]) + 2):
        assert found(sealed(whole[:-cut], 9), ANY) is None
        assert found(sealed(whole[:-cut], 8), ANY) == (right if cut == len(records[-1]) else None)


@pytest.mark.parametrize("key", [-1, 4])
@pytest.mark.parametrize("sizes", [(70, 70), (70, 90), (3, 3), (3, 30)])
def test_every_offset_delta_counts(key: int, sizes: tuple[int, int]) -> None:
    count = 300
    both = [alike(count, key=key, value=size) for size in sizes]
    records = alternating(*both)
    assert found(sealed(b"".join(records), count), ANY) == Walk(NOW + 100, 0, 0, 0, [])
    for at in range(count):
        for wrong in (at - 1, at + 1, at ^ 64, at ^ 128):
            if 0 <= wrong < count:
                changed = [*records[:at], both[at % 2][wrong], *records[at + 1 :]]
                assert found(sealed(b"".join(changed), count), ANY) is None


@pytest.mark.parametrize("key", [-1, 4])
@pytest.mark.parametrize("sizes", [(3, 3), (3, 30), (100, 100), (100, 120)])
def test_offset_deltas_that_take_another_byte(key: int, sizes: tuple[int, int]) -> None:
    count = 8300
    both = [alike(count, key=key, value=size) for size in sizes]
    records = alternating(*both)
    assert found(sealed(b"".join(records), count), ANY) == Walk(NOW + 100, 0, 0, 0, [])
    for at, delta in ((64, b"\x80"), (8192, b"\x80\x80")):
        for wrong in (delta, encode_varint(at - 1), encode_varint(at + 1)):
            changed = plain(wrong, key, sizes[at % 2], 100)
            assert found(sealed(b"".join([*records[:at], changed, *records[at + 1 :]]), count), ANY) is None


def test_records_without_keys_are_named_in_a_run() -> None:
    for values in ((70, 70), (70, 90)):
        data = sealed(b"".join(alternating(*(alike(40, key=-1, value=value) for value in values))), 40)
        assert found(data, (True, None, None, 3)) == Walk(NOW + 100, 0, 40, NO_KEY, [(at, NO_KEY) for at in range(3)])


@pytest.mark.parametrize("late", [20, 40, 63, 64, 65, 99])
@pytest.mark.parametrize("spread", [0, 1])
def test_one_late_record_is_found_and_named(late: int, spread: int) -> None:
    count, parts = 100, [alike(100, value=70 + index % (spread + 1), stamp=stamp) for index in range(2) for stamp in (100, 101)]
    records = [parts[2 * (index % 2) + (index == late)][index] for index in range(count)]
    data = sealed(b"".join(records), count)
    assert found(data, (False, NOW, NOW + 101, 8)) == Walk(NOW + 101, late, 0, 0, [])
    assert found(data, (False, NOW, NOW + 100, 8)) == Walk(NOW + 101, late, 1, TIMESTAMP, [(late, TIMESTAMP)])
    assert found(data, (False, NOW + 101, None, 0)) == Walk(NOW + 101, late, count - 1, TIMESTAMP, [])

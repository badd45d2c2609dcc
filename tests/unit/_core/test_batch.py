"""Record batches: what is right passes, what any field has wrong is refused, and no bytes crash the parse."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kafkax._core.batch import end_of, read_header, validate_records
from kafkax.errors import ErrorCode, KafkaError
from tests.unit._core.batches import NOW, Rec, batch, record

records = st.lists(
    st.builds(
        Rec,
        st.none() | st.binary(max_size=20),
        st.none() | st.binary(max_size=200),
        st.integers(NOW - 10**6, NOW + 10**6),
        st.lists(st.tuples(st.binary(max_size=5), st.none() | st.binary(max_size=5)), max_size=3).map(tuple),
    ),
    min_size=1,
    max_size=20,
)


@given(records)
def test_right_batches_pass(recs: list[Rec]) -> None:
    data = batch(recs)
    header = read_header(data)
    assert (header.count, header.last_offset, header.size) == (len(recs), len(recs) - 1, len(data))
    assert header.max_timestamp == max(rec.timestamp for rec in recs)
    assert validate_records(data) == []
    assert validate_records(data, need_key=True) == [(i, "key") for i, rec in enumerate(recs) if rec.key is None]
    late = [(i, "timestamp") for i, rec in enumerate(recs) if rec.timestamp > NOW]
    assert validate_records(data, max_timestamp=NOW) == late


def test_no_timestamp_is_within_any_bounds() -> None:
    assert validate_records(batch([Rec(timestamp=-1)]), min_timestamp=NOW, max_timestamp=NOW) == []


@given(st.integers(0, 10**6), st.integers(1, 255))
def test_any_changed_byte_behind_the_checksum_is_corrupt(at: int, bits: int) -> None:
    data = bytearray(batch(3))
    at = 21 + at % (len(data) - 21)
    data[at] ^= bits
    with pytest.raises(KafkaError) as caught:
        read_header(data)
    assert caught.value.code == ErrorCode.CORRUPT_MESSAGE


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\0" * 12,
        batch(1)[:60],
        batch(1)[:-1],
        batch(1, magic=3),
        batch(1, magic=1),
        batch(1, length_error=1),
        batch(1, length_error=-1),
        batch(1, crc_error=1),
    ],
)
def test_framing_errors_are_corrupt(data: bytes) -> None:
    with pytest.raises(KafkaError) as caught:
        read_header(data)
    assert caught.value.code == ErrorCode.CORRUPT_MESSAGE


GOOD = record(Rec(), 0, NOW)
HOSTILE = {
    "no records": b"",
    "trailing byte": GOOD + b"\0",
    "trailing record": GOOD + record(Rec(), 1, NOW),
    "offset delta 1": record(Rec(), 1, NOW),
    "length one short": bytes([GOOD[0] - 2]) + GOOD[1:],
    "length one long": bytes([GOOD[0] + 2]) + GOOD[1:] + b"",
    "length negative": b"\x01" + GOOD[1:],
    "length huge": b"\xfe\xff\xff\xff\x0f" + GOOD[1:],
    "length varint unending": b"\xff" * 10,
    "key length beyond record": b"\x0c\0\0\0\x7e\0\0",
    "key length huge": b"\x16\0\0\0\xfe\xff\xff\xff\x0f\0\0\0",
    "header count negative": b"\x0c\0\0\0\x01\x01\x01",
    "header count huge": b"\x14\0\0\0\x01\x01\xfe\xff\xff\xff\x0f",
    "header key negative": b"\x0e\0\0\0\x01\x01\x02\x01",
    "header value beyond": b"\x10\0\0\0\x01\x01\x02\0\x7e",
}


@pytest.mark.parametrize("payload", HOSTILE.values(), ids=HOSTILE.keys())
def test_records_that_do_not_fit_are_invalid(payload: bytes) -> None:
    with pytest.raises(KafkaError) as caught:
        validate_records(batch(1, payload=payload))
    assert caught.value.code == ErrorCode.INVALID_RECORD


def verdict(data: bytes) -> ErrorCode | None:
    try:
        validate_records(data)
    except KafkaError as error:
        return error.code
    return None


@settings(max_examples=300)
@given(st.binary(max_size=300), st.integers(0, 40))
def test_random_payloads_never_crash(payload: bytes, count: int) -> None:
    assert verdict(batch(1, payload=payload, count=count, last_offset_delta=count - 1)) in (None, ErrorCode.INVALID_RECORD)


def test_mutated_batches_never_crash() -> None:
    rng = random.Random(4)
    base = batch([Rec(b"k" * i, b"v" * 7 * i, headers=((b"h", None),) * i) for i in range(5)])
    for _ in range(3000):
        body = bytearray(base[61:])
        for _ in range(rng.randint(1, 4)):
            body[rng.randrange(len(body))] = rng.randrange(256)
        assert verdict(batch(1, payload=bytes(body), count=5, last_offset_delta=4)) in (None, ErrorCode.INVALID_RECORD)


def test_the_end_of_batches_is_behind_the_last_whole_one() -> None:
    first, second = batch([Rec(), Rec()], base_offset=7, leader_epoch=3), batch([Rec()], base_offset=20, leader_epoch=4)
    assert end_of(first) == (9, 3)
    assert end_of(first + second) == (21, 4)
    for cut in range(len(second)):
        assert end_of(first + second[:cut]) == (9, 3)
        assert end_of(second[:cut]) is None


def test_what_is_not_batches_has_no_end() -> None:
    whole = batch([Rec()], base_offset=7)
    old = bytearray(whole)
    old[16] = 1
    assert end_of(b"") is None
    assert end_of(bytes(old)) is None
    assert end_of(whole + bytes(old)) is None
    assert end_of(whole + bytes(100)) is None

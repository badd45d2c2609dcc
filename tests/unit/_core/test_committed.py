"""Committed offsets read in the core are those that the declared records say."""

from __future__ import annotations

import time
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kafkax._core.committed import gather_commits, unpack_commits
from kafkax.coordinator.offset_records import CommittedOffset, encode_key, encode_value
from kafkax.errors import KafkaError
from kafkax.protocol.coordinator_records.classic_group import OffsetCommitValue
from kafkax.protocol.record import Record
from kafkax.protocol.records import build_batch

NONE = UUID(int=0)
Offsets = dict[str, dict[tuple[str, int], CommittedOffset]]


def batch(*entries: tuple[bytes, bytes | None], **options: Any) -> bytes:
    return build_batch([Record(key, value, (), 5) for key, value in entries], **options)


def replay(data: bytes, position: int = 0) -> tuple[int, Offsets, list[tuple[bytes, bytes | None]]]:
    gathered: dict[str, list[bytes]] = {}
    begun: list[str] = []
    others: list[tuple[bytes, bytes | None]] = []
    end = gather_commits(data, position, gathered, begun.append, lambda key, value: others.append((key, value)))
    assert begun == list(gathered)
    committed: Offsets = {group: {} for group in gathered}
    for group, records in gathered.items():
        unpack_commits(records, committed[group], CommittedOffset, lambda raw: UUID(bytes=raw), NONE)
    return end, committed, others


names = st.text(min_size=1, max_size=12)
offsets = st.builds(
    CommittedOffset,
    st.integers(-1, 2**63 - 1),
    st.integers(-1, 2**31 - 1),
    st.text(max_size=300),
    st.integers(-1, 2**62),
    st.just(-1),
    st.uuids() | st.just(NONE),
)


@given(st.lists(st.tuples(names, names, st.integers(0, 2**31 - 1), offsets), max_size=8))
def test_what_was_written_is_read(commits: list[tuple[str, str, int, CommittedOffset]]) -> None:
    data = b"".join(batch((encode_key(*where), encode_value(committed))) for *where, committed in commits)
    end, found, others = replay(data)
    expected: Offsets = {}
    for group, topic, partition, committed in commits:
        expected.setdefault(group, {})[topic, partition] = committed
    assert (end, found, others) == (len(data), expected, [])


def test_a_value_of_version_3_is_read_and_everything_else_is_passed_on() -> None:
    old = OffsetCommitValue(offset=7, leader_epoch=2, metadata="m", commit_timestamp=9)
    key = encode_key("g", "t", 1)
    entries = [(key, old.to_bytes(3)), (key, old.to_bytes(1)), (key, None), (b"\x00\x02\x00\x01g", b"group"), (b"", b"")]
    end, found, others = replay(batch(*entries))
    assert found == {"g": {("t", 1): CommittedOffset(7, 2, "m", 9)}}
    assert others == entries[1:]
    assert type(found["g"]["t", 1]) is CommittedOffset
    assert end == len(batch(*entries))


@pytest.mark.parametrize("options", [{"compression": "gzip"}, {"producer_id": 3, "producer_epoch": 0, "transactional": True}])
def test_batches_that_are_not_plain_end_it(options: dict[str, Any]) -> None:
    plain = batch((encode_key("g", "t", 1), encode_value(CommittedOffset(1))))
    odd = batch((encode_key("g", "t", 2), encode_value(CommittedOffset(1))), **options)
    end, found, _ = replay(plain + odd + plain)
    assert end == len(plain)
    assert list(found["g"]) == [("t", 1)]
    assert replay(plain + odd + plain, len(plain + odd))[0] == len(plain + odd + plain)


def test_a_batch_that_is_cut_short_or_damaged_ends_it() -> None:
    plain = batch((encode_key("g", "t", 1), encode_value(CommittedOffset(1))))
    for cut in range(1, len(plain)):
        assert replay(plain + plain[:-cut])[0] == len(plain)
    damaged = bytearray(plain + plain)
    damaged[-1] ^= 1
    assert replay(bytes(damaged))[0] == len(plain)


@given(st.binary(max_size=60), st.binary(max_size=60))
def test_garbage_in_records_is_passed_on_or_refused(key: bytes, value: bytes) -> None:
    for entry in ((key, value), (encode_key("g", "t", 1), value), (b"\x00\x01" + key, encode_value(CommittedOffset(1)))):
        try:
            end, found, others = replay(batch(entry))
        except KafkaError:
            continue
        assert end == len(batch(entry))
        assert others == [entry] or found


def test_it_is_quick() -> None:
    count = 20_000
    value = encode_value(CommittedOffset(1, 0, "", 1_700_000_000_000, -1, UUID(int=7)))
    data = b"".join(
        batch(*((encode_key(f"group-{at // 100}", "topic", at + i), value) for i in range(100))) for at in range(0, count, 100)
    )
    began = time.thread_time()
    end, found, _ = replay(data)
    took = time.thread_time() - began
    assert end == len(data)
    assert sum(map(len, found.values())) == count
    assert took < 1, f"{took / count * 1e6:.2f} us an offset"
    print(f"{took / count * 1e6:.2f} us an offset")

from __future__ import annotations

import contextlib
import os
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kafkax._core.compact import CleanedSegment, Compactor, CorruptSegment
from kafkax._core.offset_map import OffsetMap
from kafkax.errors import KafkaError
from kafkax.protocol.compression import CODECS, compress, decompress
from kafkax.protocol.control import end_transaction_batch
from kafkax.protocol.record import Record
from kafkax.protocol.records import RecordBatch, build_batch, iter_batches

NOW = 1_700_000_000_000
DAY = 86_400_000


@dataclass
class Rig:
    """Cleans one file of batches into another and reads what is left."""

    folder: Path
    now: int = NOW
    first_dirty: int = 0
    upper_bound: int = 1 << 40
    aborted: Sequence[tuple[int, int, int, int]] = ()
    last_records: Sequence[tuple[int, int, int]] = ()
    memory: int = 1 << 20
    budget: int = 1 << 20
    interval: int = 4096
    compactor: Compactor = field(init=False)
    cleaned: CleanedSegment = field(init=False)

    def clean(self, *batches: bytes) -> list[RecordBatch]:
        source, target = self.folder / "source.log", self.folder / "target.log"
        source.write_bytes(b"".join(batches))
        size = source.stat().st_size
        self.compactor = Compactor(
            OffsetMap(self.memory),
            self.now,
            DAY,
            self.first_dirty,
            self.upper_bound,
            self.aborted,
            self.last_records,
            lambda codec, data: decompress(CODECS[codec], data, 1 << 26),
            lambda codec, data: compress(CODECS[codec], data),
        )
        with open(source, "rb") as reading, open(target, "wb") as writing:
            position = 0
            while position < size and not self.compactor.full:
                position = self.compactor.index(reading.fileno(), position, size, self.budget)
            self.compactor.rewind()
            self.compactor.begin(writing.fileno(), 0, self.interval)
            position = 0
            while position < size:
                position = self.compactor.filter(reading.fileno(), position, size, self.budget)
            self.cleaned = self.compactor.finish()
        data = target.read_bytes()
        assert len(data) == self.cleaned.size
        found = []
        for batch in iter_batches(data):
            assert isinstance(batch, RecordBatch)
            batch.check()
            found.append(batch)
        assert sum(len(batch.data) for batch in found) == len(data)
        return found


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    return Rig(tmp_path)


def rec(offset: int, key: bytes | None, value: bytes | None = b"v", timestamp: int = NOW - DAY) -> Record:
    return Record(key, value, (), timestamp, offset)


def batch(*records: Record, **fields: object) -> bytes:
    return build_batch(records, base_offset=records[0].offset, leader_epoch=5, **fields)  # type: ignore[arg-type]


def kept(batches: Iterable[RecordBatch]) -> list[Record]:
    return [record for found in batches for record in found.records()]


def test_the_last_record_of_each_key_stays_with_its_offset(rig: Rig) -> None:
    found = rig.clean(batch(rec(0, b"a"), rec(1, b"b"), rec(2, b"a", b"new")), batch(rec(3, b"c"), rec(4, b"b", b"new")))
    assert [(record.offset, record.key, record.value) for record in kept(found)] == [
        (2, b"a", b"new"),
        (3, b"c", b"v"),
        (4, b"b", b"new"),
    ]
    assert [(each.base_offset, each.last_offset, each.leader_epoch) for each in found] == [(0, 2, 5), (3, 4, 5)]


def test_a_batch_of_which_everything_stays_is_copied_byte_for_byte(rig: Rig) -> None:
    whole = batch(rec(0, b"a"), rec(1, b"b"), compression="zstd")
    assert [bytes(each.data) for each in rig.clean(whole)] == [whole]


def test_a_batch_of_which_nothing_stays_goes(rig: Rig) -> None:
    found = rig.clean(batch(rec(0, b"a"), rec(1, b"b")), batch(rec(2, b"b"), rec(3, b"a")))
    assert [each.base_offset for each in found] == [2]


def test_records_without_key_go(rig: Rig) -> None:
    assert [record.offset for record in kept(rig.clean(batch(rec(0, None), rec(1, b"a"))))] == [1]


def test_an_empty_key_is_a_key(rig: Rig) -> None:
    assert [record.offset for record in kept(rig.clean(batch(rec(0, b""), rec(1, b""), rec(2, b"a"))))] == [1, 2]


def test_headers_timestamps_and_null_values_survive_a_rewrite(rig: Rig) -> None:
    survivor = Record(b"k", b"value", (("h", b"x"), ("n", None)), NOW - 5, 1)
    late = Record(b"l", b"", (), NOW + 300, 2)
    (found,) = rig.clean(batch(rec(0, b"k", timestamp=NOW - DAY), survivor, late))
    assert list(found.records()) == [survivor, late]
    assert (found.base_timestamp, found.max_timestamp) == (NOW - 5, NOW + 300)


def test_the_offsets_of_what_comes_after_the_dirty_part_are_not_touched(rig: Rig) -> None:
    rig.memory = 24 * 3
    found = rig.clean(batch(rec(0, b"a")), batch(rec(1, b"b")), batch(rec(2, b"a")), batch(rec(3, b"c")), batch(rec(4, b"a")))
    assert rig.compactor.full
    assert rig.compactor.map.latest_offset == 2
    assert [record.offset for record in kept(found)] == [1, 2, 3, 4]


def test_what_was_clean_is_only_copied_where_the_dirty_part_names_its_key(rig: Rig) -> None:
    rig.first_dirty = 2
    found = rig.clean(batch(rec(0, b"a"), rec(1, b"b")), batch(rec(2, b"a")))
    assert [record.offset for record in kept(found)] == [1, 2]


@pytest.mark.parametrize("compression", CODECS)
def test_compressed_batches_stay_compressed(rig: Rig, compression: str) -> None:
    records = [rec(offset, b"key-%d" % (offset % 7), b"value" * 20) for offset in range(50)]
    (found,) = rig.clean(batch(*records, compression=compression))
    assert found.compression == compression
    assert list(found.records()) == records[-7:]


def test_log_append_time_stays_the_brokers(rig: Rig) -> None:
    (found,) = rig.clean(batch(rec(0, b"a"), rec(1, b"a"), append_time=NOW))
    assert found.log_append_time
    assert [record.timestamp for record in found.records()] == [NOW]
    assert found.max_timestamp == NOW


class TestTombstones:
    def test_the_first_round_that_sees_one_gives_its_batch_a_horizon(self, rig: Rig) -> None:
        whole = batch(rec(0, b"a", None, NOW - 7), rec(1, b"b", timestamp=NOW - 3))
        (found,) = rig.clean(whole)
        assert found.delete_horizon_ms == NOW + DAY
        assert [(r.key, r.value, r.timestamp) for r in found.records()] == [(b"a", None, NOW - 7), (b"b", b"v", NOW - 3)]

    def test_until_then_it_stays_and_the_batch_is_not_written_anew(self, rig: Rig) -> None:
        whole = batch(rec(0, b"a", None), rec(1, b"b"), delete_horizon_ms=NOW + 1)
        assert [bytes(each.data) for each in rig.clean(whole)] == [whole]

    def test_at_the_horizon_it_goes(self, rig: Rig) -> None:
        (found,) = rig.clean(batch(rec(0, b"a", None), rec(1, b"b"), delete_horizon_ms=NOW))
        assert [record.key for record in found.records()] == [b"b"]
        assert found.delete_horizon_ms == NOW

    def test_it_removes_what_it_deletes_at_once(self, rig: Rig) -> None:
        assert [record.offset for record in kept(rig.clean(batch(rec(0, b"a")), batch(rec(1, b"a", None))))] == [1]


class TestTransactions:
    DATA: ClassVar = {"producer_id": 9, "producer_epoch": 1, "base_sequence": 0, "transactional": True}

    def marker(self, offset: int, *, commit: bool) -> bytes:
        return end_transaction_batch(
            commit, producer_id=9, producer_epoch=1, coordinator_epoch=0, timestamp=NOW, base_offset=offset
        )

    def test_records_of_an_aborted_transaction_go_and_its_marker_stays_with_its_index_entry(self, rig: Rig) -> None:
        rig.aborted = [(9, 0, 1, 2)]
        found = rig.clean(batch(rec(0, b"a"), **self.DATA), self.marker(1, commit=False), batch(rec(2, b"b")))
        assert [each.base_offset for each in found] == [1, 2]
        assert found[0].control
        assert found[0].delete_horizon_ms is None
        assert rig.cleaned.transaction_index == struct.pack(">hqqqq", 0, 9, 0, 1, 2)

    def test_an_aborted_record_does_not_hide_an_older_one(self, rig: Rig) -> None:
        rig.aborted = [(9, 1, 2, 3)]
        found = rig.clean(batch(rec(0, b"a", b"old")), batch(rec(1, b"a", b"aborted"), **self.DATA), self.marker(2, commit=False))
        assert [record.value for each in found if not each.control for record in each.records()] == [b"old"]

    @pytest.mark.parametrize("commit", [True, False])
    def test_a_marker_whose_records_are_gone_gets_a_horizon_and_goes_after_it(self, rig: Rig, commit: bool) -> None:
        rig.aborted = [] if commit else [(9, 0, 1, 2)]
        (marked, _) = rig.clean(self.marker(1, commit=commit), batch(rec(2, b"b")))
        assert marked.delete_horizon_ms == NOW + DAY
        assert rig.cleaned.transaction_index == b""
        rig.now = NOW + DAY
        assert [each.base_offset for each in rig.clean(bytes(marked.data), batch(rec(2, b"b")))] == [2]

    def test_a_commit_marker_stays_while_its_records_do(self, rig: Rig) -> None:
        found = rig.clean(batch(rec(0, b"a"), **self.DATA), self.marker(1, commit=True))
        assert [(each.base_offset, each.delete_horizon_ms) for each in found] == [(0, None), (1, None)]

    def test_a_producers_next_transaction_is_not_taken_for_the_aborted_one(self, rig: Rig) -> None:
        rig.aborted = [(9, 0, 1, 2)]
        found = rig.clean(
            batch(rec(0, b"a"), **self.DATA),
            self.marker(1, commit=False),
            batch(rec(2, b"a", b"committed"), **self.DATA),
            self.marker(3, commit=True),
        )
        assert [each.base_offset for each in found] == [1, 2, 3]

    def test_an_aborted_transaction_that_ended_before_the_scan_has_no_effect(self, rig: Rig) -> None:
        rig.aborted = [(9, 0, 1, 2)]
        found = rig.clean(batch(rec(2, b"a"), **self.DATA), self.marker(3, commit=True))
        assert [each.base_offset for each in found] == [2, 3]


class TestEmptyBatches:
    def test_the_batch_with_an_active_producers_last_sequence_stays_as_a_header(self, rig: Rig) -> None:
        rig.last_records = [(9, 1, 1), (10, 99, 0)]
        producer = {"producer_id": 9, "producer_epoch": 1}
        found = rig.clean(batch(rec(0, b"a"), rec(1, b"b"), base_sequence=41, **producer), batch(rec(2, b"a"), rec(3, b"b")))
        first = found[0]
        assert (first.count, first.base_offset, first.last_offset, first.base_sequence) == (0, 0, 1, 41)
        assert (first.producer_id, first.producer_epoch, first.max_timestamp, first.base_timestamp) == (9, 1, NOW - DAY, -1)
        assert len(first.data) == 61

    def test_the_last_batch_of_the_round_stays_as_a_header(self, rig: Rig) -> None:
        rig.upper_bound = 2
        found = rig.clean(batch(rec(0, b"a")), batch(rec(1, None)))
        assert [(each.base_offset, each.count) for each in found] == [(0, 1), (1, 0)]
        assert rig.cleaned.next_offset == 2

    def test_a_producer_known_by_a_marker_only_keeps_that(self, rig: Rig) -> None:
        rig.last_records = [(9, -1, 1)]
        marker = end_transaction_batch(True, producer_id=9, producer_epoch=1, coordinator_epoch=0, timestamp=NOW, base_offset=0)
        rig.now = NOW
        (first,) = rig.clean(marker)
        rig.now = NOW + 2 * DAY
        (second,) = rig.clean(bytes(first.data))
        assert (second.control, second.count) == (True, 0)

    def test_an_empty_header_goes_once_it_is_no_longer_needed(self, rig: Rig) -> None:
        rig.upper_bound = 1
        (header,) = rig.clean(batch(rec(0, None)))
        rig.upper_bound = 5
        assert rig.clean(bytes(header.data)) == []
        assert (rig.cleaned.size, rig.cleaned.next_offset) == (0, 0)


class TestIndexes:
    def test_entries_point_at_batches_and_times_at_the_latest(self, rig: Rig) -> None:
        rig.interval = 200
        found = rig.clean(*[batch(rec(i, b"%d" % i, b"x" * 50, NOW + (i * 37) % 11)) for i in range(40)])
        positions, position = {}, 0
        for each in found:
            positions[position] = each.last_offset
            position += len(each.data)
        entries = list(struct.iter_unpack(">ii", rig.cleaned.offset_index))
        assert len(entries) >= 10
        assert all(positions[at] == offset for offset, at in entries)
        times = list(struct.iter_unpack(">qi", rig.cleaned.time_index))
        assert times == sorted(times)
        latest = max(found, key=lambda each: each.max_timestamp)
        assert times[-1] == (latest.max_timestamp, latest.last_offset)

    def test_an_empty_segment_has_empty_indexes(self, rig: Rig) -> None:
        rig.clean(batch(rec(0, None)))
        assert (rig.cleaned.offset_index, rig.cleaned.time_index) == (b"", b"")


class TestDamage:
    def test_every_flipped_bit_under_the_checksum_is_found_where_the_batch_begins(self, rig: Rig) -> None:
        good, bad = batch(rec(0, b"a")), batch(rec(1, b"b"))
        for position in range(12 * 8, len(bad) * 8):
            damaged = bytearray(bad)
            damaged[position // 8] ^= 1 << position % 8
            if 12 <= position // 8 < 16:
                continue
            with pytest.raises(CorruptSegment) as error:
                rig.clean(good, bytes(damaged))
            assert error.value.position == len(good)

    def test_every_truncation_is_found(self, rig: Rig) -> None:
        good, bad = batch(rec(0, b"a")), batch(rec(1, b"b"))
        for length in range(1, len(bad)):
            with pytest.raises(CorruptSegment):
                rig.clean(good, bad[:length])

    def test_records_that_do_not_fit_their_batch_are_found_though_the_checksum_fits(self, rig: Rig) -> None:
        from kafkax._core.crc32c import crc32c

        whole = bytearray(batch(rec(0, b"a"), rec(1, b"b")))
        for at in range(61, len(whole)):
            damaged = bytearray(whole)
            damaged[at] = 0x7F
            struct.pack_into(">I", damaged, 17, crc32c(bytes(damaged[21:])))
            with contextlib.suppress(CorruptSegment):
                rig.clean(bytes(damaged))

    def test_what_decompression_raises_comes_out(self, rig: Rig) -> None:
        from kafkax._core.crc32c import crc32c

        damaged = bytearray(batch(rec(0, b"a" * 100), compression="zstd"))
        damaged[61:65] = b"junk"
        struct.pack_into(">I", damaged, 17, crc32c(bytes(damaged[21:])))
        with pytest.raises(KafkaError, match="damaged"):
            rig.clean(bytes(damaged))

    def test_a_file_that_cannot_be_read_is_an_os_error(self, rig: Rig) -> None:
        rig.clean(batch(rec(0, b"a")))
        with pytest.raises(OSError, match="Bad file descriptor"):
            rig.compactor.index(-1, 0, 100, 100)
        with open(os.devnull, "wb") as closed:
            descriptor = closed.fileno()
        with pytest.raises(ValueError, match="begin"):
            rig.compactor.filter(descriptor, 0, 100, 100)


KEYS = st.sampled_from([None, b"", b"a", b"b", b"c", b"key-with-more-bytes"])
VALUES = st.one_of(st.none(), st.binary(max_size=12))
BATCHES = st.lists(
    st.tuples(
        st.lists(st.tuples(KEYS, VALUES, st.integers(-50, 50)), min_size=1, max_size=6),
        st.sampled_from(CODECS),
        st.integers(0, 3),
    ),
    min_size=1,
    max_size=12,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150, deadline=None)
@given(plan=BATCHES, budget=st.sampled_from([1, 150, 1 << 20]), dirty=st.integers(0, 20))
def test_a_round_keeps_what_a_dictionary_of_last_records_keeps(
    tmp_path: Path, plan: list[tuple[list[tuple[bytes | None, bytes | None, int]], str, int]], budget: int, dirty: int
) -> None:
    offset, batches, everything = 0, [], []
    for rows, codec, gap in plan:
        records = [rec(offset + i, key, value, NOW + shift) for i, (key, value, shift) in enumerate(rows)]
        batches.append(batch(*records, compression=codec))
        everything.extend(records)
        offset += len(rows) + gap
    dirty = min(dirty, everything[-1].offset)
    last = {record.key: record.offset for record in everything if record.key is not None and record.offset >= dirty}
    expected = [record for record in everything if record.key is not None and record.offset >= last.get(record.key, -1)]
    found = Rig(tmp_path, budget=budget, first_dirty=dirty, upper_bound=offset + 100).clean(*batches)
    assert kept(found) == expected
    assert all(each.delete_horizon_ms == NOW + DAY for each in found if any(record.value is None for record in each.records()))
    assert kept(Rig(tmp_path, upper_bound=offset + 100).clean(*(bytes(each.data) for each in found))) == [
        record for record in expected if record.offset >= max(r.offset for r in expected if r.key == record.key)
    ]

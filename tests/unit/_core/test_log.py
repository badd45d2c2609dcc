"""The log against a plain list: whatever is done to it, it holds what the list holds; and its files are Kafka's."""

from __future__ import annotations

import os
import random
import shutil
import struct
import tempfile
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from kafkax._core.flush import Flusher
from kafkax._core.log import Log, LogSettings, RecoveryProgress
from kafkax.errors import ErrorCode, KafkaError
from kafkax.storage.cleaner_policy import CompactionPolicy, plan
from kafkax.storage.cleaner_round import CleaningRound
from tests.unit._core.batches import NOW, Rec, batch, headers, values

ENDLESS = (1 << 63) - 1
RAM = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


def open_log(
    path: Path | str, *, clean: bool = True, recovery_point: int = 0, log_start_offset: int = 0, **settings: object
) -> Log:
    settings.setdefault("timestamp_after_max_ms", ENDLESS)
    given = LogSettings(**settings)  # type: ignore[arg-type]
    return Log.open(str(path), given, clean=clean, recovery_point=recovery_point, log_start_offset=log_start_offset)


def read_all(log: Log, start: int | None = None) -> list[tuple[int, bytes | None]]:
    """Every (offset, value) from ``start`` on, following the log as a consumer does."""
    offset = log.log_start_offset if start is None else start
    out: list[tuple[int, bytes | None]] = []
    while offset < log.log_end_offset:
        piece = log.read(offset, 300)
        if piece is None:
            # Offsets at the end that hold no record, which truncation and gaps leave.
            break
        data = piece.read()
        ends = [header.base_offset + header.last_offset_delta + 1 for _, header in headers(data)]
        assert ends, "a read below the log end brings at least one whole batch"
        assert ends[-1] > offset
        out += [(at, value) for at, value in values(data) if at >= offset]
        offset = ends[-1]
    return out


def keyed(value: bytes, timestamp: int) -> Rec:
    """A record whose key follows from its value."""
    return Rec(key=key_of(value), value=value, timestamp=timestamp)


def key_of(value: bytes) -> bytes:
    return b"%d" % (len(value) % 4)


POLICY = CompactionPolicy(
    min_dirty_ratio=0.0,
    min_lag_ms=0,
    max_lag_ms=ENDLESS,
    delete_retention_ms=0,
    segment_bytes=700,
    segment_index_bytes=240,
    index_interval_bytes=150,
)


class LogModel(RuleBasedStateMachine):
    """A log in small segments and a list of (offset, value) with the bases of its batches."""

    @initialize()
    def begin(self) -> None:
        self.folder = Path(tempfile.mkdtemp(dir=RAM))
        self.settings = {"segment_bytes": 700, "index_interval_bytes": 150, "segment_index_bytes": 240}
        self.records: list[tuple[int, bytes]] = []
        self.batches: list[tuple[int, int]] = []
        self.start = 0
        self.end = 0
        self.flushed = 0
        self.compacted_to = 0
        self.log = open_log(self.folder, **self.settings)

    def teardown(self) -> None:
        if hasattr(self, "folder"):
            shutil.rmtree(self.folder)

    @rule(values=st.lists(st.binary(max_size=60), min_size=1, max_size=5))
    def append(self, values: list[bytes]) -> None:
        result = self.log.append(batch([keyed(value, NOW + self.end + i) for i, value in enumerate(values)]))
        assert (result.base_offset, result.last_offset) == (self.end, self.end + len(values) - 1)
        self.batches.append((self.end, self.end + len(values)))
        self.records += [(self.end + i, value) for i, value in enumerate(values)]
        self.end += len(values)

    @rule(gap=st.integers(0, 3), sizes=st.lists(st.integers(1, 3), min_size=1, max_size=4))
    def append_as_follower(self, gap: int, sizes: list[int]) -> None:
        data = b""
        for size in sizes:
            self.end += gap
            recs = [keyed(b"copied-" + bytes(i), NOW + self.end) for i in range(size)]
            data += batch(recs, base_offset=self.end, leader_epoch=1)
            self.batches.append((self.end, self.end + size))
            self.records += [(self.end + i, rec.value or b"") for i, rec in enumerate(recs)]
            self.end += size
        assert self.log.append_follower(data + data[:30]) == self.end

    @rule()
    def roll(self) -> None:
        self.log.roll()

    @rule()
    def flush(self) -> None:
        self.flushed = self.log.flush()
        assert self.flushed == self.end

    @precondition(lambda self: self.end > self.start)
    @rule(data=st.data())
    def truncate(self, data: st.DataObject) -> None:
        offset = data.draw(st.integers(self.start, self.end))
        expected = next((base for base, end in self.batches if base < offset < end), offset)
        self.end = self.log.truncate(offset)
        assert self.end == expected
        self.records = [(at, value) for at, value in self.records if at < expected]
        self.batches = [(base, end) for base, end in self.batches if base < expected]
        self.flushed = min(self.flushed, expected)
        self.compacted_to = min(self.compacted_to, expected)
        # Cut in the middle of the first batch that is served: there is nothing below.
        self.start = min(self.start, self.end)

    @rule(data=st.data())
    def delete_before(self, data: st.DataObject) -> None:
        offset = data.draw(st.integers(self.start, self.end))
        for path in self.log.delete_before(offset):
            Path(path).unlink()
        assert self.start <= self.log.log_start_offset <= max(offset, self.start)
        self.start = self.log.log_start_offset

    @rule(clean_part=st.floats(0, 1))
    def compact(self, clean_part: float) -> None:
        """A round of the cleaner, over the whole log or over what an earlier round may have left."""
        segments = self.log.segments()
        cleaned_to = segments[int(clean_part * (len(segments) - 1))].base_offset
        if not self.compacted_to >= cleaned_to >= self.start:
            cleaned_to = self.start
        work = plan(
            segments,
            POLICY,
            cleaned_to=cleaned_to,
            log_start_offset=self.start,
            log_end_offset=self.end,
            stable_offset=self.end,
            now_ms=NOW,
            max_timestamp=lambda segment: segment.max_timestamp,
        )
        if not work.worthwhile(POLICY):
            return
        cleaning = CleaningRound(self.log, work, POLICY, NOW, memory=65536, load_factor=0.9, paced=lambda _: True)
        result = cleaning.run()
        assert result.cleaned_to == work.upper_bound
        for path in result.deleted:
            Path(path).unlink()
        last = {key_of(value): at for at, value in self.records if at < work.upper_bound}
        self.records = [(at, value) for at, value in self.records if at >= work.upper_bound or last[key_of(value)] == at]
        held = {at for at, _ in self.records}
        # the last batch of the round stays, be it empty
        self.batches = [
            (base, end) for base, end in self.batches if end == work.upper_bound or not held.isdisjoint(range(base, end))
        ]
        self.compacted_to = work.upper_bound

    @rule(clean=st.booleans())
    def restart(self, clean: bool) -> None:
        if clean:
            self.log.close()
        self.reopen(clean)

    @rule(tail=st.binary(min_size=1, max_size=100), kind=st.sampled_from(["garbage", "torn batch"]))
    def crash_with_a_torn_tail(self, tail: bytes, kind: str) -> None:
        active = sorted(self.folder.glob("*.log"))[-1]
        torn = batch([Rec(value=tail)], base_offset=self.end)[:-1] if kind == "torn batch" else tail
        with active.open("ab") as file:
            file.write(torn)
        self.reopen(False)

    def reopen(self, clean: bool) -> None:
        self.log = open_log(
            self.folder, clean=clean, recovery_point=self.flushed, log_start_offset=self.log.log_start_offset, **self.settings
        )
        # An end that truncation left in a gap goes back to the last batch: nothing on disk tells of it.
        last = max([self.start, *(end for _, end in self.batches)])
        assert last <= self.log.log_end_offset <= self.end
        self.end = self.log.log_end_offset
        self.flushed = min(self.flushed, self.end)

    @invariant()
    def holds_what_the_list_holds(self) -> None:
        if not hasattr(self, "log"):
            return
        assert (self.log.log_start_offset, self.log.log_end_offset) == (self.start, self.end)
        expected = [(at, value) for at, value in self.records if at >= self.start]
        assert read_all(self.log) == expected
        if expected:
            middle = expected[len(expected) // 2][0]
            assert read_all(self.log, middle) == [(at, value) for at, value in expected if at >= middle]
            found = self.log.offset_for_timestamp(NOW)
            assert found is not None
            assert found.offset == expected[0][0]


LogModel.TestCase.settings = settings(max_examples=settings.default.max_examples * 2 // 5, stateful_step_count=20, deadline=None)
TestLogModel = LogModel.TestCase


def fill(log: Log, batches: int, *, size: int = 50, first: int = 0) -> None:
    for i in range(first, first + batches):
        log.append(batch([Rec(value=b"%08d" % i + bytes(size), timestamp=NOW + i)]))


def offset_index(path: Path) -> list[tuple[int, int]]:
    return list(struct.iter_unpack(">ii", path.read_bytes()))


def time_index(path: Path) -> list[tuple[int, int]]:
    return list(struct.iter_unpack(">qi", path.read_bytes()))


def test_indexes_hold_kafkas_entries(tmp_path: Path) -> None:
    log = open_log(tmp_path, index_interval_bytes=400)
    fill(log, 30)
    assert (tmp_path / f"{0:020d}.index").stat().st_size == 10485760, "preallocated to segment.index.bytes while active"
    assert (tmp_path / f"{0:020d}.timeindex").stat().st_size == 10485756
    log.close()
    data = (tmp_path / f"{0:020d}.log").read_bytes()
    at = dict(headers(data))
    expected, behind = [], 0
    for position, header in at.items():
        if behind > 400:
            expected.append((header.base_offset + header.last_offset_delta, position))
            behind = 0
        behind += header.length + 12
    assert offset_index(tmp_path / f"{0:020d}.index") == expected
    stamps = [(at[position].max_timestamp, offset) for offset, position in expected]
    assert time_index(tmp_path / f"{0:020d}.timeindex") == [*stamps, (NOW + 29, 29)]


def test_rolls_by_bytes_time_and_index(tmp_path: Path) -> None:
    log = open_log(tmp_path, segment_bytes=1000, segment_ms=10_000)
    fill(log, 20)
    assert all(info.size <= 1000 for info in log.segments())
    assert len(log.segments()) == 3
    log.append(batch([Rec(timestamp=NOW + 20_001)]))
    assert log.segments()[-1].base_offset == 20
    (tmp_path / "index").mkdir()
    log = open_log(tmp_path / "index", index_interval_bytes=0, segment_index_bytes=40)
    fill(log, 14)
    assert [info.base_offset for info in log.segments()] == [0, 3, 6, 9, 12], "the time index keeps its last slot"


def test_rolls_before_a_relative_offset_overflows(tmp_path: Path) -> None:
    log = open_log(tmp_path)
    log.append_follower(batch(1, base_offset=5))
    far = 5 + (1 << 31)
    log.append_follower(batch(1, base_offset=far))
    assert [info.base_offset for info in log.segments()] == [0, far]
    assert [at for at, _ in read_all(log)] == [5, far]


def test_a_read_inside_a_batch_returns_the_whole_batch(tmp_path: Path) -> None:
    log = open_log(tmp_path)
    log.append(batch(10))
    log.append(batch(10))
    piece = log.read(14, 1)
    assert piece is not None
    assert [header.base_offset for _, header in headers(piece.read())] == [10]
    assert log.read(14, 20, min_one_batch=False) is None


def test_reads_out_of_range_and_at_the_end(tmp_path: Path) -> None:
    log = open_log(tmp_path, segment_bytes=200)
    fill(log, 10)
    assert log.read(10, 100) is None
    log.delete_before(5)
    for offset in (-1, 0, log.log_start_offset - 1, 11):
        with pytest.raises(KafkaError) as caught:
            log.read(offset, 100)
        assert caught.value.code == ErrorCode.OFFSET_OUT_OF_RANGE


def test_marks_bound_reads(tmp_path: Path) -> None:
    log = open_log(tmp_path)
    fill(log, 4)
    assert log.read(0, 1000, "high_watermark") is None, "nothing is flushed"
    log.high_watermark = 2
    piece = log.read(0, 1 << 20, "high_watermark")
    assert piece is not None
    assert [at for at, _ in values(piece.read())] == [0, 1]
    assert log.read(2, 1000, "high_watermark") is None
    log.high_watermark = 99
    assert log.high_watermark == 4


def test_slices_stay_readable_after_deletion_and_rename(tmp_path: Path) -> None:
    folder = tmp_path / "t-0"
    folder.mkdir()
    log = open_log(folder, segment_bytes=200)
    fill(log, 10)
    piece = log.read(0, 1 << 20)
    other = log.read(5, 1 << 20)
    assert piece is not None
    assert other is not None
    data = piece.read()
    for path in log.delete_before(9):
        assert path.endswith(".deleted")
        Path(path).unlink()
    assert piece.read() == data
    log.rename(str(tmp_path / "t-0.0123-delete"))
    assert other.read()
    assert log.directory == str(tmp_path / "t-0.0123-delete")
    fill(log, 3)
    assert log.log_end_offset == 13


def test_timestamps_find_the_first_record_at_or_after(tmp_path: Path) -> None:
    log = open_log(tmp_path, segment_bytes=600, index_interval_bytes=100)
    rng = random.Random(1)
    stamps = [NOW + i * 10 + rng.randint(-30, 30) for i in range(120)]
    for i in range(0, 120, 3):
        log.append(batch([Rec(timestamp=stamp) for stamp in stamps[i : i + 3]]))
    for target in range(NOW - 50, NOW + 1300, 7):
        found = log.offset_for_timestamp(target)
        expected = next(((stamp, i) for i, stamp in enumerate(stamps) if stamp >= target), None)
        assert (None if found is None else (found.timestamp, found.offset)) == expected
    largest = log.offset_for_timestamp(-3)
    assert largest is not None
    assert (largest.timestamp, stamps[largest.offset]) == (max(stamps), max(stamps))


def test_leader_epochs_answer_where_they_end(tmp_path: Path) -> None:
    log = open_log(tmp_path)
    for epoch, n in ((1, 3), (1, 2), (4, 5), (7, 1)):
        log.append(batch(n), leader_epoch=epoch)
    assert log.epochs() == [(1, 0), (4, 5), (7, 10)]
    log.store_epochs()
    assert (tmp_path / "leader-epoch-checkpoint").read_text() == "0\n3\n1 0\n4 5\n7 10\n"
    answers = {0: (0, 0), 1: (1, 5), 2: (1, 5), 4: (4, 10), 6: (4, 10), 7: (7, 11), 8: (-1, -1), -1: (-1, -1)}
    assert {epoch: log.end_offset_for_epoch(epoch) for epoch in answers} == answers
    log.truncate(10)
    assert log.epochs() == [(1, 0), (4, 5)]
    log.close()
    assert open_log(tmp_path).epochs() == [(1, 0), (4, 5)]
    assert open_log(tmp_path, log_start_offset=7).epochs() == [(4, 7)]


def test_leader_epochs_that_were_not_written_come_back_from_the_batches(tmp_path: Path) -> None:
    log = open_log(tmp_path)
    log.append(batch(3), leader_epoch=1)
    log.roll()
    assert (tmp_path / "leader-epoch-checkpoint").read_text() == "0\n1\n1 0\n"
    log.append(batch(2), leader_epoch=4)
    log.flush()
    # a process that is killed here has written no more than when the segment was sealed
    assert (tmp_path / "leader-epoch-checkpoint").read_text() == "0\n1\n1 0\n"
    assert open_log(tmp_path, clean=False, recovery_point=5).epochs() == [(1, 0), (4, 3)]


def test_an_epoch_file_that_a_power_cut_left_empty_is_made_anew_from_all_segments(tmp_path: Path) -> None:
    log = open_log(tmp_path)
    for epoch in (1, 4, 7):
        log.append(batch(2), leader_epoch=epoch)
        log.roll()
    log.close()
    (tmp_path / "leader-epoch-checkpoint").write_bytes(b"")
    for clean in (True, False):
        assert open_log(tmp_path, clean=clean, recovery_point=6).epochs() == [(1, 0), (4, 2), (7, 4)]


@pytest.mark.parametrize("kind", [".index", ".timeindex"])
def test_damaged_indexes_never_change_an_answer(tmp_path: Path, kind: str) -> None:
    log = open_log(tmp_path, segment_bytes=2000, index_interval_bytes=200)
    fill(log, 60)
    expected = read_all(log)
    log.close()
    name = tmp_path / f"{0:020d}{kind}"
    good = name.read_bytes()
    damages = [good[:at] + bytes([good[at] ^ bits]) + good[at + 1 :] for at in range(len(good)) for bits in (1, 0x80)]
    damages += [good[:at] for at in range(0, len(good), 3)] + [bytes(len(good)), good + bytes(8 if kind == ".index" else 12)]
    for damage in damages:
        name.write_bytes(damage)
        log = open_log(tmp_path, segment_bytes=2000, index_interval_bytes=200)
        assert [value for _, value in read_all(log, 11)] == [value for at, value in expected if at >= 11]
        if kind == ".index":
            found = log.offset_for_timestamp(NOW + 13)
            assert found is not None
            assert found.offset == 13
        log.close()
    name.unlink()
    log = open_log(tmp_path, segment_bytes=2000, index_interval_bytes=200)
    assert read_all(log) == expected


def test_a_flipped_bit_anywhere_in_the_active_log_is_cut_off_after_a_crash(tmp_path: Path) -> None:
    log = open_log(tmp_path)
    fill(log, 4)
    log.close()
    name = tmp_path / f"{0:020d}.log"
    good = name.read_bytes()
    starts = [position for position, _ in headers(good)]
    for at in range(len(good)):
        name.write_bytes(good[:at] + bytes([good[at] ^ 0x10]) + good[at + 1 :])
        log = open_log(tmp_path, clean=False)
        index = max(i for i, start in enumerate(starts) if start <= at)
        # The leader epoch is outside the checksum, and so is the base offset, for which batches behind it speak.
        inside = at - starts[index]
        if inside >= 16 or (inside < 8 and index < 3):
            assert log.log_end_offset == index
        assert read_all(log) is not None
        log.close()


def test_truncation_at_every_byte_keeps_whole_batches(tmp_path: Path) -> None:
    log = open_log(tmp_path)
    fill(log, 3)
    log.close()
    name = tmp_path / f"{0:020d}.log"
    good = name.read_bytes()
    ends = [position + header.length + 12 for position, header in headers(good)]
    for clean in (False, True):
        for size in range(len(good) + 1):
            name.write_bytes(good[:size])
            log = open_log(tmp_path, clean=clean)
            assert log.log_end_offset == sum(end <= size for end in ends)
            log.close()


def test_recovery_starts_at_the_recovery_point_and_tells_its_progress(tmp_path: Path) -> None:
    log = open_log(tmp_path, segment_bytes=2000)
    fill(log, 100)
    sizes = [info.size for info in log.segments()]
    bases = [info.base_offset for info in log.segments()]
    progress = RecoveryProgress()
    active = sorted(tmp_path.glob("*.log"))[-1]
    with active.open("ab") as file:
        file.write(b"torn")
    settings = LogSettings(segment_bytes=2000)
    log = Log.open(str(tmp_path), settings, clean=False, recovery_point=bases[2] + 1, progress=progress)
    assert log.log_end_offset == 100
    assert progress.bytes_total == sum(sizes[2:]) + 4
    assert progress.bytes_done == sum(sizes[2:])
    assert progress.bytes_cut == 4
    assert log.flushed_offset == bases[2] + 1
    assert log.flush() == 100


def test_what_follows_a_bad_batch_is_dropped_with_its_segments(tmp_path: Path) -> None:
    log = open_log(tmp_path, segment_bytes=1000)
    fill(log, 30)
    bases = [info.base_offset for info in log.segments()]
    name = tmp_path / f"{bases[1]:020d}.log"
    data = bytearray(name.read_bytes())
    data[-1] ^= 1
    name.write_bytes(data)
    log = open_log(tmp_path, clean=False, segment_bytes=1000)
    assert log.log_end_offset == bases[2] - 1
    assert [info.base_offset for info in log.segments()] == bases[:2]
    fill(log, 5)
    assert [at for at, _ in read_all(log)] == list(range(bases[2] + 4))


def test_log_start_beyond_the_data_begins_anew_there(tmp_path: Path) -> None:
    log = open_log(tmp_path)
    fill(log, 3)
    log.close()
    log = open_log(tmp_path, log_start_offset=10)
    assert (log.log_start_offset, log.log_end_offset) == (10, 10)
    fill(log, 1)
    assert [at for at, _ in read_all(log)] == [10]


def test_delete_records_moves_the_start_only(tmp_path: Path) -> None:
    log = open_log(tmp_path)
    fill(log, 5)
    log.flush()
    log.set_log_start_offset(3)
    log.set_log_start_offset(1)
    assert log.log_start_offset == 3
    with pytest.raises(KafkaError) as caught:
        log.set_log_start_offset(6)
    assert caught.value.code == ErrorCode.OFFSET_OUT_OF_RANGE


def test_truncate_fully_begins_at_the_offset(tmp_path: Path) -> None:
    log = open_log(tmp_path, segment_bytes=300)
    fill(log, 10)
    log.truncate_fully(100)
    assert (log.log_start_offset, log.log_end_offset, log.high_watermark) == (100, 100, 100)
    fill(log, 2)
    log.close()
    assert [at for at, _ in read_all(open_log(tmp_path, log_start_offset=100))] == [100, 101]


def test_followers_refuse_what_does_not_follow(tmp_path: Path) -> None:
    log = open_log(tmp_path)
    fill(log, 3)
    for data, code in [
        (batch(1, base_offset=2), ErrorCode.OFFSET_OUT_OF_RANGE),
        (batch(1, base_offset=3) + batch(1, base_offset=3), ErrorCode.OFFSET_OUT_OF_RANGE),
        (batch(1, base_offset=3, crc_error=1), ErrorCode.CORRUPT_MESSAGE),
        (batch(1, base_offset=3, last_offset_delta=-1), ErrorCode.CORRUPT_MESSAGE),
        (batch(1, base_offset=3) + batch(1, base_offset=4, magic=1), ErrorCode.CORRUPT_MESSAGE),
    ]:
        with pytest.raises(KafkaError) as caught:
            log.append_follower(data)
        assert caught.value.code == code
        assert log.log_end_offset == 3


def test_a_closed_log_answers_storage_error(tmp_path: Path) -> None:
    log = open_log(tmp_path)
    fill(log, 1)
    log.close()
    log.close()
    calls = [lambda: log.append(batch(1)), lambda: log.read(0, 10), lambda: log.truncate(0), lambda: log.delete_before(1)]
    for action in calls:
        with pytest.raises(KafkaError) as caught:
            action()
        assert caught.value.code == ErrorCode.KAFKA_STORAGE_ERROR
    assert (tmp_path / f"{0:020d}.index").stat().st_size == 0, "indexes are cut to their entries"


def test_exchange_for_compacted_segments(tmp_path: Path) -> None:
    log = open_log(tmp_path, segment_bytes=300, index_interval_bytes=100)
    fill(log, 12)
    bases = [info.base_offset for info in log.segments()]
    assert len(bases) >= 4
    make_cleaned(tmp_path, bases[0], [0, 3, bases[2] - 1])
    held = log.read(0, 1 << 20)
    assert held is not None
    paths = log.replace_segments([bases[0]], bases[:2])
    assert all(path.endswith(".deleted") for path in paths)
    kept = [at for at, _ in read_all(log)]
    assert kept == [0, 3, *range(bases[2] - 1, 12)]
    assert [at for at, _ in values(held.read())] == list(range(bases[1]))
    assert [at for at, _ in read_all(log, 1)] == kept[1:]
    log.close()
    assert [at for at, _ in read_all(open_log(tmp_path))] == kept
    assert not list(tmp_path.glob("*.deleted"))


def make_cleaned(folder: Path, base: int, offsets: list[int], suffix: str = ".cleaned") -> None:
    data = b"".join(batch([Rec(value=b"kept")], base_offset=at) for at in offsets)
    (folder / f"{base:020d}.log{suffix}").write_bytes(data)
    (folder / f"{base:020d}.index{suffix}").write_bytes(b"")
    (folder / f"{base:020d}.timeindex{suffix}").write_bytes(struct.pack(">qi", NOW, offsets[-1] - base))


@pytest.mark.parametrize(("suffix", "kept"), [(".swap", [0, 3]), (".cleaned", list(range(12)))])
def test_an_exchange_cut_short_by_a_crash_is_finished_or_undone(tmp_path: Path, suffix: str, kept: list[int]) -> None:
    log = open_log(tmp_path, segment_bytes=300)
    fill(log, 12)
    bases = [info.base_offset for info in log.segments()]
    make_cleaned(tmp_path, 0, [0, 3], suffix)
    log = open_log(tmp_path, clean=False, segment_bytes=300)
    expected = kept if suffix == ".cleaned" else [*kept, *range(bases[1] if bases[1] > 3 else bases[2], 12)]
    assert [at for at, _ in read_all(log)] == expected
    assert not [path for path in tmp_path.iterdir() if path.suffix in (".swap", ".cleaned")]


def test_flusher_moves_the_high_watermark(tmp_path: Path) -> None:
    flusher = Flusher(str(tmp_path))
    log = Log.open(str(tmp_path), LogSettings(), flusher=flusher)
    fill(log, 3)
    flusher.stop()
    assert (log.flushed_offset, log.high_watermark, log.last_stable_offset) == (3, 3, 3)
    assert flusher.flushes >= 1


def test_durability_replicated_does_not_wait_for_the_disk(tmp_path: Path) -> None:
    flusher = Flusher(str(tmp_path))
    log = Log.open(str(tmp_path), LogSettings(flushed=False), flusher=flusher)
    fill(log, 3)
    assert (log.flushed_offset, log.high_watermark) == (0, 3)
    log.update_settings(LogSettings(flushed=False, flush_messages=4))
    fill(log, 1)
    flusher.stop()
    assert log.flushed_offset == 4


def test_flush_ms_delays_the_flush(tmp_path: Path) -> None:
    flusher = Flusher(str(tmp_path))
    log = Log.open(str(tmp_path), LogSettings(flush_ms=3_600_000), flusher=flusher)
    fill(log, 3)
    assert (log.flushed_offset, log.high_watermark) == (0, 0)
    flusher.stop()
    assert log.high_watermark == 3, "stopping flushes what is asked for"


def test_a_base_offset_that_is_not_its_own_is_never_served(tmp_path: Path) -> None:
    """It lies outside the checksum; what is known beside it is where the segment begins and where the next one does.

    For the last batch of all nothing speaks: a gap before it might be a compacted one.
    """
    log = open_log(tmp_path, segment_bytes=250)
    fill(log, 9)
    log.close()
    for name in sorted(tmp_path.glob("*.log"))[:-1]:
        good = name.read_bytes()
        for position, _ in headers(good):
            for bit in range(64):
                damaged = bytearray(good)
                damaged[position + bit // 8] ^= 0x80 >> bit % 8
                name.write_bytes(damaged)
                log = open_log(tmp_path, segment_bytes=250)
                own = int.from_bytes(good[position : position + 8], "big")
                with suppress(KafkaError):
                    piece = log.read(own, 1)
                    assert piece is None or int.from_bytes(piece.read()[:8], "big") == own, bit
                log.close()
                name.write_bytes(good)

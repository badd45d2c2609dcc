from __future__ import annotations

import shutil
import struct
from pathlib import Path

import pytest

from kafkax.protocol.record import Record
from kafkax.protocol.records import build_batch
from kafkax.storage.epoch_checkpoint import EpochStart, write_epochs
from kafkax.storage.txn_index import AbortedTransaction, encode_transaction
from kafkax.storage.verify import verify
from tests.reference import reference


def batch(offset: int, epoch: int = 0, timestamp: int = 1000) -> bytes:
    return build_batch([Record(b"k", b"v", [], timestamp, offset)], base_offset=offset, leader_epoch=epoch)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A sound partition after an orderly stop: offsets 0 and 1, indexed."""
    target = tmp_path / "t-0"
    target.mkdir()
    (target / "00000000000000000000.log").write_bytes(batch(0) + batch(1, timestamp=1001))
    (target / "00000000000000000000.index").write_bytes(struct.pack(">ii", 1, len(batch(0))))
    (target / "00000000000000000000.timeindex").write_bytes(struct.pack(">qi", 1001, 1))
    write_epochs(target, [EpochStart(0, 0)])
    (tmp_path / ".kafka_cleanshutdown").write_text("")
    return target


def problems(folder: Path, **options: bool) -> list[tuple[str, str]]:
    return [(Path(found.path).name, found.problem) for found in verify(folder, **options).problems]


def test_a_sound_partition(folder: Path) -> None:
    found = verify(folder, deep=True)
    assert found.problems == []
    assert (found.partitions, found.segments, found.batches, found.records) == (1, 1, 2, 2)
    assert found.bytes == len(batch(0)) * 2


def test_a_log_directory_is_checked_with_all_its_partitions(folder: Path) -> None:
    shutil.copytree(folder, folder.parent / "t-1")
    (folder.parent / "recovery-point-offset-checkpoint").write_bytes(b"0\n1\nt 0 2\n")
    found = verify(folder.parent)
    assert (found.partitions, found.problems) == (2, [])
    (folder.parent / "recovery-point-offset-checkpoint").write_bytes(b"0\n2\nt 0 2\n")
    (folder.parent / "meta.properties").write_bytes(b"version=7\n")
    assert [name for name, _ in problems(folder.parent)] == ["meta.properties", "recovery-point-offset-checkpoint"]


def test_every_flipped_bit_of_a_segment_is_found(folder: Path) -> None:
    path = folder / "00000000000000000000.log"
    whole = path.read_bytes()
    for position in range(len(whole) * 8):
        damaged = bytearray(whole)
        damaged[position // 8] ^= 1 << position % 8
        path.write_bytes(damaged)
        assert problems(folder), f"byte {position // 8}, bit {position % 8}"


def test_every_truncation_is_found(folder: Path) -> None:
    for name in (
        "00000000000000000000.log",
        "00000000000000000000.index",
        "00000000000000000000.timeindex",
        "leader-epoch-checkpoint",
    ):
        path = folder / name
        whole = path.read_bytes()
        for length in range(1, len(whole)):
            if name.endswith(".log") and length == len(batch(0)):
                continue
            path.write_bytes(whole[:length])
            assert problems(folder), f"{name} cut to {length} bytes"
        path.write_bytes(whole)


@pytest.mark.parametrize(
    ("entry", "problem"),
    [((1, 3), "where no batch begins"), ((0, len(batch(0))), "where offset 1 begins"), ((1, 10**6), "where no batch begins")],
)
def test_an_index_entry_that_leads_astray(folder: Path, entry: tuple[int, int], problem: str) -> None:
    (folder / "00000000000000000000.index").write_bytes(struct.pack(">ii", *entry))
    ((name, found),) = problems(folder)
    assert name == "00000000000000000000.index"
    assert problem in found


def test_a_time_index_that_hides_a_later_record(folder: Path) -> None:
    (folder / "00000000000000000000.timeindex").write_bytes(struct.pack(">qi", 1000, 1))
    assert problems(folder) == [("00000000000000000000.timeindex", "timestamp 1000 up to offset 1, but a batch there has 1001")]


def test_a_missing_index(folder: Path) -> None:
    (folder / "00000000000000000000.index").unlink()
    assert problems(folder) == [("00000000000000000000.index", "it is missing")]


def test_offsets_that_go_back(folder: Path) -> None:
    (folder / "00000000000000000000.log").write_bytes(batch(0) + batch(0))
    assert problems(folder) == [("00000000000000000000.log", f"byte {len(batch(0))}: offset 0 after 0")]


def test_segments_that_overlap(folder: Path) -> None:
    for suffix, content in (("log", batch(1)), ("index", b""), ("timeindex", b"")):
        (folder / f"00000000000000000001.{suffix}").write_bytes(content)
    assert problems(folder) == [("00000000000000000001.log", "the segment before it reaches up to offset 1")]


def test_epochs_that_contradict_the_batches_after_an_orderly_stop(folder: Path) -> None:
    write_epochs(folder, [EpochStart(0, 0), EpochStart(1, 1)])
    ((_, problem),) = problems(folder)
    assert "leader epoch 0 at offset 1, the epoch file says 1" in problem


def test_after_a_crash_the_epoch_file_may_be_behind_the_last_segment_only(folder: Path) -> None:
    (folder.parent / ".kafka_cleanshutdown").unlink()
    write_epochs(folder, [EpochStart(0, 0), EpochStart(1, 1)])
    assert problems(folder) == []
    for suffix, content in (("log", batch(2, epoch=3)), ("index", b""), ("timeindex", b"")):
        (folder / f"00000000000000000002.{suffix}").write_bytes(content)
    ((_, problem),) = problems(folder)
    assert "leader epoch 0 at offset 1, the epoch file says 1" in problem


def test_an_aborted_transaction_beyond_the_segment(folder: Path) -> None:
    (folder / "00000000000000000000.txnindex").write_bytes(encode_transaction(AbortedTransaction(1, 0, 9, 10)))
    assert [name for name, _ in problems(folder)] == ["00000000000000000000.txnindex"]


def test_records_are_parsed_when_asked(folder: Path) -> None:
    from kafkax._core.crc32c import crc32c

    path = folder / "00000000000000000000.log"
    lying = bytearray(batch(0))
    struct.pack_into(">i", lying, 57, 2)
    struct.pack_into(">i", lying, 23, 1)
    struct.pack_into(">I", lying, 17, crc32c(bytes(lying[21:])))
    path.write_bytes(lying)
    (folder / "00000000000000000000.index").write_bytes(b"")
    assert problems(folder) == []
    assert len(problems(folder, deep=True)) == 1


def test_a_file_is_no_folder(folder: Path) -> None:
    with pytest.raises(NotADirectoryError):
        verify(folder / "00000000000000000000.log")


def test_what_kafka_wrote_is_sound() -> None:
    found = verify(reference("logs", "kafka-4.3.1"), deep=True)
    assert found.problems == []
    assert found.partitions == 8
    older = verify(reference("logs", "kafka-3.9.2"), deep=True)
    assert older.records == 10_000
    assert all(problem.problem == "it is missing" for problem in older.problems)

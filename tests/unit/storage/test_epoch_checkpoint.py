from __future__ import annotations

from pathlib import Path

import pytest

from kafkax.storage.epoch_checkpoint import EpochStart, encode_epochs, parse_epochs, read_epochs, write_epochs
from kafkax.storage.files import MalformedFile
from tests.reference import reference


def test_epochs_are_written_and_read(tmp_path: Path) -> None:
    epochs = [EpochStart(0, 0), EpochStart(3, 17), EpochStart(4, 17)]
    write_epochs(tmp_path, epochs)
    assert (tmp_path / "leader-epoch-checkpoint").read_bytes() == b"0\n3\n0 0\n3 17\n4 17\n"
    assert read_epochs(tmp_path) == epochs


def test_a_partition_without_the_file_has_no_epochs(tmp_path: Path) -> None:
    assert read_epochs(tmp_path) == []


@pytest.mark.parametrize(
    "content",
    [b"0\n2\n1 0\n1 5\n", b"0\n2\n1 5\n2 4\n", b"0\n1\n1\n", b"0\n1\n-1 0\n", b"0\n1\nx 0\n", b"5\n0\n", b"0\n3\n0 0\n"],
)
def test_epochs_out_of_order_or_not_numbers_are_refused(content: bytes) -> None:
    with pytest.raises(MalformedFile):
        parse_epochs(Path("file"), content)


def test_kafkas_own_files_are_read_and_written_back_the_same() -> None:
    files = list(reference("logs").glob("*/*/leader-epoch-checkpoint"))
    assert len(files) >= 9
    for path in files:
        assert encode_epochs(parse_epochs(path, path.read_bytes())) == path.read_bytes()

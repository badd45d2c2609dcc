"""The checker of the cluster tests finds what it is there to find."""

from __future__ import annotations

from pathlib import Path

import pytest

from kafkax.protocol.record import Record
from kafkax.protocol.records import build_batch
from tests.system.ledger import Acknowledged, ReplicaLog, problems, read_replica

TOLD = [Acknowledged(0, 0, 0), Acknowledged(0, 1, 1), Acknowledged(0, 2, 2)]


def replica(tmp_path: Path, name: str, *values: int) -> ReplicaLog:
    folder = tmp_path / name
    folder.mkdir()
    data = b"".join(build_batch([Record(value=b"%d" % v)], base_offset=at) for at, v in enumerate(values))
    (folder / "00000000000000000000.log").write_bytes(data)
    return read_replica(folder)


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ((0, 1, 2), (0, 1, 2), set()),
        ((0, 1, 2), (0, 1), {"lost", "diverged"}),
        ((0, 1), (0, 1), {"lost"}),
        ((0, 1, 2, 2), (0, 1, 2, 2), {"doubled"}),
        ((0, 1, 2, 5, 4), (0, 1, 2, 5, 4), {"out of order"}),
        ((0, 1, 2, 3), (0, 1, 2, 4), {"diverged"}),
    ],
)
def test_faults_are_found(tmp_path: Path, one: tuple[int, ...], other: tuple[int, ...], expected: set[str]) -> None:
    logs = {1: replica(tmp_path, "one", *one), 2: replica(tmp_path, "other", *other)}
    assert {problem.partition(":")[0] for problem in problems(TOLD, {0: logs})} == expected

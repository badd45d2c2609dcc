"""Index files whose pages cannot be had while they are mapped: nothing crashes, nothing wrong is served, they are made anew.

A file that is cut under its map is answered as a disk that fails to read a page of it: by SIGBUS.
"""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from kafkax._core.log import Log, LogSettings
from kafkax.storage.verify import verify
from tests.unit._core.batches import NOW, Rec, batch, values

COUNT = 3000
SETTINGS = {"index_interval_bytes": 1, "timestamp_after_max_ms": (1 << 63) - 1}


def filled(path: Path, **settings: int) -> Log:
    """A log with an index entry for each batch, in several pages."""
    log = Log.open(str(path), LogSettings(**SETTINGS, **settings))  # type: ignore[arg-type]
    for number in range(COUNT):
        log.append(batch([Rec(value=b"%d" % number, timestamp=NOW + number)]))
    return log


def served(log: Log, offset: int) -> bytes | None:
    piece = log.read(offset, 1)
    assert piece is not None
    ((found, value),) = values(piece.read())
    assert found == offset
    return value


@pytest.mark.parametrize("kind", [".index", ".timeindex"])
@pytest.mark.parametrize("sealed", [True, False], ids=["old segment", "active segment"])
@pytest.mark.parametrize("left", [0, 4096])
def test_an_index_that_is_cut_while_it_is_mapped_is_made_anew(tmp_path: Path, kind: str, sealed: bool, left: int) -> None:
    log = filled(tmp_path)
    if sealed:
        log.roll()
    assert served(log, 2000) == b"2000"
    path = tmp_path / f"{0:020d}{kind}"
    whole = path.read_bytes()
    os.truncate(path, left)
    for number in range(0, COUNT, 7):
        assert served(log, number) == b"%d" % number
        found = log.offset_for_timestamp(NOW + number)
        assert found is not None
        assert found.offset == number
    for number in range(COUNT, COUNT + 20):
        log.append(batch([Rec(value=b"%d" % number, timestamp=NOW + number)]))
    assert served(log, COUNT + 10) == b"%d" % (COUNT + 10)
    log.roll()
    made = path.read_bytes()
    assert made[: COUNT * 8] == whole[: COUNT * 8] if sealed else len(made) >= COUNT * 8
    log.close()
    assert verify(tmp_path, deep=True).problems == []


def test_an_index_that_is_cut_while_it_is_added_to(tmp_path: Path) -> None:
    log = filled(tmp_path)
    for kind in (".index", ".timeindex"):
        os.truncate(tmp_path / f"{0:020d}{kind}", 0)
    for number in range(COUNT, COUNT + 3000):
        log.append(batch([Rec(value=b"%d" % number, timestamp=NOW + number)]))
    assert all(served(log, number) == b"%d" % number for number in range(0, COUNT + 3000, 97))
    log.close()
    again = Log.open(str(tmp_path), LogSettings(**SETTINGS))  # type: ignore[arg-type]
    assert all(served(again, number) == b"%d" % number for number in range(0, COUNT + 3000, 97))
    again.close()
    assert verify(tmp_path, deep=True).problems == []


def test_many_threads_meet_the_missing_pages_at_once(tmp_path: Path) -> None:
    log = filled(tmp_path)
    log.roll()
    assert served(log, 5) == b"5"
    stop, wrong = threading.Event(), list[object]()

    def look(first: int) -> None:
        try:
            while not stop.is_set():
                for number in range(first, COUNT, 501):
                    if served(log, number) != b"%d" % number:
                        wrong.append(number)
        except BaseException as error:
            wrong.append(error)

    threads = [threading.Thread(target=look, args=(first,)) for first in range(4)]
    for thread in threads:
        thread.start()
    for _ in range(20):
        os.truncate(tmp_path / f"{0:020d}.index", 0)
        assert served(log, 2999) == b"2999"
    stop.set()
    for thread in threads:
        thread.join()
    assert wrong == []

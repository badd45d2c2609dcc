from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from kafkax.errors import ErrorCode, KafkaError
from kafkax.storage.directory import LogDirectory
from kafkax.storage.files import MalformedFile
from kafkax.storage.meta_properties import MetaProperties, write_meta_properties


def test_a_directory_has_one_owner_in_the_process(tmp_path: Path) -> None:
    first = LogDirectory(tmp_path)
    first.open()
    with pytest.raises(KafkaError, match="locked by another broker"):
        LogDirectory(tmp_path).open()
    first.close()
    second = LogDirectory(tmp_path)
    second.open()
    second.close()


def test_a_directory_has_one_owner_among_processes(tmp_path: Path) -> None:
    owner = LogDirectory(tmp_path)
    owner.open()
    code = f"from kafkax.storage.directory import LogDirectory; LogDirectory({str(tmp_path)!r}).open()"
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert other.returncode == 1
    assert "locked by another broker" in other.stderr
    owner.close()


def test_the_marker_is_taken_away_at_once_so_that_a_crash_while_loading_counts(tmp_path: Path) -> None:
    directory = LogDirectory(tmp_path)
    directory.open()
    assert not directory.clean
    directory.mark_clean()
    directory.close()
    assert json.loads((tmp_path / ".kafka_cleanshutdown").read_text()) == {"version": 0, "brokerEpoch": -1}

    started = LogDirectory(tmp_path)
    started.open()
    assert started.clean
    started.close()

    crashed_while_loading = LogDirectory(tmp_path)
    crashed_while_loading.open()
    assert not crashed_while_loading.clean
    crashed_while_loading.close()


def test_a_new_directory_is_claimed_and_then_held_to_it(tmp_path: Path) -> None:
    directory = LogDirectory(tmp_path)
    assert directory.identify("cluster", 1) == MetaProperties("cluster", 1)
    assert directory.identify("cluster", 1) == MetaProperties("cluster", 1)
    with pytest.raises(KafkaError, match="belongs to cluster cluster") as other_cluster:
        directory.identify("another", 1)
    assert other_cluster.value.code is ErrorCode.INCONSISTENT_CLUSTER_ID
    with pytest.raises(KafkaError, match=r"belongs to broker 1, not 2; set broker\.id=1"):
        directory.identify("cluster", 2)


def test_a_kraft_directory_stays_one(tmp_path: Path) -> None:
    properties = MetaProperties("cluster", 1, None, version=1)
    write_meta_properties(tmp_path, properties)
    assert LogDirectory(tmp_path).identify("cluster", 1) == properties


def test_properties_that_do_not_parse_are_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "meta.properties").write_bytes(b"version=9\n")
    with pytest.raises(MalformedFile):
        LogDirectory(tmp_path).identify("cluster", 1)
    assert (tmp_path / "meta.properties").read_bytes() == b"version=9\n"


def test_a_directory_fails_once(tmp_path: Path) -> None:
    directory = LogDirectory(tmp_path)
    assert directory.fail("disk on fire")
    assert not directory.fail("again")
    assert not directory.online
    assert directory.failure == "disk on fire"

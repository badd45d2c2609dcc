from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from kafkax.errors import ErrorCode
from kafkax.storage.files import MalformedFile, write_atomically


def test_content_is_replaced_whole_and_no_temporary_name_stays(tmp_path: Path) -> None:
    target = tmp_path / "checkpoint"
    write_atomically(target, b"old")
    write_atomically(target, b"new and longer")
    assert target.read_bytes() == b"new and longer"
    assert os.listdir(tmp_path) == ["checkpoint"]


@pytest.mark.parametrize("step", ["fsync", "replace", "write"])
def test_a_failure_at_any_step_leaves_the_old_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    target = tmp_path / "checkpoint"
    write_atomically(target, b"old")

    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, step, fail)
    with pytest.raises(OSError, match="No space left"):
        write_atomically(target, b"new")
    assert target.read_bytes() == b"old"


def test_order_is_write_sync_rename_sync(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[str] = []
    for name in ("write", "fsync", "replace"):
        real = getattr(os, name)
        monkeypatch.setattr(os, name, lambda *args, name=name, real=real: (steps.append(name), real(*args))[1])
    write_atomically(tmp_path / "checkpoint", b"content")
    assert steps == ["write", "fsync", "replace", "fsync"]


def test_a_malformed_file_is_a_storage_error_that_names_it(tmp_path: Path) -> None:
    error = MalformedFile(tmp_path / "x", "is empty")
    assert error.code is ErrorCode.KAFKA_STORAGE_ERROR
    assert str(error) == f"{tmp_path / 'x'}: is empty"

"""Small files that must never be seen half written, and the error for those that do not parse.

A crash may happen between any two system calls, so a file is replaced in four steps: its new content goes to a temporary
name, is synced, takes the old name by rename, and the directory is synced so that the rename itself lasts.
"""

from __future__ import annotations

import os
from pathlib import Path

from kafkax.errors import ErrorCode, KafkaError

__all__ = ["TEMPORARY_SUFFIX", "MalformedFile", "sync_directory", "sync_file", "write_atomically"]

TEMPORARY_SUFFIX = ".tmp"
"""What Kafka appends to the name of a file that is still being written."""


class MalformedFile(KafkaError):
    """A file of a log directory whose content is not what its name promises; carries KAFKA_STORAGE_ERROR.

    Callers that can do without the file (checkpoints, snapshots, indexes) catch this and fall back to the log itself.
    """

    def __init__(self, path: str | os.PathLike[str], problem: str) -> None:
        super().__init__(ErrorCode.KAFKA_STORAGE_ERROR, f"{os.fspath(path)}: {problem}")
        self.path = Path(path)
        self.problem = problem


def sync_directory(directory: str | os.PathLike[str]) -> None:
    """Make renames, creations and unlinks in ``directory`` outlast a power cut; raises :class:`OSError`."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_file(path: str | os.PathLike[str]) -> None:
    """Make the content of a file outlast a power cut; raises :class:`OSError`."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_atomically(path: str | os.PathLike[str], data: bytes, *, sync: bool = True) -> None:
    """Replace ``path`` by a file that holds ``data``; after a crash either the old or the new content is there, whole.

    Without ``sync`` that holds only once the caller has had file and directory synced.
    Raises :class:`OSError` (no space, no rights, I/O error); the old content then still stands.
    """
    target = Path(path)
    temporary = target.with_name(target.name + TEMPORARY_SUFFIX)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
    try:
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(descriptor, rest) :]
        if sync:
            os.fsync(descriptor)
    finally:
        os.close(descriptor)
    os.replace(temporary, target)
    if sync:
        sync_directory(target.parent)

"""``leader-epoch-checkpoint``: at which offset each leader epoch of a partition began (KIP-101).

The same framing as the offset checkpoints; an entry is ``epoch start_offset``, both growing from line to line.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from kafkax.storage.checkpoints import parse_entries
from kafkax.storage.files import MalformedFile, write_atomically

__all__ = ["LEADER_EPOCH_CHECKPOINT", "EpochStart", "encode_epochs", "parse_epochs", "read_epochs", "write_epochs"]

LEADER_EPOCH_CHECKPOINT = "leader-epoch-checkpoint"


class EpochStart(NamedTuple):
    """A leader epoch and the first offset that it wrote or could have written."""

    epoch: int
    start_offset: int


def encode_epochs(epochs: Iterable[EpochStart]) -> bytes:
    """The file's content for ``epochs``, oldest first."""
    entries = [f"{epoch} {start}" for epoch, start in epochs]
    return "".join(f"{line}\n" for line in ("0", len(entries), *entries)).encode("ascii")


def parse_epochs(path: Path, data: bytes) -> list[EpochStart]:
    """The epochs in ``data``, oldest first; ``path`` only names them in a :class:`MalformedFile`."""
    epochs: list[EpochStart] = []
    for number, line in enumerate(parse_entries(path, data), start=3):
        fields = line.split(" ")
        if len(fields) != 2 or not all(field.isdigit() and len(field) <= 19 for field in fields):
            raise MalformedFile(path, f"line {number} is {line!r}, not 'epoch start_offset'")
        entry = EpochStart(int(fields[0]), int(fields[1]))
        if epochs and (entry.epoch <= epochs[-1].epoch or entry.start_offset < epochs[-1].start_offset):
            raise MalformedFile(path, f"line {number}, {line!r}, is not after {epochs[-1].epoch} {epochs[-1].start_offset}")
        epochs.append(entry)
    return epochs


def read_epochs(directory: str | os.PathLike[str]) -> list[EpochStart]:
    """The epochs of the partition in ``directory``; none when there is no file.

    Raises :class:`MalformedFile` and :class:`OSError`.
    """
    path = Path(directory) / LEADER_EPOCH_CHECKPOINT
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return []
    return parse_epochs(path, data)


def write_epochs(directory: str | os.PathLike[str], epochs: Iterable[EpochStart]) -> None:
    """Replace the epochs of the partition in ``directory``; raises :class:`OSError`."""
    write_atomically(Path(directory) / LEADER_EPOCH_CHECKPOINT, encode_epochs(epochs))

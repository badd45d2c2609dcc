"""A disk's write cache emptied, without a sync of any file that matters."""

import os
from pathlib import Path

from libc.stdint cimport int32_t

JOURNALED, BARE, UNKNOWN = "journaled", "bare", "unknown"


def kind_of(int device) -> str:
    name = Path(os.path.realpath(f"/sys/dev/block/{os.major(device)}:{os.minor(device)}")).name
    try:
        options = Path("/proc/fs/ext4", name, "options").read_text().split()
    except OSError:
        # Not ext4, or not to be known.
        return UNKNOWN
    modes = [option for option in options if option.startswith("data=")]
    if not modes:
        return BARE
    return UNKNOWN if modes == ["data=journal"] else JOURNALED


def highest(str directory) -> str:
    path = os.path.realpath(directory)
    device = os.stat(path).st_dev
    while os.stat(os.path.dirname(path)).st_dev == device and os.path.dirname(path) != path:
        path = os.path.dirname(path)
    return path


cdef int32_t barrier_open(str directory) except -2:
    try:
        kind = kind_of(os.stat(directory).st_dev)
        if kind == JOURNALED:
            # A sync of a folder is a commit of the journal instead, and none at all where there is nothing to commit.
            return os.open(directory, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)
        if kind == BARE:
            # Its inode lies among those that the file system keeps for itself, which hardly ever change.
            return os.open(highest(directory), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        # Not for us to open, or no such files there: each log is synced by its own file then.
        return -1
    return -1

"""What tests do to processes beside signalling them."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

__all__ = ["alive", "freeze"]


def alive(pid: int) -> bool:
    """Whether a process has not ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def freeze(pid: int) -> None:
    """Let a process do nothing more until SIGCONT.

    A signal stops all threads only once the one that takes it runs, which may be a while on a busy machine; until then the
    others go on.
    """
    os.kill(pid, signal.SIGSTOP)
    while any(_state(task) not in "TDt" for task in Path(f"/proc/{pid}/task").iterdir()):
        time.sleep(0.001)


def _state(task: Path) -> str:
    """State of a thread: T stopped, or ended; D in a system call that cannot be interrupted, after which it stops."""
    try:
        return (task / "stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return "T"

"""How far the loading of logs has come, told in the log and, at a terminal, by a bar."""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from kafkax.storage.loading import LoadProgress

if TYPE_CHECKING:
    from rich.progress import Progress

__all__ = ["describe", "showing"]

_log = logging.getLogger(__name__)

PATIENCE_SECONDS = 1.0
"""A load that is over sooner is not worth a word."""
LOG_SECONDS = 5.0
BAR_SECONDS = 0.2


def describe(progress: LoadProgress) -> str:
    """One line: logs opened, and what recovery has validated of what it has to."""
    text = f"loading logs: {progress.logs_done} of {progress.logs_total} are open"
    recovery = progress.recovery
    if recovery.bytes_total:
        text += f", {recovery.bytes_done / 1e6:.0f} of {recovery.bytes_total / 1e6:.0f} MB recovered"
    if recovery.bytes_cut:
        text += f", {recovery.bytes_cut} bytes of torn tails cut off"
    return text


@contextmanager
def showing(progress: LoadProgress, *, terminal: bool | None = None) -> Iterator[None]:
    """Show the progress until the ``with`` block ends, from a thread of its own.

    Args:
        progress: what the loading threads write.
        terminal: whether stderr is one, which then gets a bar; None: find out.
    """
    done = threading.Event()
    show = _bar if (sys.stderr.isatty() if terminal is None else terminal) else _lines
    began = time.monotonic()
    thread = threading.Thread(target=_run, args=(show, progress, done), name="load-progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
    if progress.recovery.bytes_total or time.monotonic() - began >= PATIENCE_SECONDS:
        _log.info("%s, after %.1f s", describe(progress), time.monotonic() - began)


def _run(show: Callable[[LoadProgress, threading.Event], None], progress: LoadProgress, done: threading.Event) -> None:
    if not done.wait(PATIENCE_SECONDS):
        show(progress, done)


def _lines(progress: LoadProgress, done: threading.Event) -> None:
    while True:
        _log.info("%s", describe(progress))
        if done.wait(LOG_SECONDS):
            return


def _bar(progress: LoadProgress, done: threading.Event) -> None:
    # Only here: a start that is over at once must not pay for the import.
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True, force_terminal=True), transient=True) as bar:
        logs = bar.add_task("logs", total=None)
        bytes_ = bar.add_task("recovery (MB)", total=None, visible=False)
        while not done.wait(BAR_SECONDS):
            _update(bar, progress, logs, bytes_)


def _update(bar: Progress, progress: LoadProgress, logs: int, bytes_: int) -> None:
    recovery = progress.recovery
    bar.update(logs, total=progress.logs_total or None, completed=progress.logs_done)  # type: ignore[arg-type]
    bar.update(
        bytes_,  # type: ignore[arg-type]
        total=recovery.bytes_total / 1e6 or None,
        completed=recovery.bytes_done / 1e6,
        visible=recovery.bytes_total > 0,
    )

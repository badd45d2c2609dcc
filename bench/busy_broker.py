"""``kafkax broker`` with a thread that, each time a file appears, keeps the interpreter busy for some seconds.

usage: busy_broker.py FILE SECONDS [arguments of kafkax broker]
"""

from __future__ import annotations

import sys
import threading
import time
from pathlib import Path

from kafkax.cli.main import main


def spin(seconds: float) -> None:
    """Pure Python that gives up the interpreter's lock only when it is asked to."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for number in range(10_000):
            number * number


def watch(trigger: Path, seconds: float) -> None:
    while True:
        if trigger.exists():
            trigger.unlink()
            spin(seconds)
        time.sleep(0.02)


if __name__ == "__main__":
    threading.Thread(target=watch, args=(Path(sys.argv[1]), float(sys.argv[2])), daemon=True).start()
    main(["broker", *sys.argv[3:]])

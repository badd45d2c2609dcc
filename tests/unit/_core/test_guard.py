"""Faults of mapped files: those of the core's own end nothing, those of others do what they would without the core."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

unsanitized = pytest.mark.skipif("san.so" in os.environ.get("LD_PRELOAD", ""), reason="a sanitizer has a handler of its own")

EACH_AFTER_THE_OTHER = """
import os, sys
from pathlib import Path
from kafkax._core.flush import Flusher
from kafkax.errors import KafkaError
from tests.unit._core import test_index, test_window

folder = Path(sys.argv[1])
(folder / "index").mkdir()
indexed = test_index.filled(folder / "index")
for number in range(2):
    windowed = folder / f"window-{number}"
    log = test_window.log_with_window(windowed, Flusher(str(folder), lazy_ms=test_window.HOUR_MS))
    os.truncate(test_window.active_file(windowed), 0)
    try:
        test_window.append(log, 1)
    except KafkaError as error:
        print(error.code.name)
    for index in (folder / "index").glob("*.index"):
        os.truncate(index, 0)
    print(test_index.served(indexed, 5))
"""


def test_windows_and_indexes_meet_lost_pages_in_turn(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", EACH_AFTER_THE_OTHER, str(tmp_path)]
    found = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert (found.returncode, found.stdout.split()) == (0, ["KAFKA_STORAGE_ERROR", "b'5'"] * 2), found.stderr


def touch_a_lost_page(*before: str) -> subprocess.CompletedProcess[str]:
    """Another's mapping of a file that was cut, in a process that has the core's handler in place."""
    lines = [
        *before,
        "import mmap, tempfile",
        "import kafkax._core.guard",
        "file = tempfile.TemporaryFile()",
        "file.truncate(4096)",
        "mapped = mmap.mmap(file.fileno(), 4096)",
        "file.truncate(0)",
        "mapped[0] = 1",
        "print('still there')",
    ]
    return subprocess.run([sys.executable, "-c", "\n".join(lines)], capture_output=True, text=True, check=False)


@unsanitized
def test_the_signal_that_is_sent_ends_the_process_as_ever() -> None:
    code = "import os, signal\nimport kafkax._core.guard\nos.kill(os.getpid(), signal.SIGBUS)\nprint('still there')"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (found.returncode, found.stdout) == (-signal.SIGBUS, "")


@unsanitized
def test_another_page_that_is_lost_ends_the_process_as_ever() -> None:
    assert touch_a_lost_page().returncode == -signal.SIGBUS
    found = touch_a_lost_page("import faulthandler", "faulthandler.enable()")
    assert found.returncode == -signal.SIGBUS
    assert "Fatal Python error: Bus error" in found.stderr

"""Brokers to run real clients against: kafkax as users start it, and Apache Kafka where Java and a launcher are at hand."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.ports import free_port
from tests.processes import alive

REPOSITORY = Path(__file__).resolve().parents[2]


class RunningBroker:
    """A broker process, its address and its data directory."""

    def __init__(self, process: subprocess.Popen[str], address: str, data: Path) -> None:
        self.process = process
        self.address = address
        self.data = data

    def stop(self, sig: signal.Signals = signal.SIGTERM, timeout: float = 60) -> int:
        """Send ``sig`` and wait; the exit status."""
        self.process.send_signal(sig)
        return self.process.wait(timeout)


def start_broker(data: Path, *, port: int | None = None, overrides: dict[str, str] | None = None) -> RunningBroker:
    """Start ``kafkax broker`` on loopback and wait for its ready line.

    Raises:
        RuntimeError: it ended, or said nothing for 120 s; the text holds what it printed.
    """
    port = port or free_port()
    settings = {
        "listeners": f"PLAINTEXT://127.0.0.1:{port}",
        "log.dirs": str(data),
        "group.initial.rebalance.delay.ms": "0",
        **(overrides or {}),
    }
    command = [sys.executable, "-m", "kafkax", "broker"]
    for key, value in settings.items():
        command += ["--override", f"{key}={value}"]
    data.mkdir(parents=True, exist_ok=True)
    log = data.parent / f"{data.name}.log"
    with log.open("a") as sink:
        process = subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=sink, text=True)
    assert process.stdout is not None
    deadline = time.monotonic() + 120
    line = process.stdout.readline()
    if not line or time.monotonic() > deadline:
        process.kill()
        raise RuntimeError(f"the broker did not become ready; it printed: {log.read_text()[-4000:]}")
    return RunningBroker(process, f"127.0.0.1:{port}", data)


@contextmanager
def running_broker(data: Path, **options: object) -> Iterator[RunningBroker]:
    """A broker for the length of a ``with`` block; it must stop in order on SIGTERM."""
    broker = start_broker(data, **options)  # type: ignore[arg-type]
    try:
        yield broker
    except BaseException:
        broker.process.kill()
        broker.process.wait()
        raise
    if broker.process.poll() is None:
        assert broker.stop() == 0, "the broker did not stop in order on SIGTERM"


def launch(launcher: Path, kind: str, folder: Path, port: int, *more: object) -> None:
    """Start something by the launcher of Apache Kafka, and wait until it listens: on a busy machine longer than the launcher."""
    command = [str(launcher), kind, str(folder), str(port), *map(str, more)]
    done = subprocess.run(command, timeout=120, capture_output=True, text=True, check=False)
    assert done.returncode == 0 or "no answer on port" in done.stderr, done.stderr[-2000:]
    deadline = time.monotonic() + 120
    while True:
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        assert alive(int((folder / "pid").read_text())), f"{kind} ended: {_printed(folder)}"
        assert time.monotonic() < deadline, f"{kind} does not listen on port {port}: {_printed(folder)}"
        time.sleep(0.2)


def _printed(folder: Path) -> str:
    return (folder / "out.log").read_text(errors="replace")[-3000:]


def real_kafka() -> Path | None:
    """The launcher of Apache Kafka and its Java tools: ``KAFKAX_REAL_KAFKA``, or a tools folder beside the repository."""
    if shutil.which("java") is None or shutil.which("mvn") is None:
        return None
    candidates = [os.environ.get("KAFKAX_REAL_KAFKA", ""), str(REPOSITORY.parent / "shared/tools/real-kafka")]
    return next((Path(c) for c in candidates if c and Path(c).is_file()), None)

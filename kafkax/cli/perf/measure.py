"""Running a load with its progress shown, and what it measured as a report."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from kafkax._core.histogram import Histogram
from kafkax._core.load import Load
from kafkax._core.load_connection import Target
from kafkax._core.pacing import unpaced_within_host
from kafkax.cli.output import progress, show, show_object
from kafkax.cli.perf.bootstrap import Address
from kafkax.errors import ErrorCode

__all__ = ["Report", "connect", "print_report", "report_of", "summary", "watch"]

PERCENTILES = (50.0, 90.0, 99.0, 99.9, 99.99)
REFRESH_S = 0.1
NS_PER_MS = 1e6


@dataclass
class Report:
    """What a run measured.

    Attributes:
        requests, records, bytes: how much was done; bytes of requests when producing, of record batches when reading.
        seconds: from the start to the last answer.
        errors: name of each Kafka error that was answered, and how often.
        latency_ms: for each thing measured, ``count``, ``mean``, ``min``, the percentiles as ``p50`` and so on, and ``max``.
    """

    requests: int
    records: int
    bytes: int
    seconds: float
    errors: dict[str, int] = field(default_factory=dict)
    latency_ms: dict[str, dict[str, float]] = field(default_factory=dict)

    def totals(self) -> dict[str, Any]:
        """The report without latencies, with rates per second."""
        per_second = 1 / self.seconds if self.seconds else 0.0
        return {
            "requests": self.requests,
            "records": self.records,
            "bytes": self.bytes,
            "seconds": round(self.seconds, 3),
            "requests_per_second": round(self.requests * per_second, 1),
            "records_per_second": round(self.records * per_second, 1),
            "megabytes_per_second": round(self.bytes * per_second / 1e6, 2),
            "errors": self.errors,
        }


def summary(latency: Histogram) -> dict[str, float]:
    """Count, mean and percentiles of a histogram of nanoseconds, in milliseconds."""
    values = {f"p{percent:g}": latency.percentile(percent) for percent in PERCENTILES}
    spread: dict[str, float] = {"mean": latency.mean, "min": latency.lowest, **values, "max": latency.highest}
    return {"count": latency.count, **{name: round(value / NS_PER_MS, 4) for name, value in spread.items()}}


def error_name(code: int) -> str:
    """Kafka's name of an error code, or its number."""
    return ErrorCode(code).name if code in ErrorCode._value2member_map_ else str(code)


def report_of(load: Load) -> Report:
    """What a finished load measured; latency from when a request was due to its answer."""
    errors = {error_name(code): count for code, count in load.errors.items()}
    latency = {"request": summary(load.latency)}
    return Report(load.requests, load.records, load.bytes, load.elapsed, errors, latency)


def connect(address: Address, targets: Sequence[Target]) -> tuple[socket.socket, Sequence[Target]]:
    """A connection for a Load; small requests leave at once, and are not paced within one machine.

    Raises:
        OSError: there is no connection within ten seconds.
    """
    failure = OSError(f"{address[0]} has no address")
    for family, kind, protocol, _, place in socket.getaddrinfo(*address, type=socket.SOCK_STREAM):
        sock = socket.socket(family, kind, protocol)
        try:
            sock.settimeout(10)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            unpaced_within_host(sock, str(place[0]))
            sock.connect(place)
        except OSError as error:
            sock.close()
            failure = error
        else:
            return sock, targets
    raise failure


def watch(run: Callable[[], None], stop: Callable[[], None], done: Callable[[], float], total: float | None, what: str) -> None:
    """Run something that takes long on another thread and show its progress; Ctrl-C stops it and keeps what it measured.

    Raises what ``run`` raises.
    """
    failure: list[BaseException] = []

    def runner() -> None:
        try:
            run()
        except BaseException as error:
            failure.append(error)

    thread = threading.Thread(target=runner, name="load", daemon=True)
    with progress(what, total) as advance:
        thread.start()
        shown = 0.0
        try:
            while thread.is_alive():
                thread.join(REFRESH_S)
                now = done()
                advance(now - shown)
                shown = now
        except KeyboardInterrupt:
            stop()
            thread.join()
    if failure:
        raise failure[0]


def print_report(report: Report, form: str | None) -> None:
    """Print a report: JSON as one object; otherwise the totals, then a line of percentiles for each thing measured."""
    if form == "json":
        show_object({**report.totals(), "latency_ms": report.latency_ms}, form)
        return
    totals: Mapping[str, Any] = report.totals()
    errors = ", ".join(f"{count} x {name}" for name, count in report.errors.items()) or "none"
    show_object({**totals, "errors": errors}, form)
    show([{"latency (ms)": name, **values} for name, values in report.latency_ms.items()], form)

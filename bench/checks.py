"""The checks of ``bench/limits``: each yields what it measured beside what is allowed."""

from __future__ import annotations

import os
import resource
import socket
import subprocess
import sys
import threading
import time
from abc import ABC, abstractmethod
from bisect import bisect_left
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from bench.brokers import Child, Floor, Kafkax, remove
from bench.rows import CONNECTIONS, RECORD_SIZE, drive, measured
from kafkax._core.histogram import Histogram
from kafkax._core.load import Load
from kafkax._core.load_connection import Target
from kafkax.cli.perf.bootstrap import Topic
from kafkax.cli.perf.measure import connect
from kafkax.cli.perf.options import FETCH, PRODUCE
from kafkax.cli.perf.workload import fetch_target, produce_target, record_batch, spread

if TYPE_CHECKING:
    from typing_extensions import Self

ROUNDS = 5
MB = 1e6
EVERY = 1e-9
"""Seconds from which on a request counts as slow, so that all are noted."""


@dataclass
class Finding:
    """A figure and the most that it may be."""

    check: str
    figure: str
    value: float
    allowed: float

    def __str__(self) -> str:
        kept = "yes" if self.value <= self.allowed else "no"
        return f"| {self.check} | {self.figure} | {self.value:.3g} | {self.allowed:.3g} | {kept} |"


def producers(broker: Child, topic: Topic, records: int, connections: int, acks: int = 1) -> list[list[Target]]:
    """For each connection the Produce requests of its partitions."""
    batch = record_batch(records, RECORD_SIZE)
    version = broker.versions()[PRODUCE]
    return [
        [produce_target(topic, index, batch, records, version=version, acks=acks) for index in indexes]
        for indexes in spread(len(topic.leaders), connections)
    ]


@contextmanager
def background(broker: Child, targets: list[list[Target]], slow: float = 0.0) -> Iterator[Load]:
    """A load with one request in flight that runs beside the block and ends with it."""
    opened = [connect(broker.address, each) for each in targets]
    load = Load(opened, in_flight=1, duration=36000, slow=slow)
    thread = threading.Thread(target=load.run, daemon=True)
    thread.start()
    try:
        yield load
    finally:
        load.stop()
        thread.join(10)
        for sock, _ in opened:
            sock.close()


def steady(broker: Child, targets: list[list[Target]], seconds: float, rate: float, slow: float = 0.0) -> Load:
    """A load at a fixed rate, finished."""
    opened = [connect(broker.address, each) for each in targets]
    load = Load(opened, in_flight=100, duration=seconds, rate=rate, slow=slow)
    try:
        load.run()
    finally:
        for sock, _ in opened:
            sock.close()
    return load


def partitions(broker: Kafkax, scale: float) -> Iterator[Finding]:
    """Processor time of a small request, from one partition to ten thousand: the median of the ratios within a round.

    The floor, which only writes, tells how much of it the kernel takes for writing to many files."""
    broker.start()
    counts = [count for count in (1, 10, 100, 1000, 10000) if count <= max(1, 10000 * scale)]
    work: dict[int, list[list[Target]]] = {}
    for count in counts:
        # A thousand at a time, since a topic has to be there before its creator loses patience.
        topics = [broker.create_topic(f"partitions-{count}-{at}", min(1000, count)) for at in range(max(1, count // 1000))]
        each = [producers(broker, topic, 1, CONNECTIONS) for topic in topics]
        work[count] = [[target for targets in each for target in targets[at]] for at in range(CONNECTIONS)]
        # The first append opens and maps a log's files.
        drive(broker, work[count], 5, 60, 5 * count)
    costs = [{count: drive(broker, work[count], 5, 2.0)["cpu_us"] for count in counts} for _ in range(ROUNDS)]
    bare = floor_costs(broker, counts)
    for count in counts[1:]:
        grown = median(cost[count] / cost[1] for cost in costs)
        yield Finding("partitions", f"CPU a request with {count} over one", grown, 1.2)
        relative = grown / median(cost[count] / cost[1] for cost in bare)
        yield Finding("partitions", f"CPU a request with {count} over one, over the same of the floor", relative, 1.2)


def floor_costs(broker: Kafkax, counts: list[int]) -> list[dict[int, float]]:
    """Processor time of a small request at the floor, by the number of partitions, for every round."""
    floor = Floor(broker.directory.parent)
    floor.start()
    costs: list[dict[int, float]] = []
    try:
        for _ in range(ROUNDS):
            costs.append({})
            for count in counts:
                targets = producers(floor, floor.create_topic("partitions", count), 1, CONNECTIONS)
                drive(floor, targets, 5, 60, 5 * count)
                costs[-1][count] = drive(floor, targets, 5, 2.0)["cpu_us"]
    finally:
        floor.stop()
        remove(floor)
    return costs


def connections(broker: Kafkax, scale: float) -> Iterator[Finding]:
    """Ten thousand connections that do nothing, beside a few that work."""
    count = int(10000 * scale)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(count + 1000, resource.getrlimit(resource.RLIMIT_NOFILE)[1]),) * 2)
    broker.start()
    topic = broker.create_topic("connections", 6)
    targets = producers(broker, topic, 1, 6)
    steady(broker, targets, 1.0, 5000)
    alone = median(steady(broker, targets, 2.0, 5000).latency.percentile(99) for _ in range(ROUNDS))
    before = broker.resident_bytes()
    with ExitStack() as stack:
        for _ in range(count):
            stack.enter_context(socket.create_connection(broker.address))
        time.sleep(1)
        yield Finding("connections", f"bytes for each of {count} idle ones", (broker.resident_bytes() - before) / count, 10_000)
        beside = median(steady(broker, targets, 2.0, 5000).latency.percentile(99) for _ in range(ROUNDS))
    yield Finding("connections", "p99 of active ones over p99 alone", beside / alone, 1.5)


class Busy(Kafkax):
    """kafkax with a thread of pure Python that can be set going."""

    def command(self) -> list[str]:
        trigger = str(self.directory / "busy")
        command = super().command()
        return [sys.executable, "-m", "bench.busy_broker", trigger, str(self.seconds), *command[4:]]

    seconds = 5.0

    def trigger(self) -> None:
        (self.directory / "busy").touch()


def interpreter(broker: Kafkax, scale: float) -> Iterator[Finding]:
    """Produce while pure Python runs in the broker's process, against the same loop in a process of its own."""
    busy = Busy(broker.directory.parent, broker.overrides)
    busy.seconds = max(1.0, 5.0 * scale)
    loop = f"from bench.busy_broker import spin; print(flush=True); spin({busy.seconds})"
    busy.start()
    try:
        targets = producers(busy, busy.create_topic("interpreter", 6), 1, 6)
        drive(busy, targets, 5, 1.0)

        def beside() -> float:
            with subprocess.Popen([sys.executable, "-c", loop], stdout=subprocess.PIPE) as other:
                assert other.stdout is not None
                other.stdout.readline()
                figure = drive(busy, targets, 5, busy.seconds - 0.5)["requests_per_second"]
                other.wait()
            return figure

        def inside() -> float:
            busy.trigger()
            time.sleep(0.1)
            figure = drive(busy, targets, 5, busy.seconds - 0.5)["requests_per_second"]
            time.sleep(0.6)
            return figure

        # Beside, inside, inside, beside: a drift of the machine's speed meets both alike.
        ratios = []
        for _ in range(ROUNDS):
            first, second, third, last = beside(), inside(), inside(), beside()
            ratios.append((first + last) / (second + third))
    finally:
        busy.stop()
    yield Finding("interpreter", "requests/s beside the loop over those with it inside", median(ratios), 1.1)


def written(broker: Child, topic: Topic, size: int) -> None:
    """Write so many bytes over all partitions and wait until they are readable."""
    targets = producers(broker, topic, 1000, 6)
    drive(broker, targets, 5, 3600, size // (len(targets[0][0].head) + len(targets[0][0].tail)))
    time.sleep(2)


class Sampler(ABC):
    """What another thread notes while the block runs."""

    interval = 0.005
    """Seconds between two samples."""

    def __init__(self) -> None:
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def goes_on(self) -> bool:
        """Wait for the next sample; whether there is one."""
        return not self._stop.wait(self.interval)

    @abstractmethod
    def _sample(self) -> None:
        """Take samples as long as it ``goes_on``."""


class Taken(Sampler):
    """When the host of a virtual machine kept its processors for others, from the steal time.

    A host that grants so much processor time in a tenth of a second stops both at once for tens of ms when it is used up, and
    what it does itself to read for its guest or to take free memory back may count for that."""

    def __init__(self) -> None:
        super().__init__()
        self._spans: list[tuple[float, float]] = []

    def _sample(self) -> None:
        """Note the spans between two samples in which steal time grew."""
        with open("/proc/stat", "rb", buffering=0) as stat:
            before, stolen = time.monotonic(), self._stolen(stat.fileno())
            while self.goes_on():
                now, total = time.monotonic(), self._stolen(stat.fileno())
                if total > stolen:
                    self._spans.append((before, now))
                before, stolen = now, total

    @staticmethod
    def _stolen(stat: int) -> int:
        """Ticks that all processors were kept from this machine since its start."""
        return int(os.pread(stat, 256, 0).split(None, 9)[8])

    def left(self, load: Load) -> Histogram:
        """Latencies, ns, of the requests that met no such span; raises RuntimeError when the load did not note them all."""
        if len(load.slow) != load.latency.count:
            raise RuntimeError(f"{load.latency.count} requests are more than the {len(load.slow)} that a load notes")
        begins = [begin for begin, _ in self._spans]
        left = Histogram()
        for due, seconds in load.slow:
            at = bisect_left(begins, due + seconds)
            if at == 0 or self._spans[at - 1][1] <= due:
                left.record(int(seconds * 1e9))
        return left


def cold(broker: Kafkax, scale: float) -> Iterator[Finding]:
    """A consumer of data that is not in the page cache, then six at once, beside producers and consumers at the tail.

    One is what is asked for. Each round measures without and with them, one right after the other; of all requests, and of those
    during which no host took the processors."""
    if os.geteuid() != 0:
        print("| cold | skipped: dropping the page cache needs root | | | |")
        return
    broker.start()
    history, tail = broker.create_topic("history", 6), broker.create_topic("tail", 6)
    written(broker, history, int(10e9 * scale))
    os.sync()
    version = broker.versions()[FETCH]
    targets = producers(broker, tail, 10, 6)
    waiting = [[fetch_target(tail, index, version=version)] for index in range(6)]

    met: list[float] = []

    def percentiles() -> list[float]:
        with Taken() as taken, background(broker, waiting, slow=EVERY) as tails:
            produced = steady(broker, targets, 4.0, 2000, slow=EVERY)
        left = [taken.left(load) for load in (produced, tails)]
        met.append(1 - left[0].count / produced.latency.count)
        return [each.percentile(99) for each in (produced.latency, tails.latency, *left)]

    def beside(connections: int) -> list[float]:
        Path("/proc/sys/vm/drop_caches").write_text("1")
        with background(broker, readers[connections]) as reading:
            before = time.monotonic(), reading.bytes
            figures = percentiles()
            rates[connections].append((reading.bytes - before[1]) / (time.monotonic() - before[0]) / MB)
        return figures

    percentiles()
    readers = {count: [[fetch_target(history, index, version=version, first=0) for index in indexes]
                       for indexes in spread(6, count)] for count in (1, 6)}  # fmt: skip
    rates: dict[int, list[float]] = {1: [], 6: []}
    ratios: dict[int, list[list[float]]] = {1: [], 6: []}
    for _ in range(ROUNDS):
        for count in (1, 6):
            alone, loaded = percentiles(), beside(count)
            ratios[count].append([with_them / without for with_them, without in zip(loaded, alone, strict=True)])
    yield Finding("cold", "% of requests during which the host took processors", 100 * median(met), float("inf"))
    for count, allowed in ((1, 1.5), (6, float("inf"))):
        beside_whom = f"p99 of {{}} beside {count} reading over that without"
        of_whom = ("producers", "tail consumers", "producers' undisturbed requests", "tail consumers' undisturbed requests")
        for at, whose in enumerate(of_whom):
            yield Finding("cold", beside_whom.format(whose), median(ratio[at] for ratio in ratios[count]), allowed)
        yield Finding("cold", f"MB/s that {count} reading got", median(rates[count]), float("inf"))


class Stalls(Sampler):
    """When a broker's network threads waited for the disk, or they or this thread for a processor.

    Uninterruptible sleep is the disk's, or a lock's whose holder waits for it; who waits for work sleeps interruptibly."""

    def __init__(self, broker: Child) -> None:
        super().__init__()
        tasks = Path(f"/proc/{broker.pid}/task").iterdir()
        self._network = [task for task in tasks if (task / "comm").read_text() == "kafkax-network\n"]
        self._all = [*self._network, Path(f"/proc/self/task/{threading.get_native_id()}")]
        self._samples: list[tuple[float, bool, float]] = []

    def _sample(self) -> None:
        """Note the time, whether one waits for the disk, and the longest wait for a processor since the last sample."""
        waited = [0.0] * len(self._all)
        while self.goes_on():
            disk = any((task / "stat").read_bytes().rpartition(b") ")[2].startswith(b"D") for task in self._network)
            now = [int((task / "schedstat").read_text().split()[1]) / 1e9 for task in self._all]
            self._samples.append((time.monotonic(), disk, max(map(float.__sub__, now, waited))))
            waited = now

    def without(self, begin: float, seconds: float, *, processor: bool) -> float:
        """What is left of a span without the waits for the disk, and for a processor if so asked."""
        end, left = begin + seconds, seconds
        for (before, _, _), (at, disk, starved) in zip(self._samples, self._samples[1:], strict=False):
            inside = max(0.0, min(at, end) - max(before, begin))
            if disk or not processor:
                left -= inside if disk else 0.0
            else:
                left -= min(inside, starved)
        return left


def soak(broker: Kafkax, scale: float) -> Iterator[Finding]:
    """Full load with one consumer at the tail and one that reads from the start.

    Where a network thread waited for the disk, a produce that takes long is the disk's, and likewise for processors, which a busy
    machine has none of."""
    broker.overrides = {"log.retention.bytes": str(200_000_000), "log.segment.bytes": str(50_000_000), **broker.overrides}
    broker.start()
    topic = broker.create_topic("soak", 6)
    version = broker.versions()[FETCH]
    targets = producers(broker, topic, 100, 6)
    readers = [[fetch_target(topic, index, version=version)] for index in range(6)]
    again = [[fetch_target(topic, index, version=version, first=0)] for index in range(6)]
    with background(broker, readers) as tails, background(broker, again) as starts:
        opened = [connect(broker.address, each) for each in targets]
        drive(broker, targets, 5, 5.0)
        own, resident = broker.own_bytes(), broker.resident_bytes()
        load = Load(opened, in_flight=5, duration=60 * scale, slow=0.2)
        with Stalls(broker) as stalls:
            measured(broker, load)
        own, resident = broker.own_bytes() - own, broker.resident_bytes() - resident
    yield Finding("soak", "growth of memory, MB", own / MB, 5)
    yield Finding("soak", "growth with the maps of index files, which grow with the log, MB", resident / MB, float("inf"))
    yield Finding("soak", "longest produce, ms", load.latency.highest / MB, float("inf"))
    yield Finding("soak", "produce requests over 200 ms", len(load.slow), float("inf"))
    for waits, processor, allowed in (("the disk", False, float("inf")), ("the disk or a processor", True, 200.0)):
        left = [stalls.without(due, seconds, processor=processor) * 1e3 for due, seconds in load.slow]
        longest = max(left, default=min(load.latency.highest / MB, 200.0))
        yield Finding("soak", f"longest produce without waits for {waits}, ms", longest, allowed)
    yield Finding("soak", "produce p99.99, ms", load.latency.percentile(99.99) / MB, float("inf"))
    yield Finding("soak", "errors at the consumers", tails.failed + starts.failed, 0)


def start(broker: Kafkax, scale: float) -> Iterator[Finding]:
    """How long a start takes and what it occupies: empty, and with ten thousand partitions after a clean stop."""
    count = int(10000 * scale)
    broker.start()
    broker.stop()
    broker.start()
    time.sleep(2)
    empty = broker.resident_bytes()
    yield Finding("start", "seconds to listening", broker.start_seconds, 0.5)
    yield Finding("start", "idle resident memory, MB", empty / MB, 60)
    broker.create_topic("many", count)
    broker.stop()
    broker.start()
    broker.create_topic("ready", 1)
    yield Finding("start", f"seconds to listening with {count} partitions", broker.start_seconds, 5)
    time.sleep(2)
    yield Finding("start", "KB resident for each partition", (broker.resident_bytes() - empty) / count / 1e3, 20)


CHECKS: dict[str, Callable[[Kafkax, float], Iterator[Finding]]] = {
    "partitions": partitions,
    "connections": connections,
    "interpreter": interpreter,
    "cold": cold,
    "soak": soak,
    "start": start,
}

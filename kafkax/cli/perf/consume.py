"""``kafkax perf consume``: Fetch over several connections, each reading its partitions forward."""

from __future__ import annotations

from collections.abc import Sequence

import click

from kafkax._core.load import Load
from kafkax._core.load_connection import Target
from kafkax.cli.perf.bootstrap import Address, Bootstrap, Topic
from kafkax.cli.perf.measure import connect, print_report, report_of, watch
from kafkax.cli.perf.options import FETCH, common, open_bootstrap, request_version, traffic
from kafkax.cli.perf.produce import placement
from kafkax.cli.perf.workload import fetch_target

EARLIEST, LATEST = -2, -1


@click.command("consume")
@common
@click.option("--num-records", type=click.IntRange(1), default=1_000_000, show_default=True, help="Records to read in all.")
@traffic(connections=6, in_flight=1)
@click.option(
    "--max-bytes", type=click.IntRange(1), default=1 << 20, show_default=True, help="Bytes per answer (fetch.max.bytes)."
)
@click.option("--repeat", is_flag=True, help="At the end of a partition start over instead of waiting for more.")
@click.option("--version", type=int, default=None, help="Version of Fetch; the newest that the broker serves otherwise.")
def command(
    address: Address,
    topic: str,
    form: str | None,
    num_records: int,
    connections: int,
    in_flight: int,
    duration: float,
    max_bytes: int,
    repeat: bool,
    version: int | None,
) -> None:
    """Read a topic from its start and report throughput and latency of the fetches; records are counted, not parsed."""
    with open_bootstrap(address) as bootstrap:
        found = bootstrap.topic(topic)
        chosen = request_version(bootstrap, FETCH, version)
        opened = []
        for leader, indexes in placement(found, connections):
            with Bootstrap(leader) as at_leader:
                targets = readers(at_leader, found, indexes, in_flight, version=chosen, max_bytes=max_bytes, repeat=repeat)
            opened.append(connect(leader, targets))
    load = Load(opened, in_flight=in_flight, max_records=0 if duration else num_records, duration=duration)
    try:
        watch(load.run, load.stop, lambda: load.records, None if duration else num_records, f"reading {topic}")
    finally:
        for sock, _ in opened:
            sock.close()
    print_report(report_of(load), form)
    if load.failed:
        raise click.exceptions.Exit(1)


def readers(
    leader: Bootstrap, topic: Topic, indexes: Sequence[int], in_flight: int, *, version: int, max_bytes: int, repeat: bool
) -> list[Target]:
    """Fetches of these partitions: with more in flight than partitions, several read the same one from different places."""
    lanes = -(-in_flight // len(indexes))
    targets = []
    for index in indexes:
        start, end = leader.offset(topic, index, EARLIEST), leader.offset(topic, index, LATEST)
        targets += [
            fetch_target(
                topic,
                index,
                version=version,
                offset=start + (end - start) * lane // lanes,
                max_bytes=max_bytes,
                first=start if repeat or lane else -1,
            )
            for lane in range(lanes)
        ]
    return targets

"""``kafkax perf latency``: one connection with one request in flight."""

from __future__ import annotations

import click

from kafkax._core.load import Load
from kafkax.cli.perf.bootstrap import Address
from kafkax.cli.perf.measure import connect, print_report, report_of, watch
from kafkax.cli.perf.options import ACKS, PRODUCE, common, open_bootstrap, request_version, topic_for
from kafkax.cli.perf.workload import api_versions_target, produce_target, record_batch


@click.command("latency")
@common
@click.option(
    "--request",
    "kind",
    type=click.Choice(["produce", "api-versions"]),
    default="produce",
    show_default=True,
    help="What to send.",
)
@click.option("--num-requests", type=click.IntRange(1), default=20_000, show_default=True, help="Requests to send.")
@click.option("--record-size", type=click.IntRange(0), default=100, show_default=True, help="Bytes of each record's value.")
@click.option("--batch-records", type=click.IntRange(1), default=1, show_default=True, help="Records per request.")
@click.option(
    "--acks", type=click.Choice(["1", "all", "-1"]), default="1", show_default=True, help="Acknowledgements to wait for."
)
@click.option("--rate", type=click.FloatRange(min=0), default=0.0, help="Requests per second; 0: one right after the other.")
def command(
    address: Address,
    topic: str,
    form: str | None,
    kind: str,
    num_requests: int,
    record_size: int,
    batch_records: int,
    acks: str,
    rate: float,
) -> None:
    """How long one answer takes when nothing else goes on; with --rate from when the request was due."""
    with open_bootstrap(address) as bootstrap:
        found = topic_for(bootstrap, topic, 1)
        if kind == "produce":
            version = request_version(bootstrap, PRODUCE)
            batch = record_batch(batch_records, record_size)
            target = produce_target(found, 0, batch, batch_records, version=version, acks=ACKS[acks])
        else:
            target = api_versions_target()
    opened = connect(found.leaders[0], [target])
    load = Load([opened], max_requests=num_requests, rate=rate)
    try:
        watch(load.run, load.stop, lambda: load.requests, num_requests, f"{kind} requests")
    finally:
        opened[0].close()
    print_report(report_of(load), form)
    if load.failed:
        raise click.exceptions.Exit(1)

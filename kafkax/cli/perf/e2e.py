"""``kafkax perf e2e``: from producer to waiting consumer, one record at a time."""

from __future__ import annotations

import time

import click

from kafkax._core.load_round_trip import RoundTrip
from kafkax.cli.perf.bootstrap import Address, Bootstrap
from kafkax.cli.perf.consume import LATEST
from kafkax.cli.perf.measure import Report, connect, print_report, summary, watch
from kafkax.cli.perf.options import ACKS, FETCH, PRODUCE, common, open_bootstrap, request_version, topic_for
from kafkax.cli.perf.workload import fetch_target, produce_target, record_batch


@click.command("e2e")
@common
@click.option("--num-records", type=click.IntRange(1), default=5_000, show_default=True, help="Records to send.")
@click.option("--record-size", type=click.IntRange(0), default=100, show_default=True, help="Bytes of each record's value.")
@click.option(
    "--acks", type=click.Choice(["1", "all", "-1"]), default="all", show_default=True, help="Acknowledgements to wait for."
)
@click.option("--rate", type=click.FloatRange(min=0), default=0.0, help="Records per second; 0: one right after the other.")
def command(address: Address, topic: str, form: str | None, num_records: int, record_size: int, acks: str, rate: float) -> None:
    """Send a record, wait until a consumer that was already waiting has it, send the next."""
    with open_bootstrap(address) as bootstrap:
        found = topic_for(bootstrap, topic, 1)
        produce_version = request_version(bootstrap, PRODUCE)
        fetch_version = request_version(bootstrap, FETCH)
    with Bootstrap(found.leaders[0]) as leader:
        end = leader.offset(found, 0, LATEST)
    batch = record_batch(1, record_size)
    producer, consumer = (connect(found.leaders[0], [])[0] for _ in range(2))
    with producer, consumer:
        produced = produce_target(found, 0, batch, 1, version=produce_version, acks=ACKS[acks])
        trip = RoundTrip(producer, produced, consumer, fetch_target(found, 0, version=fetch_version, offset=end))
        started = time.monotonic()
        watch(lambda: trip.run(num_records, rate=rate), trip.stop, lambda: trip.sent, num_records, f"records through {topic}")
        seconds = time.monotonic() - started
    report = Report(trip.sent, trip.sent, trip.sent * len(batch), seconds)
    report.latency_ms = {"acknowledged": summary(trip.acknowledged), "delivered": summary(trip.delivered)}
    print_report(report, form)

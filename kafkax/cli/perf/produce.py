"""``kafkax perf produce``: prebuilt batches over several connections, as fast as answers come or at a fixed rate."""

from __future__ import annotations

import math
from collections.abc import Sequence

import click

from kafkax._core.load import Load
from kafkax.cli.perf.bootstrap import Address, Topic
from kafkax.cli.perf.measure import connect, print_report, report_of, watch
from kafkax.cli.perf.options import ACKS, PRODUCE, common, open_bootstrap, request_version, topic_for, traffic
from kafkax.cli.perf.workload import produce_target, record_batch, spread
from kafkax.protocol.compression import CODECS


@click.command("produce")
@common
@click.option(
    "--partitions", type=click.IntRange(1), default=6, show_default=True, help="Partitions, if the topic has to be created."
)
@click.option("--num-records", type=click.IntRange(1), default=1_000_000, show_default=True, help="Records to send in all.")
@click.option("--record-size", type=click.IntRange(0), default=100, show_default=True, help="Bytes of each record's value.")
@click.option(
    "--batch-records", type=click.IntRange(1), default=100, show_default=True, help="Records per batch; one batch a request."
)
@traffic(connections=6, in_flight=5)
@click.option("--acks", type=click.Choice(list(ACKS)), default="1", show_default=True, help="Acknowledgements to wait for.")
@click.option(
    "--throughput", type=click.FloatRange(min=0), default=0.0, help="Records per second; 0: as many as the broker takes."
)
@click.option("--idempotent", is_flag=True, help="Give each connection a producer id and its batches sequences; needs acks=all.")
@click.option("--compression", type=click.Choice(CODECS), default="none", show_default=True, help="Codec of the batches.")
@click.option("--version", type=int, default=None, help="Version of Produce; the newest that the broker serves otherwise.")
def command(
    address: Address,
    topic: str,
    form: str | None,
    partitions: int,
    num_records: int,
    record_size: int,
    batch_records: int,
    connections: int,
    in_flight: int,
    duration: float,
    acks: str,
    throughput: float,
    idempotent: bool,
    compression: str,
    version: int | None,
) -> None:
    """Produce prebuilt batches and report throughput and latency.

    With --throughput a request's latency counts from when it was due, whether or not a slow broker let it leave then.
    """
    if idempotent and ACKS[acks] != -1:
        raise click.UsageError("--idempotent needs --acks all")
    with open_bootstrap(address) as bootstrap:
        found = topic_for(bootstrap, topic, partitions)
        chosen = request_version(bootstrap, PRODUCE, version)
        opened = []
        for leader, indexes in placement(found, connections, idempotent):
            producer = bootstrap.producer_id() if idempotent else None
            batch = record_batch(batch_records, record_size, producer=producer, compression=compression)
            targets = [
                produce_target(found, index, batch, batch_records, version=chosen, acks=ACKS[acks], idempotent=idempotent)
                for index in indexes
            ]
            opened.append(connect(leader, targets))
    total = 0 if duration else math.ceil(num_records / batch_records)
    load = Load(opened, in_flight=in_flight, max_requests=total, duration=duration, rate=throughput / batch_records)
    try:
        watch(load.run, load.stop, lambda: load.records, num_records if total else None, f"producing to {topic}")
    finally:
        for sock, _ in opened:
            sock.close()
    print_report(report_of(load), form)
    if load.failed:
        raise click.exceptions.Exit(1)


def placement(topic: Topic, connections: int, exclusive: bool = False) -> list[tuple[Address, Sequence[int]]]:
    """For each connection its broker and its partitions, all led by that broker.

    A broker gets connections in proportion to the partitions that it leads, one at least.  ``exclusive``: no partition is
    used by two connections, so that a producer's sequences stay in order.
    """
    led: dict[Address, list[int]] = {}
    for index, leader in enumerate(topic.leaders):
        led.setdefault(leader, []).append(index)
    placed: list[tuple[Address, Sequence[int]]] = []
    for leader, indexes in led.items():
        share = max(1, round(connections * len(indexes) / len(topic.leaders)))
        if exclusive:
            share = min(share, len(indexes))
        placed += [(leader, [indexes[place] for place in places]) for places in spread(len(indexes), share)]
    return placed

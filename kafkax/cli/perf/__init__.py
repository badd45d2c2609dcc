"""``kafkax perf``: load for any broker that speaks Kafka's protocol, and what it measured."""

from __future__ import annotations

from kafkax.cli.lazy import LazyGroup

__all__ = ["command"]

command = LazyGroup(
    name="perf",
    help="Measure a broker; any that speaks Kafka's protocol.",
    commands={
        "produce": ("kafkax.cli.perf.produce", "Produce as fast as the broker takes it, or at a fixed rate."),
        "consume": ("kafkax.cli.perf.consume", "Read a topic as fast as the broker sends it."),
        "latency": ("kafkax.cli.perf.latency", "One connection, one request in flight: how long an answer takes."),
        "e2e": ("kafkax.cli.perf.e2e", "From producer to waiting consumer, one record at a time."),
    },
)

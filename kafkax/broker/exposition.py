"""What Prometheus is told: what the network threads count, and what clients push of themselves (KIP-714)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import UUID

from kafkax.protocol.api import API_KEYS

if TYPE_CHECKING:
    from kafkax.broker.telemetry import TelemetryClient
    from kafkax.protocol.otlp import Measurement

__all__ = ["broker_lines", "client_lines"]

_MOST_SERIES = 100_000
"""Of clients; what is more is left out, and counted."""
_NO_NAME = re.compile(r"[^a-zA-Z0-9_]")
_ESCAPES = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})
_COUNTERS = ("bytes_in", "bytes_out", "accepted", "handed_over", "cold_reads", "stood_in", "looks", "looks_in_vain")
_GAUGES = ("connections", "waiting_for_control_plane", "held_bytes", "fetch_sessions")

Labels = Iterable[tuple[str, str]]


def broker_lines(counters: Mapping[str, Any]) -> Iterator[str]:
    """The lines of what ``Reactor.counters`` tells."""
    for name in _COUNTERS:
        yield from _family(f"kafkax_network_{name}_total", "counter", [((), counters[name])])
    for name in _GAUGES:
        yield from _family(f"kafkax_network_{name}", "gauge", [((), counters[name])])
    requests = [([("api", API_KEYS[key].name)], count) for key, count in counters["requests"].items() if key in API_KEYS]
    yield from _family("kafkax_network_requests_total", "counter", requests)
    closed = [([("reason", reason)], count) for reason, count in counters["closed"].items()]
    yield from _family("kafkax_network_closed_total", "counter", closed)


class _Series(NamedTuple):
    labels: tuple[tuple[str, str], ...]
    value: float
    cumulative: bool


def client_lines(latest: Iterable[tuple[UUID, TelemetryClient, list[Measurement]]]) -> Iterator[str]:
    """The lines of the latest that each client pushed.

    Names are those of the clients' metrics behind ``kafkax_client_``, with underscores; labels are their attributes and who
    the client is.
    """
    families: dict[str, dict[tuple[tuple[str, str], ...], _Series]] = {}
    count = left_out = 0
    for instance, client, measurements in latest:
        who = {
            "client_instance_id": str(instance),
            "client_id": client.client_id,
            "client_software_name": client.software_name,
            "client_software_version": client.software_version,
        }
        for each in measurements:
            if count == _MOST_SERIES:
                left_out += 1
                continue
            labels = tuple(sorted(({_label(name): text for name, text in each.attributes} | who).items()))
            family = families.setdefault("kafkax_client_" + _NO_NAME.sub("_", each.name), {})
            count += labels not in family
            family[labels] = _Series(labels, each.value, each.cumulative)
    for name in sorted(families):
        series = families[name].values()
        kind = "counter" if all(each.cumulative for each in series) else "gauge"
        yield from _family(name, kind, [(each.labels, each.value) for each in series])
    yield from _family("kafkax_client_series_left_out", "gauge", [((), left_out)])


def _label(name: str) -> str:
    """A label's name; those that begin with a digit or with two underscores are none."""
    cleaned = _NO_NAME.sub("_", name).lstrip("_")
    return cleaned if cleaned and not cleaned[0].isdigit() else f"label_{cleaned}"


def _family(name: str, kind: str, series: Iterable[tuple[Labels, float]]) -> Iterator[str]:
    yield f"# TYPE {name} {kind}"
    for labels, value in series:
        text = ",".join(f'{label}="{given.translate(_ESCAPES)}"' for label, given in labels)
        yield f"{name}{{{text}}} {_number(value)}" if text else f"{name} {_number(value)}"


def _number(value: float) -> str:
    if value != value:
        return "NaN"
    if value in (float("inf"), float("-inf")):
        return "+Inf" if value > 0 else "-Inf"
    return repr(value)

"""Clients' own metrics: which are wanted of whom, and the latest that each client pushed (KIP-714)."""

from __future__ import annotations

import zlib
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple
from uuid import UUID, uuid4

from kafkax.config import CLIENT_SELECTORS, ClientMetricsConfig, ConfigError
from kafkax.errors import ErrorCode, KafkaError, ProtocolError

if TYPE_CHECKING:
    from kafkax.clock import Clock
    from kafkax.cluster.image import MetadataCache
    from kafkax.config import BrokerConfig
    from kafkax.protocol.otlp import Measurement

__all__ = ["COMPRESSIONS", "Subscription", "Telemetry", "TelemetryClient"]

COMPRESSIONS = {4: "zstd", 3: "lz4", 1: "gzip", 2: "snappy"}
"""What a push may be compressed with, the best first; numbered as in record batches."""

NOBODY = UUID(int=0)
_DEFAULT_INTERVAL_MS = 300_000
_MOST_CLIENTS = 16_384
_EVERYTHING = "*"
_EARLY = 0.9
"""A push is early when less than this part of its interval has passed; clients spread theirs by some tenth."""


class TelemetryClient(NamedTuple):
    """Who asks, as subscriptions can choose by."""

    client_id: str
    software_name: str
    software_version: str
    address: str
    port: str


class Subscription(NamedTuple):
    """What is wanted of a client."""

    number: int
    interval_ms: int
    metrics: tuple[str, ...]
    """Beginnings of metrics' names; ``*`` alone for all, none for nothing."""


@dataclass
class _Instance:
    """What is known of one client instance."""

    client: TelemetryClient
    subscription: Subscription
    asked_at: float
    pushed_at: float | None = None
    terminated: bool = False
    measurements: list[Measurement] = field(default_factory=list)


class Telemetry:
    """Subscribes clients, takes their pushes, and keeps the latest of each.

    Args:
        cache: knows the subscriptions (client metrics configs).
        config: ``telemetry.max.bytes``.
        clock: time.
        new_id: makes the ids of client instances.
    """

    def __init__(
        self, cache: MetadataCache, config: BrokerConfig, clock: Clock, new_id: Callable[[], UUID] = uuid4
    ) -> None:
        self._cache = cache
        self._config = config
        self._clock = clock
        self._new_id = new_id
        self._instances: OrderedDict[UUID, _Instance] = OrderedDict()

    @property
    def max_bytes(self) -> int:
        """Largest push, before and after decompression."""
        return int(self._config["telemetry.max.bytes"])

    def subscribe(self, client: TelemetryClient, instance: UUID) -> tuple[UUID, Subscription]:
        """What is wanted of a client instance, whose id is made when it has none.

        Raises:
            KafkaError: THROTTLING_QUOTA_EXCEEDED when it asks again too early.
        """
        now = self._clock.monotonic()
        if instance == NOBODY:
            instance = self._new_id()
        known = self._instances.get(instance)
        subscription = self._subscription(client, instance)
        if known is not None:
            waited = 1000 * (now - max(known.asked_at, known.pushed_at or 0.0))
            if subscription == known.subscription and waited < _EARLY * known.subscription.interval_ms:
                raise KafkaError(ErrorCode.THROTTLING_QUOTA_EXCEEDED, "the subscription was asked for a moment ago")
            known.client, known.subscription, known.asked_at = client, subscription, now
        else:
            self._instances[instance] = _Instance(client, subscription, now)
        self._instances.move_to_end(instance)
        if len(self._instances) > _MOST_CLIENTS:
            self._instances.popitem(last=False)
        return instance, subscription

    def push(self, client: TelemetryClient, instance: UUID, number: int, compression: int, data: bytes, *, last: bool) -> None:
        """Take what a client measured; ``last``: it is about to stop.

        Raises:
            KafkaError: INVALID_REQUEST, UNKNOWN_SUBSCRIPTION_ID, UNSUPPORTED_COMPRESSION_TYPE, TELEMETRY_TOO_LARGE,
                THROTTLING_QUOTA_EXCEEDED, INVALID_RECORD.
        """
        if instance == NOBODY:
            raise KafkaError(ErrorCode.INVALID_REQUEST, "the client instance has no id; ask for the subscription first")
        now, known = self._clock.monotonic(), self._instances.get(instance)
        if known is None:
            known = self._instances[instance] = _Instance(client, self._subscription(client, instance), now - 1e6)
        if known.terminated:
            raise KafkaError(ErrorCode.INVALID_REQUEST, "the client instance has said its last word")
        current = known.subscription
        if number != current.number or current != self._subscription(client, instance):
            raise KafkaError(ErrorCode.UNKNOWN_SUBSCRIPTION_ID)
        early = known.pushed_at is not None and 1000 * (now - known.pushed_at) < _EARLY * current.interval_ms
        if early and not last:
            raise KafkaError(ErrorCode.THROTTLING_QUOTA_EXCEEDED, "the last push was a moment ago")
        known.measurements = self._read(compression, data)
        known.pushed_at, known.terminated, known.client = now, last, client
        self._instances.move_to_end(instance)

    def latest(self) -> Iterator[tuple[UUID, TelemetryClient, list[Measurement]]]:
        """The latest measurements of every client that pushed some within three of its intervals."""
        now = self._clock.monotonic()
        for instance, known in self._instances.items():
            if known.pushed_at is not None and 1000 * (now - known.pushed_at) < 3 * known.subscription.interval_ms:
                yield instance, known.client, known.measurements

    def _read(self, compression: int, data: bytes) -> list[Measurement]:
        from kafkax.protocol.compression import decompress
        from kafkax.protocol.otlp import read_metrics

        limit = self.max_bytes
        if compression and compression not in COMPRESSIONS:
            raise KafkaError(ErrorCode.UNSUPPORTED_COMPRESSION_TYPE)
        if len(data) > limit:
            raise KafkaError(ErrorCode.TELEMETRY_TOO_LARGE, f"{len(data)} bytes are more than telemetry.max.bytes={limit}")
        try:
            return read_metrics(decompress(COMPRESSIONS[compression], data, limit) if compression and data else bytes(data))
        except ProtocolError as error:
            raise KafkaError(ErrorCode.INVALID_RECORD, f"the metrics do not parse: {error}") from None
        except KafkaError as error:
            large = error.code is ErrorCode.MESSAGE_TOO_LARGE
            raise KafkaError(ErrorCode.TELEMETRY_TOO_LARGE if large else ErrorCode.INVALID_RECORD, str(error)) from None

    def _subscription(self, client: TelemetryClient, instance: UUID) -> Subscription:
        """What all subscriptions that mean this client want together."""
        facts = dict(
            zip(
                CLIENT_SELECTORS,
                (client.client_id, str(instance), client.software_name, client.software_version, client.address, client.port),
                strict=True,
            )
        )
        metrics: set[str] = set()
        intervals = []
        for (entity_type, _), overrides in self._cache.image.entity_configs.items():
            if entity_type != "client-metrics":
                continue
            try:
                config = ClientMetricsConfig(overrides, self._config)
                fits = all(pattern.fullmatch(facts[name]) for name, pattern in config.selectors().items())
            except ConfigError:
                continue
            if fits and config["metrics"]:
                metrics.update(config["metrics"])
                intervals.append(config["interval.ms"])
        wanted = (_EVERYTHING,) if _EVERYTHING in metrics else tuple(sorted(metrics))
        interval = min(intervals, default=_DEFAULT_INTERVAL_MS)
        text = f"{wanted}{interval}{instance}".encode()
        return Subscription(zlib.crc32(text) & 0x7FFF_FFFF, interval, wanted)

"""How many partitions a second a client may create and delete: ``controller_mutation_rate`` (KIP-599).

A bucket of tokens fills at the quota's rate and holds what the quota allows in all samples.  Every partition takes a token, and
the bucket may be overdrawn once: a request is served as long as the bucket is not in debt.  Clients of a version that knows
THROTTLING_QUOTA_EXCEEDED get it while the bucket is; those of older versions are served and have to wait afterwards.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

from kafkax.broker.quota_table import QuotaTable, Sharing
from kafkax.errors import ErrorCode, KafkaError

if TYPE_CHECKING:
    from kafkax.broker.handlers.spec import RequestContext
    from kafkax.clock import Clock
    from kafkax.cluster.image import ImageDelta, MetadataCache, MetadataImage

__all__ = ["MutationQuota", "MutationQuotas", "TokenBucket"]

_NAME = "controller_mutation_rate"
_MOST_BUCKETS = 10_000
"""Clients whose debts are remembered; those of others are forgiven."""


class TokenBucket:
    """Tokens that come at a steady rate and of which no more than a burst are kept; it is full at first."""

    __slots__ = ("_filled_at", "_tokens")

    def __init__(self) -> None:
        self._tokens = float("inf")
        self._filled_at = 0.0

    def fill(self, rate: float, burst: float, now: float) -> float:
        """What is in it at ``now`` seconds, negative when it is in debt."""
        self._tokens = min(burst, self._tokens + rate * (now - self._filled_at))
        self._filled_at = now
        return self._tokens

    def take(self, count: int) -> None:
        """Take tokens out, as many as are asked for; :meth:`fill` it before."""
        self._tokens -= count


class MutationQuota:
    """What one request may still create and delete.

    Args:
        bucket: of those who share the quota; None where nothing limits them.
        rate: tokens a second.
        burst: most tokens that are kept.
        strict: whether the request is refused while the bucket is in debt; otherwise it only has to wait.
        clock: time.
    """

    def __init__(self, bucket: TokenBucket | None, rate: float, burst: float, *, strict: bool, clock: Clock) -> None:
        self._bucket = bucket
        self._rate = rate
        self._burst = burst
        self._strict = strict
        self._clock = clock
        self._throttled = False

    def take(self, partitions: int) -> None:
        """Create or delete so many partitions.

        Raises:
            KafkaError: THROTTLING_QUOTA_EXCEEDED.
        """
        if self._bucket is None:
            return
        left = self._bucket.fill(self._rate, self._burst, self._clock.monotonic())
        if self._strict and left < 0:
            self._throttled = True
            wait = round(1000 * -left / self._rate)
            raise KafkaError(ErrorCode.THROTTLING_QUOTA_EXCEEDED, f"{_NAME}={self._rate} is exceeded; try again in {wait} ms")
        self._bucket.take(partitions)
        self._throttled = not self._strict and left < partitions

    def throttle_ms(self) -> int:
        """Milliseconds that the client has to wait after the request."""
        if self._bucket is None or not self._throttled:
            return 0
        left = self._bucket.fill(self._rate, self._burst, self._clock.monotonic())
        return max(0, round(1000 * -left / self._rate))


class MutationQuotas:
    """The quotas of every client, as the image has them.

    Args:
        clock: time.
        samples: controller.quota.window.num.
        seconds: controller.quota.window.size.seconds.
    """

    def __init__(self, clock: Clock, samples: int, seconds: float) -> None:
        self._clock = clock
        self._burst_seconds = samples * seconds
        self._table = QuotaTable((_NAME,))
        self._buckets: OrderedDict[Sharing, TokenBucket] = OrderedDict()

    def follow(self, cache: MetadataCache) -> None:
        """Take over what the image says, now and from here on."""
        cache.add_listener(self._image_changed)
        self._table.take_over(cache.image)

    def _image_changed(self, image: MetadataImage, delta: ImageDelta) -> None:
        if QuotaTable.touched(delta) and self._table.take_over(image) and not self._table:
            self._buckets.clear()

    def of(self, context: RequestContext, strict_since: int) -> MutationQuota:
        """The quota of who asks; requests of versions before ``strict_since`` cannot be refused."""
        return self.quota(context.user, context.client_id or "", strict=context.version >= strict_since)

    def quota(self, user: str, client_id: str, *, strict: bool) -> MutationQuota:
        """The quota of a user with a client id."""
        found = self._table.find(_NAME, user, client_id) if self._table else None
        if found is None:
            return MutationQuota(None, 0.0, 0.0, strict=strict, clock=self._clock)
        rate, sharing = found
        bucket = self._buckets.setdefault(sharing, TokenBucket())
        self._buckets.move_to_end(sharing)
        if len(self._buckets) > _MOST_BUCKETS:
            self._buckets.popitem(last=False)
        return MutationQuota(bucket, rate, rate * self._burst_seconds, strict=strict, clock=self._clock)

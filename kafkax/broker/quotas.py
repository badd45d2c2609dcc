"""Client quotas in force: who has which, how much was used, and how long a client has to wait (KIP-13, 55, 124, 219).

A rate is measured over ``quota.window.num`` samples of ``quota.window.size.seconds``.  Who goes beyond it has to wait until the
rate would be back at the quota: the answer leaves at once and names the wait, and the connection is not read meanwhile.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, NamedTuple

from kafkax.broker.quota_table import QuotaTable

if TYPE_CHECKING:
    from kafkax.clock import Clock
    from kafkax.cluster.image import ImageDelta, MetadataCache, MetadataImage

__all__ = ["CONSUMER", "PRODUCER", "REQUEST", "ClientQuotas", "Quotas", "Rate"]

PRODUCER, CONSUMER, REQUEST = "producer_byte_rate", "consumer_byte_rate", "request_percentage"
_ENFORCED = (PRODUCER, CONSUMER, REQUEST)
_MOST_CLIENTS = 10_000
"""Clients whose quotas are remembered as looked up; rates of others begin anew."""


class Rate:
    """How much was used per second, over the latest samples.

    Args:
        samples: quota.window.num.
        seconds: that one sample spans, quota.window.size.seconds.
    """

    __slots__ = ("_samples", "_seconds", "_slots")

    def __init__(self, samples: int, seconds: float) -> None:
        self._samples = samples
        self._seconds = seconds
        self._slots: list[tuple[float, float]] = []

    def record(self, amount: float, now: float) -> None:
        """Add what was used at ``now`` seconds; a negative amount takes something back."""
        if self._slots and now - self._slots[-1][0] < self._seconds:
            began, before = self._slots[-1]
            self._slots[-1] = (began, before + amount)
        else:
            self._slots.append((now, amount))

    def window(self, now: float) -> float:
        """Seconds that the measurement covers: since the oldest sample, at least all samples but one."""
        oldest = now - self._samples * self._seconds
        while self._slots and self._slots[0][0] < oldest:
            del self._slots[0]
        whole = (self._samples - 1) * self._seconds
        began = self._slots[0][0] if self._slots else now
        return max(now - began, whole, self._seconds)

    def throttle_ms(self, quota: float, now: float) -> int:
        """Milliseconds until the rate is down to the quota."""
        window = self.window(now)
        rate = sum(amount for _, amount in self._slots) / window
        return 0 if rate <= quota else round((rate - quota) / quota * window * 1000)


class _Limit(NamedTuple):
    """A quota and the rate that all who share it have."""

    quota: float
    rate: Rate


class ClientQuotas:
    """The quotas of one user with one client id.

    Args:
        limits: by quota; what is not there is not limited.
        settings: number of samples, and seconds of each.
    """

    __slots__ = ("_limits", "_settings")

    def __init__(self, limits: Mapping[str, _Limit], settings: tuple[int, float]) -> None:
        self._limits = limits
        self._settings = settings

    def __contains__(self, key: str) -> bool:
        return key in self._limits

    def use(self, key: str, amount: float, now: float) -> int:
        """Note what was used; milliseconds that the client has to wait."""
        limit = self._limits.get(key)
        if limit is None:
            return 0
        limit.rate.record(amount, now)
        return limit.rate.throttle_ms(limit.quota, now)

    def give_back(self, key: str, amount: float, now: float) -> None:
        """What was noted was not used after all."""
        limit = self._limits.get(key)
        if limit is not None:
            limit.rate.record(-amount, now)

    def use_time(self, seconds: float, now: float) -> int:
        """Note time that requests took, in percent of one thread; milliseconds to wait, a sample's length at most."""
        return min(self.use(REQUEST, 100 * seconds, now), round(self._settings[1] * 1000))

    def most_bytes(self) -> int | None:
        """What a Fetch may return at most: what the quota allows in all samples but one.  None without a quota."""
        limit = self._limits.get(CONSUMER)
        samples, seconds = self._settings
        return None if limit is None else int(limit.quota * max(samples - 1, 1) * seconds)


class Quotas:
    """The quotas of every client, as the image has them.

    Args:
        clock: time.
        samples: quota.window.num.
        seconds: quota.window.size.seconds.

    Attributes:
        generation: grows with every change of quotas; 0 while there are none.
        enforced: whether anybody has a quota that is enforced.
    """

    def __init__(self, clock: Clock, samples: int, seconds: float) -> None:
        self.clock = clock
        self.generation = 0
        self.enforced = False
        self._changed: Callable[[int], None] = lambda _: None
        self._settings = (samples, seconds)
        self._generations = 0
        self._table = QuotaTable(_ENFORCED)
        self._rates: dict[tuple[str, str, str], Rate] = {}
        self._known: OrderedDict[tuple[str, str], ClientQuotas | None] = OrderedDict()

    def follow(self, cache: MetadataCache, changed: Callable[[int], None]) -> None:
        """Take over what the image says, now and from here on.

        Args:
            cache: holds the image.
            changed: called with the new generation when quotas changed, so that every connection is looked at anew.
        """
        self._changed = changed
        cache.add_listener(self._image_changed)
        self._take_over(cache.image)

    def _image_changed(self, image: MetadataImage, delta: ImageDelta) -> None:
        if QuotaTable.touched(delta):
            self._take_over(image)

    def _take_over(self, image: MetadataImage) -> None:
        if self._table.take_over(image):
            self._known.clear()
            self.enforced = bool(self._table)
            if not self.enforced:
                self._rates.clear()
            self._generations += 1
            self.generation = self._generations if self.enforced else 0
            self._changed(self.generation)

    def of(self, user: str, client_id: str) -> ClientQuotas | None:
        """The quotas of a user with a client id, None when nothing limits it."""
        key = (user, client_id)
        try:
            self._known.move_to_end(key)
            return self._known[key]
        except KeyError:
            found = self._known[key] = self._look_up(user, client_id)
        if len(self._known) > _MOST_CLIENTS:
            self._known.popitem(last=False)
        return found

    def _look_up(self, user: str, client_id: str) -> ClientQuotas | None:
        limits = {}
        for quota in _ENFORCED:
            found = self._table.find(quota, user, client_id)
            if found is not None:
                value, sharing = found
                limits[quota] = _Limit(value, self._rates.setdefault((quota, *sharing), Rate(*self._settings)))
        return ClientQuotas(limits, self._settings) if limits else None

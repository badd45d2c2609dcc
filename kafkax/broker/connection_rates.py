"""How many connections may be made a second: ``max.connection.creation.rate`` and quotas of addresses (KIP-612).

Where nothing limits them the core takes connections in by itself.  Otherwise each is announced here before anything of it is
read: beyond the broker's or its listener's rate it has to wait for its turn, and beyond its address's it is closed after a while.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections import OrderedDict, deque
from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import TYPE_CHECKING, TypeAlias

from kafkax.broker.quotas import Rate
from kafkax.cluster.client_quotas import IP, client_quotas
from kafkax.config import ConfigError

if TYPE_CHECKING:
    from kafkax.clock import Clock
    from kafkax.cluster.image import ImageDelta, MetadataCache, MetadataImage
    from kafkax.config import BrokerConfig
    from kafkax.net.connection import Connection

__all__ = ["ConnectionRates", "connections_per_address"]

Address: TypeAlias = "IPv4Address | IPv6Address"

_RATE = "max.connection.creation.rate"
_OVERRIDES = "max.connections.per.ip.overrides"
_QUOTA = "connection_creation_rate"
_UNLIMITED = (1 << 31) - 1
_MOST_WAITING = 1_000
"""Connections of a listener that wait for their turn; those that come beyond it are closed."""
_MOST_ADDRESSES = 10_000
"""Addresses whose rates are remembered."""
_log = logging.getLogger(__name__)


class ConnectionRates:
    """Lets new connections in as fast as they may come.

    Args:
        config: the rates of the broker and its listeners, and how quotas are measured.
        clock: time.
    """

    def __init__(self, config: BrokerConfig, clock: Clock) -> None:
        self._config = config
        self._clock = clock
        self._settings = (config["quota.window.num"], config["quota.window.size.seconds"])
        self._let_in: Callable[[Connection], None] = lambda _: None
        self._changed: Callable[[bool], None] = lambda _: None
        self._of_broker = Rate(*self._settings)
        self._gates: dict[str, _Gate] = {}
        self._resolving: set[asyncio.Task[None]] = set()
        self._default: float | None = None
        self._quotas: dict[Address, float] = {}
        self._addresses: OrderedDict[Address, Rate] = OrderedDict()

    def follow(self, cache: MetadataCache, let_in: Callable[[Connection], None], changed: Callable[[bool], None]) -> None:
        """Go by what the image and the configs say, now and from here on.

        Args:
            cache: holds the image.
            let_in: called with every connection whose turn has come.
            changed: called with whether there is anything to limit.
        """
        self._let_in, self._changed = let_in, changed
        cache.add_listener(self._image_changed)
        self._config.on_change(lambda _: self._announce())
        self._take_over(cache.image)

    @property
    def active(self) -> bool:
        """Whether anything is limited."""
        rates = [self._config[_RATE], *(self._listener_rate(each.name) for each in self._config.listeners)]
        return bool(self._quotas) or self._default is not None or min(rates) < _UNLIMITED

    def opened(self, connection: Connection) -> None:
        """Let a new connection in, at once or later, or close it."""
        gate = self._gates.get(connection.listener)
        if gate is None:
            gate = self._gates[connection.listener] = _Gate(self, connection.listener, Rate(*self._settings))
        gate.enter(connection)

    def _image_changed(self, image: MetadataImage, delta: ImageDelta) -> None:
        if any(entity_type == "ips" for entity_type, _ in delta.configs):
            self._take_over(image)

    def _take_over(self, image: MetadataImage) -> None:
        self._default, self._quotas = None, {}
        for entity, values in client_quotas(image):
            if IP not in entity or _QUOTA not in values:
                continue
            name = entity[IP]
            if name is None:
                self._default = values[_QUOTA]
            elif (address := _address(name)) is not None:
                self._quotas[address] = values[_QUOTA]
            else:
                task = asyncio.ensure_future(self._resolve(name, values[_QUOTA], self._quotas))
                self._resolving.add(task)
                task.add_done_callback(self._resolving.discard)
        self._announce()

    async def _resolve(self, host: str, quota: float, quotas: dict[Address, float]) -> None:
        """Limit the addresses of a host that has a quota, unless quotas have changed meanwhile."""
        try:
            found = await asyncio.get_running_loop().getaddrinfo(host, None)
        except OSError as error:
            _log.error("the quota of %s is not in force: %s", host, error)
            return
        quotas.update({address: quota for *_, where in found if (address := _address(str(where[0]))) is not None})
        if quotas is self._quotas:
            self._announce()

    def _announce(self) -> None:
        self._changed(self.active)

    def _listener_rate(self, listener: str) -> int:
        return int(self._config[f"listener.name.{listener.lower()}.{_RATE}"])

    def _between_brokers(self, listener: str) -> bool:
        """Whether only brokers use a listener, which clients must not starve of connections."""
        return len(self._config.listeners) > 1 and listener == self._config.inter_broker_listener

    def wait_ms(self, listener: str, rate: Rate) -> int:
        """Count a connection; milliseconds that it has to wait for the rates of the broker and of its listener."""
        now = self._clock.monotonic()
        self._of_broker.record(1, now)
        rate.record(1, now)
        waits = [self._throttle_ms(rate, self._listener_rate(listener), now)]
        if not self._between_brokers(listener):
            waits.append(self._throttle_ms(self._of_broker, self._config[_RATE], now))
        return max(waits)

    def pass_address(self, connection: Connection) -> None:
        """Let a connection in if its address may have one more; otherwise close it when that would be so again."""
        address = _address(connection.peer.rpartition(":")[0].strip("[]"))
        quota = None if address is None else self._quotas.get(address, self._default)
        if address is not None and quota is not None:
            now = self._clock.monotonic()
            rate = self._addresses.setdefault(address, Rate(*self._settings))
            self._addresses.move_to_end(address)
            if len(self._addresses) > _MOST_ADDRESSES:
                self._addresses.popitem(last=False)
            rate.record(1, now)
            wait = self._throttle_ms(rate, quota, now)
            if wait > 0:
                rate.record(-1, now)
                asyncio.get_running_loop().call_later(wait / 1000, connection.close)
                return
        self._let_in(connection)

    def _throttle_ms(self, rate: Rate, quota: float, now: float) -> int:
        """Milliseconds until a rate is down to its quota, a sample's length at most."""
        longest = int(self._settings[1] * 1000)
        return longest if quota <= 0 else min(rate.throttle_ms(quota, now), longest)


class _Gate:
    """The connections of one listener, one after the other."""

    def __init__(self, rates: ConnectionRates, listener: str, rate: Rate) -> None:
        self._rates = rates
        self._listener = listener
        self._rate = rate
        self._queue: deque[Connection] = deque()
        self._closed = False

    def enter(self, connection: Connection) -> None:
        if len(self._queue) >= _MOST_WAITING:
            connection.close()
            return
        self._queue.append(connection)
        if not self._closed:
            self._next()

    def _next(self) -> None:
        while self._queue:
            wait = self._rates.wait_ms(self._listener, self._rate)
            if wait > 0:
                self._closed = True
                asyncio.get_running_loop().call_later(wait / 1000, self._open)
                return
            self._rates.pass_address(self._queue.popleft())

    def _open(self) -> None:
        self._closed = False
        self._rates.pass_address(self._queue.popleft())
        self._next()


def connections_per_address(config: BrokerConfig) -> dict[Address, int]:
    """How many connections some addresses may have, by ``max.connections.per.ip.overrides``.

    Raises:
        ConfigError: it does not consist of ``host:count``, or a host has no address.
    """
    most = {}
    for pair in filter(None, (each.strip() for each in config[_OVERRIDES].split(","))):
        name, _, count = pair.rpartition(":")
        try:
            found = socket.getaddrinfo(name.strip("[]"), None) if name and count.isdigit() else []
        except OSError:
            found = []
        if not found:
            raise ConfigError(f"{_OVERRIDES}: {pair!r} is refused; it takes hosts and counts, such as 127.0.0.1:100")
        most.update({address: int(count) for *_, where in found if (address := _address(str(where[0]))) is not None})
    return most


def _address(text: str) -> Address | None:
    """An address; None for what is none.  IPv4 in IPv6's form is IPv4."""
    try:
        found = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return getattr(found, "ipv4_mapped", None) or found

"""Where a broker listens, and what it tells clients to connect to.

Kafka's rules (``listeners``, ``advertised.listeners``, ``listener.security.protocol.map``), with two of our own: an
address that no client can connect to is refused at start, and an address is advertised as it was written, so that
``127.0.0.1`` never becomes ``localhost``, which some systems resolve to ``::1``.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from kafkax.config.error import ConfigError

__all__ = ["PROTOCOLS", "Endpoint", "advertised_endpoints", "local_host_name", "parse_endpoints", "parse_protocol_map"]

PROTOCOLS = ("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL")
"""Kafka's security protocols; a listener may carry the name of one without a mapping."""

SERVED_PROTOCOLS = ("PLAINTEXT", "SSL")
"""Those that a listener of this broker can speak."""

_URI = re.compile(r"([^:/\s]+)://(\[[^\]\s]*\]|[^:/\[\]\s]*):(-?[0-9]+)\Z")
_WILDCARDS = ("0.0.0.0", "::")


class Endpoint(NamedTuple):
    """A listener: its name, what is spoken there, and its address."""

    name: str
    protocol: str
    host: str
    """Host name or address without brackets; empty for every interface."""
    port: int
    """TCP port; 0 lets the system choose when the broker starts."""

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.name}://{host}:{self.port}"


def parse_protocol_map(pairs: str) -> dict[str, str]:
    """Parse ``listener.security.protocol.map``: listener name (upper case) to protocol.

    Raises:
        ConfigError: a pair is malformed, or its protocol unknown.
    """
    key = "listener.security.protocol.map"
    result: dict[str, str] = {}
    for pair in filter(None, (part.strip() for part in pairs.split(","))):
        name, colon, protocol = pair.partition(":")
        if not colon or not name:
            raise ConfigError(f"{key}: value {pair!r} is refused; pairs NAME:PROTOCOL are allowed")
        if protocol.upper() not in PROTOCOLS:
            raise ConfigError(f"{key}: protocol {protocol!r} of {name} is unknown; allowed: {', '.join(PROTOCOLS)}")
        if name.upper() in result:
            raise ConfigError(f"{key}: listener {name.upper()} stands twice")
        result[name.upper()] = protocol.upper()
    return result


def parse_endpoints(key: str, uris: Iterable[str], protocols: Mapping[str, str]) -> tuple[Endpoint, ...]:
    """Parse ``listeners`` or ``advertised.listeners``.

    Args:
        key: the config's name, for errors.
        uris: ``NAME://host:port`` each.
        protocols: protocol of each listener name.

    Raises:
        ConfigError: an address is malformed, a name stands twice or has no protocol.
    """
    endpoints: list[Endpoint] = []
    for uri in uris:
        match = _URI.match(uri)
        if match is None or not 0 <= int(match[3]) <= 65535:
            raise ConfigError(f"{key}: value {uri!r} is refused; NAME://host:port is allowed, with a port from 0 to 65535")
        name = match[1].upper()
        if name not in protocols:
            raise ConfigError(f"{key}: listener {name} has no protocol; add {name}:PLAINTEXT to listener.security.protocol.map")
        if any(other.name == name for other in endpoints):
            raise ConfigError(f"{key}: listener {name} stands twice; give each address a name of its own")
        endpoints.append(Endpoint(name, protocols[name], match[2].strip("[]"), int(match[3])))
    if not endpoints:
        raise ConfigError(f"{key}: it may not be empty; write for example PLAINTEXT://127.0.0.1:9092")
    return tuple(endpoints)


def check_bound(key: str, endpoints: Iterable[Endpoint]) -> None:
    """Hold listeners to what can be opened: a port of its own for each, and a protocol that is spoken.

    A port may stand twice when one address is IPv4 and the other IPv6 (KIP-797).

    Raises:
        ConfigError: a port is taken by another listener, or the protocol is not served.
    """
    seen: dict[tuple[int, bool], Endpoint] = {}
    for endpoint in endpoints:
        if endpoint.protocol not in SERVED_PROTOCOLS:
            raise ConfigError(
                f"{key}: listener {endpoint} needs {endpoint.protocol}, which is not served yet; "
                f"served: {', '.join(SERVED_PROTOCOLS)}"
            )
        slot = (endpoint.port, ":" in endpoint.host)
        if endpoint.port and slot in seen:
            raise ConfigError(f"{key}: {seen[slot]} and {endpoint} share port {endpoint.port}; give each its own")
        seen[slot] = endpoint


def advertised_endpoints(
    listeners: Iterable[Endpoint], given: tuple[Endpoint, ...] | None, host_name: Callable[[], str | None]
) -> tuple[Endpoint, ...]:
    """What clients are told to connect to, by listener.

    Args:
        listeners: what the broker listens on.
        given: ``advertised.listeners`` when it is set.
        host_name: gives this machine's name if it resolves; asked for a listener without a host.

    Raises:
        ConfigError: an address that no client can connect to would be advertised, or a name has no listener.
    """
    listeners = tuple(listeners)
    if given is None:
        return tuple(_advertise(endpoint, host_name) for endpoint in listeners)
    names = {endpoint.name for endpoint in listeners}
    for endpoint in given:
        if endpoint.name not in names:
            raise ConfigError(
                f"advertised.listeners: {endpoint} has no listener; listeners has {', '.join(sorted(names))}"
            )
        if not endpoint.host or endpoint.host in _WILDCARDS:
            raise ConfigError(f"advertised.listeners: {endpoint} is no address that a client can connect to; name the host")
    return given


def _advertise(endpoint: Endpoint, host_name: Callable[[], str | None]) -> Endpoint:
    if endpoint.host in _WILDCARDS:
        raise ConfigError(
            f"listeners: {endpoint} listens on every interface, but clients cannot connect to {endpoint.host}; "
            f"set advertised.listeners, for example {endpoint.name}://broker1.example.com:{endpoint.port}"
        )
    if endpoint.host:
        return endpoint
    host = host_name()
    if host is None:
        raise ConfigError(
            f"listeners: {endpoint} has no host, and this machine's name does not resolve; "
            f"set advertised.listeners, for example {endpoint.name}://127.0.0.1:{endpoint.port}"
        )
    return endpoint._replace(host=host)


def local_host_name() -> str | None:
    """This machine's host name if it resolves, or None."""
    name = socket.gethostname()
    try:
        socket.getaddrinfo(name, None)
    except OSError:
        return None
    return name

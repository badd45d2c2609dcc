"""Configs of clients, under the names that librdkafka and Java's client give them.

A client takes a mapping.  Every key is known, of the right type and within its bounds, or the client is not made: the error
names the key, the value, what is allowed, and the key that was probably meant.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Set
from typing import Any, NamedTuple

from kafkax.config import ConfigError
from kafkax.config.values import nearest

__all__ = ["ClientConfig", "client_config", "config_names"]

_BOOLEANS = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}


class _Key(NamedTuple):
    """One config: whose it is (``*`` all clients, ``P``, ``C``, ``A``), its type, default and what is allowed."""

    name: str
    owner: str
    kind: type | str
    default: Any
    allowed: tuple[Any, ...] = ()


_INT = 2**31 - 1
_KEYS = {
    key.name: key
    for key in (
        _Key("bootstrap.servers", "*", str, None),
        _Key("client.id", "*", str, "kafkax"),
        _Key("client.rack", "*", str, ""),
        _Key("allow.auto.create.topics", "*", bool, None),
        _Key("metadata.max.age.ms", "*", int, 300_000, (1000, _INT)),
        _Key("request.timeout.ms", "*", int, 30_000, (1, 900_000)),
        _Key("socket.connection.setup.timeout.ms", "*", int, 30_000, (1000, _INT)),
        _Key("connections.max.idle.ms", "*", int, 540_000, (0, _INT)),
        _Key("reconnect.backoff.ms", "*", int, 100, (0, 3_600_000)),
        _Key("reconnect.backoff.max.ms", "*", int, 10_000, (0, 3_600_000)),
        _Key("retry.backoff.ms", "*", int, 100, (1, 300_000)),
        _Key("retry.backoff.max.ms", "*", int, 1000, (1, 300_000)),
        _Key("receive.message.max.bytes", "*", int, 100_000_000, (1000, _INT)),
        _Key("socket.send.buffer.bytes", "*", int, 0, (0, 100_000_000)),
        _Key("socket.receive.buffer.bytes", "*", int, 0, (0, 100_000_000)),
        _Key("socket.keepalive.enable", "*", bool, False),
        _Key("broker.address.family", "*", str, "any", ("any", "v4", "v6")),
        _Key("security.protocol", "*", str, "PLAINTEXT", ("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL")),
        _Key("ssl.ca.location", "*", str, None),
        _Key("ssl.ca.pem", "*", str, None),
        _Key("ssl.certificate.location", "*", str, None),
        _Key("ssl.key.location", "*", str, None),
        _Key("ssl.key.password", "*", str, None),
        _Key("ssl.endpoint.identification.algorithm", "*", str, "https", ("https", "none", "")),
        _Key("enable.ssl.certificate.verification", "*", bool, True),
        _Key("sasl.mechanism", "*", str, "PLAIN", ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER")),
        _Key("sasl.username", "*", str, None),
        _Key("sasl.password", "*", str, None),
        _Key("oauth_cb", "*", "function", None),
        _Key("error_cb", "*", "function", None),
        _Key("interceptors", "*", "objects", ()),
        _Key("acks", "P", int, -1, (-1, 1)),
        _Key("enable.idempotence", "P", bool, None),
        _Key("on_delivery", "P", "function", None),
        _Key("transactional.id", "P", str, None),
        _Key("transaction.timeout.ms", "P", int, 60_000, (1000, _INT)),
        _Key("linger.ms", "P", float, 5.0, (0, 900_000)),
        _Key("batch.size", "P", int, 1_000_000, (1, _INT)),
        _Key("batch.num.messages", "P", int, 10_000, (1, 1_000_000)),
        _Key("message.max.bytes", "P", int, 1_000_000, (1000, 1_000_000_000)),
        _Key("compression.type", "P", str, "none", ("none", "gzip", "snappy", "lz4", "zstd")),
        _Key("compression.level", "P", int, None, (-131072, 22)),
        _Key("delivery.timeout.ms", "P", int, 300_000, (1, _INT)),
        _Key("retries", "P", int, _INT, (0, _INT)),
        _Key("max.in.flight.requests.per.connection", "P", int, 5, (1, 1_000_000)),
        _Key("queue.buffering.max.messages", "P", int, 1_000_000, (0, _INT)),
        _Key("queue.buffering.max.kbytes", "P", int, 1_048_576, (1, _INT)),
        _Key(
            "partitioner", "P", str, "murmur2_random", ("murmur2_random", "consistent_random", "murmur2", "consistent", "random")
        ),
        _Key("group.id", "C", str, None),
        _Key("group.instance.id", "C", str, None),
        _Key("group.protocol", "C", str, "classic", ("classic", "consumer")),
        _Key("group.remote.assignor", "C", str, None),
        _Key(
            "partition.assignment.strategy",
            "C",
            list,
            ("range", "roundrobin"),
            ("range", "roundrobin", "sticky", "cooperative-sticky"),
        ),
        _Key("session.timeout.ms", "C", int, 45_000, (1, 3_600_000)),
        _Key("heartbeat.interval.ms", "C", int, 3000, (1, 3_600_000)),
        _Key("max.poll.interval.ms", "C", int, 300_000, (1, 86_400_000)),
        _Key(
            "auto.offset.reset",
            "C",
            str,
            "latest",
            ("earliest", "smallest", "beginning", "latest", "largest", "end", "error", "none", "by_duration:*"),
        ),
        _Key("enable.auto.commit", "C", bool, True),
        _Key("auto.commit.interval.ms", "C", int, 5000, (1, 86_400_000)),
        _Key("on_commit", "C", "function", None),
        _Key("enable.auto.offset.store", "C", bool, True),
        _Key("enable.partition.eof", "C", bool, False),
        _Key("isolation.level", "C", str, "read_committed", ("read_uncommitted", "read_committed")),
        _Key("check.crcs", "C", bool, False),
        _Key("fetch.min.bytes", "C", int, 1, (1, 100_000_000)),
        _Key("fetch.max.bytes", "C", int, 52_428_800, (0, _INT)),
        _Key("fetch.wait.max.ms", "C", int, 500, (0, 300_000)),
        _Key("max.partition.fetch.bytes", "C", int, 1_048_576, (1, 1_000_000_000)),
        _Key("queued.max.messages.kbytes", "C", int, 65_536, (1, 2_097_151)),
    )
}
_ALIASES = {
    "metadata.broker.list": "bootstrap.servers",
    "socket.timeout.ms": "request.timeout.ms",
    "ack": "acks",
    "request.required.acks": "acks",
    "compression.codec": "compression.type",
    "queue.buffering.max.ms": "linger.ms",
    "message.timeout.ms": "delivery.timeout.ms",
    "message.send.max.retries": "retries",
    "max.in.flight": "max.in.flight.requests.per.connection",
    "fetch.max.wait.ms": "fetch.wait.max.ms",
    "fetch.message.max.bytes": "max.partition.fetch.bytes",
    "sasl.mechanisms": "sasl.mechanism",
    "max.request.size": "message.max.bytes",
    "auto.commit.enable": "enable.auto.commit",
    "topic.metadata.refresh.interval.ms": "metadata.max.age.ms",
}
_OWNERS = {"P": "producer", "C": "consumer", "A": "admin"}
_HAS_DEFAULT_BY_OWNER = {"allow.auto.create.topics": {"P": True, "C": False, "A": False}}


class ClientConfig(dict[str, Any]):
    """Typed values of every config that a client has, by name."""

    given_credentials: tuple[str, str] | None = None

    @property
    def credentials(self) -> tuple[str, str]:
        """User and password for SASL, both at once: another thread may change them."""
        return self.given_credentials or (self["sasl.username"], self["sasl.password"])

    @credentials.setter
    def credentials(self, value: tuple[str, str]) -> None:
        self.given_credentials = value

    @property
    def servers(self) -> list[tuple[str, int]]:
        """Host and port of every bootstrap server."""
        return [_address(text.strip()) for text in self["bootstrap.servers"].split(",") if text.strip()]


def config_names() -> set[str]:
    """Names of the configs of all clients, and their other names."""
    return {*_KEYS, *_ALIASES}


def client_config(owner: str, given: Mapping[str, Any]) -> ClientConfig:
    """Check what a client was given and fill in the defaults.

    Args:
        owner: ``P`` producer, ``C`` consumer, ``A`` admin client.
        given: names to values; texts are converted. None stands for "not set".

    Raises:
        ConfigError: a key is not known, a value is not allowed, or two contradict each other.
    """
    known = {name: key for name, key in _KEYS.items() if key.owner in ("*", owner)}
    config = ClientConfig({name: _HAS_DEFAULT_BY_OWNER.get(name, {}).get(owner, key.default) for name, key in known.items()})
    for name, value in given.items():
        key = known.get(_ALIASES.get(name, name))
        if key is None:
            raise _unknown(name, value, owner, known)
        if value is not None:
            config[key.name] = _convert(key, name, value)
    if not config["bootstrap.servers"]:
        raise ConfigError("bootstrap.servers is not set; give the address of at least one broker, like 127.0.0.1:9092")
    if not config.servers:
        text = config["bootstrap.servers"]
        raise ConfigError(f"bootstrap.servers: {text!r} names no broker; host:port[,host:port...] is allowed")
    if owner == "P":
        _check_producer(config)
    if owner == "C":
        _check_consumer(config, {_ALIASES.get(name, name) for name, value in given.items() if value is not None})
    return config


def _unknown(name: str, value: object, owner: str, known: Mapping[str, _Key]) -> ConfigError:
    other = _KEYS.get(_ALIASES.get(name, name))
    if other is not None:
        return ConfigError(f"{name}={value!r}: a config of the {_OWNERS[other.owner]}, not of the {_OWNERS[owner]}; remove it")
    meant = nearest(name, [*known, *_ALIASES])
    hint = f"did you mean {meant}?" if meant else "the names are those of librdkafka and Java's client"
    return ConfigError(f"{name}={value!r}: unknown {_OWNERS[owner]} config; {hint}")


def _convert(key: _Key, name: str, value: Any) -> Any:
    refused = ConfigError(f"{name}={value!r} is refused; allowed: {_allowed(key)}")
    if key.kind == "function":
        if not callable(value):
            raise refused
        return value
    if key.kind == "objects":
        if not isinstance(value, (list, tuple)):
            raise refused
        return tuple(value)
    try:
        typed = _CONVERTERS[key.kind](value)
    except (ValueError, TypeError, KeyError):
        if key.name == "acks" and value == "all":
            return -1
        raise refused from None
    if isinstance(typed, (int, float)) and not isinstance(typed, bool):
        if key.allowed and not key.allowed[0] <= typed <= key.allowed[1]:
            raise refused
    elif key.kind is list:
        if not typed or any(each not in key.allowed for each in typed):
            raise refused
    elif key.kind is str and key.allowed:
        return _choice(key, typed, refused)
    return typed


def _choice(key: _Key, text: str, refused: ConfigError) -> str:
    for choice in key.allowed:
        if text.lower() == choice.lower():
            return str(choice)
        if choice.endswith("*") and text.startswith(choice[:-1]):
            return text
    raise refused


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _integer(value: Any) -> int:
    if isinstance(value, bool):
        raise TypeError
    return int(value)


def _boolean(value: Any) -> bool:
    return value if isinstance(value, bool) else _BOOLEANS[str(value).strip().lower()]


def _names(value: Any) -> tuple[str, ...]:
    parts = value.split(",") if isinstance(value, str) else value
    return tuple(part.strip() for part in parts)


_CONVERTERS: dict[Any, Callable[[Any], Any]] = {
    str: _text,
    int: _integer,
    float: float,
    bool: _boolean,
    list: _names,
}


def _allowed(key: _Key) -> str:
    if key.kind == "function":
        return "a function"
    if key.kind == "objects":
        return "a list of objects"
    if key.kind is bool:
        return "true or false"
    if key.kind in (int, float):
        number = "a whole number" if key.kind is int else "a number"
        return f"{number} from {key.allowed[0]} to {key.allowed[1]}" + (" or all" if key.name == "acks" else "")
    return ", ".join(repr(choice) for choice in key.allowed) or "text"


def _address(text: str) -> tuple[str, int]:
    """Host and port of ``host:port``, ``[v6]:port`` or ``PROTOCOL://host:port``; the port is 9092 when absent."""
    bare = text.rpartition("://")[2]
    host, colon, port = bare.rpartition(":")
    if not colon or bare.endswith("]"):
        host, port = bare, "9092"
    if not port.isdigit() or not 0 < int(port) < 65536 or not host:
        raise ConfigError(f"bootstrap.servers: {text!r} is refused; host:port is allowed")
    return host.strip("[]"), int(port)


def _check_producer(config: ClientConfig) -> None:
    wanted = config["enable.idempotence"]
    hindrance = None
    if config["acks"] != -1:
        hindrance = f"acks={config['acks']}; it needs all"
    elif config["max.in.flight.requests.per.connection"] > 5:
        hindrance = f"max.in.flight.requests.per.connection={config['max.in.flight.requests.per.connection']}; it needs 5 or less"
    elif config["retries"] == 0:
        hindrance = "retries=0; it needs at least 1"
    if hindrance and wanted:
        raise ConfigError(f"enable.idempotence contradicts {hindrance}")
    if config["transactional.id"] is not None and (hindrance or wanted is False):
        raise ConfigError(
            f"transactional.id={config['transactional.id']!r} contradicts {hindrance or 'enable.idempotence=false'}"
        )
    config["enable.idempotence"] = hindrance is None if wanted is None else wanted
    config["batch.size"] = min(config["batch.size"], config["message.max.bytes"])


def _check_consumer(config: ClientConfig, given: Set[str]) -> None:
    if config["group.protocol"] == "consumer":
        for name in ("session.timeout.ms", "heartbeat.interval.ms", "partition.assignment.strategy"):
            if name in given:
                raise ConfigError(f"{name} is the broker's to decide with group.protocol=consumer (group.consumer.*); remove it")
        return
    if config["group.remote.assignor"] is not None:
        raise ConfigError("group.remote.assignor needs group.protocol=consumer; it is classic")
    if config["heartbeat.interval.ms"] >= config["session.timeout.ms"]:
        raise ConfigError(
            f"heartbeat.interval.ms={config['heartbeat.interval.ms']} must be below "
            f"session.timeout.ms={config['session.timeout.ms']}; a third of it is usual"
        )
    strategies = config["partition.assignment.strategy"]
    if "cooperative-sticky" in strategies and len(strategies) > 1:
        raise ConfigError(f"partition.assignment.strategy={','.join(strategies)}: cooperative-sticky goes with no other strategy")

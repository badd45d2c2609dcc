"""The configs of one broker: what its file, its command line and the cluster set, on top of the defaults."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from kafkax.config.checks import check_broker
from kafkax.config.definition import Definition, UpdateMode, broker_definitions
from kafkax.config.entry import ConfigEntry, ConfigSource, ConfigSynonym
from kafkax.config.error import ConfigError
from kafkax.config.listeners import (
    PROTOCOLS,
    Endpoint,
    advertised_endpoints,
    check_bound,
    local_host_name,
    parse_endpoints,
    parse_protocol_map,
)
from kafkax.config.properties import read_properties
from kafkax.config.values import Value, format_value, parse_value, unknown_key
from kafkax.errors import ErrorCode

__all__ = ["BrokerConfig"]

_UNIT_MS = {"ms": 1, "minutes": 60_000, "hours": 3_600_000}
_DYNAMIC = (ConfigSource.DYNAMIC_BROKER_CONFIG, ConfigSource.DYNAMIC_DEFAULT_BROKER_CONFIG)
Listener = Callable[[frozenset[str]], None]


class BrokerConfig:
    """Typed access to a broker's configs: ``config["log.segment.bytes"]``.

    The value in force is the first of: set for this broker while it runs, set for all brokers while they run, the file
    or the command line, the same for each synonym (``log.retention.minutes`` for ``log.retention.ms``), the default.
    Lists are tuples, secrets :class:`~kafkax.config.values.Password`, configs without a value None.

    Args:
        static: what the file and the command line set, name to text.
        host_name: gives this machine's name if it resolves, for a listener without a host.

    Raises:
        ConfigError: a key is unknown, a value not allowed, or two values contradict each other.
    """

    def __init__(self, static: Mapping[str, str], host_name: Callable[[], str | None] = local_host_name) -> None:
        self._definitions = broker_definitions()
        self._texts: dict[ConfigSource, dict[str, str]] = {
            ConfigSource.DYNAMIC_BROKER_CONFIG: {},
            ConfigSource.DYNAMIC_DEFAULT_BROKER_CONFIG: {},
            ConfigSource.STATIC_BROKER_CONFIG: dict(static),
        }
        self._values: dict[str, Value] = {}
        self._callbacks: list[Listener] = []
        for name, text in static.items():
            parse_value(self.definition(name), text)
        check_broker(self)
        self.listeners, self.advertised_listeners = self._endpoints(host_name)
        self.inter_broker_listener = self._find_inter_broker_listener()

    @classmethod
    def load(cls, path: str | None = None, overrides: Mapping[str, str] | None = None) -> BrokerConfig:
        """Read a properties file, if one is named, and put overrides on top.

        Raises:
            ConfigError: the file cannot be read, a key is unknown, a value not allowed, or two contradict each other.
        """
        return cls({**(read_properties(path) if path is not None else {}), **(overrides or {})})

    def definition(self, name: str) -> Definition:
        """The definition of a config, also of one for a single listener (``listener.name.<name>.<config>``).

        Raises:
            ConfigError: there is no such config.
        """
        found = self._definitions.get(name)
        if found is not None:
            return found
        if name.startswith("listener.name."):
            inner = self._definitions.get(_listener_config(name))
            if inner is not None:
                return inner._replace(name=name, synonyms=(inner.name, *inner.synonyms))
        raise unknown_key("broker", name, self._definitions)

    def __getitem__(self, name: str) -> Any:
        try:
            return self._values[name]
        except KeyError:
            value = self._values[name] = self._resolve(self.definition(name))
            return value

    def __contains__(self, name: str) -> bool:
        return name in self._definitions

    def __iter__(self) -> Iterator[str]:
        return iter(self._definitions)

    def is_set(self, name: str) -> bool:
        """Whether the config itself is set somewhere, be it to its default."""
        return any(name in texts for texts in self._texts.values())

    def _resolve(self, definition: Definition) -> Value:
        chain = [definition, *(self.definition(synonym) for synonym in definition.synonyms)]
        for candidate in chain:
            for texts in self._texts.values():
                if candidate.name in texts:
                    return _in_unit(definition.name, candidate.name, parse_value(candidate, texts[candidate.name]))
        for candidate in chain:
            if candidate.default_text is not None:
                return _in_unit(definition.name, candidate.name, parse_value(candidate, candidate.default_text))
        return None

    # Changes while the broker runs

    def set_dynamic(self, *, broker: Mapping[str, str] | None = None, cluster: Mapping[str, str] | None = None) -> frozenset[str]:
        """Replace what was set while the broker runs, for this broker or for all; tell those who asked.

        Args:
            broker: all configs set for this broker; None leaves them.
            cluster: all configs set for every broker; None leaves them.

        Returns:
            The names whose own setting changed.

        Raises:
            ConfigError: a key is unknown or a value not allowed; nothing changed then.
        """
        changed: set[str] = set()
        incoming = dict(zip(_DYNAMIC, (broker, cluster), strict=True))
        for texts in incoming.values():
            for name, text in (texts or {}).items():
                parse_value(self.definition(name), text)
        for source, texts in incoming.items():
            if texts is None:
                continue
            before = self._texts[source]
            changed |= {name for name in before.keys() | texts.keys() if before.get(name) != texts.get(name)}
            self._texts[source] = dict(texts)
        if changed:
            self._values.clear()
            for callback in self._callbacks:
                callback(frozenset(changed))
        return frozenset(changed)

    def dynamic(self, source: ConfigSource) -> dict[str, str]:
        """What was set while the broker runs, for this broker or for all of them."""
        return dict(self._texts[source])

    def on_change(self, callback: Listener) -> None:
        """Call back with the names of changed configs whenever some change."""
        self._callbacks.append(callback)

    def settle(self, name: str, text: str) -> None:
        """Write down what was only decided at start, such as a generated broker id, as if the file had said it."""
        parse_value(self.definition(name), text)
        self._texts[ConfigSource.STATIC_BROKER_CONFIG][name] = text
        self._values.clear()

    def check_alterable(self, names: Iterable[str], *, cluster: bool) -> None:
        """Refuse configs that may not be set while the broker runs.

        Args:
            names: the configs to set.
            cluster: whether they are to be set for every broker instead of one.

        Raises:
            ConfigError: one is unknown, read-only, per broker, or names code, a file or an address.
        """
        for name in names:
            definition = self.definition(name)
            if definition.update is UpdateMode.READ_ONLY:
                why = "it is read-only; set it in the broker's file and restart the broker"
            elif definition.fixed:
                why = "it names code, a file or an address; it is set in the broker's file only"
            elif cluster and definition.update is UpdateMode.PER_BROKER:
                why = "it is set per broker; name the broker"
            else:
                continue
            raise ConfigError(f"{name}: {why}", ErrorCode.INVALID_REQUEST)

    # What answers and people see

    def synonyms(self, name: str) -> tuple[ConfigSynonym, ...]:
        """All places that have a value for a config, the one in force first."""
        definition = self.definition(name)
        found: list[ConfigSynonym] = []
        chain = [definition, *(self.definition(synonym) for synonym in definition.synonyms)]
        for candidate in chain:
            for source, texts in self._texts.items():
                if candidate.name in texts:
                    found.append(ConfigSynonym(candidate.name, _shown(candidate, texts[candidate.name]), source))
        for candidate in chain:
            if candidate.default_text is not None:
                shown = _shown(candidate, candidate.default_text)
                found.append(ConfigSynonym(candidate.name, shown, ConfigSource.DEFAULT_CONFIG))
                break
        return tuple(found)

    def describe(self, names: Iterable[str] | None = None) -> list[ConfigEntry]:
        """Configs as DescribeConfigs shows them, in the order of their names.

        Args:
            names: which ones, unknown ones left out; None for all but internal ones.
        """
        if names is None:
            chosen = [name for name, row in self._definitions.items() if not row.internal or self.is_set(name)]
        else:
            chosen = [name for name in names if name in self._definitions]
        return [self._describe(self._definitions[name]) for name in sorted(chosen)]

    def _describe(self, definition: Definition) -> ConfigEntry:
        return ConfigEntry.of(definition, self[definition.name], self.synonyms(definition.name))

    def warnings(self) -> list[str]:
        """One line for each config that was set to something else than its default and has no effect yet."""
        lines = []
        for name, text in sorted(self._texts[ConfigSource.STATIC_BROKER_CONFIG].items()):
            definition = self.definition(name)
            if definition.served:
                continue
            if parse_value(definition, text) != parse_value(definition, definition.default_text):
                shown = "a secret" if definition.sensitive else text
                lines.append(f"{name}={shown} has no effect yet (Kafka's default is {definition.default_text or 'unset'})")
        return lines

    # Derived values

    @property
    def node_id(self) -> int:
        """This broker's id, or -1 when one is to be generated."""
        return int(self["node.id"])

    @property
    def log_dirs(self) -> tuple[str, ...]:
        """The directories for data, in the order given."""
        dirs: tuple[str, ...] = self["log.dirs"]
        return dirs

    def _endpoints(self, host_name: Callable[[], str | None]) -> tuple[tuple[Endpoint, ...], tuple[Endpoint, ...]]:
        protocols = parse_protocol_map(self["listener.security.protocol.map"])
        for protocol in PROTOCOLS if not self.is_set("listener.security.protocol.map") else ():
            protocols.setdefault(protocol, protocol)
        controllers = {name.upper() for name in self["controller.listener.names"] or ()}
        protocols |= dict.fromkeys(controllers - protocols.keys(), "PLAINTEXT")
        bound = parse_endpoints("listeners", self["listeners"], protocols)
        bound = tuple(endpoint for endpoint in bound if endpoint.name not in controllers)
        if not bound:
            raise ConfigError("listeners: all of them are controllers' (controller.listener.names); add one for clients")
        check_bound("listeners", bound)
        given = self["advertised.listeners"]
        parsed = None if not given else parse_endpoints("advertised.listeners", given, protocols)
        if parsed is not None:
            parsed = tuple(endpoint for endpoint in parsed if endpoint.name not in controllers)
        return bound, advertised_endpoints(bound, parsed, host_name)

    def _find_inter_broker_listener(self) -> str:
        """Name of the listener that brokers use among themselves."""
        name = self["inter.broker.listener.name"]
        if name is not None:
            if self.is_set("security.inter.broker.protocol"):
                raise ConfigError("inter.broker.listener.name and security.inter.broker.protocol exclude each other; set one")
            if name.upper() not in {endpoint.name for endpoint in self.advertised_listeners}:
                raise ConfigError(f"inter.broker.listener.name: {name!r} is not among the advertised listeners")
            return str(name).upper()
        protocol = self["security.inter.broker.protocol"]
        for endpoint in self.advertised_listeners:
            if endpoint.protocol == protocol:
                return endpoint.name
        raise ConfigError(
            f"inter.broker.listener.name: no advertised listener speaks {protocol} (security.inter.broker.protocol); name one"
        )


def _listener_config(name: str) -> str:
    """The config behind ``listener.name.<listener>[.<mechanism>].<config>``, empty when there is none."""
    definitions = broker_definitions()
    rest = name.split(".")[3:]
    for start in range(min(2, len(rest))):
        inner = ".".join(rest[start:])
        if inner in definitions and inner.startswith(("ssl.", "sasl.", "connections.", "max.connection", "principal.")):
            return inner
    return ""


def _in_unit(name: str, given: str, value: Value) -> Value:
    """Convert minutes or hours of a synonym into the unit of the config that is asked for."""
    unit, other = (_UNIT_MS.get(key.rsplit(".", 1)[-1]) for key in (name, given))
    if name == given or unit is None or other is None or not isinstance(value, int):
        return value
    return -1 if value < 0 else value * other // unit


def _shown(definition: Definition, text: str) -> str | None:
    return format_value(parse_value(definition, text))

"""The configs of one resource other than a broker: what it sets itself, on top of the broker's."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from kafkax.config.broker import BrokerConfig
from kafkax.config.definition import Definition
from kafkax.config.entry import ConfigEntry, ConfigSource, ConfigSynonym
from kafkax.config.values import format_value, parse_value, unknown_key

__all__ = ["ResourceConfig"]


class ResourceConfig:
    """Typed access to the configs of a topic, a group or a subscription: ``config["retention.ms"]``.

    What the resource does not set comes from the broker's synonym at the time of asking, so a change of the broker's
    configs shows at once.

    Args:
        overrides: what the resource sets, name to text.
        broker: the broker's configs.

    Raises:
        ConfigError: a key is unknown, a value not allowed, or two contradict each other.
    """

    __slots__ = ("_broker", "_definitions", "_overrides")

    kind = ""
    source = ConfigSource.UNKNOWN

    def __init__(self, overrides: Mapping[str, str], broker: BrokerConfig) -> None:
        self._definitions = self.definitions()
        self._overrides = dict(overrides)
        self._broker = broker
        for name, text in overrides.items():
            parse_value(self.definition(name), text)
        if overrides:
            self.check()

    @staticmethod
    def definitions() -> dict[str, Definition]:
        """Every config that such a resource has."""
        raise AssertionError("every kind of resource has its own table")

    def check(self) -> None:
        """Hold the values against each other and the broker's.

        Raises:
            ConfigError: they contradict each other.
        """

    @property
    def overrides(self) -> dict[str, str]:
        """What the resource sets, name to text."""
        return dict(self._overrides)

    @property
    def broker(self) -> BrokerConfig:
        """The broker's configs."""
        return self._broker

    def definition(self, name: str) -> Definition:
        """The definition of a config.

        Raises:
            ConfigError: there is no such config.
        """
        found = self._definitions.get(name)
        if found is None:
            raise unknown_key(self.kind, name, self._definitions)
        return found

    def __getitem__(self, name: str) -> Any:
        definition = self.definition(name)
        if name in self._overrides:
            return parse_value(definition, self._overrides[name])
        if definition.synonyms:
            return self._broker[definition.synonyms[0]]
        return parse_value(definition, definition.default_text)

    def __iter__(self) -> Iterator[str]:
        return iter(self._definitions)

    def describe(self, names: Iterable[str] | None = None) -> list[ConfigEntry]:
        """Configs as DescribeConfigs shows them, in the order of their names.

        Args:
            names: which ones, unknown ones left out; None for all but internal ones.
        """
        if names is None:
            chosen = [name for name, row in self._definitions.items() if not row.internal or name in self._overrides]
        else:
            chosen = [name for name in names if name in self._definitions]
        return [self._describe(self._definitions[name]) for name in sorted(chosen)]

    def _describe(self, definition: Definition) -> ConfigEntry:
        return ConfigEntry.of(definition, self[definition.name], self._synonyms(definition))

    def _synonyms(self, definition: Definition) -> tuple[ConfigSynonym, ...]:
        own: tuple[ConfigSynonym, ...] = ()
        if definition.name in self._overrides:
            text = format_value(parse_value(definition, self._overrides[definition.name]))
            own = (ConfigSynonym(definition.name, text, self.source),)
        return own + (self._broker.synonyms(definition.synonyms[0]) if definition.synonyms else ())

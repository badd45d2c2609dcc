"""The configs of every topic, as the image has them, on top of this broker's."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from kafkax.cluster.image import ImageDelta, MetadataCache, MetadataImage
from kafkax.config import BrokerConfig, ConfigError, TopicConfig

__all__ = ["TopicConfigs"]

_log = logging.getLogger(__name__)


class TopicConfigs:
    """Gives a topic's configs; topics that set nothing share one object.  Thread-safe.

    Args:
        cache: knows what each topic sets.
        config: the broker's configs, for what it does not set.
    """

    def __init__(self, cache: MetadataCache, config: BrokerConfig) -> None:
        self._cache = cache
        self._config = config
        self._default = TopicConfig({}, config)
        self._known: dict[str, TopicConfig] = {}
        cache.add_listener(self._changed)

    def __call__(self, topic: str) -> TopicConfig:
        """The configs of a topic, whether it exists or not."""
        overrides = self._cache.image.topic_config(topic)
        if not overrides:
            return self._default
        found = self._known.get(topic)
        if found is None:
            found = self._known[topic] = self._usable(topic, overrides)
        return found

    def _usable(self, topic: str, overrides: Mapping[str, str]) -> TopicConfig:
        """What can be used of a topic's settings: another version may have written some that mean nothing here."""
        try:
            return TopicConfig(overrides, self._config)
        except ConfigError as error:
            _log.warning("topic %s has a config that is not understood: %s", topic, error)
        usable: dict[str, str] = {}
        for name, text in overrides.items():
            try:
                TopicConfig({**usable, name: text}, self._config)
            except ConfigError as error:
                _log.warning("topic %s: %s is ignored: %s", topic, name, error)
            else:
                usable[name] = text
        return TopicConfig(usable, self._config)

    def _changed(self, _: MetadataImage, delta: ImageDelta) -> None:
        for entity_type, name in delta.configs:
            if entity_type == "topics":
                self._known.pop(name, None)

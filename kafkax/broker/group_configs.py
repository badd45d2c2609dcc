"""The times of consumer groups: what single groups set for themselves, as the image has it, and the broker's for the rest."""

from __future__ import annotations

import logging
from collections.abc import Callable

from kafkax.cluster.image import ImageDelta, MetadataCache, MetadataImage
from kafkax.cluster.znodes import sanitized, unsanitized
from kafkax.config import BrokerConfig, ConfigError
from kafkax.config.group import GroupConfig
from kafkax.coordinator.groups.settings import ConsumerTimes

__all__ = ["GroupConfigs"]

_log = logging.getLogger(__name__)


class GroupConfigs:
    """Gives the times of consumer groups, as they are now.

    Args:
        cache: knows what each group sets.
        config: the broker's configs, for what a group does not set.
        changed: called with the name of each group whose configs changed.
    """

    def __init__(self, cache: MetadataCache, config: BrokerConfig, changed: Callable[[str], None]) -> None:
        self._cache = cache
        self._config = config
        self._changed = changed
        self._known: dict[str, ConsumerTimes] = {}
        self._of_broker: ConsumerTimes | None = None
        cache.add_listener(self._image_changed)
        config.on_change(self._config_changed)

    def times(self, group_id: str) -> ConsumerTimes:
        """The times of a group: the broker's where it sets none, or what it sets cannot be used."""
        name = sanitized(group_id)
        overrides = self._cache.image.entity_config("groups", name)
        if not overrides:
            return self._defaults()
        if name not in self._known:
            try:
                config = GroupConfig(overrides, self._config)
            except ConfigError as error:
                # the broker's bounds may have changed since
                _log.warning("the configs of group %s are not used: %s", group_id, error)
                self._known[name] = self._defaults()
            else:
                self._known[name] = ConsumerTimes(
                    config["consumer.session.timeout.ms"],
                    config["consumer.heartbeat.interval.ms"],
                    config["consumer.assignment.interval.ms"],
                )
        return self._known[name]

    def _defaults(self) -> ConsumerTimes:
        if self._of_broker is None:
            self._of_broker = ConsumerTimes(
                self._config["group.consumer.session.timeout.ms"],
                self._config["group.consumer.heartbeat.interval.ms"],
                self._config["group.consumer.assignment.interval.ms"],
            )
        return self._of_broker

    def _config_changed(self, _: frozenset[str]) -> None:
        self._of_broker = None
        self._known.clear()

    def close(self) -> None:
        """Follow the image no longer."""
        self._cache.remove_listener(self._image_changed)

    def _image_changed(self, _: MetadataImage, delta: ImageDelta) -> None:
        for entity_type, name in delta.configs:
            if entity_type == "groups":
                self._known.pop(name, None)
                self._changed(unsanitized(name))

"""The configs of one topic: its own settings on top of the broker's."""

from __future__ import annotations

from kafkax.config.checks import check_topic
from kafkax.config.definition import Definition, topic_definitions
from kafkax.config.entry import ConfigSource
from kafkax.config.resource import ResourceConfig

__all__ = ["TopicConfig"]


class TopicConfig(ResourceConfig):
    """Typed access to a topic's configs; see :class:`~kafkax.config.resource.ResourceConfig`."""

    __slots__ = ()

    kind = "topic"
    source = ConfigSource.DYNAMIC_TOPIC_CONFIG

    @staticmethod
    def definitions() -> dict[str, Definition]:
        """Every topic config."""
        return topic_definitions()

    def check(self) -> None:
        """Hold the values against each other."""
        check_topic(self)

"""Every config of a broker and a topic, under Kafka's names: definitions, parsing, resolution, description."""

from __future__ import annotations

from kafkax.config.alter import AlterOperation, ConfigChange, alter
from kafkax.config.broker import BrokerConfig
from kafkax.config.checks import parse_connection_overrides
from kafkax.config.client_metrics import CLIENT_SELECTORS, ClientMetricsConfig
from kafkax.config.definition import ConfigType, Definition, UpdateMode, broker_definitions, topic_definitions
from kafkax.config.entry import ConfigEntry, ConfigSource, ConfigSynonym
from kafkax.config.error import ConfigError
from kafkax.config.group import GroupConfig
from kafkax.config.listeners import Endpoint
from kafkax.config.properties import parse_properties, read_properties
from kafkax.config.resource import ResourceConfig
from kafkax.config.topic import TopicConfig
from kafkax.config.values import Password

__all__ = [
    "CLIENT_SELECTORS",
    "AlterOperation",
    "BrokerConfig",
    "ClientMetricsConfig",
    "ConfigChange",
    "ConfigEntry",
    "ConfigError",
    "ConfigSource",
    "ConfigSynonym",
    "ConfigType",
    "Definition",
    "Endpoint",
    "GroupConfig",
    "Password",
    "ResourceConfig",
    "TopicConfig",
    "UpdateMode",
    "alter",
    "broker_definitions",
    "parse_connection_overrides",
    "parse_properties",
    "read_properties",
    "topic_definitions",
]

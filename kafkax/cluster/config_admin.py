"""Configs on behalf of clients: alter those of topics, brokers, groups and client metrics (KIP-226, 339, 714, 1043)."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

from kafkax.cluster import znodes
from kafkax.cluster.dynamic_configs import DynamicConfigs, write_config
from kafkax.cluster.image import MetadataCache
from kafkax.cluster.store import BadVersionError, CoordinationStore, NodeExistsError, NoNodeError
from kafkax.config import (
    AlterOperation,
    BrokerConfig,
    ClientMetricsConfig,
    ConfigChange,
    GroupConfig,
    ResourceConfig,
    TopicConfig,
    alter,
)
from kafkax.errors import ErrorCode, KafkaError

__all__ = ["ConfigAdmin"]

_log = logging.getLogger(__name__)

_RESOURCES: dict[str, type[ResourceConfig]] = {
    "topics": TopicConfig,
    "groups": GroupConfig,
    "client-metrics": ClientMetricsConfig,
}
"""How the configs of each type of entity are read, brokers' aside."""


class ConfigAdmin:
    """Alters dynamic configs.  When a method returns, this broker's image has the change."""

    def __init__(
        self, broker_id: int, store: CoordinationStore, cache: MetadataCache, configs: DynamicConfigs, config: BrokerConfig
    ) -> None:
        self._broker_id = broker_id
        self._store = store
        self._cache = cache
        self._configs = configs
        self._config = config

    async def alter_topic(self, name: str, changes: Sequence[ConfigChange], *, validate_only: bool = False) -> None:
        """Change single configs of a topic (IncrementalAlterConfigs).

        Raises:
            KafkaError: UNKNOWN_TOPIC_OR_PARTITION, INVALID_CONFIG, INVALID_REQUEST.
        """
        await self._alter("topics", self._known_topic(name), changes, replace=False, validate_only=validate_only)

    async def replace_topic(self, name: str, configs: Mapping[str, str | None], *, validate_only: bool = False) -> None:
        """Set all configs of a topic (AlterConfigs); the others go back to their defaults.  Raises as :meth:`alter_topic`."""
        await self._alter("topics", self._known_topic(name), _settings(configs), replace=True, validate_only=validate_only)

    async def alter_broker(self, name: str, changes: Sequence[ConfigChange], *, validate_only: bool = False) -> None:
        """Change single configs of this broker (its id) or of all brokers (the empty name).

        Raises:
            KafkaError: INVALID_REQUEST for another broker's name, and for what may not be set, or not to that value;
                INVALID_CONFIG for an unknown name or a list's operation on what is none.
        """
        await self._alter("brokers", self._known_broker(name), changes, replace=False, validate_only=validate_only)

    async def replace_broker(self, name: str, configs: Mapping[str, str | None], *, validate_only: bool = False) -> None:
        """Set all dynamic configs of this broker or of all brokers.  Raises as :meth:`alter_broker`."""
        await self._alter("brokers", self._known_broker(name), _settings(configs), replace=True, validate_only=validate_only)

    async def alter_group(self, name: str, changes: Sequence[ConfigChange], *, validate_only: bool = False) -> None:
        """Change single configs of a group, which need not exist.

        Raises:
            KafkaError: INVALID_REQUEST without a name, INVALID_CONFIG.
        """
        await self._alter("groups", _named("group", name), changes, replace=False, validate_only=validate_only)

    async def replace_group(self, name: str, configs: Mapping[str, str | None], *, validate_only: bool = False) -> None:
        """Set all configs of a group.  Raises as :meth:`alter_group`."""
        await self._alter("groups", _named("group", name), _settings(configs), replace=True, validate_only=validate_only)

    async def alter_client_metrics(self, name: str, changes: Sequence[ConfigChange], *, validate_only: bool = False) -> None:
        """Change single configs of a subscription to clients' metrics; one that sets nothing is gone.

        Raises:
            KafkaError: INVALID_REQUEST without a name or for an interval out of bounds, INVALID_CONFIG.
        """
        await self._alter("client-metrics", _named("subscription", name), changes, replace=False, validate_only=validate_only)

    async def replace_client_metrics(self, name: str, configs: Mapping[str, str | None], *, validate_only: bool = False) -> None:
        """Set all configs of a subscription.  Raises as :meth:`alter_client_metrics`."""
        name = _named("subscription", name)
        await self._alter("client-metrics", name, _settings(configs), replace=True, validate_only=validate_only)

    def _known_topic(self, name: str) -> str:
        if name not in self._cache.image.topics:
            raise KafkaError(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, f"topic {name!r} does not exist")
        return name

    def _known_broker(self, name: str) -> str:
        if name == "":
            return znodes.BROKER_DEFAULT
        if name != str(self._broker_id):
            raise KafkaError(
                ErrorCode.INVALID_REQUEST,
                f"broker {name!r}: this is broker {self._broker_id}; ask that broker, or give no name for all brokers",
            )
        return name

    async def _alter(
        self, entity_type: str, name: str, changes: Sequence[ConfigChange], *, replace: bool, validate_only: bool
    ) -> None:
        path = znodes.config_path(entity_type, name)
        while True:
            found = await self._store.find(path)
            current = {} if found is None or replace else znodes.decode_config(path, found[0])
            resource = _RESOURCES.get(entity_type)
            if resource is not None:
                after = alter(current, changes, resource({}, self._config))
                resource(after, self._config)
            else:
                self._check_broker(changes, cluster=name == znodes.BROKER_DEFAULT)
                after = alter(current, changes, self._config, ErrorCode.INVALID_REQUEST)
            if validate_only:
                return
            try:
                await write_config(self._store, entity_type, name, after, None if found is None else found[1])
                break
            except (BadVersionError, NodeExistsError, NoNodeError):
                _log.debug("%s changed while it was to be altered; trying again", path)
        await self._configs.read([(entity_type, name)])

    def _check_broker(self, changes: Sequence[ConfigChange], *, cluster: bool) -> None:
        self._config.check_alterable((change.name for change in changes), cluster=cluster)
        for change in changes:
            if self._config.definition(change.name).sensitive and change.operation != AlterOperation.DELETE:
                # The store is readable by more than the brokers, and there is no secret to encrypt with.
                raise KafkaError(ErrorCode.INVALID_CONFIG, f"{change.name}: secrets are set in the broker's file only")


def _named(what: str, name: str) -> str:
    if not name:
        raise KafkaError(ErrorCode.INVALID_REQUEST, f"a {what} without a name has no configs; name one")
    return znodes.sanitized(name)


def _settings(configs: Mapping[str, str | None]) -> list[ConfigChange]:
    return [ConfigChange(name, AlterOperation.SET, text) for name, text in configs.items()]

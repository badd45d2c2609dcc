"""Dynamic configs: written below ``/config``, announced below ``/config/changes``, read by every broker into its image."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable

from kafkax.clock import Clock
from kafkax.cluster import znodes
from kafkax.cluster.image import MetadataCache
from kafkax.cluster.store import CoordinationStore, Create, Delete, MultiError, SessionState, SetData, Stat, StoreError, parent_of

__all__ = ["DynamicConfigs", "write_config"]

_log = logging.getLogger(__name__)
_TYPES = ("topics", "brokers", "users", "clients", "ips", "groups", "client-metrics")
_KEEP_CHANGES_MS = 15 * 60 * 1000
_RETRY_SECONDS = 0.1


class DynamicConfigs:
    """Keeps the configs in a broker's image those of the coordination store.

    Args:
        clock: for the age at which notifications are removed (15 minutes, as Kafka keeps them).
    """

    def __init__(self, store: CoordinationStore, cache: MetadataCache, clock: Clock) -> None:
        self._store = store
        self._cache = cache
        self._clock = clock
        self._seen: dict[str, int] = {}
        self._changed = asyncio.Event()
        self._all = False
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Read all configs, and from here on each one that is announced."""
        await self._store.watch_children([znodes.CONFIG_CHANGES], self._hint)
        self._store.add_session_listener(self._session_changed)
        await self._read_all()
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def close(self) -> None:
        """Stop following."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
            self._task = None

    def _hint(self, _: str) -> None:
        self._changed.set()

    def _session_changed(self, state: SessionState) -> None:
        if state is SessionState.CONNECTED:
            # Announcements may have come and gone meanwhile.
            self._all = True
            self._changed.set()

    async def _run(self) -> None:
        while True:
            await self._changed.wait()
            self._changed.clear()
            try:
                if self._all:
                    self._all = False
                    await self._read_all()
                else:
                    await self._read_changes()
            except (StoreError, znodes.ZnodeFormatError) as error:
                _log.warning("dynamic configs could not be read, trying again: %s", error)
                await asyncio.sleep(_RETRY_SECONDS)
                self._all = True
                self._changed.set()

    async def _read_all(self) -> None:
        self._seen = dict.fromkeys(await self._store.children(znodes.CONFIG_CHANGES), self._clock.wall_ms())
        entities: list[tuple[str, str]] = []
        names = await self._store.children_many([f"/config/{entity_type}" for entity_type in _TYPES])
        for entity_type, found in zip(_TYPES, names, strict=True):
            entities += [(entity_type, name) for name in found or ()]
        users = [name for entity_type, name in entities if entity_type == "users"]
        clients = await self._store.children_many([znodes.user_clients_path(user) for user in users])
        for user, found in zip(users, clients, strict=True):
            entities += [("users", znodes.user_client(user, client)) for client in found or ()]
        image = self._cache.image
        entities += [("topics", name) for name in image.topic_configs] + [("brokers", name) for name in image.broker_configs]
        entities += image.entity_configs
        await self.read(entities)

    async def _read_changes(self) -> None:
        names = sorted(await self._store.children(znodes.CONFIG_CHANGES))
        fresh = [f"{znodes.CONFIG_CHANGES}/{name}" for name in names if name not in self._seen]
        entities: list[tuple[str, str]] = []
        for path, found in zip(fresh, await self._store.get_many(fresh), strict=True):
            if found is not None:
                entities.append(znodes.decode_config_change(path, found[0]))
        now = self._clock.wall_ms()
        self._seen = {name: self._seen.get(name, now) for name in names}
        await self.read([entity for entity in entities if entity[0] in _TYPES])
        await self._purge(now)

    async def read(self, entities: Iterable[tuple[str, str]]) -> None:
        """Read the configs of (type, name) entities into the image now, without waiting for an announcement."""
        wanted = list(dict.fromkeys(entities))
        paths = [znodes.config_path(*entity) for entity in wanted]
        configs = {}
        for entity, path, found in zip(wanted, paths, await self._store.get_many(paths), strict=True):
            try:
                configs[entity] = {} if found is None else znodes.decode_config(path, found[0])
            except znodes.ZnodeFormatError as error:
                _log.error("configs are ignored: %s", error)
        self._cache.set_configs(configs)

    async def _purge(self, now: int) -> None:
        """Remove announcements that every broker has seen for long; the first broker to do so wins."""
        old = [name for name, seen in self._seen.items() if now - seen > _KEEP_CHANGES_MS]
        for outcome in await self._store.multi_all([[Delete(f"{znodes.CONFIG_CHANGES}/{name}")] for name in old]):
            if isinstance(outcome, MultiError):
                _log.debug("an announcement was removed by another broker: %s", outcome)


async def write_config(store: CoordinationStore, entity_type: str, name: str, config: dict[str, str], stat: Stat | None) -> None:
    """Replace an entity's configs and announce it, in one transaction.

    Args:
        stat: of the entity's node when ``config`` was derived from it, None when there was none.

    Raises:
        BadVersionError, NodeExistsError, NoNodeError: somebody else changed them meanwhile.
    """
    path, data = znodes.config_path(entity_type, name), znodes.encode_config(config)
    if stat is None and entity_type not in ("topics", "brokers"):
        await store.ensure_paths([parent_of(path)])
    write = Create(path, data) if stat is None else SetData(path, data, stat.version)
    announcement = Create(znodes.CONFIG_CHANGE_PREFIX, znodes.encode_config_change(entity_type, name), sequence=True)
    try:
        await store.multi([write, announcement])
    except MultiError as failure:
        raise failure.error from None

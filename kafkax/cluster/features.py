"""Features whose level the whole cluster agrees on: supported, finalized in ``/feature``, told in ApiVersions (KIP-584, 1022)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from enum import IntEnum
from typing import NamedTuple

from kafkax.cluster import znodes
from kafkax.cluster.store import BadVersionError, CoordinationStore, NoNodeError, StoreError
from kafkax.errors import ErrorCode, KafkaError

__all__ = ["GROUP_VERSION", "SUPPORTED", "FeatureUpdate", "Features", "UpgradeType"]

_log = logging.getLogger(__name__)

GROUP_VERSION = "group.version"
"""1: the consumer protocol of KIP-848 is served."""

SUPPORTED = {GROUP_VERSION: (0, 1)}
"""The lowest and the highest level of each feature that this version of kafkax knows."""

_DEFAULTS = {GROUP_VERSION: 1}
"""Levels of a cluster in which nobody has decided."""


class UpgradeType(IntEnum):
    """Which changes of a level are meant, numbered as on the wire."""

    UPGRADE = 1
    SAFE_DOWNGRADE = 2
    UNSAFE_DOWNGRADE = 3


class FeatureUpdate(NamedTuple):
    """A level to be finalized."""

    name: str
    level: int
    kind: int


class Features:
    """The finalized levels, as the store has them."""

    def __init__(self, store: CoordinationStore) -> None:
        self._store = store
        self._levels: dict[str, int] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._listeners: list[Callable[[], None]] = []
        self.epoch = 0
        """Grows with every change."""

    def on_change(self, listener: Callable[[], None]) -> None:
        """Call back whenever the levels have changed."""
        self._listeners.append(listener)

    async def start(self) -> None:
        """Read the levels, and again whenever they change."""
        await self._store.watch_nodes([znodes.FEATURE], self._hint)
        await self._read()

    def close(self) -> None:
        """Stop following."""
        self._store.unwatch([znodes.FEATURE], self._hint)
        for task in self._tasks:
            task.cancel()

    def finalized(self) -> dict[str, int]:
        """The level of each feature; one at 0 is off."""
        return {name: self._levels.get(name, _DEFAULTS[name]) for name in SUPPORTED}

    async def update(self, updates: Sequence[FeatureUpdate], *, validate_only: bool = False) -> None:
        """Finalize levels, all or none.

        Raises:
            KafkaError: INVALID_UPDATE_VERSION, INVALID_REQUEST.
        """
        while True:
            found = await self._store.find(znodes.FEATURE)
            levels = {} if found is None else znodes.decode_feature(found[0])
            after = {**levels, **{update.name: self._checked(update, levels) for update in updates}}
            if validate_only or found is None:
                return
            try:
                await self._store.set(znodes.FEATURE, znodes.encode_feature(after), found[1].version)
                break
            except (BadVersionError, NoNodeError):
                _log.debug("%s changed while it was to be altered; trying again", znodes.FEATURE)
        await self._read()

    def _checked(self, update: FeatureUpdate, levels: dict[str, int]) -> int:
        if update.name not in SUPPORTED:
            raise _refused(f"{update.name!r} is no feature of this cluster; there are {', '.join(SUPPORTED)}")
        lowest, highest = SUPPORTED[update.name]
        if not lowest <= update.level <= highest:
            raise _refused(f"{update.name}: level {update.level} is refused; allowed: {lowest} to {highest}")
        if update.kind not in list(UpgradeType):
            raise _refused(f"{update.name}: upgrade type {update.kind} is unknown; 1 to 3 are")
        current = levels.get(update.name, _DEFAULTS[update.name])
        if update.level < current and update.kind == UpgradeType.UPGRADE:
            raise _refused(f"{update.name}: {update.level} is below the present level {current}; ask for a downgrade")
        return update.level

    def _hint(self, _: str) -> None:
        task = asyncio.get_running_loop().create_task(self._read())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _read(self) -> None:
        before = (self.epoch, self._levels)
        try:
            found = await self._store.find(znodes.FEATURE)
            self._levels = {} if found is None else znodes.decode_feature(found[0])
            self.epoch = 0 if found is None else found[1].version
        except (StoreError, znodes.ZnodeFormatError) as error:
            _log.warning("%s could not be read, the levels stay as they are: %s", znodes.FEATURE, error)
            return
        if (self.epoch, self._levels) != before:
            for listener in self._listeners:
                listener()


def _refused(message: str) -> KafkaError:
    return KafkaError(ErrorCode.INVALID_UPDATE_VERSION, f"no feature was changed: {message}")

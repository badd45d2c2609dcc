"""What follows when a log directory fails: its replicas are offline, the controller hears of it, and elects others.

A broker without any directory left ends, as Kafka's does, and so does one that has lost the directory that its own coordination
store lies in.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from kafkax.cluster import znodes
from kafkax.cluster.store import StoreError

if TYPE_CHECKING:
    from kafkax.broker.replica_manager import ReplicaManager
    from kafkax.cluster.store import CoordinationStore
    from kafkax.storage.directory import LogDirectory
    from kafkax.storage.manager import LogManager
    from kafkax.storage.partition_log import PartitionLog

__all__ = ["LogDirFailures"]

_log = logging.getLogger(__name__)


class LogDirFailures:
    """Takes the log manager's news of failed directories, on any thread, and acts on them on the event loop.

    Args:
        store: where the controller is told.
        store_home: the directory that holds the store; None when that is elsewhere.
        end: ends the broker, given why.
    """

    def __init__(self, store: CoordinationStore, store_home: Path | None, end: Callable[[str], object]) -> None:
        self._loop = asyncio.get_running_loop()
        self._store = store
        self._store_home = store_home
        self._end = end
        self._parts: tuple[LogManager, ReplicaManager, int] | None = None
        self._telling: set[asyncio.Task[None]] = set()

    def watch(self, logs: LogManager, replicas: ReplicaManager, broker_id: int) -> None:
        """Act from here on; what failed before is learnt by the controller when it asks for the replicas there."""
        self._parts = logs, replicas, broker_id

    def __call__(self, directory: LogDirectory, lost: list[PartitionLog]) -> None:
        """Thread-safe."""
        self._loop.call_soon_threadsafe(self._failed, directory, lost)

    def _failed(self, directory: LogDirectory, lost: list[PartitionLog]) -> None:
        if self._parts is None:
            return
        logs, replicas, broker_id = self._parts
        if not logs.online():
            self._end("no log directory is left in service")
        elif directory.path == self._store_home:
            self._end(f"{directory.path}, which holds the coordination store, is out of service")
        else:
            led = replicas.directory_failed(lost)
            _log.error("%d replicas are offline with %s; %d of them led", len(lost), directory.path, len(led))
            task = self._loop.create_task(self._tell(broker_id))
            self._telling.add(task)
            task.add_done_callback(self._telling.discard)

    async def _tell(self, broker_id: int) -> None:
        try:
            await self._store.create(znodes.LOG_DIR_EVENT_PREFIX, znodes.encode_log_dir_event(broker_id), sequence=True)
        except StoreError as error:
            # The next registration, or a new controller, asks for all replicas of this broker anyway.
            _log.warning("the controller could not be told of the failed log directory: %r", error)

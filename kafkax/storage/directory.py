"""One entry of ``log.dirs``: its lock, its identity, its checkpoints and whether it was closed in order."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import threading
from pathlib import Path

from kafkax.errors import ErrorCode, KafkaError
from kafkax.storage.checkpoints import CLEANER_OFFSET, LOG_START_OFFSET, RECOVERY_POINT, REPLICATION_OFFSET, OffsetCheckpoint
from kafkax.storage.files import sync_directory, write_atomically
from kafkax.storage.meta_properties import META_PROPERTIES, MetaProperties, read_meta_properties, write_meta_properties

__all__ = ["CLEAN_SHUTDOWN_MARKER", "LOCK_FILE", "LogDirectory"]

CLEAN_SHUTDOWN_MARKER = ".kafka_cleanshutdown"
LOCK_FILE = ".lock"

_held: set[tuple[int, int]] = set()
_held_lock = threading.Lock()


class LogDirectory:
    """A log directory that this process owns between :meth:`open` and :meth:`close`.

    Attributes:
        path: the absolute path.
        online: False once an I/O error took it out of service; it stays so until a restart.
        failure: why it is offline; empty while online.
        clean: whether it was closed in order before this start; known after :meth:`open`.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path).absolute()
        self.online = True
        self.failure = ""
        self.clean = False
        self.recovery_points = OffsetCheckpoint(self.path, RECOVERY_POINT)
        self.high_watermarks = OffsetCheckpoint(self.path, REPLICATION_OFFSET)
        self.log_starts = OffsetCheckpoint(self.path, LOG_START_OFFSET)
        self.cleaned = OffsetCheckpoint(self.path, CLEANER_OFFSET)
        self._lock_descriptor = -1
        self._lock_identity = (0, 0)

    def __repr__(self) -> str:
        return f"LogDirectory({str(self.path)!r}, {'online' if self.online else 'offline'})"

    def open(self) -> None:
        """Create the directory if need be, lock it, and take the clean-shutdown marker away.

        The marker is read once and removed at once, so that a crash while loading counts as one.  Raises
        :class:`KafkaError` when another broker holds the directory and :class:`OSError` when it cannot be used.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        self._lock()
        marker = self.path / CLEAN_SHUTDOWN_MARKER
        self.clean = marker.exists()
        if self.clean:
            marker.unlink()
            sync_directory(self.path)

    def _lock(self) -> None:
        descriptor = os.open(self.path / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        status = os.fstat(descriptor)
        identity = (status.st_dev, status.st_ino)
        with _held_lock:
            # Record locks, which Kafka takes too, do not exclude a second owner in the same process.
            if identity in _held:
                os.close(descriptor)
                raise self._in_use()
            try:
                fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                os.close(descriptor)
                raise self._in_use() from None
            _held.add(identity)
        self._lock_descriptor, self._lock_identity = descriptor, identity

    def _in_use(self) -> KafkaError:
        return KafkaError(
            ErrorCode.KAFKA_STORAGE_ERROR,
            f"log directory {self.path} is locked by another broker; stop that one or choose another log.dirs",
        )

    def identify(self, cluster_id: str, broker_id: int) -> MetaProperties:
        """Check that the directory belongs to this cluster and broker, or claim an empty one for them.

        Raises :class:`KafkaError` (INCONSISTENT_CLUSTER_ID, INVALID_CONFIG) when it belongs to another.
        """
        found = read_meta_properties(self.path)
        if found is not None and found.cluster_id is not None and found.cluster_id != cluster_id:
            raise KafkaError(
                ErrorCode.INCONSISTENT_CLUSTER_ID,
                f"{self.path / META_PROPERTIES} belongs to cluster {found.cluster_id}, not {cluster_id}; choose another log.dirs",
            )
        if found is not None and found.broker_id is not None and found.broker_id != broker_id:
            raise KafkaError(
                ErrorCode.INVALID_CONFIG,
                f"{self.path / META_PROPERTIES} belongs to broker {found.broker_id}, not {broker_id}; "
                f"set broker.id={found.broker_id}",
            )
        if found is None or found.cluster_id is None or found.broker_id is None:
            found = MetaProperties(
                cluster_id,
                broker_id,
                directory_id=None if found is None else found.directory_id,
                version=0 if found is None else found.version,
            )
            write_meta_properties(self.path, found)
        return found

    def fail(self, reason: str) -> bool:
        """Take the directory out of service; returns False when it was already."""
        if not self.online:
            return False
        self.online, self.failure = False, reason
        return True

    def mark_clean(self, broker_epoch: int = -1) -> None:
        """Leave the marker that lets the next start skip recovery; raises :class:`OSError`."""
        content = json.dumps({"version": 0, "brokerEpoch": broker_epoch}, separators=(",", ":"))
        write_atomically(self.path / CLEAN_SHUTDOWN_MARKER, content.encode("ascii"))

    def close(self) -> None:
        """Give the lock back; the directory may be opened again by anyone."""
        if self._lock_descriptor < 0:
            return
        with _held_lock, contextlib.suppress(OSError):
            _held.discard(self._lock_identity)
            os.close(self._lock_descriptor)
        self._lock_descriptor = -1

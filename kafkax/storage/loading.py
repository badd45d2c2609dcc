"""Opening the logs of one log directory when the broker starts, several at a time.

After an orderly stop nothing is scanned.  After a crash each log is validated from its recovery point on, which the log itself
does; here it is decided what is opened, by how many threads, and what becomes of a log that does not open: it is reported and
left alone, and the others go on.
"""

from __future__ import annotations

import logging
import os
import threading
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from kafkax._core.flush import Flusher
from kafkax._core.log import Log, LogSettings, RecoveryProgress
from kafkax.errors import ErrorCode, KafkaError
from kafkax.model import TopicPartition
from kafkax.storage.checkpoints import OffsetCheckpoint
from kafkax.storage.directory import LogDirectory
from kafkax.storage.files import TEMPORARY_SUFFIX, MalformedFile
from kafkax.storage.names import FolderKind, FolderName, parse_folder
from kafkax.storage.partition_log import PartitionLog
from kafkax.storage.partition_metadata import read_topic_id
from kafkax.storage.settings import Configs

__all__ = ["DirectoryLoad", "LoadProgress", "TopicSource"]

_log = logging.getLogger(__name__)

_METADATA_TOPIC = "__cluster_metadata"
"""KRaft's own log, which only a KRaft node may write."""


TopicSource = Callable[[str], tuple[Configs, LogSettings]]
"""Gives a topic's configs and the settings that its logs are opened with; called once per topic."""


@dataclass
class LoadProgress:
    """How far loading came; written by the loading threads, read by whoever shows it.

    Attributes:
        logs_total, logs_done: folders to open and opened.
        recovery: bytes to validate and validated after a crash.
    """

    logs_total: int = 0
    logs_done: int = 0
    recovery: RecoveryProgress = field(default_factory=RecoveryProgress)


class DirectoryLoad:
    """The loading of one directory: :meth:`run` opens its logs by ``threads`` threads and returns when all are open.

    Attributes:
        logs: the open logs.
        failures: what did not open, with the reason.
        leftovers: folders marked for deletion, to be deleted now.
    """

    def __init__(
        self, directory: LogDirectory, flusher: Flusher, topics: TopicSource, progress: LoadProgress, *, threads: int
    ) -> None:
        self.directory = directory
        self.logs: list[PartitionLog] = []
        self.failures: dict[TopicPartition, str] = {}
        self.leftovers: list[str] = []
        self._flusher = flusher
        self._topics = topics
        self._progress = progress
        self._threads = threads
        self._lock = threading.Lock()
        self._recovery_points: dict[TopicPartition, int] = {}
        self._log_starts: dict[TopicPartition, int] = {}
        self._high_watermarks: dict[TopicPartition, int] = {}

    def run(self) -> None:
        """Load everything; raises :class:`OSError` when the directory itself cannot be read."""
        folders = self._folders()
        self._progress.logs_total += len(folders)
        self._recovery_points = self._read(self.directory.recovery_points)
        self._log_starts = self._read(self.directory.log_starts)
        self._high_watermarks = self._read(self.directory.high_watermarks)
        work = iter(folders)
        threads = [
            threading.Thread(target=self._open_all, args=(work,), name=f"load-{self.directory.path.name}-{number}", daemon=True)
            for number in range(max(1, min(self._threads, len(folders))) - 1)
        ]
        for thread in threads:
            thread.start()
        self._open_all(work)
        for thread in threads:
            thread.join()

    def _folders(self) -> list[tuple[str, FolderName]]:
        """The folders to open, by name; the rest is sorted into what goes, what stays unused and what is no partition."""
        chosen = []
        with os.scandir(self.directory.path) as entries:
            for entry in entries:
                if not entry.is_dir():
                    if entry.name.endswith(TEMPORARY_SUFFIX):
                        os.unlink(entry.path)
                    continue
                name = parse_folder(entry.name)
                if name is None:
                    _log.warning("%s is not named as a partition's folder and is left alone", entry.path)
                elif name.kind is FolderKind.DELETE:
                    self.leftovers.append(entry.path)
                elif name.kind is FolderKind.STRAY:
                    _log.warning("%s belongs to no topic and is kept for the operator; remove it by hand", entry.path)
                elif name.partition.topic != _METADATA_TOPIC:
                    chosen.append((entry.path, name))
        return chosen

    def _read(self, checkpoint: OffsetCheckpoint) -> dict[TopicPartition, int]:
        """The checkpoint's entries, none when it cannot be trusted: recovery then reads more."""
        try:
            return checkpoint.read()
        except MalformedFile as error:
            _log.warning("checkpoint is not used: %s", error)
            return {}

    def _open_all(self, work: Iterator[tuple[str, FolderName]]) -> None:
        """Open one log after the other until none is left; what one thread takes no other one gets."""
        while True:
            with self._lock:
                path, name = next(work, ("", None))
            if name is None:
                return
            try:
                opened = self._open(path, name)
            except (KafkaError, OSError) as error:
                _log.error("the log in %s cannot be opened: %s", path, error)
                with self._lock:
                    self.failures[name.partition] = str(error)
            else:
                with self._lock:
                    self.logs.append(opened)
            self._progress.logs_done += 1

    def _open(self, path: str, name: FolderName) -> PartitionLog:
        config, settings = self._topics(name.partition.topic)
        start = self._log_starts.get(name.partition, 0)
        log = Log.open(
            path,
            settings,
            flusher=self._flusher,
            clean=self.directory.clean,
            recovery_point=self._recovery_points.get(name.partition, 0),
            log_start_offset=start,
            progress=self._progress.recovery,
        )
        log.high_watermark = min(max(self._high_watermarks.get(name.partition, 0), log.log_start_offset), log.log_end_offset)
        return PartitionLog(
            name.partition, log, self.directory, config, self._topic_id(path, log), future=name.kind is FolderKind.FUTURE
        )

    def _topic_id(self, path: str, log: Log) -> uuid.UUID | None:
        try:
            return read_topic_id(path)
        except MalformedFile as error:
            if log.log_end_offset == 0 and not self.directory.clean:
                # As a power cut leaves a log that was just created, and for which it makes no difference.
                return None
            # A log under a topic id that nobody can tell could be another topic's of the same name.
            raise KafkaError(ErrorCode.KAFKA_STORAGE_ERROR, f"{error}; remove the file to have it written anew") from error

"""The log manager: all logs of a broker over several log directories.

It opens and closes them, places new ones, deletes, lets old segments go, and writes the checkpoints from which the next start
learns what is on disk.  A directory whose disk fails goes out of service with its logs; the others go on.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import threading
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

from kafkax._core.flush import Flusher
from kafkax._core.log import Log, LogSettings
from kafkax._core.notify import NotifyQueue
from kafkax.clock import Clock
from kafkax.errors import ErrorCode, KafkaError
from kafkax.model import TopicPartition, valid_topic_name
from kafkax.storage.checkpoints import OffsetCheckpoint
from kafkax.storage.deletions import Deletions
from kafkax.storage.directory import LogDirectory
from kafkax.storage.files import sync_directory
from kafkax.storage.loading import DirectoryLoad, LoadProgress
from kafkax.storage.names import FolderKind, marked_name
from kafkax.storage.partition_log import PartitionLog
from kafkax.storage.retention import RetentionPolicy, breached
from kafkax.storage.settings import Configs, log_settings
from kafkax.storage.tasks import PeriodicTasks

__all__ = ["DirectoryUsage", "LogManager", "LogUsage"]

_log = logging.getLogger(__name__)

MOST_PREFERRED = 10_000
"""Partitions to come whose directory was chosen by AlterReplicaLogDirs; more are placed like any other."""
_SYNCED_TOGETHER = 4
"""So many new logs or more are made safe by one sync of the file system."""


class LogUsage(NamedTuple):
    """A log as DescribeLogDirs shows it; ``size`` in bytes."""

    partition: TopicPartition
    size: int
    log_end_offset: int
    future: bool


class DirectoryUsage(NamedTuple):
    """A log directory as DescribeLogDirs shows it: bytes of its file system, and its logs; nothing of both when offline."""

    path: str
    online: bool
    total_bytes: int
    usable_bytes: int
    logs: list[LogUsage]


class LogManager:
    """All logs of one broker.  Thread-safe.

    Args:
        dirs: the entries of ``log.dirs``.
        broker: the broker's configs.
        topic_config: gives a topic's configs, also for a topic that only its folder tells of.
        clock: for everything that waits or ages.
        queue: where a disk failure is told; its ``dispatch`` then calls ``on_offline``.
        on_offline: called with a directory that went out of service and the logs it took along, on whatever thread met the
            failure.

    Attributes:
        failures: the logs that did not open, with the reason.
        on_truncated: called with a partition and the offset above which nothing of it is as it was: its log was cut there.
    """

    def __init__(
        self,
        dirs: Sequence[str],
        broker: Configs,
        topic_config: Callable[[str], Configs],
        clock: Clock,
        *,
        queue: NotifyQueue | None = None,
        on_offline: Callable[[LogDirectory, list[PartitionLog]], object] | None = None,
    ) -> None:
        self.directories = [LogDirectory(path) for path in dirs]
        self.failures: dict[TopicPartition, str] = {}
        self.on_truncated: Callable[[TopicPartition, int], object] | None = None
        self._broker = broker
        self._topic_config = topic_config
        self._clock = clock
        self._queue = queue
        self._on_offline = on_offline
        self._flushers: dict[LogDirectory, Flusher] = {}
        self._lock = threading.RLock()
        self._logs: dict[TopicPartition, PartitionLog] = {}
        self._futures: dict[TopicPartition, PartitionLog] = {}
        self._preferred: dict[TopicPartition, LogDirectory] = {}
        self._logs_in: Counter[LogDirectory] = Counter()
        self._topics: dict[str, tuple[Configs, LogSettings]] = {}
        self._created: list[PartitionLog] | None = None
        self._loaded = False
        self._written: dict[OffsetCheckpoint, dict[TopicPartition, int]] = {}
        self.deletions = Deletions(clock)
        self.tasks = PeriodicTasks(clock)

    # -- start -------------------------------------------------------------------------------------------------------

    def load(self, cluster_id: str, broker_id: int, progress: LoadProgress | None = None) -> None:
        """Lock the directories and open every log in them.

        A directory that cannot be used is offline from the start; a log that cannot be opened is named in ``failures``.

        Raises:
            KafkaError: another broker holds a directory, it belongs to another cluster or broker, a partition stands in two
                of them, or none is left.
        """
        progress = progress or LoadProgress()
        threads = self._broker["num.recovery.threads.per.data.dir"]
        for directory in self.directories:
            try:
                directory.open()
                directory.identify(cluster_id, broker_id)
            except OSError as error:
                self._fail(directory, f"it cannot be used: {error}")
            else:
                self._flushers[directory] = self._flusher(directory)
        self._require_directory()
        loads = [
            DirectoryLoad(directory, self._flushers[directory], self._topic, progress, threads=threads)
            for directory in self.online()
        ]
        workers = [
            threading.Thread(target=self._run_load, args=(load,), name=f"load-{load.directory.path}") for load in loads[1:]
        ]
        for worker in workers:
            worker.start()
        self._run_load(loads[0])
        for worker in workers:
            worker.join()
        for load in loads:
            self._adopt(load)
        self._settle_futures()
        self._require_directory()
        self._loaded = True

    def _flusher(self, directory: LogDirectory) -> Flusher:
        def failed(error: int) -> None:
            self.take_offline(directory, f"a read, write or sync failed: {os.strerror(error)}")

        return Flusher(
            str(directory.path),
            self._queue,
            failed,
            lazy_ms=self._broker["log.flush.lazy.ms"],
            lazy_bytes=self._broker["log.flush.lazy.bytes"],
            windows=self._broker["log.append.maps"] // len(self.directories),
        )

    def _run_load(self, load: DirectoryLoad) -> None:
        try:
            load.run()
        except OSError as error:
            self._fail(load.directory, f"it cannot be read: {error}")
        failed = self._flushers[load.directory].failed
        if failed:
            self._fail(load.directory, f"its logs cannot be read: {os.strerror(failed)}")

    def _adopt(self, load: DirectoryLoad) -> None:
        """Take over what a directory's load opened, unless its disk failed meanwhile."""
        if not load.directory.online:
            return
        for path in load.leftovers:
            self.deletions.add_folder(path, 0)
        self.failures.update(load.failures)
        for opened in load.logs:
            known = self._futures if opened.future else self._logs
            if opened.partition in known:
                raise KafkaError(
                    ErrorCode.KAFKA_STORAGE_ERROR,
                    f"{opened.partition} stands in {known[opened.partition].directory.path} and in {load.directory.path}; "
                    "move the copy that is older out of log.dirs",
                )
            self._host(known, opened)

    def _settle_futures(self) -> None:
        """Take up moves where the last stop left them.

        A copy whose log is gone was about to take its place: all of it is there.  What a copy holds beyond the log's end is what
        the log has lost in a crash.
        """
        for future in list(self._futures.values()):
            partition, current = future.partition, self._logs.get(future.partition)
            if current is not None:
                future.log.truncate(min(future.log.log_end_offset, current.log.log_end_offset))
            elif partition not in self.failures and all(directory.online for directory in self.directories):
                _log.info("%s: the copy in %s takes the place of the log, which is gone", partition, future.directory.path)
                with self._guard(future.directory, f"rename the copy of {partition}", swallow=True):
                    future.log.rename(str(future.directory.path / str(partition)))
                    sync_directory(future.directory.path)
                    self._drop(self._futures, partition)
                    future.future = False
                    self._host(self._logs, future)

    def _host(self, known: dict[TopicPartition, PartitionLog], hosted: PartitionLog) -> None:
        known[hosted.partition] = hosted
        self._logs_in[hosted.directory] += 1

    def _drop(self, known: dict[TopicPartition, PartitionLog], partition: TopicPartition) -> PartitionLog | None:
        hosted = known.pop(partition, None)
        if hosted is not None:
            self._logs_in[hosted.directory] -= 1
        return hosted

    def _require_directory(self) -> None:
        if not self.online():
            reasons = "; ".join(f"{directory.path}: {directory.failure}" for directory in self.directories)
            raise KafkaError(ErrorCode.KAFKA_STORAGE_ERROR, f"no log directory is usable: {reasons}")

    def _topic(self, topic: str) -> tuple[Configs, LogSettings]:
        """A topic's configs and settings, made once."""
        found = self._topics.get(topic)
        if found is None:
            config = self._topic_config(topic)
            found = self._topics[topic] = config, log_settings(config, self._broker["producer.id.expiration.ms"])
        return found

    def start_tasks(self) -> None:
        """Begin the periodic work on a thread of its own."""
        self.schedule_tasks()
        self.tasks.start("storage-tasks")

    def schedule_tasks(self) -> None:
        """Say what is to be done how often; ``tasks.tick()`` then does what is due."""
        tasks, broker = self.tasks, self._broker
        for interval, work in (
            ("log.retention.check.interval.ms", self.enforce_retention),
            ("log.flush.offset.checkpoint.interval.ms", self.checkpoint_recovery_points),
            ("log.flush.start.offset.checkpoint.interval.ms", self.checkpoint_log_starts),
            ("replica.high.watermark.checkpoint.interval.ms", self.checkpoint_high_watermarks),
            ("producer.id.expiration.check.interval.ms", self.expire_producers),
        ):
            tasks.add(work.__name__, broker[interval], work)
        tasks.add("file deletion", 1000, self.deletions.run)

    # -- logs --------------------------------------------------------------------------------------------------------

    def online(self) -> list[LogDirectory]:
        """The directories in service."""
        return [directory for directory in self.directories if directory.online]

    def get(self, partition: TopicPartition) -> PartitionLog | None:
        """The partition's log, None when there is none in service here."""
        return self._logs.get(partition)

    def logs(self) -> list[PartitionLog]:
        """All logs in service, without future ones."""
        with self._lock:
            return list(self._logs.values())

    def create(self, partition: TopicPartition, topic_id: uuid.UUID | None, *, is_new: bool = True) -> PartitionLog:
        """The partition's log, begun in the directory with the fewest logs when there is none yet.

        Args:
            partition: topic and number.
            topic_id: the topic's id, written beside the log; None: not known.
            is_new: whether the partition cannot have been here before; otherwise an offline directory may hold it.

        Raises:
            KafkaError: INCONSISTENT_TOPIC_ID when the log there belongs to another topic of the name, KAFKA_STORAGE_ERROR when
                it exists but does not open, may lie in an offline directory, or cannot be written.
        """
        with self._lock:
            hosted = self._logs.get(partition)
            is_begun = hosted is None
            if hosted is None:
                self._refuse_if_unknowable(partition, is_new=is_new)
                directory = self._preferred.pop(partition, None)
                if directory is None or not directory.online:
                    directory = min(self.online(), key=self._logs_in.__getitem__)
                hosted = self._begin(partition, directory, str(directory.path / str(partition)), future=False)
                self._host(self._logs, hosted)
            if topic_id is not None and hosted.topic_id not in (None, topic_id):
                raise KafkaError(
                    ErrorCode.INCONSISTENT_TOPIC_ID,
                    f"{hosted.log.directory} belongs to a topic {partition.topic} of another id; delete that partition first",
                )
            if topic_id is not None:
                with self._guard(hosted.directory, "write the topic id of " + str(partition)):
                    hosted.assign_topic_id(topic_id, sync=not is_begun)
            if is_begun and self._created is not None:
                self._created.append(hosted)
            elif is_begun:
                self._sync_created(hosted.directory, [hosted])
            return hosted

    @contextlib.contextmanager
    def creating(self) -> Iterator[None]:
        """Logs that are created within are on the disk only at the end, where one sync serves many of them.

        Until then nothing may be acknowledged of them. A directory whose sync fails is offline at the end. One thread at a time.
        """
        created: list[PartitionLog] = []
        self._created = created
        try:
            yield
        finally:
            self._created = None
            for directory in self.online():
                with contextlib.suppress(KafkaError):  # the directory is offline then, and says why
                    self._sync_created(directory, [hosted for hosted in created if hosted.directory is directory])

    def _sync_created(self, directory: LogDirectory, logs: list[PartitionLog]) -> None:
        """Make new logs in a directory outlast a power cut, whether they hold anything or not."""
        if not logs:
            return
        with self._guard(directory, f"sync {len(logs)} new logs"):
            if len(logs) >= _SYNCED_TOGETHER and self._flushers[directory].sync_file_system():
                return
            for hosted in logs:
                hosted.sync_creation()
            sync_directory(directory.path)

    def begin_move(self, partition: TopicPartition, path: str) -> bool:
        """Begin the copy that a move of the partition to the log directory ``path`` fills (AlterReplicaLogDirs).

        Returns:
            False when the log lies there already; a move to elsewhere is given up then.

        Raises:
            KafkaError: INVALID_TOPIC_EXCEPTION when the topic's name leaves no room for the copy's folder;
                LOG_DIR_NOT_FOUND when ``path`` is no entry of ``log.dirs``; KAFKA_STORAGE_ERROR when it or another
                directory is out of service, or the copy cannot be written; REPLICA_NOT_AVAILABLE when there is no log to move:
                it will be begun in ``path``.
        """
        with self._lock:
            try:
                folder = marked_name(partition, FolderKind.FUTURE, uuid.uuid4())
            except ValueError as error:
                raise KafkaError(ErrorCode.INVALID_TOPIC_EXCEPTION, str(error)) from None
            directory = self._directory_at(path)
            future = self._futures.get(partition)
            if future is not None and future.directory is directory:
                return True
            self.delete_future(partition)
            current = self._logs.get(partition)
            if current is None:
                self._refuse_if_unknowable(partition, is_new=False)
                if len(self._preferred) < MOST_PREFERRED and valid_topic_name(partition.topic):
                    self._preferred[partition] = directory
                raise KafkaError(ErrorCode.REPLICA_NOT_AVAILABLE, f"there is no log of {partition} to move")
            if current.directory is directory:
                return False
            # Another copy of it may lie in a directory that is offline.
            self._refuse_if_unknowable(partition, is_new=False)
            future = self._begin(partition, directory, str(directory.path / folder), future=True)
            if current.topic_id is not None:
                with self._guard(directory, f"write the topic id of {partition}"):
                    future.assign_topic_id(current.topic_id, sync=False)
            self._sync_created(directory, [future])
            self._host(self._futures, future)
            return True

    def moving(self) -> list[TopicPartition]:
        """The partitions that are being moved."""
        with self._lock:
            return list(self._futures)

    def future(self, partition: TopicPartition) -> PartitionLog | None:
        """The copy that a move of the partition fills; None when it is not being moved."""
        return self._futures.get(partition)

    def replace_current(
        self,
        partition: TopicPartition,
        exchange: Callable[[Log, Callable[[], object]], object],
        catch_up: Callable[[Log, Log], object],
    ) -> None:
        """Put the copy in the log's place and delete the log.

        Args:
            partition: topic and number.
            exchange: takes the copy into use; calls its second argument while nothing is appended to the log.
            catch_up: makes the copy, its second argument, equal to the log, its first.

        Raises:
            KafkaError: NOT_LEADER_OR_FOLLOWER when the log or the copy went away; KAFKA_STORAGE_ERROR when a disk failed.
        """
        current = self._logs.get(partition)
        with contextlib.nullcontext() if current is None else current.without_compaction(), self._lock:
            future = self._futures.get(partition)
            if current is None or future is None or self._logs.get(partition) is not current:
                raise KafkaError(ErrorCode.NOT_LEADER_OR_FOLLOWER, f"{partition} is not being moved any more")

            def settle() -> None:
                catch_up(current.log, future.log)
                self._exchange_folders(current, future)

            exchange(future.log, settle)
            self._drop(self._logs, partition)
            self._drop(self._futures, partition)
            future.future = False
            self._host(self._logs, future)
            self.deletions.add_folder(current.log.directory, current.config["file.delete.delay.ms"], current.log.close)
            if self.on_truncated is not None:
                self.on_truncated(partition, 0)

    def _exchange_folders(self, current: PartitionLog, future: PartitionLog) -> None:
        """Give the copy the plain name.  A crash in between leaves the copy alone, which the next start takes for the log."""
        plain = current.log.directory
        with self._guard(current.directory, f"take {current.partition} out of service"):
            current.log.rename(str(current.directory.path / marked_name(current.partition, FolderKind.DELETE, uuid.uuid4())))
            sync_directory(current.directory.path)
        try:
            with self._guard(future.directory, f"rename the copy of {future.partition}"):
                future.log.rename(str(future.directory.path / str(future.partition)))
                sync_directory(future.directory.path)
        except KafkaError:
            current.log.rename(plain)
            raise

    def delete(self, partition: TopicPartition, *, stray: bool = False) -> bool:
        """Take the partition's log out of service; its files go after ``file.delete.delay.ms``; False when there is none.

        Args:
            partition: topic and number.
            stray: keep the folder, marked as belonging to no topic, instead of deleting it.

        Raises:
            KafkaError: KAFKA_STORAGE_ERROR when its folder cannot be renamed; its directory is offline then.
        """
        with self._lock:
            hosted = self._drop(self._logs, partition)
            self.delete_future(partition)
            if hosted is None:
                return False
            self._retire(hosted, FolderKind.STRAY if stray else FolderKind.DELETE)
            return True

    def delete_future(self, partition: TopicPartition) -> None:
        """Give up a move: delete the copy, if there is one."""
        with self._lock:
            future = self._drop(self._futures, partition)
            if future is not None:
                self._retire(future, FolderKind.DELETE)

    def truncate(self, partition: TopicPartition, offset: int) -> None:
        """Cut the partition's log at ``offset``, as a follower does whose leader's log took another way.

        A compaction of the log is given up first: it would put back what is cut off.

        Raises:
            KafkaError: KAFKA_STORAGE_ERROR when there is no log in service, or the disk fails.
        """
        self._cut(partition, lambda log: log.truncate(min(offset, log.log_end_offset)))

    def truncate_fully(self, partition: TopicPartition, offset: int) -> None:
        """Drop all of the partition's log and have it begin anew at ``offset``; otherwise as :meth:`truncate`."""
        self._cut(partition, lambda log: log.truncate_fully(offset))

    def _cut(self, partition: TopicPartition, cut: Callable[[Log], object]) -> None:
        for hosted in (self._logs.get(partition), self._futures.get(partition)):
            if hosted is None:
                continue
            with hosted.without_compaction():
                cut(hosted.log)
                if not hosted.future and self.on_truncated is not None:
                    # Whatever is left may be written again from the active segment on.
                    self.on_truncated(partition, hosted.log.segments(times=False)[-1].base_offset)
        if partition not in self._logs:
            raise KafkaError(ErrorCode.KAFKA_STORAGE_ERROR, f"there is no log of {partition} in service to cut")

    def topic_changed(self, topic: str) -> None:
        """Take over changed configs of a topic (or of the broker, for a topic that follows it)."""
        with self._lock:
            self._topics.pop(topic, None)
            for hosted in [*self._logs.values(), *self._futures.values()]:
                if hosted.partition.topic == topic:
                    hosted.config, settings = self._topic(topic)
                    hosted.log.update_settings(settings)

    def usage(self) -> list[DirectoryUsage]:
        """The directories and their logs, as DescribeLogDirs shows them."""
        with self._lock:
            logs = [*self._logs.values(), *self._futures.values()]
        result = []
        for directory in self.directories:
            if not directory.online:
                result.append(DirectoryUsage(str(directory.path), False, -1, -1, []))
                continue
            status = os.statvfs(directory.path)
            mine = [
                LogUsage(hosted.partition, hosted.log.size, hosted.log.log_end_offset, hosted.future)
                for hosted in logs
                if hosted.directory is directory
            ]
            total, usable = status.f_blocks * status.f_frsize, status.f_bavail * status.f_frsize
            result.append(DirectoryUsage(str(directory.path), True, total, usable, mine))
        return result

    def _directory_at(self, path: str) -> LogDirectory:
        for directory in self.directories:
            if str(directory.path) == path:
                if directory.online:
                    return directory
                raise KafkaError(ErrorCode.KAFKA_STORAGE_ERROR, f"log directory {path} is offline: {directory.failure}")
        raise KafkaError(ErrorCode.LOG_DIR_NOT_FOUND, f"{path} is no entry of log.dirs")

    def _refuse_if_unknowable(self, partition: TopicPartition, *, is_new: bool) -> None:
        """Refuse to begin a log where an older one may lie."""
        self._require_directory()
        if partition in self.failures:
            raise KafkaError(ErrorCode.KAFKA_STORAGE_ERROR, f"the log of {partition} does not open: {self.failures[partition]}")
        offline = [str(directory.path) for directory in self.directories if not directory.online]
        if offline and not is_new:
            where = ", ".join(offline)
            raise KafkaError(ErrorCode.KAFKA_STORAGE_ERROR, f"the log of {partition} may lie in {where}, which is offline")

    def _begin(self, partition: TopicPartition, directory: LogDirectory, path: str, *, future: bool) -> PartitionLog:
        config, settings = self._topic(partition.topic)
        with self._guard(directory, f"create the log of {partition}"):
            os.makedirs(path, exist_ok=True)
            log = Log.open(path, settings, flusher=self._flushers[directory])
        return PartitionLog(partition, log, directory, config, future=future)

    def _retire(self, hosted: PartitionLog, kind: FolderKind) -> None:
        """Rename the folder of a log that is out of the maps already, and have it deleted unless it is a stray."""
        target = str(hosted.directory.path / marked_name(hosted.partition, kind, uuid.uuid4()))
        with self._guard(hosted.directory, f"take {hosted.partition} out of service"):
            hosted.log.rename(target)
            sync_directory(hosted.directory.path)
        if kind is FolderKind.DELETE:
            self.deletions.add_folder(target, hosted.config["file.delete.delay.ms"], hosted.log.close)
        else:
            hosted.log.close()

    # -- failure -----------------------------------------------------------------------------------------------------

    def take_offline(self, directory: LogDirectory, reason: str) -> None:
        """Take a directory and its logs out of service until the next start; nothing happens when it is already."""
        if not self._fail(directory, reason):
            return
        with self._lock:
            lost = [hosted for hosted in self._logs.values() if hosted.directory is directory]
            for known in (self._logs, self._futures):
                for hosted in [hosted for hosted in known.values() if hosted.directory is directory]:
                    self._drop(known, hosted.partition)
                    hosted.log.wake()
        if self._on_offline is not None:
            self._on_offline(directory, lost)

    def _fail(self, directory: LogDirectory, reason: str) -> bool:
        if not directory.fail(reason):
            return False
        _log.error("log directory %s is offline: %s", directory.path, reason)
        flusher = self._flushers.get(directory)
        if flusher is not None and not flusher.failed:
            flusher.fail(errno.EIO)
        return True

    def _guard(self, directory: LogDirectory, what: str, *, swallow: bool = False) -> _Guard:
        return _Guard(self, directory, what, swallow=swallow)

    # -- periodic work -----------------------------------------------------------------------------------------------

    def enforce_retention(self) -> int:
        """Let go of the segments that the topics no longer keep; how many logs lost some."""
        return sum(self._enforce(hosted) for hosted in self.logs())

    def _enforce(self, hosted: PartitionLog) -> bool:
        if not hosted.maintenance.acquire(blocking=False):
            return False
        try:
            log = hosted.log
            verdict = breached(
                log.segments(times=False),
                RetentionPolicy.of(hosted.config),
                log_start_offset=log.log_start_offset,
                high_watermark=log.high_watermark,
                log_end_offset=log.log_end_offset,
                now_ms=self._clock.wall_ms(),
                max_timestamp=hosted.max_timestamp,
            )
            if verdict is None:
                return False
            if verdict.roll:
                log.roll()
            removed = log.delete_before(verdict.offset)
        except (KafkaError, OSError) as error:
            _log.error("retention of %s failed: %s", hosted.partition, error)
            return False
        finally:
            hosted.maintenance.release()
        _log.info("%s lets go of what is below offset %d by %s", hosted.partition, verdict.offset, verdict.reason)
        self.deletions.add_files(removed, hosted.config["file.delete.delay.ms"])
        return True

    def expire_producers(self) -> None:
        """Forget producers that were silent for ``producer.id.expiration.ms``."""
        now = self._clock.wall_ms()
        for hosted in self.logs():
            hosted.log.expire_producers(now)

    def checkpoint_recovery_points(self) -> None:
        """Write down up to where each log is on disk, which is where recovery would begin."""

        def flushed(hosted: PartitionLog) -> int | None:
            offset = hosted.log.flushed_offset
            with self._guard(hosted.directory, "write leader epochs", swallow=True):
                # Recovery finds epochs in the batches that it looks at, which are those behind the recovery point: without
                # them on disk there is none, and it looks at everything.
                hosted.log.store_epochs()
                return offset
            return None

        self._checkpoint(lambda directory: directory.recovery_points, flushed)

    def checkpoint_high_watermarks(self) -> None:
        """Write down the high watermarks."""
        self._checkpoint(lambda directory: directory.high_watermarks, lambda hosted: hosted.log.high_watermark)

    def checkpoint_log_starts(self) -> None:
        """Write down where logs begin that begin behind their first segment's first offset."""

        def start(hosted: PartitionLog) -> int | None:
            offset = hosted.log.log_start_offset
            return offset if offset > hosted.log.segments(times=False)[0].base_offset else None

        self._checkpoint(lambda directory: directory.log_starts, start)

    def _checkpoint(self, file: Callable[[LogDirectory], OffsetCheckpoint], offset: Callable[[PartitionLog], int | None]) -> None:
        """Write one kind of checkpoint in every directory in service, where it would differ from what was written last."""
        offsets: dict[LogDirectory, dict[TopicPartition, int]] = {directory: {} for directory in self.online()}
        for hosted in self.logs():
            value = offset(hosted)
            if value is not None and hosted.directory in offsets:
                offsets[hosted.directory][hosted.partition] = value
        for directory, entries in offsets.items():
            checkpoint = file(directory)
            if self._written.get(checkpoint) == entries:
                continue
            with self._guard(directory, f"write {checkpoint.path.name}", swallow=True):
                checkpoint.write(entries)
                self._written[checkpoint] = entries

    # -- stop --------------------------------------------------------------------------------------------------------

    def shutdown(self, broker_epoch: int = -1) -> None:
        """Flush and close everything and leave the marker that spares the next start its recovery; idempotent.

        A directory in which that fails, or whose logs were not all loaded, is left without it and recovered at the next start.
        """
        self.tasks.stop()
        with self._lock:
            logs = [*self._logs.values(), *self._futures.values()]
            self._logs, self._futures = {}, {}
            self._logs_in.clear()
            loaded, self._loaded = self._loaded, False
        for directory in self.online() if loaded else []:
            mine = [hosted for hosted in logs if hosted.directory is directory]
            with self._guard(directory, "shut down in order", swallow=True):
                self._close(directory, mine)
                directory.mark_clean(broker_epoch)
        for directory in self.directories:
            flusher = self._flushers.pop(directory, None)
            if flusher is not None:
                flusher.stop()
            directory.close()

    def _close(self, directory: LogDirectory, logs: Iterable[PartitionLog]) -> None:
        """Close the logs of a directory, several at a time, and write its checkpoints."""
        mine = {hosted: hosted for hosted in logs}
        watermarks = {hosted.partition: hosted.log.high_watermark for hosted in mine if not hosted.future}
        starts = {
            hosted.partition: hosted.log.log_start_offset
            for hosted in mine
            if not hosted.future and hosted.log.log_start_offset > hosted.log.segments(times=False)[0].base_offset
        }
        ends = {hosted.partition: hosted.log.log_end_offset for hosted in mine if not hosted.future}
        work, failed = iter(list(mine)), list[Exception]()
        threads = [
            threading.Thread(target=self._close_all, args=(work, failed), name=f"close-{number}")
            for number in range(self._broker["num.recovery.threads.per.data.dir"])
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if failed:
            raise failed[0]
        directory.recovery_points.write(ends)
        directory.log_starts.write(starts)
        directory.high_watermarks.write(watermarks)

    def _close_all(self, work: Iterable[PartitionLog], failed: list[Exception]) -> None:
        iterator = iter(work)
        while True:
            with self._lock:
                hosted = next(iterator, None)
            if hosted is None:
                return
            try:
                hosted.log.close()
            except (KafkaError, OSError) as error:
                failed.append(error)


class _Guard:
    """Turns an I/O failure inside a ``with`` into an offline directory and a KAFKA_STORAGE_ERROR, or swallows it after that."""

    def __init__(self, manager: LogManager, directory: LogDirectory, what: str, *, swallow: bool) -> None:
        self._manager, self._directory, self._what, self._swallow = manager, directory, what, swallow

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> bool:
        if not isinstance(error, OSError | KafkaError):
            return False
        self._manager.take_offline(self._directory, f"it was not possible to {self._what}: {error}")
        if isinstance(error, OSError) and not self._swallow:
            raise KafkaError(ErrorCode.KAFKA_STORAGE_ERROR, f"it was not possible to {self._what}: {error}") from error
        return self._swallow

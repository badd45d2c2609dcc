"""The cleaner: threads that compact, each time the dirtiest log that is worth it.

What a round came to is kept in ``cleaner-offset-checkpoint``.  A log in which a round fails (a corrupt batch, a full map) is left
alone until the next start, and said so; the others go on.
"""

from __future__ import annotations

import errno
import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass

from kafkax.clock import Clock
from kafkax.errors import KafkaError
from kafkax.model import TopicPartition
from kafkax.storage.cleaner_policy import CleaningPlan, CompactionPolicy, plan
from kafkax.storage.cleaner_round import CleaningResult, CleaningRound, CleaningStopped
from kafkax.storage.directory import LogDirectory
from kafkax.storage.files import MalformedFile
from kafkax.storage.manager import LogManager
from kafkax.storage.partition_log import PartitionLog
from kafkax.storage.settings import Configs, is_compacted
from kafkax.storage.throttle import Throttle

__all__ = ["Cleaner", "CleanerStats"]

_log = logging.getLogger(__name__)

_MAX_MEMORY = 2**31 - 1
"""Bytes of one thread's map, as in Kafka."""


@dataclass
class CleanerStats:
    """What the cleaner did since the start.

    Attributes:
        rounds, failures: rounds that ended well and rounds that failed.
        bytes_read, bytes_removed: bytes scanned (twice where a log is noted and copied) and saved.
        uncleanable: logs that are left alone, with the reason.
    """

    rounds: int
    failures: int
    bytes_read: int
    bytes_removed: int
    uncleanable: dict[TopicPartition, str]


class Cleaner:
    """Compaction of the manager's logs.

    Args:
        manager: whose logs to clean.
        broker: the broker's configs.
        clock: against which lags and horizons are held.
    """

    def __init__(self, manager: LogManager, broker: Configs, clock: Clock) -> None:
        self.stats = CleanerStats(0, 0, 0, 0, {})
        self._manager = manager
        self._broker = broker
        self._clock = clock
        self._lock = threading.Lock()
        self._checkpoint_lock = threading.Lock()
        self._cleaned_to: dict[LogDirectory, dict[TopicPartition, int]] = {}
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []
        manager.on_truncated = self.truncated
        self._throttle = Throttle(broker["log.cleaner.io.max.bytes.per.second"], clock)

    def start(self) -> None:
        """Begin to clean on ``log.cleaner.threads`` threads, unless ``log.cleaner.enable`` is false."""
        if not self._broker["log.cleaner.enable"]:
            return
        for number in range(self._broker["log.cleaner.threads"]):
            thread = threading.Thread(target=self._loop, name=f"log-cleaner-{number}", daemon=True)
            thread.start()
            self._threads.append(thread)

    def stop(self) -> None:
        """End the threads; a round under way is given up within a chunk.  Idempotent."""
        self._stop.set()
        for thread in self._threads:
            thread.join()
        self._threads.clear()

    def _loop(self) -> None:
        while not self._stop.is_set():
            try:
                cleaned = self.clean_dirtiest()
            except Exception:
                _log.exception("the cleaner failed; it goes on after log.cleaner.backoff.ms")
                cleaned = None
            if cleaned is None:
                self._stop.wait(self._broker["log.cleaner.backoff.ms"] / 1000)

    def clean_dirtiest(self) -> CleaningResult | None:
        """Make one round over the log that needs it most; None when none does.  Never raises for what a log holds."""
        grabbed = self._grab()
        if grabbed is None:
            return None
        hosted, work, policy = grabbed
        try:
            return self._clean(hosted, work, policy)
        finally:
            hosted.maintenance.release()

    def _grab(self) -> tuple[PartitionLog, CleaningPlan, CompactionPolicy] | None:
        """The log to clean, its maintenance lock held."""
        with self._lock:
            dirtiest: list[tuple[float, PartitionLog, CompactionPolicy]] = []
            for hosted in self._manager.logs():
                if not is_compacted(hosted.config) or hosted.partition in self.stats.uncleanable:
                    continue
                policy = CompactionPolicy.of(hosted.config)
                work = self._plan(hosted, policy)
                if work is not None and work.worthwhile(policy):
                    dirtiest.append((work.dirty_ratio, hosted, policy))
            for _, hosted, policy in sorted(dirtiest, key=lambda entry: entry[0], reverse=True):
                if not hosted.maintenance.acquire(blocking=False):
                    continue
                # Retention may have taken segments since the first look.
                work = self._plan(hosted, policy)
                if work is not None and work.worthwhile(policy):
                    return hosted, work, policy
                hosted.maintenance.release()
            return None

    def _plan(self, hosted: PartitionLog, policy: CompactionPolicy) -> CleaningPlan | None:
        log = hosted.log
        try:
            return plan(
                log.segments(times=policy.needs_first_timestamps),
                policy,
                cleaned_to=self._checkpoint(hosted.directory).get(hosted.partition),
                log_start_offset=log.log_start_offset,
                log_end_offset=log.log_end_offset,
                stable_offset=min(log.high_watermark, log.last_stable_offset),
                now_ms=self._clock.wall_ms(),
                max_timestamp=hosted.max_timestamp,
            )
        except (KafkaError, OSError) as error:
            _log.debug("%s was taken out of service while it was looked at: %s", hosted.partition, error)
            return None

    def _clean(self, hosted: PartitionLog, work: CleaningPlan, policy: CompactionPolicy) -> CleaningResult | None:
        threads = max(1, self._broker["log.cleaner.threads"])
        began = self._clock.monotonic()
        try:
            result = CleaningRound(
                hosted.log,
                work,
                policy,
                self._clock.wall_ms(),
                memory=min(self._broker["log.cleaner.dedupe.buffer.size"] // threads, _MAX_MEMORY),
                load_factor=self._broker["log.cleaner.io.buffer.load.factor"],
                paced=self._paced(hosted),
            ).run()
        except CleaningStopped:
            return None
        except (KafkaError, OSError, MemoryError, ValueError) as error:
            self._failed(hosted, error)
            return None
        self._manager.deletions.add_files(result.deleted, hosted.config["file.delete.delay.ms"])
        self._note(hosted, result.cleaned_to)
        self.stats.rounds += 1
        self.stats.bytes_read += result.bytes_read
        self.stats.bytes_removed += result.bytes_before - result.bytes_after
        _log.info(
            "%s is clean up to offset %d: %d of %d bytes stay, in %.1f s",
            hosted.partition,
            result.cleaned_to,
            result.bytes_after,
            result.bytes_before,
            self._clock.monotonic() - began,
        )
        return result

    def _paced(self, hosted: PartitionLog) -> Callable[[int], bool]:
        """Waits as the throttle asks, and says no once the broker stops, or the log was taken away or is about to be cut."""

        def paced(moved: int) -> bool:
            wait = self._throttle.charge(moved)
            if wait > 0:
                self._stop.wait(wait)
            return not self._stop.is_set() and not hosted.waiting and self._manager.get(hosted.partition) is hosted

        return paced

    def _failed(self, hosted: PartitionLog, error: Exception) -> None:
        """Note a failed round; a disk that fails takes its directory along, anything else only this log."""
        if self._manager.get(hosted.partition) is not hosted:
            return
        self.stats.failures += 1
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            _log.warning("compaction of %s has no room for its copy and is tried again later: %s", hosted.partition, error)
            return
        if isinstance(error, OSError) and error.errno in (errno.EIO, errno.EROFS):
            self._manager.take_offline(hosted.directory, f"compaction of {hosted.partition} failed: {error}")
            return
        _log.error("%s is not compacted until the next start: %s", hosted.partition, error)
        self.stats.uncleanable[hosted.partition] = str(error)

    # -- checkpoint --------------------------------------------------------------------------------------------------

    def truncated(self, partition: TopicPartition, offset: int) -> None:
        """Take back what was noted beyond ``offset``: the log was truncated there and will grow other records."""
        with self._checkpoint_lock:
            for directory, entries in self._cleaned_to.items():
                if entries.get(partition, 0) > offset and directory.online:
                    entries[partition] = offset
                    directory.cleaned.write(entries)

    def _checkpoint(self, directory: LogDirectory) -> dict[TopicPartition, int]:
        """The directory's entries, read once."""
        with self._checkpoint_lock:
            if directory not in self._cleaned_to:
                try:
                    self._cleaned_to[directory] = directory.cleaned.read()
                except MalformedFile as error:
                    _log.warning("checkpoint is not used, compaction begins anew: %s", error)
                    self._cleaned_to[directory] = {}
            return self._cleaned_to[directory]

    def _note(self, hosted: PartitionLog, offset: int) -> None:
        """Write down up to where the log is clean, and forget logs that are gone."""
        entries = self._checkpoint(hosted.directory)
        with self._checkpoint_lock:
            entries[hosted.partition] = offset
            kept = {
                partition: value
                for partition, value in entries.items()
                if (known := self._manager.get(partition)) is not None and known.directory is hosted.directory
            }
            self._cleaned_to[hosted.directory] = kept
            try:
                hosted.directory.cleaned.write(kept)
            except OSError as error:
                failure = error
            else:
                return
        self._manager.take_offline(hosted.directory, f"the cleaner's checkpoint cannot be written: {failure}")

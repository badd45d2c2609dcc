"""The flush threads of a log directory: group commit outside the append locks."""

from collections.abc import Callable

from kafkax._core.notify import NotifyQueue

class Flusher:
    """Flush threads of one log directory (an entry of ``log.dirs``), and the mark whether that directory still works.

    Args:
        directory: its path, for messages.
        queue: where a failure is told; ``None``: only ``failed`` tells.
        on_failure: called with errno, once, from ``queue.dispatch()``, when a write or an ``fdatasync`` failed: from then on
            every log opened with this flusher answers KAFKA_STORAGE_ERROR and nothing more is acknowledged.
        lazy_ms: how long what nobody waits for may stay unflushed (``log.flush.lazy.ms``).
        lazy_bytes: how many bytes of a log may (``log.flush.lazy.bytes``).
        windows: how many of its logs may be appended to by a mapping of their file at a time (``log.append.maps``).
    """

    def __init__(
        self,
        directory: str,
        queue: NotifyQueue | None = None,
        on_failure: Callable[[int], object] | None = None,
        *,
        lazy_ms: int = 1000,
        lazy_bytes: int = 1 << 28,
        windows: int = 10000,
    ) -> None: ...
    @property
    def failed(self) -> int:
        """errno that took the directory offline, 0 while it works."""

    @property
    def rounds(self) -> int:
        """Rounds of group commit so far."""

    @property
    def flushes(self) -> int:
        """Logs flushed so far."""

    @property
    def together(self) -> int:
        """Rounds that synced the whole file system, since many logs were dirty."""

    @property
    def replaced(self) -> int:
        """Flushes of one log that wrote what replaces zeros on the disk and did without a sync of its file."""

    def sync_file_system(self) -> bool:
        """Sync whatever was written to the file system of the directory.

        Returns:
            False, with nothing done, where that is not known to write everything and to tell of errors (other file systems
            than the usual local ones, Linux before 5.8).

        Raises:
            OSError: the sync failed, or a write that it was for; the directory is offline then.
        """

    def fail(self, error: int) -> None:
        """Take the directory offline with ``error`` (an errno), as a failed write does."""

    def stop(self) -> None:
        """Flush what is asked for, then end the threads; idempotent. Logs fall back to flushing when told."""

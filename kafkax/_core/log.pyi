"""A partition's log on disk: Python's face of the core."""

from typing import NamedTuple

from typing_extensions import Buffer

from kafkax._core.flush import Flusher
from kafkax._core.segment import FileSlice
from kafkax.errors import ErrorCode, KafkaError

class AppendResult(NamedTuple):
    """What an append did.

    ``base_offset``/``last_offset``: offsets given out (of the original for a duplicate). ``required_offset``: what the high
    watermark has to reach for acks=all. ``log_append_time_ms``: -1 with CreateTime.
    """

    base_offset: int
    last_offset: int
    required_offset: int
    log_append_time_ms: int
    log_start_offset: int
    leader_epoch: int
    duplicate: bool

class SegmentInfo(NamedTuple):
    """A segment: offsets, bytes, and times in ms (-1 unknown or none)."""

    base_offset: int
    size: int
    created_ms: int
    max_timestamp: int
    max_timestamp_offset: int
    first_timestamp: int

class ProducerEntry(NamedTuple):
    """State of a producer, as one entry of a ``.snapshot`` file (-1: none)."""

    producer_id: int
    producer_epoch: int
    last_sequence: int
    last_offset: int
    offset_delta: int
    last_timestamp: int
    coordinator_epoch: int
    current_txn_first_offset: int

class AbortedTransaction(NamedTuple):
    """An aborted transaction that a read_committed consumer has to filter."""

    producer_id: int
    first_offset: int

class TimestampAndOffset(NamedTuple):
    """Answer of ListOffsets: ms, offset, leader epoch of the batch (-1 unknown)."""

    timestamp: int
    offset: int
    leader_epoch: int

class RecoveryProgress:
    """Counters that a recovery scan on another thread moves on; hand one to many ``Log.open`` calls to sum them up."""

    def __init__(self) -> None: ...
    @property
    def bytes_total(self) -> int:
        """Bytes that the scans begun so far have to read."""

    @property
    def bytes_done(self) -> int: ...
    @property
    def bytes_cut(self) -> int:
        """Bytes of torn tails cut off."""

class LogSettings:
    """Settings of a log, in Kafka's units and defaults; each argument is the topic config of that name.

    ``compression``: -1 for ``producer``, else the codec id (0 none, 1 gzip, 2 snappy, 3 lz4, 4 zstd). ``flushed``:
    ``kafkax.durability`` is ``flushed``. ``trust_compressed``: compressed records are not looked into.
    ``decompressed_max_bytes``: bound on what one compressed batch may expand to. ``verify_transactions``: a client's batch
    that opens a transaction is handed to the control plane first (transaction.partition.verification.enable).
    """

    def __init__(
        self,
        *,
        segment_bytes: int = 1 << 30,
        segment_ms: int = 604_800_000,
        segment_jitter_ms: int = 0,
        segment_index_bytes: int = 10 << 20,
        index_interval_bytes: int = 4096,
        max_message_bytes: int = 1_048_588,
        timestamp_before_max_ms: int = (1 << 63) - 1,
        timestamp_after_max_ms: int = 3_600_000,
        flush_messages: int = (1 << 63) - 1,
        flush_ms: int = (1 << 63) - 1,
        producer_id_expiration_ms: int = 86_400_000,
        decompressed_max_bytes: int = 256 << 20,
        compression: int = -1,
        compacted: bool = False,
        log_append_time: bool = False,
        flushed: bool = True,
        preallocate: bool = False,
        trust_compressed: bool = False,
        verify_transactions: bool = False,
    ) -> None: ...

class Log:
    """A partition's log in one folder; made by ``open``. All methods are thread-safe and release the GIL for I/O.

    Every method raises KafkaError KAFKA_STORAGE_ERROR once the log is closed or its disk is offline.
    """

    @staticmethod
    def open(
        directory: str,
        settings: LogSettings,
        *,
        flusher: Flusher | None = None,
        clean: bool = True,
        recovery_point: int = 0,
        log_start_offset: int = 0,
        progress: RecoveryProgress | None = None,
    ) -> Log:
        """Open the log in ``directory`` (which must exist), or begin one there when it has no segment.

        ``clean``: the log directory was shut down cleanly, nothing is scanned. Else every batch from the segment of
        ``recovery_point`` (offset up to which data was flushed) on is validated, indexes are rebuilt and a torn tail is cut.
        ``log_start_offset``: from the checkpoint; raised to the first segment's base offset. Without ``flusher``, ``flush`` is
        only done when called. Raises KafkaError KAFKA_STORAGE_ERROR with the file and what is wrong.
        """

    def append(
        self,
        records: Buffer,
        *,
        leader_epoch: int = 0,
        origin: str = "client",
        validated: bool = False,
        api_version: int = 13,
        now_ms: int = -1,
    ) -> AppendResult:
        """Append one batch as the leader: offsets and epoch are assigned, the producer's sequence is checked.

        ``origin``: ``client`` or ``coordinator`` (may write control batches). ``validated``: the caller looked into the records
        already. ``now_ms``: wall clock (-1: the machine's). Raises KafkaError with the code that Produce answers;
        ``RecordErrors`` when records are refused; ``Handoff`` when the caller must validate or recompress the batch first.
        """

    def append_follower(self, records: Buffer) -> int:
        """Append batches byte for byte as the leader sent them; the new log end offset. An incomplete last batch is left out.

        Raises KafkaError CORRUPT_MESSAGE, or OFFSET_OUT_OF_RANGE when the first batch does not begin at or after the log end.
        """

    def read(self, offset: int, max_bytes: int, upto: str = "log_end", *, min_one_batch: bool = True) -> FileSlice | None:
        """Bytes from the batch that holds ``offset`` on, bounded by ``upto``: ``high_watermark``, ``last_stable`` or ``log_end``.

        ``None``: nothing there yet. Raises KafkaError OFFSET_OUT_OF_RANGE.
        """

    def aborted_transactions(self, first: int, end: int) -> list[AbortedTransaction]:
        """Aborted transactions that overlap offsets ``first`` (inclusive) to ``end`` (exclusive)."""

    def roll(self) -> int:
        """Begin a new segment at the log end (nothing happens when the active one is empty); its base offset."""

    def truncate(self, offset: int) -> int:
        """Drop everything from ``offset`` on; the new log end (the base of the batch that held ``offset``)."""

    def truncate_fully(self, offset: int) -> None:
        """Drop everything and begin anew at ``offset``."""

    def delete_before(self, offset: int) -> list[str]:
        """Take segments that lie wholly below ``offset`` out of service, never the active one, and raise the log start to the
        first that stays. Their files are renamed to ``*.deleted``: the paths are returned, to be unlinked later."""

    def set_log_start_offset(self, offset: int) -> None:
        """Raise the log start (DeleteRecords); lower values are ignored. Raises OFFSET_OUT_OF_RANGE above the high watermark."""

    def replace_segments(self, new_bases: list[int], old_bases: list[int]) -> list[str]:
        """Put compacted segments in place of old ones, never of the active one; the paths of the ``*.deleted`` files.

        The new ones stand in the folder, synced, as ``<base>.log.cleaned``, ``.index.cleaned``, ``.timeindex.cleaned`` and, where
        there is one, ``.txnindex.cleaned``; they go through ``.swap`` names, so that ``open`` repairs a crash at any point.
        """

    def wake(self) -> None:
        """Wake all who wait for a mark, to look again: what they wait for may never come."""

    def flush(self) -> int:
        """Sync everything appended before the call and return up to which offset."""

    def offset_for_timestamp(self, timestamp: int) -> TimestampAndOffset | None:
        """First record whose timestamp is >= ``timestamp`` and its offset >= log start; ``None`` when there is none.

        -3 asks for the record with the largest timestamp.
        """

    def end_offset_for_epoch(self, epoch: int) -> tuple[int, int]:
        """(largest epoch <= ``epoch``, where it ends) as OffsetForLeaderEpoch answers it; (-1, -1) when not known."""

    def assign_epoch(self, epoch: int, start_offset: int) -> None:
        """Note that ``epoch`` begins at ``start_offset``; older or equal epochs are ignored."""

    def store_epochs(self) -> None:
        """Have all epochs on the disk, as they have to be before a recovery point moves on; raises :class:`KafkaError`."""

    def epochs(self) -> list[tuple[int, int]]:
        """(epoch, start offset), ascending."""

    def update_settings(self, settings: LogSettings) -> None: ...
    def rename(self, directory: str) -> None:
        """Move the folder (``-delete``, ``-future`` names); slices handed out stay valid."""

    def segments(self, times: bool = True) -> list[SegmentInfo]:
        """All segments, oldest first. Without ``times`` no file is opened: times that are not known yet are -1."""

    def producers(self) -> list[ProducerEntry]: ...
    def load_producers(self, entries: list[ProducerEntry]) -> None:
        """Replace the producer state."""

    def expire_producers(self, now_ms: int) -> int:
        """Forget producers idle for producer.id.expiration.ms without an open transaction; how many."""

    def open_transaction(self, producer_id: int) -> int:
        """First offset of the producer's open transaction, -1 when it has none."""

    def take_snapshot(self) -> None:
        """Write the producer state to ``<log end>.snapshot``."""

    def close(self) -> None:
        """Sync, trim indexes, write the producer snapshot; idempotent. Slices handed out stay readable."""

    @property
    def directory(self) -> str: ...
    @property
    def log_start_offset(self) -> int: ...
    @property
    def log_end_offset(self) -> int: ...
    @property
    def high_watermark(self) -> int: ...
    @high_watermark.setter
    def high_watermark(self, offset: int) -> None: ...
    @property
    def last_stable_offset(self) -> int: ...
    @property
    def end_to_be_flushed(self) -> int | None:
        """Log end offset that the high watermark reaches by a flush alone, which comes by itself; None where it is there, waits
        for other replicas, or for what ``flush.messages`` and ``flush.ms`` ask for."""

    @property
    def flushed_offset(self) -> int:
        """Recovery point: everything below is on disk."""

    @property
    def size(self) -> int:
        """Bytes in log files."""

    @property
    def first_unstable_offset(self) -> int:
        """Where the earliest transaction begins that is open or whose end is above the high watermark; -1 when there is none."""

class AppendError(KafkaError):
    """A batch was refused. ``log_start_offset``: what a Produce answer tells with it, -1 where Kafka tells none."""

    log_start_offset: int

    def __init__(self, code: ErrorCode, log_start_offset: int) -> None: ...

class RecordErrors(Exception):
    """Records of a batch were refused.

    ``code``: the wire code; ``errors``: (index of the record in the batch, ``"key"`` or ``"timestamp"``), of very many the
    first ones; ``log_start_offset``: as that of ``AppendError``.
    """

    code: int
    errors: list[tuple[int, str]]
    log_start_offset: int

    def __init__(self, code: int, errors: list[tuple[int, str]], log_start_offset: int) -> None: ...

class Handoff(Exception):
    """The batch must be validated or rewritten by the caller, who appends it with ``validated=True`` then."""

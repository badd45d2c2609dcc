"""A partition's log on disk: Python's face of the core."""

import os
from typing import NamedTuple

from libc.stdint cimport int16_t, int32_t, int64_t, uint8_t
from libc.stdlib cimport calloc, free
from libc.string cimport memset
from kafkax._core.aborted cimport aborted_list_t
from kafkax._core.append cimport (
    append_as_follower, append_check, append_commit, append_result_clear, append_result_release, log_roll, log_snapshot, plan_t,
)
from kafkax._core.atomics cimport kx_load32, kx_load64, kx_store32
from kafkax._core.batch cimport RECORD_ERROR_NO_KEY
from kafkax._core.codes cimport CORE_END, CORE_HANDOFF, ERR_KAFKA_STORAGE_ERROR, OK
from kafkax._core.epochs cimport epochs_assign, epochs_end, epochs_store
from kafkax._core.files cimport directory_path, directory_rename
from kafkax._core.flush cimport Flusher, flusher_t
from kafkax._core.logstate cimport (
    LOG_CLOSED, LOG_REPLACED, MARK_EXTERNAL,
    ORIGIN_CLIENT, ORIGIN_COORDINATOR, ORIGIN_VALIDATED, READ_COMMITTED, READ_LOG_END, READ_UNCOMMITTED,
    log_active,
    log_appended, log_fail, log_failed, log_flush, log_flush_is_all, log_new, log_release, log_set_high_watermark,
    log_set_mark_mode, log_settle,
    log_wake_all, read_result_release,
)
from kafkax._core.lookup cimport log_aborted, log_at_max_timestamp, log_at_timestamp, log_load, log_read, moment_t
from kafkax._core.producer_state cimport (
    kept_batch_t, producer_t, producers_clear, producers_expire, producers_find, producers_first_unstable, producers_put,
)
from kafkax._core.pthreads cimport pthread_mutex_lock, pthread_mutex_unlock
from kafkax._core.recover cimport log_load_folder
from kafkax._core.segment cimport FileSlice, segment_close, segment_release, segment_retain, segment_t
from kafkax._core.shrink cimport (
    log_delete_before, log_raise_start, log_replace, log_truncate, log_truncate_fully, retired_free, retired_t,
)

from kafkax.errors import ErrorCode, KafkaError

cdef enum:
    PATH_SIZE = 4096

cdef kept_batch_t NO_BATCH
NO_BATCH.last_sequence = -1
NO_BATCH.offset_delta = 0
NO_BATCH.last_offset = -1
NO_BATCH.timestamp = -1


class AppendResult(NamedTuple):
    base_offset: int
    last_offset: int
    required_offset: int
    log_append_time_ms: int
    log_start_offset: int
    leader_epoch: int
    duplicate: bool


class SegmentInfo(NamedTuple):
    base_offset: int
    size: int
    created_ms: int
    max_timestamp: int
    max_timestamp_offset: int
    first_timestamp: int


class ProducerEntry(NamedTuple):
    producer_id: int
    producer_epoch: int
    last_sequence: int
    last_offset: int
    offset_delta: int
    last_timestamp: int
    coordinator_epoch: int
    current_txn_first_offset: int


class AbortedTransaction(NamedTuple):
    producer_id: int
    first_offset: int


class TimestampAndOffset(NamedTuple):
    timestamp: int
    offset: int
    leader_epoch: int


class AppendError(KafkaError):
    def __init__(self, code, log_start_offset):
        super().__init__(code)
        self.log_start_offset = log_start_offset


class RecordErrors(Exception):
    def __init__(self, code, errors, log_start_offset):
        super().__init__(f"{len(errors)} records refused with {ErrorCode(code).name}, the first at index {errors[0][0]}")
        self.code = code
        self.errors = errors
        self.log_start_offset = log_start_offset


class Handoff(Exception):
    pass


cdef class RecoveryProgress:
    def __cinit__(self):
        memset(&self.progress, 0, sizeof(progress_t))

    @property
    def bytes_total(self):
        return kx_load64(&self.progress.bytes_total)

    @property
    def bytes_done(self):
        return kx_load64(&self.progress.bytes_done)

    @property
    def bytes_cut(self):
        return kx_load64(&self.progress.bytes_cut)


cdef class LogSettings:
    def __cinit__(
        self,
        *,
        int64_t segment_bytes=1 << 30,
        int64_t segment_ms=604_800_000,
        int64_t segment_jitter_ms=0,
        int64_t segment_index_bytes=10 << 20,
        int64_t index_interval_bytes=4096,
        int64_t max_message_bytes=1_048_588,
        int64_t timestamp_before_max_ms=(1 << 63) - 1,
        int64_t timestamp_after_max_ms=3_600_000,
        int64_t flush_messages=(1 << 63) - 1,
        int64_t flush_ms=(1 << 63) - 1,
        int64_t producer_id_expiration_ms=86_400_000,
        int64_t decompressed_max_bytes=256 << 20,
        int32_t compression=-1,
        bint compacted=False,
        bint log_append_time=False,
        bint flushed=True,
        bint preallocate=False,
        bint trust_compressed=False,
        bint verify_transactions=False,
    ):
        memset(&self.settings, 0, sizeof(log_settings_t))
        # Positions in an index are 31 bits, and an index without room for two entries could never be added to.
        if not 14 <= segment_bytes <= 0x7FFFFFFF:
            raise ValueError(f"segment_bytes is {segment_bytes}, must be 14 to 2147483647")
        if not 24 <= segment_index_bytes <= 0x7FFFFFFF:
            raise ValueError(f"segment_index_bytes is {segment_index_bytes}, must be 24 to 2147483647")
        self.settings.segment_bytes = segment_bytes
        self.settings.segment_ms = segment_ms
        self.settings.segment_jitter_ms = min(segment_jitter_ms, segment_ms)
        self.settings.segment_index_bytes = segment_index_bytes
        self.settings.index_interval_bytes = index_interval_bytes
        self.settings.max_message_bytes = max_message_bytes
        self.settings.timestamp_before_max_ms = timestamp_before_max_ms
        self.settings.timestamp_after_max_ms = timestamp_after_max_ms
        self.settings.flush_messages = flush_messages
        self.settings.flush_ms = flush_ms
        self.settings.producer_id_expiration_ms = producer_id_expiration_ms
        self.settings.decompressed_max_bytes = decompressed_max_bytes
        self.settings.compression = compression
        self.settings.compacted = compacted
        self.settings.log_append_time = log_append_time
        self.settings.flushed = flushed
        self.settings.preallocate = preallocate
        self.settings.trust_compressed = trust_compressed
        self.settings.verify_transactions = verify_transactions


cdef object append_result(const append_result_t *result):
    return AppendResult(result.base_offset, result.last_offset, result.required_offset, result.log_append_time_ms,
                        result.log_start_offset, result.leader_epoch, result.duplicate != 0)


cdef object aborted_list(const read_result_t *result):
    return [
        AbortedTransaction(result.aborted[i].producer_id, result.aborted[i].first_offset)
        for i in range(result.aborted_count)
    ]


cdef int32_t origin_of(str origin, bint validated) except -1:
    if origin == "client":
        return ORIGIN_VALIDATED if validated else ORIGIN_CLIENT
    if origin == "coordinator":
        return ORIGIN_COORDINATOR
    raise ValueError(f"origin is {origin!r}, must be 'client' or 'coordinator'")


cdef object raise_append(int32_t code, append_result_t *result):
    if code == CORE_HANDOFF:
        raise Handoff("the batch must be validated or rewritten by the control plane")
    errors = [
        (result.record_errors[i].index, "key" if result.record_errors[i].kind == RECORD_ERROR_NO_KEY else "timestamp")
        for i in range(result.record_error_count)
    ]
    append_result_release(result)
    if errors:
        raise RecordErrors(code, errors, result.log_start_offset)
    raise AppendError(ErrorCode(code), result.log_start_offset)


ISOLATION = {"log_end": READ_LOG_END, "high_watermark": READ_UNCOMMITTED, "last_stable": READ_COMMITTED}


cdef class Log:
    def __dealloc__(self):
        if self.log != NULL:
            log_release(self.log)

    def __init__(self):
        raise TypeError("a log is made by Log.open")

    @staticmethod
    def open(str directory, LogSettings settings not None, *, Flusher flusher=None, bint clean=True, int64_t recovery_point=0,
             int64_t log_start_offset=0, RecoveryProgress progress=None):
        cdef Log self = Log.__new__(Log)
        cdef bytes path = os.fsencode(directory)
        cdef const char *text = path
        cdef flusher_t *own = flusher.flusher if flusher is not None else NULL
        cdef progress_t *counters = &progress.progress if progress is not None else NULL
        cdef int32_t error
        self.log = log_new(text, &settings.settings, own)
        if self.log == NULL:
            raise MemoryError
        with nogil:
            error = log_load_folder(self.log, clean, recovery_point, log_start_offset, counters)
        if error:
            raise KafkaError(ErrorCode.KAFKA_STORAGE_ERROR, f"log {directory} cannot be opened: {os.strerror(abs(error))}")
        return self

    cdef object check(self, int32_t code, str what):
        if code == OK:
            return None
        if code == ERR_KAFKA_STORAGE_ERROR:
            failed = kx_load32(&self.log.disk.failed)
            reason = os.strerror(failed) if failed else "the log is closed" if self.log.closed else "a file is damaged"
            raise KafkaError(ErrorCode.KAFKA_STORAGE_ERROR, f"{what} of log {self.directory} failed: {reason}")
        raise KafkaError(ErrorCode(code) if code > 0 else ErrorCode.UNKNOWN_SERVER_ERROR, f"{what} of log {self.directory}")

    def append(self, const uint8_t[::1] records not None, *, int32_t leader_epoch=0, str origin="client", bint validated=False,
               int16_t api_version=13, int64_t now_ms=-1):
        cdef append_result_t result
        cdef plan_t plan
        cdef int32_t who = origin_of(origin, validated)
        cdef const uint8_t *data = &records[0] if records.shape[0] else NULL
        cdef size_t size = records.shape[0]
        cdef int32_t code
        with nogil:
            append_result_clear(&result, self.log)
            code = append_check(self.log, data, size, who, api_version, now_ms, &plan, &result)
            if code == OK:
                pthread_mutex_lock(&self.log.append_lock)
                code = append_commit(self.log, &plan, leader_epoch, &result)
                pthread_mutex_unlock(&self.log.append_lock)
                log_appended(self.log, False)
        if code == ERR_KAFKA_STORAGE_ERROR:
            self.check(code, "append")
        if code != OK:
            raise_append(code, &result)
        return append_result(&result)

    def append_follower(self, const uint8_t[::1] records not None):
        cdef const uint8_t *data = &records[0] if records.shape[0] else NULL
        cdef size_t size = records.shape[0]
        cdef int32_t code
        with nogil:
            code = append_as_follower(self.log, data, size)
        self.check(code, "append")
        return kx_load64(&self.log.log_end_offset)

    def read(self, int64_t offset, int64_t max_bytes, str upto="log_end", *, bint min_one_batch=True):
        cdef read_result_t result
        cdef int32_t isolation = ISOLATION[upto]
        cdef int32_t code
        with nogil:
            code = log_read(self.log, offset, max_bytes, min_one_batch, isolation, True, &result)
        try:
            self.check(code, f"read at {offset}")
            if result.piece.segment == NULL:
                return None
            piece = FileSlice.adopt(result.piece)
            result.piece.segment = NULL
            return piece
        finally:
            read_result_release(&result)

    def aborted_transactions(self, int64_t first, int64_t end):
        cdef aborted_list_t found
        cdef int32_t code
        memset(&found, 0, sizeof(found))
        with nogil:
            code = log_aborted(self.log, first, end, &found)
        try:
            self.check(code, "reading aborted transactions")
            return [AbortedTransaction(found.entries[i].producer_id, found.entries[i].first_offset) for i in range(found.count)]
        finally:
            free(found.entries)

    def roll(self):
        cdef int32_t code = OK
        cdef int64_t base
        with nogil:
            pthread_mutex_lock(&self.log.append_lock)
            if log_failed(self.log):
                code = ERR_KAFKA_STORAGE_ERROR
            elif log_active(self.log).size > 0:
                code = log_roll(self.log, self.log.log_end_offset)
            base = log_active(self.log).base_offset
            pthread_mutex_unlock(&self.log.append_lock)
            log_appended(self.log, False)
        self.check(code, "roll")
        return base

    def truncate(self, int64_t offset):
        cdef int32_t code
        with nogil:
            code = log_truncate(self.log, offset)
        self.check(code, f"truncation to {offset}")
        return kx_load64(&self.log.log_end_offset)

    def truncate_fully(self, int64_t offset):
        cdef int32_t code
        with nogil:
            code = log_truncate_fully(self.log, offset)
        self.check(code, f"truncation to {offset}")

    cdef list retired_paths(self, retired_t *retired):
        paths = []
        for i in range(retired.count):
            base = f"{self.directory}/{retired.segments[i].base_offset:020d}"
            candidates = [f"{base}{kind}.deleted" for kind in (".log", ".index", ".timeindex", ".txnindex")]
            paths += [path for path in candidates if os.path.exists(path)]
        retired_free(retired)
        return paths

    def delete_before(self, int64_t offset):
        cdef retired_t retired
        cdef int32_t code
        with nogil:
            code = log_delete_before(self.log, offset, &retired)
        paths = self.retired_paths(&retired)
        self.check(code, f"deletion below {offset}")
        return paths

    def set_log_start_offset(self, int64_t offset):
        cdef int32_t code
        with nogil:
            code = log_raise_start(self.log, offset)
        self.check(code, f"log start {offset}")

    def replace_segments(self, list new_bases not None, list old_bases not None):
        cdef retired_t retired
        cdef int32_t code
        cdef int32_t new_count = len(new_bases)
        cdef int32_t old_count = len(old_bases)
        cdef int64_t *bases = <int64_t *>calloc(new_count + old_count + 1, sizeof(int64_t))
        if bases == NULL:
            raise MemoryError
        try:
            for i, base in enumerate([*new_bases, *old_bases]):
                bases[i] = base
            with nogil:
                code = log_replace(self.log, bases, new_count, bases + new_count, old_count, &retired)
        finally:
            free(bases)
        paths = self.retired_paths(&retired)
        self.check(code, f"exchange of segments {old_bases} for {new_bases}")
        return paths

    def wake(self):
        with nogil:
            log_wake_all(self.log)

    def flush(self):
        cdef int32_t code
        with nogil:
            code = log_flush(self.log)
        self.check(code, "flush")
        return kx_load64(&self.log.flushed_offset)

    def offset_for_timestamp(self, int64_t timestamp):
        cdef moment_t moment
        cdef int32_t code
        cdef bint largest = timestamp == -3
        with nogil:
            code = log_at_max_timestamp(self.log, &moment) if largest else log_at_timestamp(self.log, timestamp, &moment)
        if code == CORE_END:
            return None
        self.check(code, f"look-up of timestamp {timestamp}")
        return TimestampAndOffset(moment.timestamp, moment.offset, moment.leader_epoch)

    def end_offset_for_epoch(self, int32_t epoch):
        cdef int32_t found
        cdef int64_t end
        with nogil:
            pthread_mutex_lock(&self.log.lock)
            epochs_end(&self.log.epochs, epoch, self.log.log_end_offset, &found, &end)
            pthread_mutex_unlock(&self.log.lock)
        return found, end

    def assign_epoch(self, int32_t epoch, int64_t start_offset):
        cdef int32_t changed
        cdef int32_t code = OK
        with nogil:
            pthread_mutex_lock(&self.log.append_lock)
            pthread_mutex_lock(&self.log.lock)
            changed = epochs_assign(&self.log.epochs, epoch, start_offset)
            pthread_mutex_unlock(&self.log.lock)
            if changed < 0:
                code = log_fail(self.log, changed)
            pthread_mutex_unlock(&self.log.append_lock)
        self.check(code, f"leader epoch {epoch}")

    def store_epochs(self):
        cdef int32_t error
        cdef int32_t code
        with nogil:
            pthread_mutex_lock(&self.log.append_lock)
            error = epochs_store(&self.log.epochs, self.log.directory)
            pthread_mutex_unlock(&self.log.append_lock)
            code = log_fail(self.log, error) if error else OK
        self.check(code, "leader epochs")

    def epochs(self):
        cdef log_t *log = self.log
        with nogil:
            pthread_mutex_lock(&log.lock)
        try:
            return [(log.epochs.entries[i].epoch, log.epochs.entries[i].start_offset) for i in range(log.epochs.count)]
        finally:
            pthread_mutex_unlock(&log.lock)

    def update_settings(self, LogSettings settings not None):
        with nogil:
            pthread_mutex_lock(&self.log.append_lock)
            self.log.settings = settings.settings
            pthread_mutex_unlock(&self.log.append_lock)
            log_set_mark_mode(self.log, self.log.mark_mode == MARK_EXTERNAL)
            # What was put off under the old settings is not bound to wait for as long.
            log_appended(self.log, True)

    def rename(self, str directory not None):
        cdef bytes path = os.fsencode(directory)
        cdef const char *text = path
        cdef int32_t error
        with nogil:
            error = directory_rename(self.log.directory, text)
        if error:
            message = f"log {self.directory} cannot move to {directory}: {os.strerror(error)}"
            raise KafkaError(ErrorCode.KAFKA_STORAGE_ERROR, message)

    def segments(self, bint times=True):
        cdef segment_t **held
        cdef int32_t count
        cdef int32_t i
        cdef int32_t error = 0
        with nogil:
            pthread_mutex_lock(&self.log.lock)
            count = self.log.segment_count
            held = <segment_t **>calloc(count + 1, sizeof(segment_t *))
            for i in range(count if held != NULL else 0):
                held[i] = self.log.segments[i]
                segment_retain(held[i])
            pthread_mutex_unlock(&self.log.lock)
            for i in range(count if held != NULL else 0):
                if times and not error:
                    error = log_load(self.log, held[i])
        if held == NULL:
            raise MemoryError
        infos = []
        for i in range(count):
            infos.append(SegmentInfo(held[i].base_offset, kx_load64(&held[i].size), held[i].created_ms, held[i].max_timestamp,
                                     held[i].max_timestamp_offset, held[i].first_timestamp))
            segment_release(held[i])
        free(held)
        if error:
            message = f"segments of {self.directory} cannot be read: {os.strerror(abs(error))}"
            raise KafkaError(ErrorCode.KAFKA_STORAGE_ERROR, message)
        return infos

    def producers(self):
        cdef producer_t *slot
        cdef kept_batch_t last
        cdef list entries = []
        with nogil:
            pthread_mutex_lock(&self.log.append_lock)
        try:
            for i in range(self.log.producers.room):
                slot = &self.log.producers.slots[i]
                if slot.used:
                    last = NO_BATCH
                    if slot.batch_count:
                        last = slot.batches[slot.batch_count - 1]
                    entries.append(ProducerEntry(slot.producer_id, slot.epoch, last.last_sequence, last.last_offset,
                                                 last.offset_delta,
                                                 slot.last_timestamp, slot.coordinator_epoch, slot.txn_first_offset))
        finally:
            pthread_mutex_unlock(&self.log.append_lock)
        return sorted(entries)

    def load_producers(self, list entries not None):
        cdef producer_t entry
        cdef log_t *log = self.log
        cdef bint full = False
        with nogil:
            pthread_mutex_lock(&log.append_lock)
            pthread_mutex_lock(&log.lock)
        try:
            producers_clear(log.producers)
            for given in entries:
                memset(&entry, 0, sizeof(entry))
                (entry.producer_id, entry.epoch, entry.batches[0].last_sequence, entry.batches[0].last_offset,
                 entry.batches[0].offset_delta, entry.last_timestamp, entry.coordinator_epoch, entry.txn_first_offset) = given
                entry.batches[0].timestamp = entry.last_timestamp
                entry.batch_count = entry.batches[0].last_offset >= 0
                full = full or producers_put(log.producers, &entry) != OK
            log_settle(log)
        finally:
            pthread_mutex_unlock(&log.lock)
            pthread_mutex_unlock(&log.append_lock)
        if full:
            raise MemoryError

    def expire_producers(self, int64_t now_ms):
        cdef int64_t expired
        with nogil:
            pthread_mutex_lock(&self.log.append_lock)
            pthread_mutex_lock(&self.log.lock)
            expired = producers_expire(self.log.producers, now_ms, self.log.settings.producer_id_expiration_ms)
            pthread_mutex_unlock(&self.log.lock)
            pthread_mutex_unlock(&self.log.append_lock)
        return expired

    def open_transaction(self, int64_t producer_id):
        cdef producer_t *known
        cdef int64_t first = -1
        with nogil:
            pthread_mutex_lock(&self.log.append_lock)
            known = producers_find(self.log.producers, producer_id)
            if known != NULL:
                first = known.txn_first_offset
            pthread_mutex_unlock(&self.log.append_lock)
        return first

    def take_snapshot(self):
        cdef int32_t error
        with nogil:
            pthread_mutex_lock(&self.log.append_lock)
            error = log_snapshot(self.log, self.log.log_end_offset)
            pthread_mutex_unlock(&self.log.append_lock)
        if error:
            self.check(log_fail(self.log, error), "snapshot")

    cdef int32_t shut(self) noexcept nogil:
        """Flush, write the snapshot, trim and unmap the indexes; 0 or ERR_KAFKA_STORAGE_ERROR."""
        cdef log_t *log = self.log
        cdef int32_t i
        cdef int32_t code
        cdef int32_t error = 0
        code = log_flush(log)
        pthread_mutex_lock(&log.append_lock)
        if code == OK:
            error = epochs_store(&log.epochs, log.directory)
        if code == OK and not error:
            error = log_snapshot(log, log.log_end_offset)
        kx_store32(&log.closed, LOG_CLOSED)
        for i in range(log.segment_count):
            if segment_close(log.segments[i]) and not error:
                error = 5
        pthread_mutex_unlock(&log.append_lock)
        log_wake_all(log)
        return log_fail(log, error) if error else code

    cdef void drop_segments(self) noexcept nogil:
        cdef log_t *log = self.log
        cdef int32_t i
        pthread_mutex_lock(&log.lock)
        for i in range(log.segment_count):
            segment_release(log.segments[i])
        log.segment_count = 0
        pthread_mutex_unlock(&log.lock)

    def close(self):
        cdef int32_t code
        cdef bint replaced = kx_load32(&self.log.closed) == LOG_REPLACED
        if kx_load32(&self.log.closed) == LOG_CLOSED:
            return
        with nogil:
            code = self.shut()
            if replaced:
                # Its successor keeps it, though only for those who still wait on it.
                self.drop_segments()
        if code != OK:
            raise KafkaError(ErrorCode.KAFKA_STORAGE_ERROR, f"log {self.directory} was not closed cleanly: its disk is offline")

    @property
    def directory(self):
        cdef char path[PATH_SIZE]
        if directory_path(self.log.directory, NULL, path, PATH_SIZE):
            raise KafkaError(ErrorCode.KAFKA_STORAGE_ERROR, "the path of the log is too long")
        return os.fsdecode(path)

    @property
    def log_start_offset(self):
        return kx_load64(&self.log.log_start_offset)

    @property
    def log_end_offset(self):
        return kx_load64(&self.log.log_end_offset)

    @property
    def high_watermark(self):
        return kx_load64(&self.log.high_watermark)

    @high_watermark.setter
    def high_watermark(self, int64_t offset):
        with nogil:
            log_set_mark_mode(self.log, True)
            log_set_high_watermark(self.log, offset)

    @property
    def last_stable_offset(self):
        return kx_load64(&self.log.last_stable_offset)

    @property
    def end_to_be_flushed(self):
        cdef int64_t end = log_flush_is_all(self.log)
        return None if end < 0 else end

    @property
    def flushed_offset(self):
        return kx_load64(&self.log.flushed_offset)

    @property
    def size(self):
        cdef int64_t size = 0
        cdef int32_t i
        with nogil:
            pthread_mutex_lock(&self.log.lock)
            for i in range(self.log.segment_count):
                size += kx_load64(&self.log.segments[i].size)
            pthread_mutex_unlock(&self.log.lock)
        return size

    @property
    def first_unstable_offset(self):
        cdef int64_t first
        with nogil:
            pthread_mutex_lock(&self.log.lock)
            first = producers_first_unstable(self.log.producers)
            pthread_mutex_unlock(&self.log.lock)
        return first

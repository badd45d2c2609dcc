"""What a log remembers of idempotent and transactional producers: epoch, the last five batches, the open transaction.

Guarded by the log's append lock."""

from libc.stdint cimport int16_t, int32_t, int64_t, uint8_t
from kafkax._core.batch cimport batch_t

cdef enum:
    KEPT_BATCHES = 5
    SNAPSHOT_HEADER = 10
    SNAPSHOT_ENTRY = 46

cdef struct kept_batch_t:
    int32_t last_sequence
    int32_t offset_delta
    int64_t last_offset
    int64_t timestamp

cdef struct producer_t:
    int64_t producer_id
    int64_t last_timestamp
    # -1 without an open transaction.
    int64_t txn_first_offset
    int32_t coordinator_epoch
    int16_t epoch
    # Slot of the table in use.
    int16_t used
    int32_t batch_count
    # Oldest first.
    kept_batch_t batches[5]

    # A transaction that is open, or ended at or above the high watermark.
cdef struct txn_t:
    int64_t producer_id
    int64_t first_offset
    # Of its end marker; -1 while it is open.
    int64_t last_offset

cdef struct producers_t:
    producer_t *slots
    int64_t room
    int64_t count
    # Ordered by first offset.
    txn_t *txns
    int32_t txn_count
    int32_t txn_room

    # An end marker, and the transaction that it ended.
cdef struct marker_t:
    int32_t aborted
    int32_t coordinator_epoch
    int64_t producer_id
    # -1 when the transaction was empty.
    int64_t first_offset
    int64_t last_offset

cdef producers_t *producers_new() noexcept nogil
cdef void producers_free(producers_t *producers) noexcept nogil
cdef void producers_clear(producers_t *producers) noexcept nogil
cdef producer_t *producers_find(producers_t *producers, int64_t producer_id) noexcept nogil

# Whether a leader may append the client's batch: 0, an error code, or CORE_END with the original when the batch is a
# duplicate of one of the last five.
cdef int32_t producers_check(producers_t *producers, const batch_t *batch, const kept_batch_t **original) noexcept nogil

# What a batch without sequence (a coordinator's) is held to: 0, or an error code.
cdef int32_t producers_check_epoch(producers_t *producers, const batch_t *batch) noexcept nogil

cdef int32_t producers_check_marker(producers_t *producers, const batch_t *batch, int32_t coordinator_epoch) noexcept nogil

# Note a data batch that was appended (offsets assigned); 0 or CORE_NO_MEMORY.
cdef int32_t producers_append(producers_t *producers, const batch_t *batch) noexcept nogil

# Note an end marker that was appended; ``out`` tells which transaction it ended.
cdef int32_t producers_end(producers_t *producers, const batch_t *batch, int32_t coordinator_epoch, bint abort,
                           marker_t *out) noexcept nogil

# The end marker that a control batch holds; CORE_END for another kind, ERR_INVALID_RECORD when it does not parse.
cdef int32_t marker_read(const uint8_t *data, const batch_t *batch, marker_t *out) noexcept nogil

# First offset of the earliest undecided transaction; -1.
cdef int64_t producers_first_unstable(producers_t *producers) noexcept nogil
# Forget transactions that ended below the high watermark.
cdef void producers_decide(producers_t *producers, int64_t high_watermark) noexcept nogil
cdef int64_t producers_expire(producers_t *producers, int64_t now_ms, int64_t expiration_ms) noexcept nogil
# Content of a ``.snapshot`` file, to be freed by the caller: its size, or CORE_NO_MEMORY.
cdef int64_t producers_write(producers_t *producers, uint8_t **out) noexcept nogil
# Load a ``.snapshot`` file's content; 0, CORE_NO_MEMORY, or ERR_CORRUPT_MESSAGE.
cdef int32_t producers_read(producers_t *producers, const uint8_t *data, size_t size, int64_t now_ms,
                            int64_t expiration_ms) noexcept nogil
cdef int32_t producers_put(producers_t *producers, const producer_t *entry) noexcept nogil

"""Compaction of segments: which records stay, and writing them, without the GIL."""

from libc.stdint cimport int16_t, int32_t, int64_t, uint8_t

from kafkax._core.batch cimport batch_t
from kafkax._core.offset_map cimport OffsetMap

cdef struct view_t:
    # A batch in the source buffer.
    const uint8_t *at
    batch_t head
    const uint8_t *records
    # The records, inflated; NULL while a compressed batch was not needed yet.
    size_t records_size

cdef struct aborted_t:
    int64_t producer_id
    int64_t first_offset
    int64_t last_offset
    int64_t last_stable_offset
    int32_t observed

cdef struct last_record_t:
    int64_t producer_id
    int64_t last_data_offset
    int16_t producer_epoch

cdef struct bytes_t:
    uint8_t *data
    size_t size
    size_t room


cdef class Compactor:
    cdef readonly OffsetMap map
    cdef readonly bint full
    cdef readonly int64_t bytes_read, bytes_written, records_read, records_kept, batches_read
    cdef object _inflate, _deflate, _failure
    cdef bytes _inflated, _deflated
    cdef int64_t now_ms, delete_retention_ms, first_dirty_offset, upper_bound
    cdef aborted_t *aborted
    cdef size_t aborted_count, aborted_next
    cdef bytes_t open_aborted
    # Of aborted_t: transactions that the scan is inside of and that end in an abort marker.
    cdef bytes_t open_committed
    # Of int64_t: producers with records in a transaction that the scan is inside of and that commits.
    cdef last_record_t *last_records
    cdef size_t last_record_count
    cdef bytes_t source, output, scratch, keep
    cdef bytes_t offsets, times, transactions
    cdef int32_t fd, system_error
    cdef int64_t reached
    # How far the last walk came, in bytes; where the corrupt batch begins after ERR_CORRUPT_MESSAGE.
    cdef int64_t base_offset, position, index_interval, since_index
    cdef int64_t max_timestamp, max_timestamp_offset, last_indexed_timestamp, next_offset

    cdef int32_t fill(self, int32_t fd, int64_t end) noexcept nogil
    cdef int32_t walk(self, int32_t fd, int64_t position, int64_t end, int64_t budget, bint filtering) noexcept nogil
    cdef int32_t index_batch(self, view_t *batch) noexcept nogil
    cdef int32_t index_records(self, view_t *batch) noexcept nogil
    cdef int32_t filter_batch(self, view_t *batch) noexcept nogil
    cdef int32_t choose_records(self, view_t *batch, bint all_stay, int32_t *kept, bint *tombstones) noexcept nogil
    cdef int32_t choose_block(self, view_t *batch, const uint8_t **at, int32_t first, bint all_stay, int32_t *kept,
                              bint *tombstones) noexcept nogil
    cdef int32_t rewrite(self, view_t *batch, int32_t kept, int64_t horizon) noexcept nogil
    cdef int32_t encode_records(self, view_t *batch, int32_t kept, int64_t *base_timestamp, int64_t *max_timestamp) noexcept nogil
    cdef int32_t write_batch(self, view_t *batch, int64_t base_timestamp, int64_t max_timestamp, int32_t kept,
                             int16_t attributes, const uint8_t *body, size_t body_size) noexcept nogil
    cdef int32_t emit(self, view_t *batch, int64_t max_timestamp, const uint8_t *head, size_t head_size,
                      const uint8_t *body, size_t body_size) noexcept nogil
    cdef int32_t add_time(self) noexcept nogil
    cdef int32_t drain(self) noexcept nogil
    cdef int32_t expand(self, view_t *batch) noexcept nogil
    cdef int32_t compress_scratch(self, view_t *batch, const uint8_t **data, size_t *size) noexcept nogil
    cdef int32_t follow(self, view_t *batch, bint *discardable) noexcept nogil
    cdef int32_t follow_marker(self, view_t *batch, bint *discardable) noexcept nogil
    cdef bint find_committed(self, int64_t producer_id, size_t *at) noexcept nogil
    cdef aborted_t *find_aborted(self, view_t *batch) noexcept nogil
    cdef int32_t admit_aborted(self, int64_t offset) noexcept nogil
    cdef bint is_last_of_producer(self, view_t *batch) noexcept nogil

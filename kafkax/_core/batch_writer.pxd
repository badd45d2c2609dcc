"""A record batch that grows record by record, for those who write to internal topics."""

from libc.stdint cimport int16_t, int32_t, int64_t, uint8_t

cdef struct batch_buffer_t:
    # Owned; NULL while it was never needed.
    uint8_t *data
    size_t room
    # Bytes so far, the header's place included.
    size_t size
    int32_t count

cdef void batch_begin(batch_buffer_t *batch) noexcept nogil
"""Make an empty batch of a buffer that holds none, all zero at first."""
cdef uint8_t *batch_record(batch_buffer_t *batch, int64_t key_size, int64_t value_size, uint8_t **value) noexcept nogil
"""Add a record whose key and value the caller writes: the place of the key; ``value`` is set to that of the value.

``value_size`` -1: no value. NULL when there is no memory or the record does not fit into any batch."""
cdef void batch_finish(batch_buffer_t *batch, int64_t timestamp_ms, int64_t producer_id, int16_t producer_epoch,
                       bint transactional) noexcept nogil
"""Write the header of a batch that has records."""
cdef void batch_clear(batch_buffer_t *batch) noexcept nogil
"""Drop the records."""


cdef class BatchWriter:
    cdef batch_buffer_t batch

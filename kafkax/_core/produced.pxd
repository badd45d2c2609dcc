"""A batch that a producer fills: records are written in place, the header when it is sealed."""

from libc.stdint cimport int16_t, int32_t, int64_t, uint8_t

from kafkax._core.batch cimport record_t
from kafkax._core.message cimport Message


cdef class ProducedBatch:
    cdef uint8_t *_data
    cdef size_t _size
    cdef size_t _capacity
    cdef int64_t _base_timestamp
    cdef int64_t _max_timestamp
    # The compressed batch, once it is sealed; None while the plain one is sent.
    cdef object _wire
    cdef int32_t _exports
    cdef bint _mixed
    # None, one function for all records, or a list with one entry per record.
    cdef object _callbacks
    cdef readonly object topic
    cdef public int32_t partition
    cdef readonly int32_t count
    # Bytes of the records as they were given.
    cdef readonly size_t size
    # Bytes of keys, values and headers alone.
    cdef public int64_t payload
    # Monotonic seconds when the first record came.
    cdef readonly double created
    # Seconds from then until it was acknowledged; negative before.
    cdef public double latency
    cdef public int64_t base_offset
    cdef public int64_t append_time
    cdef public object error
    cdef public int64_t producer_id
    cdef public int16_t producer_epoch
    cdef public int32_t base_sequence
    cdef public int32_t attempts
    cdef public bint reopened
    # Somebody waits for it: it is not to linger.
    cdef public bint urgent
    cdef readonly bint settled
    # A ``Delivery`` leads to a record of it, so the records stay when they are compressed.
    cdef bint kept
    # ``Waiting`` objects, in the order of their records unless ``_disordered``.
    cdef list _waiters
    cdef bint _disordered

    cdef int32_t add(
        self, int64_t timestamp, const uint8_t *key, int64_t key_size, const uint8_t *value, int64_t value_size,
        const uint8_t *headers, int64_t headers_size, int32_t header_count, object callback, size_t room,
    ) except -1
    cdef int32_t write(
        self, int64_t timestamp, const uint8_t *key, int64_t key_size, const uint8_t *value, int64_t value_size,
        const uint8_t *headers, int64_t headers_size, int32_t header_count, size_t room,
    ) except -1
    cdef inline bint reports_to(self, object callback):
        """Whether this is the function of all records so far."""
        return not self._mixed and self._callbacks is callback
    cdef object _remember(self, object callback)
    cdef object wait_for(self, Waiting waiting)
    cdef int32_t _fill(self, list waiters) except -1
    cdef object at(self, int32_t index)
    cdef Message _message(self, const record_t *record, int32_t index)
    cdef int32_t _fill_in(self, Message message, const record_t *record, int32_t index) noexcept


cdef class Delivery:
    cdef ProducedBatch _batch
    cdef int32_t _index
    cdef object _hurry
    # ``send`` gave it: the first await gives itself.
    cdef bint _fresh

    cdef Waiting wait(self)


# What a task waits on for a delivery: the part of a future that tasks use.
cdef class Waiting:
    cdef ProducedBatch _batch
    cdef int32_t _index
    cdef object _loop
    cdef object _callback
    cdef object _context
    cdef object _error
    cdef Message _message
    cdef bint _done
    cdef public bint _asyncio_future_blocking

    cdef object tell(self)
    cdef object tell_elsewhere(self)


cdef size_t record_bound(int64_t key_size, int64_t value_size, int64_t headers_size) noexcept nogil

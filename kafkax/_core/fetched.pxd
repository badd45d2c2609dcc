"""Batches that a consumer fetched: decoded record by record when they are touched."""

from cpython.buffer cimport Py_buffer
from libc.stdint cimport int8_t, int32_t, int64_t, uint8_t

from kafkax._core.batch cimport record_t
from kafkax._core.message cimport Message


cdef class FetchedBatch:
    cdef Py_buffer _view
    cdef bint _held
    cdef bint _dropped
    cdef const uint8_t *_at
    cdef const uint8_t *_end
    cdef int32_t _left
    cdef readonly object topic
    cdef readonly int32_t partition
    cdef readonly int64_t base_offset
    cdef readonly int64_t next_offset
    cdef readonly int32_t leader_epoch
    # Offset of the next record that may be given out.
    cdef public int64_t position
    # Whether a record was given out.
    cdef readonly bint given
    cdef int64_t _base_timestamp
    cdef int64_t _append_time
    cdef int8_t _timestamp_type

    cdef object _invalid(self)
    cdef int32_t _step(self, record_t *record) except -1
    cdef Message _message(self, const record_t *record)

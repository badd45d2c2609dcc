"""A record as clients see it: fields in place, Python objects only for what is asked for."""

from libc.stdint cimport int8_t, int32_t, int64_t, uint8_t

from kafkax._core.batch cimport record_t

cdef enum:
    TIMESTAMP_NOT_AVAILABLE = 0
    TIMESTAMP_CREATE_TIME = 1
    TIMESTAMP_LOG_APPEND_TIME = 2

# Bytes as an object, None where ``size`` is negative.
cdef object block(const uint8_t *data, int32_t size)


cdef class Message:
    # Keeps the memory that the pointers lead to.
    cdef object _owner
    cdef object _topic
    cdef object _error
    # What setters put in the place of fields; None while there is nothing.
    cdef dict _changed
    cdef record_t _record
    cdef int64_t _offset
    cdef int64_t _timestamp
    cdef int32_t _partition
    cdef int32_t _leader_epoch
    cdef int8_t _timestamp_type
    # Seconds; negative when not known.
    cdef double _latency

    @staticmethod
    cdef Message over(object owner, object topic, int32_t partition, const record_t *record)
    cdef object fail(self, object error)
    cdef object _change(self, str field, object value)

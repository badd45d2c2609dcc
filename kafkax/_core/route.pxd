"""The way of a partition's batches to its leader, when each goes alone."""

from libc.stdint cimport int16_t, int32_t

from kafkax._core.channel cimport Channel


cdef class ProduceRoute:
    cdef readonly Channel channel
    cdef readonly object stamp
    cdef readonly int16_t version
    cdef bytes _front
    cdef bytes _topic_id
    cdef int32_t _partition
    cdef double _timeout

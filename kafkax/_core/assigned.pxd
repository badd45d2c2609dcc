"""The partitions that a consumer has, and what is to be fetched for them."""

from libc.stdint cimport int8_t, int32_t, int64_t, uint8_t

from kafkax._core.fetched cimport FetchedBatch


cdef class Assigned:
    cdef readonly object key
    cdef public int64_t start
    cdef public int64_t position
    cdef public int64_t fetch_offset
    cdef public int64_t epoch
    cdef public int64_t stored
    cdef public int64_t committed
    cdef public int64_t queued
    cdef public int64_t high_watermark
    cdef public int64_t last_stable_offset
    cdef public int64_t log_start_offset
    cdef public bint paused
    cdef public bint live
    cdef public bint resolving
    cdef public tuple preferred
    cdef public object topic_id
    cdef public FetchedBatch batch
    # Broker that is fetched from, and the metadata's version that says so.
    cdef int32_t _source
    cdef int64_t _source_version

    cpdef drop(self)


cdef class Fetched:
    cdef readonly Assigned state
    cdef readonly int64_t epoch
    cdef readonly object batches
    cdef readonly int64_t size
    cdef readonly int64_t next_offset
    cdef readonly object event


cdef class Exchange:
    cdef readonly object connection
    cdef readonly object session
    cdef readonly int32_t version
    cdef readonly dict states
    cdef readonly dict epochs
    cdef readonly dict offsets


cdef class FetchForm:
    cdef int32_t _min_bytes
    cdef int32_t _max_bytes
    cdef int32_t _most
    cdef int8_t _isolation
    cdef bytes _tail

    cdef uint8_t *_topic(self, uint8_t *at, topic, list entries) except NULL

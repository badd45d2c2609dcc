"""Taking things out of a log: truncation, deletion of old segments, exchange for compacted ones."""

from libc.stdint cimport int32_t, int64_t
from kafkax._core.logstate cimport log_t
from kafkax._core.segment cimport segment_t

# Segments taken out of service, with references.
cdef struct retired_t:
    segment_t **segments
    int32_t count

cdef void retired_free(retired_t *retired) noexcept nogil

# Drop everything from ``offset`` on; 0 or ERR_KAFKA_STORAGE_ERROR.
cdef int32_t log_truncate(log_t *log, int64_t offset) noexcept nogil

# Drop everything and begin anew at ``offset``; 0 or ERR_KAFKA_STORAGE_ERROR.
cdef int32_t log_truncate_fully(log_t *log, int64_t offset) noexcept nogil

# Retire segments wholly below ``offset``, never the active one, under the ``.deleted`` suffix; raises the log start.
cdef int32_t log_delete_before(log_t *log, int64_t offset, retired_t *out) noexcept nogil

# Raise the log start; 0, or ERR_OFFSET_OUT_OF_RANGE above the high watermark.
cdef int32_t log_raise_start(log_t *log, int64_t offset) noexcept nogil

# Put cleaned segments (files with the ``.cleaned`` suffix) in place of old ones; 0, ERR_KAFKA_STORAGE_ERROR, or
# ERR_INVALID_REQUEST when a segment named is not there or active.
cdef int32_t log_replace(log_t *log, const int64_t *new_bases, int32_t new_count, const int64_t *old_bases, int32_t old_count,
                         retired_t *out) noexcept nogil

"""Aborted-transaction index of a segment (``.txnindex``): which transactions ended in it by an abort.

An entry is 34 bytes: version (int16), producer id, first offset, last offset (of the marker), last stable offset."""

from libc.stdint cimport int32_t, int64_t
from kafkax._core.segment cimport segment_t

cdef enum:
    ABORTED_ENTRY = 34

cdef struct aborted_entry_t:
    int64_t producer_id
    int64_t first_offset
    int64_t last_offset
    int64_t last_stable_offset

cdef struct aborted_list_t:
    aborted_entry_t *entries
    int32_t count
    int32_t room

cdef int32_t aborted_add(segment_t *segment, const aborted_entry_t *entry) noexcept nogil
# Collect entries that overlap [first, end): 0, 1 when no later segment can hold more, CORE_NO_MEMORY, ERR_CORRUPT_MESSAGE,
# CORE_IO_ERROR.
cdef int32_t aborted_collect(segment_t *segment, int64_t first, int64_t end, aborted_list_t *out) noexcept nogil
# Drop entries whose marker is at or above ``offset``; 0 or errno.
cdef int32_t aborted_truncate(segment_t *segment, int64_t offset) noexcept nogil
# Sync what was added; 0 or errno.
cdef int32_t aborted_sync(segment_t *segment) noexcept nogil

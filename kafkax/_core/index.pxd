"""Offset and time index of a segment: Kafka's file formats, memory-mapped.

Offset index: 8 bytes an entry, offset relative to the segment's base (int32) and position in the log file (int32).
Time index: 12 bytes, largest timestamp so far (int64) and the relative offset of the batch that has it (int32).
One thread adds (under the append lock), any number look up: an entry is written before the count that covers it is
published. The lock only keeps the map in place, so that adding never waits for a reader's page fault.

A page that cannot be had (the file was cut by somebody, the disk fails) marks the index as lost: look-ups say so, and it is to be
made anew from the log."""

from libc.stdint cimport int32_t, int64_t, uint8_t
from kafkax._core.files cimport directory_t
from kafkax._core.pthreads cimport pthread_rwlock_t

cdef enum:
    OFFSET_ENTRY = 8
    TIME_ENTRY = 12

cdef struct index_t:
    int64_t base_offset
    # NULL until the first use.
    uint8_t *map
    int64_t map_size
    # Bytes of the file whose blocks are reserved: a store into them cannot fail for want of space.
    int64_t allocated
    int32_t entry_size
    int32_t entries
    # Entries that fit; 0 for a map that is only read.
    int32_t capacity
    int32_t writable
    # A page could not be had: what the map shows is not what was put into it.
    int32_t lost
    # Relative offset or timestamp of the last entry; -1 when there is none.
    int64_t last_key
    int32_t last_offset
    pthread_rwlock_t lock

cdef void index_init(index_t *index, int64_t base_offset, int32_t entry_size) noexcept nogil
cdef void index_free(index_t *index) noexcept nogil

# Map the file, for adding when ``max_bytes`` > 0 (the file is then made that long), else to read. 0, errno, or
# CORE_END when the file is missing or its content cannot be right for a log of ``log_size`` bytes.
cdef int32_t index_open(index_t *index, directory_t *directory, const char *name, int64_t max_bytes,
                        int64_t log_size) noexcept nogil

# Begin anew with an empty file, open for adding; 0 or errno.
cdef int32_t index_reset(index_t *index, directory_t *directory, const char *name, int64_t max_bytes) noexcept nogil

# Unmap and cut the file to its entries; 0 or errno. ``index_open`` may map it again.
cdef int32_t index_close(index_t *index, directory_t *directory, const char *name) noexcept nogil

# Cut the file to its entries, nothing will be added; readers go on. 0 or errno.
cdef int32_t index_seal(index_t *index, directory_t *directory, const char *name) noexcept nogil

# Add (last offset of a batch, its position); ignored unless it follows the last entry. 0 or errno.
cdef int32_t offset_index_add(index_t *index, directory_t *directory, const char *name, int64_t offset,
                              int64_t position) noexcept nogil

# Add (largest timestamp so far, offset of its batch); ignored unless the timestamp is above the last entry's. 0 or errno.
cdef int32_t time_index_add(index_t *index, directory_t *directory, const char *name, int64_t timestamp,
                            int64_t offset) noexcept nogil

# Whether a page could not be had since the file was mapped.
cdef bint index_lost(index_t *index) noexcept nogil

cdef bint index_full(index_t *index) noexcept nogil

# Position of the last entry at or below ``offset``; 0 (and the base offset) when there is none, -1 when the index is lost,
# CORE_COLD when a page that is needed is not in memory and the caller does not ``wait``.
cdef int64_t offset_index_floor(index_t *index, int64_t offset, bint wait, int64_t *entry_offset) noexcept nogil

# Offset of the last entry whose timestamp is at or below ``timestamp``; the base offset (and -1) when there is none, -1 when the
# index is lost.
cdef int64_t time_index_floor(index_t *index, int64_t timestamp, int64_t *entry_timestamp) noexcept nogil

# Drop entries at or above ``offset``.
cdef void offset_index_truncate(index_t *index, int64_t offset) noexcept nogil

cdef void time_index_truncate(index_t *index, int64_t offset) noexcept nogil

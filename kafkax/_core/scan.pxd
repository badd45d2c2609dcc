"""Reading a segment from front to back: to rebuild its indexes, and to find where a torn log ends."""

from libc.stdint cimport int32_t, int64_t, uint8_t
from kafkax._core.batch cimport batch_t
from kafkax._core.segment cimport segment_t

# Told each batch, in order; a result other than 0 ends the scan with it.
ctypedef int32_t (*visit_t)(void *context, const uint8_t *data, const batch_t *batch, int64_t position) noexcept nogil

# Read batches from ``position`` on, check their checksums if asked, and hand them to ``visit``. ``end``: byte behind the last
# good batch. 0 at the end of the file, ERR_CORRUPT_MESSAGE at a bad or cut batch, CORE_IO_ERROR, CORE_NO_MEMORY, or what
# ``visit`` said. Without ``check`` only headers are read. ``done`` (may be NULL) counts bytes for others to watch.
cdef int32_t segment_scan(segment_t *segment, int64_t position, int64_t limit, bint check, visit_t visit, void *context,
                          int64_t *end, int64_t *done) noexcept nogil

# Rebuild both indexes from the log. 0 or errno. For a segment that is appended to, hold the append lock.
cdef int32_t segment_rebuild(segment_t *segment, int64_t index_bytes, int64_t index_interval) noexcept nogil

# Find the largest timestamp of a segment that was cut, from its indexes and the batches behind their last entry; 0 or errno.
cdef int32_t segment_retally(segment_t *segment) noexcept nogil

# ``segment_prepare``, with indexes rebuilt where they are missing or wrong; 0 or errno.
cdef int32_t segment_ready(segment_t *segment, int64_t index_bytes, int64_t index_interval) noexcept nogil

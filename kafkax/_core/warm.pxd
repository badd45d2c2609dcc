"""Helper threads that read cold parts of logs into the page cache, so that no network thread waits for a disk.

There are few of them and each has the disk read one piece at a time, so that it always has room for the flushes of others."""

from libc.stdint cimport int32_t, int64_t
from kafkax._core.network cimport connection_t, parked_t, reactor_t
from kafkax._core.partition cimport partition_t
from kafkax._core.segment cimport segment_t

cdef struct warmer_t

cdef int32_t warmer_start(reactor_t *reactor) noexcept nogil
"""Start the helpers; 0 or errno."""
cdef void warmer_stop(reactor_t *reactor) noexcept nogil
"""End and free them; jobs that wait are dropped."""
cdef bint resident(int32_t fd, int64_t position, int64_t length) noexcept nogil
"""Whether all of a file's range is in the page cache, read to its end (KAFKA-7504)."""
cdef int32_t warm(connection_t *connection, segment_t *segment, int64_t position, int64_t length) noexcept nogil
"""Have a range read; a LETTER_WARMED follows to the connection's thread. 0 or CORE_NO_MEMORY."""
cdef int32_t warm_place(parked_t *parked, partition_t *partition, int64_t offset, int64_t max_bytes,
                        int32_t isolation) noexcept nogil
"""Have what it takes to read from an offset on, and the first of the records there, brought into memory.

A LETTER_FOUND with the answer's token follows to the request's thread. 0 or CORE_NO_MEMORY."""

"""Memory in whole cache lines, for what is touched again long after it left the processor's caches.

With thousands of logs an append meets each of these structures in main memory, and pays for every line of it that it needs: so
they begin with a line, and what an append needs stands together in them."""

from libc.stdint cimport int32_t
from libc.string cimport memset

cdef extern from "<stdlib.h>" nogil:
    int posix_memalign(void **at, size_t alignment, size_t size) noexcept

cdef extern from *:
    """
    #define kx_fetch_line(at) __builtin_prefetch(at, 1, 3)
    """
    void kx_fetch_line(const void *at) noexcept nogil

cdef enum:
    LINE = 64


cdef inline void *zeroed_lines(size_t size) noexcept nogil:
    """Zeroed memory that begins with a cache line, to be freed by ``free``; NULL without memory."""
    cdef void *found = NULL
    if posix_memalign(&found, LINE, (size + LINE - 1) // LINE * LINE) != 0:
        return NULL
    memset(found, 0, size)
    return found


cdef inline void fetch_lines(const void *at, int32_t count) noexcept nogil:
    """Have the processor fetch cache lines while it goes on. Nothing is read, so that ``at`` may be no memory at all."""
    cdef int32_t line
    for line in range(count):
        kx_fetch_line(<const char *>at + line * LINE)

"""Access to mapped files whose pages may be out of reach: the file was cut by somebody, or the disk fails."""

from libc.stdint cimport int32_t

# From here on, on this thread, an access to a page of the map that cannot be had ends nothing: it meets an empty page, and
# ``lost`` becomes 1. One map at a time.
cdef void guard_watch(const void *map, size_t size, int32_t *lost) noexcept nogil

# Watch no more; whether no page was lost since ``lost`` was 0.
cdef bint guard_unwatch() noexcept nogil

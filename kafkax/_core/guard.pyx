"""Access to mapped files whose pages may be out of reach.

One handler of SIGBUS serves all that the core maps: two of them would each take the other's faults for somebody else's."""

from libc.stdint cimport int32_t

cdef extern from "guard.h" nogil:
    int kx_guard_begin() noexcept
    void kx_watch(const void *map, size_t size, int32_t *lost) noexcept
    bint kx_unwatch() noexcept

if kx_guard_begin():
    raise OSError("SIGBUS cannot be handled")


cdef void guard_watch(const void *map, size_t size, int32_t *lost) noexcept nogil:
    kx_watch(map, size, lost)


cdef bint guard_unwatch() noexcept nogil:
    return kx_unwatch()

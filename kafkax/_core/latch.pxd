"""A lock of a client that no signal interrupts, and that whoever holds it may take again."""

from cpython.pythread cimport PyThread_type_lock
from libc.stdint cimport int32_t, int64_t


cdef class Latch:
    cdef PyThread_type_lock _lock
    # Thread that holds it; 0 when none does.
    cdef int64_t _holder
    cdef int32_t _depth

    cdef bint attempt(self) noexcept
    cdef void take(self) noexcept
    cdef void release(self) noexcept

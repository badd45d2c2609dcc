"""A lock of a client that no signal interrupts, and that whoever holds it may take again."""

from cpython.pythread cimport (
    NOWAIT_LOCK, WAIT_LOCK, PyThread_acquire_lock, PyThread_allocate_lock, PyThread_free_lock, PyThread_get_thread_ident,
    PyThread_release_lock,
)
from libc.stdint cimport int64_t

from kafkax._core.atomics cimport kx_load64, kx_store64


cdef class Latch:

    def __cinit__(self):
        self._lock = PyThread_allocate_lock()
        if self._lock == NULL:
            raise MemoryError("no memory for a lock")

    def __dealloc__(self):
        if self._lock != NULL:
            PyThread_free_lock(self._lock)

    cdef bint attempt(self) noexcept:
        """Take it unless another thread holds it."""
        cdef int64_t me = <int64_t>PyThread_get_thread_ident()
        # Only this thread ever writes its own number, so what others write meanwhile does not matter.
        if kx_load64(&self._holder) != me:
            if not PyThread_acquire_lock(self._lock, NOWAIT_LOCK):
                return False
            kx_store64(&self._holder, me)
        self._depth += 1
        return True

    cdef void take(self) noexcept:
        if self.attempt():
            return
        with nogil:
            PyThread_acquire_lock(self._lock, WAIT_LOCK)
        kx_store64(&self._holder, <int64_t>PyThread_get_thread_ident())
        self._depth = 1

    cdef void release(self) noexcept:
        self._depth -= 1
        if self._depth == 0:
            kx_store64(&self._holder, 0)
            PyThread_release_lock(self._lock)

    def __enter__(self):
        self.take()

    def __exit__(self, kind, error, trace):
        self.release()

"""Calls that a thread puts off until it holds no lock and has nothing better to do."""

from libc.stdint cimport int32_t

ctypedef void (*deferred_t)(void *argument, bint at_leisure) noexcept nogil

# From now on what this thread defers is kept until it calls ``run_deferred``.
cdef void keep_deferred() noexcept nogil

# Keep a call for later; False when this thread keeps none, or has no room, and the caller has to do without.
cdef bint defer(deferred_t call, void *argument) noexcept nogil

# Make the calls that were kept, in order, also those that come meanwhile. ``at_leisure``: the thread has nothing else to do now.
cdef void run_deferred(bint at_leisure) noexcept nogil

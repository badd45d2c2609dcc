"""What other threads leave for a network thread: letters, and parked requests to look at again."""

from libc.stdint cimport int32_t, uint64_t
from kafkax._core.network cimport letter_t, network_thread_t, parked_t

cdef void wake_thread(network_thread_t *thread) noexcept nogil
"""Make the thread run its loop once more."""
cdef int32_t post(network_thread_t *thread, int32_t kind, uint64_t connection, uint64_t token, int32_t value,
                  void *body) noexcept nogil
"""Leave a letter; 0, or CORE_NO_MEMORY (``body`` stays the caller's then)."""
cdef int32_t leave(network_thread_t *thread, int32_t kind, uint64_t connection, uint64_t token, int32_t value, void *body,
                   bint now) noexcept nogil
"""The same; unless ``now``, without waking the thread, which ``announce`` does."""
cdef void announce(network_thread_t *thread) noexcept nogil
"""Wake the thread if letters wait for it."""
cdef letter_t *take_letters(network_thread_t *thread) noexcept nogil
"""All letters, oldest first; the caller frees them."""
cdef void wake_parked(parked_t *parked) noexcept nogil
"""Have its thread look at the parked request. From any thread, also under a partition's lock."""
cdef void *note_woken(parked_t *parked) noexcept nogil
"""The same, but for waking the thread: what ``ring_thread`` has to be called with for that, NULL if it need not be."""
cdef void ring_thread(void *thread) noexcept nogil
"""Wake the thread, or have the caller stand in for it once it holds no lock. Before what was noted can be gone."""
cdef void ring(network_thread_t *thread) noexcept nogil
"""Wake the thread if it sleeps."""
cdef bint overhear(network_thread_t *thread) noexcept nogil
"""Take note, for a thread that sleeps, of its signal; False when letters wait for it."""
cdef void forget_woken(parked_t *parked) noexcept nogil
"""Withdraw a request from those to look at."""
cdef parked_t *next_woken(network_thread_t *thread) noexcept nogil
"""One parked request to look at, or NULL."""

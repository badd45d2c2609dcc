"""Requests that wait: long polls and acks=all, each with its deadline in its thread's timer heap."""

from libc.stdint cimport int32_t, int64_t, uint64_t
from kafkax._core.network cimport answer_t, connection_t, network_thread_t, parked_t

cdef int32_t park(parked_t *parked, connection_t *connection, answer_t *answer, int64_t deadline_ms) noexcept nogil
"""Let a request wait; ``look`` must be set. 0 or CORE_NO_MEMORY. By the connection's own thread, as all here."""
cdef void repark(parked_t *parked, int64_t deadline_ms) noexcept nogil
"""Give a parked request another deadline."""
cdef void unpark(parked_t *parked) noexcept nogil
"""Take it out everywhere, after its waiters were withdrawn. The caller owns and frees it then."""
cdef int64_t next_deadline(network_thread_t *thread) noexcept nogil
"""Monotonic ms of the first deadline; -1 when nothing waits."""
cdef void look_at_expired(network_thread_t *thread) noexcept nogil
cdef void look_at_woken(network_thread_t *thread) noexcept nogil
cdef void look_up_done(connection_t *connection, uint64_t token) noexcept nogil
"""A helper has looked up one of the places in logs that the request of that answer waits for."""
cdef void drop_parked(connection_t *connection) noexcept nogil
"""Have everything parked on a connection that goes away freed."""
cdef void expire_impatient(network_thread_t *thread) noexcept nogil
"""Answer long polls as if their time were over, since the broker stops; what waits for replicas goes on waiting."""

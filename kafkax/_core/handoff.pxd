"""Frames for the control plane: a queue behind an eventfd, which is written once for everything that waits."""

from libc.stdint cimport int16_t, int32_t, uint8_t
from kafkax._core.network cimport connection_t, handed_t, reactor_t

cdef int32_t hand_over(connection_t *connection, const uint8_t *frame, size_t size) noexcept nogil
"""Take an answer slot and queue a copy of the frame (length prefix excluded); 0 or CORE_NO_MEMORY."""
cdef void tell_closed(connection_t *connection, int32_t reason) noexcept nogil
"""Let the control plane know that a connection went away, when it knows the connection or the reason is worth a line."""
cdef int32_t tell_opened(connection_t *connection) noexcept nogil
"""Let the control plane screen a new connection; 0 or CORE_NO_MEMORY."""
cdef handed_t *take_handed(reactor_t *reactor) noexcept nogil
"""Everything queued, oldest first; the caller frees each."""
cdef bint handoff_full(reactor_t *reactor) noexcept nogil
"""``queued.max.requests`` or ``queued.max.request.bytes`` is reached."""
cdef bint memory_full(reactor_t *reactor) noexcept nogil
"""``queued.max.request.bytes`` is reached by requests that are kept."""
cdef bint has_room(reactor_t *reactor, int32_t starved) noexcept nogil
"""Whether there is what a connection starves for."""
cdef void charge_kept(reactor_t *reactor, long size) noexcept nogil
"""Charge (or, below 0, give back) memory of requests that are kept."""
cdef void taken_bytes(reactor_t *reactor, long size) noexcept nogil
"""So many bytes of frames went to Python."""
cdef void answered(reactor_t *reactor, int32_t count) noexcept nogil
"""So many frames that were handed over are over."""

"""Sending: answers that are ready leave in order, as much as the socket takes."""

from libc.stdint cimport int32_t
from kafkax._core.network cimport connection_t

cdef int32_t send_answers(connection_t *connection) noexcept nogil
"""Send what is ready at the head of the queue; 0, or errno when the connection is broken.

Leaves ``writable`` cleared when the socket is full and ``warming`` set when the next bytes must first come from disk."""

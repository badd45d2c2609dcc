"""Receiving: bytes from the socket become frames, and each frame goes where it is answered."""

from libc.stdint cimport int32_t
from kafkax._core.network cimport connection_t

cdef bint may_read(connection_t *connection) noexcept nogil
"""Whether more of its requests may be read: neither answers nor memory nor the queue to the control plane are full."""
cdef void receive(connection_t *connection) noexcept nogil
"""Read and serve requests, as many as one turn of the loop allows. The connection may be closed afterwards."""
cdef bint has_input(connection_t *connection) noexcept nogil
"""Whether another call of ``receive`` would find something."""

"""Fetch in the core: consumers' requests of versions 4 to 18."""

from libc.stdint cimport int32_t, uint8_t
from kafkax._core.network cimport connection_t

cdef int32_t fetch(connection_t *connection, const uint8_t *frame, size_t size) noexcept nogil
"""Serve a Fetch frame: REQUEST_DONE (answered, parked, or closing), or REQUEST_HANDOFF with nothing changed."""

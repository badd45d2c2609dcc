"""Produce in the core: versions 3 to 13, on partitions that this broker leads."""

from libc.stdint cimport int32_t, uint8_t
from kafkax._core.network cimport connection_t

cdef int32_t produce(connection_t *connection, const uint8_t *frame, size_t size, size_t behind, size_t *taken) noexcept nogil
"""Serve a Produce frame: REQUEST_DONE (answered, parked, or closing), or REQUEST_HANDOFF with nothing changed.

``behind``: bytes received behind the frame. ``taken``: how many of them were frames that were served with it."""

"""Reading a Fetch request."""

from libc.stdint cimport int32_t, uint8_t
from kafkax._core.fetch_state cimport fetch_t, topic_key_t

cdef fetch_t *fetch_parse(const uint8_t *frame, size_t size) noexcept nogil
"""The request, its names pointing into the frame; NULL when the control plane has to see the frame (replicas, what does not
parse, versions out of range)."""
cdef fetch_t *fetch_new(int32_t parts, int32_t forgotten) noexcept nogil
"""An empty request with room for so many; NULL without memory."""
cdef void fetch_free(fetch_t *fetch) noexcept nogil
"""Give everything that the request holds back, but its session."""
cdef bint same_topic(const topic_key_t *one, const topic_key_t *other) noexcept nogil
cdef unsigned int topic_hash(const topic_key_t *topic, int32_t index) noexcept nogil

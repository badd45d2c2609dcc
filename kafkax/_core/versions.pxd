"""ApiVersions in the core: the control plane leaves its answer here once, ready to be sent, and who asks gets a copy."""

from libc.stdint cimport int32_t, uint8_t
from kafkax._core.network cimport connection_t, reactor_t

# Answer an ApiVersions frame: REQUEST_DONE, or REQUEST_HANDOFF when there is no answer for its version or it is out of the
# ordinary.
cdef int32_t api_versions(connection_t *connection, const uint8_t *frame, size_t size) noexcept nogil

# Leave the body of the answer to requests of a version, from now on; NULL: they are handed over again. 0 or CORE_NO_MEMORY.
cdef int32_t versions_set(reactor_t *reactor, int32_t version, const uint8_t *body, size_t size) noexcept nogil
cdef void versions_free(reactor_t *reactor) noexcept nogil

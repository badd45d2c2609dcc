"""What an answer replaces stays allocated until the reactor ends, as a thread may be copying it; features change rarely."""

from libc.stdint cimport int32_t, uint8_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy
from kafkax._core.answers cimport answer_now
from kafkax._core.atomics cimport kx_load_pointer, kx_store_pointer
from kafkax._core.codes cimport CORE_NO_MEMORY
from kafkax._core.connection cimport connection_close
from kafkax._core.cursor cimport kx_put32, reader, reader_t, remaining
from kafkax._core.fields cimport read_data, read_header, request_header_t, skip_tags
from kafkax._core.network cimport (
    CLOSE_MEMORY, READY_VERSIONS, REQUEST_DONE, REQUEST_HANDOFF, connection_t, ready_t, reactor_t,
)

cdef enum:
    FLEXIBLE_SINCE = 3
    PREFIX = 8
    # Length and correlation id; the header of this answer has no tags in any version.


cdef inline bint alphanumeric(uint8_t c) noexcept nogil:
    return c'0' <= c <= c'9' or c'a' <= c <= c'z' or c'A' <= c <= c'Z'


cdef bint proper_name(const uint8_t *name, int32_t size) noexcept nogil:
    """Letters, digits, dots and hyphens, the latter two not at the ends (KIP-511)."""
    cdef int32_t at
    if size < 1 or not alphanumeric(name[0]) or not alphanumeric(name[size - 1]):
        return False
    for at in range(1, size - 1):
        if not alphanumeric(name[at]) and name[at] != c'-' and name[at] != c'.':
            return False
    return True


cdef bint ordinary(reader_t *r, request_header_t *header) noexcept nogil:
    """Whether the rest of the request is what its version has, and names the client's software properly."""
    cdef const uint8_t *name = NULL
    cdef const uint8_t *release = NULL
    cdef int32_t name_size, release_size
    if header.flexible:
        name_size = read_data(r, True, False, &name)
        release_size = read_data(r, True, False, &release)
        skip_tags(r)
        if r.bad or not proper_name(name, name_size) or not proper_name(release, release_size):
            return False
    return not r.bad and remaining(r) == 0


cdef int32_t api_versions(connection_t *connection, const uint8_t *frame, size_t size) noexcept nogil:
    cdef reader_t r = reader(frame, size)
    cdef request_header_t header = read_header(&r, FLEXIBLE_SINCE)
    cdef ready_t *ready
    if r.bad or not 0 <= header.version < READY_VERSIONS:
        return REQUEST_HANDOFF
    ready = <ready_t *>kx_load_pointer(<void *const *>&connection.thread.reactor.ready[header.version])
    if ready == NULL or ready.size == 0 or not ordinary(&r, &header):
        return REQUEST_HANDOFF
    if answer_now(connection, <const uint8_t *>ready + sizeof(ready_t), ready.size) != 0:
        connection_close(connection, CLOSE_MEMORY)
    else:
        kx_put32(connection.last.data + 4, <unsigned int>header.correlation_id)
    return REQUEST_DONE


cdef int32_t versions_set(reactor_t *reactor, int32_t version, const uint8_t *body, size_t size) noexcept nogil:
    cdef ready_t *ready = <ready_t *>calloc(1, sizeof(ready_t) + PREFIX + size)
    cdef uint8_t *data = <uint8_t *>ready + sizeof(ready_t)
    if ready == NULL:
        return CORE_NO_MEMORY
    if body != NULL:
        ready.size = PREFIX + size
        kx_put32(data, <unsigned int>(ready.size - 4))
        memcpy(data + PREFIX, body, size)
    ready.before = reactor.ready[version]
    kx_store_pointer(<void **>&reactor.ready[version], ready)
    return 0


cdef void versions_free(reactor_t *reactor) noexcept nogil:
    cdef ready_t *ready
    cdef int32_t version
    for version in range(READY_VERSIONS):
        while reactor.ready[version] != NULL:
            ready = reactor.ready[version]
            reactor.ready[version] = ready.before
            free(ready)

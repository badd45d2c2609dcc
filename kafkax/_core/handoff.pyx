"""The queue to the control plane, and the two limits on what it may hold: requests and bytes.

A connection whose next frame finds the queue full reads no further ("starved"); every network thread is woken to look
again when there is room."""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy
from posix.unistd cimport read, write
from kafkax._core.answers cimport answer_slot
from kafkax._core.atomics cimport kx_add64, kx_count64, kx_load64
from kafkax._core.codes cimport CORE_NO_MEMORY
from kafkax._core.cursor cimport kx_be16
from kafkax._core.mailbox cimport wake_thread
from kafkax._core.network cimport (
    API_PRODUCE,
    CLOSE_ASKED,
    CLOSE_IDLE,
    CLOSE_PEER,
    CLOSE_STOPPING,
    STARVED_MEMORY,
    STARVED_QUEUE,
    answer_t,
    connection_t,
    handed_t,
    reactor_t,
)
from kafkax._core.pthreads cimport pthread_mutex_lock, pthread_mutex_unlock


cdef void enqueue(reactor_t *reactor, handed_t *handed) noexcept nogil:
    cdef uint64_t one = 1
    cdef bint signal
    handed.next = NULL
    pthread_mutex_lock(&reactor.lock)
    signal = reactor.handed == NULL
    if signal:
        reactor.handed = handed
    else:
        reactor.handed_last.next = handed
    reactor.handed_last = handed
    pthread_mutex_unlock(&reactor.lock)
    if signal:
        write(reactor.handed_event, &one, sizeof(one))


cdef handed_t *new_handed(connection_t *connection, size_t size) noexcept nogil:
    cdef handed_t *handed = <handed_t *>malloc(sizeof(handed_t) + size)
    if handed != NULL:
        handed.connection = connection.id
        handed.listener = connection.listener
        handed.address = connection.address
        handed.closed = 0
        handed.token = 0
        handed.size = size
    return handed


cdef int32_t hand_over(connection_t *connection, const uint8_t *frame, size_t size) noexcept nogil:
    cdef reactor_t *reactor = connection.thread.reactor
    cdef handed_t *handed = new_handed(connection, size)
    cdef answer_t *slot = NULL if handed == NULL else answer_slot(connection)
    if slot == NULL:
        free(handed)
        return CORE_NO_MEMORY
    memcpy(handed.frame, frame, size)
    handed.token = slot.token
    slot.handed = <int32_t>kx_be16(frame) + 1
    connection.handed += 1
    connection.handed_ever = 1
    if slot.handed == API_PRODUCE + 1:
        connection.handed_produces += 1
    kx_add64(&reactor.handed_requests, 1)
    kx_add64(&reactor.handed_bytes, <int64_t>size)
    kx_count64(&connection.thread.counters.handed, 1)
    enqueue(reactor, handed)
    return 0


cdef void tell_closed(connection_t *connection, int32_t reason) noexcept nogil:
    cdef handed_t *handed
    if not connection.handed_ever and reason in (CLOSE_PEER, CLOSE_ASKED, CLOSE_IDLE, CLOSE_STOPPING):
        return
    handed = new_handed(connection, 0)
    if handed != NULL:
        handed.closed = reason + 1
        enqueue(connection.thread.reactor, handed)


cdef int32_t tell_opened(connection_t *connection) noexcept nogil:
    cdef handed_t *handed = new_handed(connection, 0)
    if handed == NULL:
        return CORE_NO_MEMORY
    handed.closed = -1
    connection.handed_ever = 1
    enqueue(connection.thread.reactor, handed)
    return 0


cdef handed_t *take_handed(reactor_t *reactor) noexcept nogil:
    cdef handed_t *handed
    cdef uint64_t count
    read(reactor.handed_event, &count, sizeof(count))
    pthread_mutex_lock(&reactor.lock)
    handed = reactor.handed
    reactor.handed = NULL
    reactor.handed_last = NULL
    pthread_mutex_unlock(&reactor.lock)
    return handed


cdef bint handoff_full(reactor_t *reactor) noexcept nogil:
    cdef int64_t limit = reactor.settings.queued_bytes
    return (kx_load64(&reactor.handed_requests) >= reactor.settings.queued_requests
            or (limit > 0 and kx_load64(&reactor.handed_bytes) >= limit))


cdef bint memory_full(reactor_t *reactor) noexcept nogil:
    cdef int64_t limit = reactor.settings.queued_bytes
    return limit > 0 and kx_load64(&reactor.kept_bytes) >= limit


cdef bint has_room(reactor_t *reactor, int32_t starved) noexcept nogil:
    return not (handoff_full(reactor) if starved == STARVED_QUEUE else memory_full(reactor))


cdef void feed_starved(reactor_t *reactor, int32_t starved) noexcept nogil:
    """Wake the threads when connections starve for what there is room for now."""
    cdef int32_t at
    if kx_load64(&reactor.starved) > 0 and has_room(reactor, starved):
        for at in range(reactor.thread_count):
            wake_thread(&reactor.threads[at])


cdef void charge_kept(reactor_t *reactor, long size) noexcept nogil:
    kx_add64(&reactor.kept_bytes, size)
    if size < 0:
        feed_starved(reactor, STARVED_MEMORY)


cdef void taken_bytes(reactor_t *reactor, long size) noexcept nogil:
    kx_add64(&reactor.handed_bytes, -size)
    feed_starved(reactor, STARVED_QUEUE)


cdef void answered(reactor_t *reactor, int32_t count) noexcept nogil:
    kx_add64(&reactor.handed_requests, -count)
    feed_starved(reactor, STARVED_QUEUE)

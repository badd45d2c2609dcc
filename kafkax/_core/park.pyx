"""The timer heap is an array ordered by deadline; a parked request knows its place, so that it leaves in O(log n)."""

from libc.stdint cimport int32_t, int64_t, uint64_t
from libc.stdlib cimport realloc
from kafkax._core.codes cimport CORE_NO_MEMORY
from kafkax._core.mailbox cimport forget_woken, next_woken, wake_parked
from kafkax._core.network cimport DROPPED, EXPIRED, WOKEN, answer_t, connection_t, network_thread_t, parked_t


cdef void place(network_thread_t *thread, parked_t *parked, int32_t at) noexcept nogil:
    thread.heap[at] = parked
    parked.heap_at = at


cdef void sift_up(network_thread_t *thread, parked_t *parked, int32_t at) noexcept nogil:
    cdef int32_t parent
    while at > 0:
        parent = (at - 1) >> 1
        if thread.heap[parent].deadline_ms <= parked.deadline_ms:
            break
        place(thread, thread.heap[parent], at)
        at = parent
    place(thread, parked, at)


cdef void sift_down(network_thread_t *thread, parked_t *parked, int32_t at) noexcept nogil:
    cdef int32_t child
    while True:
        child = 2 * at + 1
        if child >= thread.heap_size:
            break
        if child + 1 < thread.heap_size and thread.heap[child + 1].deadline_ms < thread.heap[child].deadline_ms:
            child += 1
        if parked.deadline_ms <= thread.heap[child].deadline_ms:
            break
        place(thread, thread.heap[child], at)
        at = child
    place(thread, parked, at)


cdef int32_t park(parked_t *parked, connection_t *connection, answer_t *answer, int64_t deadline_ms) noexcept nogil:
    cdef network_thread_t *thread = connection.thread
    cdef parked_t **heap
    cdef int32_t room
    parked.thread = thread
    parked.connection = connection
    parked.answer = answer
    parked.deadline_ms = deadline_ms
    parked.woken = 0
    parked.heap_at = -1
    if thread.heap_size == thread.heap_room:
        room = 64 if thread.heap_room == 0 else thread.heap_room * 2
        heap = <parked_t **>realloc(thread.heap, room * sizeof(parked_t *))
        if heap == NULL:
            return CORE_NO_MEMORY
        thread.heap = heap
        thread.heap_room = room
    thread.heap_size += 1
    sift_up(thread, parked, thread.heap_size - 1)
    parked.peer_previous = NULL
    parked.peer_next = connection.parked
    if connection.parked != NULL:
        connection.parked.peer_previous = parked
    connection.parked = parked
    return 0


cdef void leave_heap(parked_t *parked) noexcept nogil:
    cdef network_thread_t *thread = parked.thread
    cdef parked_t *last
    cdef int32_t at = parked.heap_at
    thread.heap_size -= 1
    last = thread.heap[thread.heap_size]
    if last != parked:
        if last.deadline_ms < parked.deadline_ms:
            sift_up(thread, last, at)
        else:
            sift_down(thread, last, at)
    parked.heap_at = -1


cdef void repark(parked_t *parked, int64_t deadline_ms) noexcept nogil:
    cdef network_thread_t *thread = parked.thread
    leave_heap(parked)
    parked.deadline_ms = deadline_ms
    thread.heap_size += 1
    sift_up(thread, parked, thread.heap_size - 1)


cdef void unpark(parked_t *parked) noexcept nogil:
    forget_woken(parked)
    if parked.heap_at >= 0:
        leave_heap(parked)
    if parked.peer_previous != NULL:
        parked.peer_previous.peer_next = parked.peer_next
    else:
        parked.connection.parked = parked.peer_next
    if parked.peer_next != NULL:
        parked.peer_next.peer_previous = parked.peer_previous


cdef int64_t next_deadline(network_thread_t *thread) noexcept nogil:
    return thread.heap[0].deadline_ms if thread.heap_size else -1


cdef void look_at_expired(network_thread_t *thread) noexcept nogil:
    while thread.heap_size and thread.heap[0].deadline_ms <= thread.now_ms:
        thread.heap[0].look(thread.heap[0], EXPIRED)


cdef void look_at_woken(network_thread_t *thread) noexcept nogil:
    cdef parked_t *parked = next_woken(thread)
    while parked != NULL:
        parked.look(parked, WOKEN)
        parked = next_woken(thread)


cdef void look_up_done(connection_t *connection, uint64_t token) noexcept nogil:
    cdef parked_t *parked = connection.parked
    while parked != NULL and parked.answer.token != token:
        parked = parked.peer_next
    if parked == NULL:
        return
    parked.looked_up -= 1
    if parked.looked_up == 0:
        wake_parked(parked)


cdef void drop_parked(connection_t *connection) noexcept nogil:
    while connection.parked != NULL:
        connection.parked.look(connection.parked, DROPPED)


cdef void expire_impatient(network_thread_t *thread) noexcept nogil:
    cdef int32_t at = 0
    while at < thread.heap_size:
        if thread.heap[at].patient:
            at += 1
        else:
            thread.heap[at].look(thread.heap[at], EXPIRED)
            at = 0

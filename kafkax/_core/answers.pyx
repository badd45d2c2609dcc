"""Small answers are one allocation, struct and bytes together; slices of log files hold references of their segments."""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memset
from kafkax._core.codes cimport CORE_NO_MEMORY
from kafkax._core.network cimport ANSWER_PENDING, ANSWER_READY, answer_t, connection_t
from kafkax._core.segment cimport slice_release


cdef answer_t *answer_new(size_t size) noexcept nogil:
    cdef answer_t *answer = <answer_t *>malloc(sizeof(answer_t) + size)
    if answer == NULL:
        return NULL
    memset(answer, 0, sizeof(answer_t))
    answer.data = <uint8_t *>answer + sizeof(answer_t)
    answer.size = size
    answer.total = <int64_t>size
    return answer


cdef void append_slot(connection_t *connection, answer_t *slot) noexcept nogil:
    slot.token = connection.next_token
    connection.next_token += 1
    if connection.last == NULL:
        connection.first = slot
    else:
        connection.last.next = slot
    connection.last = slot
    connection.answers += 1


cdef answer_t *answer_slot(connection_t *connection) noexcept nogil:
    cdef answer_t *slot = answer_new(0)
    if slot != NULL:
        append_slot(connection, slot)
    return slot


cdef int32_t answer_now(connection_t *connection, const void *data, size_t size) noexcept nogil:
    cdef answer_t *slot = answer_new(size)
    if slot == NULL:
        return CORE_NO_MEMORY
    memcpy(slot.data, data, size)
    slot.state = ANSWER_READY
    append_slot(connection, slot)
    connection.unsent += slot.total
    return 0


cdef void answer_fill(connection_t *connection, answer_t *slot, answer_t *content) noexcept nogil:
    slot.content = content
    slot.data = content.data
    slot.size = content.size
    slot.total = content.total
    slot.cuts = content.cuts
    slot.cut_count = content.cut_count
    slot.state = ANSWER_READY
    content.cuts = NULL
    content.cut_count = 0
    connection.unsent += slot.total


cdef void answer_skip(connection_t *connection, answer_t *slot) noexcept nogil:
    slot.size = 0
    slot.total = 0
    slot.state = ANSWER_READY


cdef void answer_free(answer_t *answer) noexcept nogil:
    cdef int32_t at
    for at in range(answer.cut, answer.cut_count):
        slice_release(&answer.cuts[at].piece)
    free(answer.cuts)
    free(answer.content)
    free(answer)


cdef answer_t *answer_find(connection_t *connection, uint64_t token) noexcept nogil:
    cdef answer_t *slot = connection.first
    while slot != NULL and slot.token != token:
        slot = slot.next
    return slot if slot != NULL and slot.state == ANSWER_PENDING else NULL


cdef answer_t *answer_pop(connection_t *connection) noexcept nogil:
    cdef answer_t *slot = connection.first
    connection.first = slot.next
    if connection.first == NULL:
        connection.last = NULL
    connection.answers -= 1
    if slot.state == ANSWER_READY:
        connection.unsent -= slot.total
    answer_free(slot)
    return connection.first

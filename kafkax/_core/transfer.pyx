"""Bytes of consecutive answers go out in one ``sendmsg``; a slice of a log file follows by ``sendfile``.

``MSG_MORE`` on what stands before a slice lets header and data leave in the same packet."""

from libc.errno cimport EAGAIN, EINTR, errno
from libc.stdint cimport int32_t, int64_t
from libc.string cimport memset
from kafkax._core.answers cimport answer_pop
from kafkax._core.connection cimport connection_touch
from kafkax._core.linux cimport MSG_MORE, MSG_NOSIGNAL, iovec, msghdr, sendmsg
from kafkax._core.network cimport ANSWER_PENDING, answer_t, connection_t

cdef enum:
    IOV_COUNT = 128


cdef inline size_t bytes_before_cut(answer_t *answer) noexcept nogil:
    """End of the bytes that may be sent before the next slice."""
    return answer.cuts[answer.cut].at if answer.cut < answer.cut_count else answer.size


cdef int32_t gather(connection_t *connection, iovec *pieces, bint *slice_follows) noexcept nogil:
    """Collect unsent bytes up to the next slice or pending answer; the number of pieces."""
    cdef answer_t *answer = connection.first
    cdef int32_t count = 0
    cdef size_t end
    slice_follows[0] = False
    while answer != NULL and answer.state != ANSWER_PENDING and count < IOV_COUNT:
        end = bytes_before_cut(answer)
        if end > answer.sent:
            pieces[count].iov_base = answer.data + answer.sent
            pieces[count].iov_len = end - answer.sent
            count += 1
        if answer.cut < answer.cut_count:
            slice_follows[0] = True
            break
        answer = answer.next
    return count


cdef void advance(connection_t *connection, size_t sent) noexcept nogil:
    """Account for bytes that left and drop the answers that are complete."""
    cdef answer_t *answer = connection.first
    cdef size_t part
    while answer != NULL and answer.state != ANSWER_PENDING:
        part = bytes_before_cut(answer) - answer.sent
        if part > sent:
            part = sent
        answer.sent += part
        sent -= part
        if answer.cut < answer.cut_count or answer.sent < answer.size:
            break
        answer = answer_pop(connection)


cdef int32_t send_bytes(connection_t *connection) noexcept nogil:
    """0: all that was gathered left; EAGAIN; or errno."""
    cdef iovec pieces[IOV_COUNT]
    cdef msghdr message
    cdef bint slice_follows
    cdef ssize_t sent
    cdef size_t want = 0
    cdef int32_t at, count = gather(connection, pieces, &slice_follows)
    if count == 0:
        advance(connection, 0)
        return 0
    for at in range(count):
        want += pieces[at].iov_len
    memset(&message, 0, sizeof(message))
    message.msg_iov = pieces
    message.msg_iovlen = count
    sent = sendmsg(connection.fd, &message, MSG_NOSIGNAL | (MSG_MORE if slice_follows else 0))
    while sent < 0 and errno == EINTR:
        sent = sendmsg(connection.fd, &message, MSG_NOSIGNAL | (MSG_MORE if slice_follows else 0))
    if sent < 0:
        return errno
    connection_touch(connection)
    connection.thread.counters.bytes_out += sent
    advance(connection, <size_t>sent)
    return 0 if <size_t>sent == want else EAGAIN


cdef int32_t send_answers(connection_t *connection) noexcept nogil:
    cdef int32_t error = 0
    while connection.writable and connection.first != NULL and connection.first.state != ANSWER_PENDING:
        error = send_bytes(connection)
        if error == EAGAIN:
            connection.writable = 0
            return 0
        if error:
            return error
    return 0

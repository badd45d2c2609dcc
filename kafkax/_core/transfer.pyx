"""Bytes of consecutive answers go out in one ``sendmsg``; a slice of a log file follows by ``sendfile``.

``MSG_MORE`` on what stands before a slice lets header and data leave in the same packet.

Only EAGAIN says that the socket is full and that an edge of epoll will follow. A short count doesn't: ``sendfile`` may have
been interrupted, and who waits for an edge then waits for ever."""

from libc.errno cimport EAGAIN, EINTR, EIO, errno
from libc.stdint cimport int32_t, int64_t
from libc.string cimport memset
from posix.types cimport off_t
from kafkax._core.atomics cimport kx_count64
from kafkax._core.answers cimport answer_pop
from kafkax._core.connection cimport connection_touch, connection_work
from kafkax._core.linux cimport MSG_MORE, MSG_NOSIGNAL, iovec, msghdr, sendfile, sendmsg
from kafkax._core.network cimport ANSWER_READY, answer_t, connection_t, cut_t
from kafkax._core.segment cimport segment_failed, segment_fd, slice_release
from kafkax._core.warm cimport resident, warm

cdef enum:
    IOV_COUNT = 128
    CHUNK = 524288
    # Bytes of a slice that are looked at, asked a helper for, and sent at a time.
    ROUNDS = 3
    # Sends of one connection before others have their turn: some hundred microseconds.


cdef inline size_t bytes_before_cut(answer_t *answer) noexcept nogil:
    """End of the bytes that may be sent before the next slice."""
    return answer.cuts[answer.cut].at if answer.cut < answer.cut_count else answer.size


cdef int32_t gather(connection_t *connection, iovec *pieces, bint *slice_follows) noexcept nogil:
    """Collect unsent bytes up to the next slice or pending answer; the number of pieces."""
    cdef answer_t *answer = connection.first
    cdef int32_t count = 0
    cdef size_t end
    slice_follows[0] = False
    while answer != NULL and answer.state == ANSWER_READY and count < IOV_COUNT:
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
    while answer != NULL and answer.state == ANSWER_READY:
        part = bytes_before_cut(answer) - answer.sent
        if part > sent:
            part = sent
        answer.sent += part
        sent -= part
        if answer.cut < answer.cut_count or answer.sent < answer.size:
            break
        answer = answer_pop(connection)


cdef int32_t send_bytes(connection_t *connection) noexcept nogil:
    """Send what lies before the next slice or pending answer, or a part of it; 0, EAGAIN, or errno."""
    cdef iovec pieces[IOV_COUNT]
    cdef msghdr message
    cdef bint slice_follows
    cdef ssize_t sent
    cdef int32_t count = gather(connection, pieces, &slice_follows)
    if count == 0:
        advance(connection, 0)
        return 0
    memset(&message, 0, sizeof(message))
    message.msg_iov = pieces
    message.msg_iovlen = count
    sent = sendmsg(connection.fd, &message, MSG_NOSIGNAL | (MSG_MORE if slice_follows else 0))
    while sent < 0 and errno == EINTR:
        sent = sendmsg(connection.fd, &message, MSG_NOSIGNAL | (MSG_MORE if slice_follows else 0))
    if sent < 0:
        return errno
    connection_touch(connection)
    kx_count64(&connection.thread.counters.bytes_out, sent)
    advance(connection, <size_t>sent)
    return 0


cdef void finish_slice(connection_t *connection, answer_t *answer) noexcept nogil:
    slice_release(&answer.cuts[answer.cut].piece)
    answer.cut += 1
    answer.slice_sent = 0
    connection.warmed_to = 0
    advance(connection, 0)


cdef bint in_memory(connection_t *connection, answer_t *answer, int32_t fd, int64_t size) noexcept nogil:
    """Whether the next ``size`` bytes of the slice can be sent without waiting for the disk; a helper is asked if not."""
    cdef cut_t *cut = &answer.cuts[answer.cut]
    cdef int64_t cold = min(cut.piece.length - answer.slice_sent, <int64_t>CHUNK)
    if answer.slice_sent + size <= connection.warmed_to:
        return True
    if not resident(fd, cut.piece.position + answer.slice_sent, size):
        if warm(connection, cut.piece.segment, cut.piece.position + answer.slice_sent, cold) == 0:
            connection.warming = 1
            connection.warming_to = answer.slice_sent + cold
            kx_count64(&connection.thread.counters.warmed, 1)
            return False
    connection.warmed_to = answer.slice_sent + size
    return True


cdef int32_t send_slice(connection_t *connection) noexcept nogil:
    """Send a piece of the slice that is next; 0, EAGAIN, or errno."""
    cdef answer_t *answer = connection.first
    cdef cut_t *cut = &answer.cuts[answer.cut]
    cdef int64_t size = min(cut.piece.length - answer.slice_sent, <int64_t>CHUNK)
    cdef int32_t fd = segment_fd(cut.piece.segment)
    cdef off_t at = cut.piece.position + answer.slice_sent
    cdef ssize_t sent
    if fd < 0:
        return EIO
    if connection.warmed_to > answer.slice_sent:
        size = min(size, connection.warmed_to - answer.slice_sent)
    if not in_memory(connection, answer, fd, size):
        return 0
    sent = sendfile(connection.fd, fd, &at, <size_t>size)
    if sent < 0 and errno == EIO:
        # Of the two ends only the disk's has this error.
        segment_failed(cut.piece.segment, EIO)
        return EIO
    if sent < 0:
        return 0 if errno == EINTR else errno
    if sent == 0:
        return EIO
    connection_touch(connection)
    kx_count64(&connection.thread.counters.bytes_out, sent)
    answer.slice_sent += sent
    if answer.slice_sent == cut.piece.length:
        finish_slice(connection, answer)
    return 0


cdef bint at_slice(connection_t *connection) noexcept nogil:
    """Whether a slice is what has to be sent next."""
    cdef answer_t *answer = connection.first
    return answer.cut < answer.cut_count and answer.sent == answer.cuts[answer.cut].at


cdef int32_t send_answers(connection_t *connection) noexcept nogil:
    cdef int32_t error = 0, rounds = ROUNDS
    while (connection.writable and not connection.warming and connection.first != NULL
           and connection.first.state == ANSWER_READY):
        if rounds == 0:
            connection_work(connection)
            return 0
        rounds -= 1
        error = send_slice(connection) if at_slice(connection) else send_bytes(connection)
        if error == EAGAIN:
            connection.writable = 0
            return 0
        if error:
            return error
    return 0

"""Frames are served where they were received: in the thread's scratch buffer, or, when a frame came in pieces, in a buffer
of exactly its size, into which the rest is received directly.

``readv`` fills that buffer and puts what follows the frame into the scratch buffer, so that large and small frames mix
at one system call a time. A frame's length is checked before anything is allocated for it, and beyond 1 MiB a buffer
grows only with what has really come."""

from libc.errno cimport EAGAIN, EINTR, errno
from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t
from libc.stdlib cimport free, realloc
from libc.string cimport memcpy, memmove
from kafkax._core.atomics cimport kx_count64, kx_load32
from kafkax._core.commit_lanes cimport commit
from kafkax._core.connection cimport connection_close, connection_starve, connection_touch
from kafkax._core.cursor cimport kx_be16, kx_be32
from kafkax._core.fetch cimport fetch
from kafkax._core.files cimport wall_ms
from kafkax._core.handoff cimport charge_kept, hand_over, handoff_full, memory_full
from kafkax._core.linux cimport iovec, readv
from kafkax._core.network cimport (
    API_CONSUMER_HEARTBEAT, API_COUNTED, API_FETCH, API_HEARTBEAT, API_OFFSET_COMMIT, API_PRODUCE, API_VERSIONS,
    CLOSE_FRAME_SIZE, CLOSE_MEMORY, CLOSE_PEER, MAX_ANSWERS, REQUEST_DONE, REQUEST_HANDOFF, REQUEST_WAIT, SCRATCH_SIZE,
    STARVED_MEMORY, STARVED_QUEUE, connection_t,
)
from kafkax._core.produce cimport produce
from kafkax._core.standing cimport answer_standing
from kafkax._core.versions cimport api_versions

cdef enum:
    ROUNDS = 2
    # Reads of one connection before others have their turn.
    TRUSTED_LENGTH = 1048576
    # A frame of up to this size gets its whole buffer at once.
    PROGRESS = 65536
    # An incomplete frame counts as activity once per so many bytes.
    SMALLEST_FRAME = 8
    # API key, version and correlation id.


cdef bint may_read(connection_t *connection) noexcept nogil:
    return not (connection.closed or connection.starved or connection.close_after or connection.answers >= MAX_ANSWERS
                or connection.paused or (connection.handed and (connection.metered or connection.orderly))
                or connection.unsent > connection.thread.reactor.settings.output_bytes)


cdef inline size_t kept(connection_t *connection) noexcept nogil:
    return connection.frame_have - connection.frame_at


cdef bint whole_frame_kept(connection_t *connection) noexcept nogil:
    return kept(connection) >= 4 and kept(connection) - 4 >= kx_be32(connection.frame + connection.frame_at)


cdef bint has_input(connection_t *connection) noexcept nogil:
    return may_read(connection) and (connection.readable or whole_frame_kept(connection))


cdef bint length_fits(connection_t *connection, const uint8_t *prefix) noexcept nogil:
    """Check a frame's length prefix; the connection is closed when it is out of bounds."""
    cdef int32_t size = <int32_t>kx_be32(prefix)
    if SMALLEST_FRAME <= size <= connection.frame_limit:
        return True
    connection_close(connection, CLOSE_FRAME_SIZE)
    return False


cdef int32_t serve_here(connection_t *connection, uint16_t api_key, const uint8_t *frame, size_t size, size_t behind,
                        size_t *taken) noexcept nogil:
    """Serve a frame without the control plane where that is possible."""
    if api_key == API_PRODUCE:
        return produce(connection, frame, size, behind, taken)
    if api_key == API_FETCH:
        return fetch(connection, frame, size)
    if api_key == API_OFFSET_COMMIT:
        return commit(connection, frame, size)
    if api_key == API_VERSIONS:
        return api_versions(connection, frame, size)
    if api_key in (API_HEARTBEAT, API_CONSUMER_HEARTBEAT):
        return answer_standing(connection, frame, size)
    return REQUEST_HANDOFF


cdef bint serve(connection_t *connection, const uint8_t *frame, size_t size, size_t behind, size_t *taken) noexcept nogil:
    """Serve one frame, and with it ``taken`` bytes of whole frames of those received behind it.

    False when it has to wait, untouched, for the control plane.
    """
    cdef uint16_t api_key = kx_be16(frame)
    cdef int64_t *counted = &connection.thread.counters.requests[api_key if api_key < API_COUNTED else API_COUNTED - 1]
    cdef int32_t served = REQUEST_HANDOFF
    taken[0] = 0
    if connection.quota_generation != kx_load32(&connection.thread.reactor.quota_generation):
        connection.quota_generation = kx_load32(&connection.thread.reactor.quota_generation)
        connection.metered = connection.quota_generation != 0
    if connection.fast and not connection.metered:
        served = serve_here(connection, api_key, frame, size, behind, taken)
    if served == REQUEST_WAIT:
        return False
    if served == REQUEST_DONE:
        kx_count64(counted, 1)
        return True
    if handoff_full(connection.thread.reactor):
        connection_starve(connection, STARVED_QUEUE)
        return False
    if hand_over(connection, frame, size) != 0:
        connection_close(connection, CLOSE_MEMORY)
        return True
    kx_count64(counted, 1)
    return True


cdef size_t consume(connection_t *connection, const uint8_t *data, size_t size) noexcept nogil:
    """Serve the whole frames at the start of ``data``; the bytes they took. Look at ``closed`` afterwards."""
    cdef size_t at = 0
    cdef size_t length, taken
    connection.thread.looked_until = NULL
    while size - at >= 4 and may_read(connection):
        if not length_fits(connection, data + at):
            break
        length = kx_be32(data + at)
        if size - at - 4 < length or not serve(connection, data + at + 4, length, size - at - 4 - length, &taken):
            break
        at += 4 + length + taken
    if at and not connection.closed:
        connection_touch(connection)
    return at


cdef void drop_kept(connection_t *connection) noexcept nogil:
    charge_kept(connection.thread.reactor, -<long>connection.frame_room)
    free(connection.frame)
    connection.frame = NULL
    connection.frame_room = 0
    connection.frame_at = 0
    connection.frame_have = 0


cdef bint make_room(connection_t *connection, size_t room) noexcept nogil:
    """Let the kept bytes start their buffer, and the buffer have ``room`` bytes at least."""
    cdef uint8_t *frame
    if connection.frame_at:
        memmove(connection.frame, connection.frame + connection.frame_at, kept(connection))
        connection.frame_have -= connection.frame_at
        connection.frame_at = 0
    if room > connection.frame_room:
        frame = <uint8_t *>realloc(connection.frame, room)
        if frame == NULL:
            connection_close(connection, CLOSE_MEMORY)
            return False
        charge_kept(connection.thread.reactor, <long>(room - connection.frame_room))
        connection.frame = frame
        connection.frame_room = room
    return True


cdef size_t room_for(size_t have, const uint8_t *prefix) noexcept nogil:
    """Bytes to allocate for a frame, length prefix included, of which ``have`` bytes are here."""
    cdef size_t whole = 4 + <size_t>kx_be32(prefix)
    if whole > TRUSTED_LENGTH and whole > 2 * have:
        whole = max(<size_t>TRUSTED_LENGTH, 2 * have)
    return max(whole, have)


cdef void keep(connection_t *connection, const uint8_t *data, size_t size) noexcept nogil:
    """Keep received bytes that could not be served yet behind those already kept."""
    cdef uint8_t prefix[4]
    cdef size_t have = kept(connection)
    cdef size_t room = have + size
    if size == 0 or connection.closed:
        return
    if room >= 4:
        if have > 0:
            memcpy(prefix, connection.frame + connection.frame_at, min(have, <size_t>4))
        if have < 4:
            memcpy(prefix + have, data, 4 - have)
        if not length_fits(connection, prefix):
            return
        room = room_for(room, prefix)
    if not make_room(connection, room):
        return
    memcpy(connection.frame + connection.frame_have, data, size)
    connection.frame_have += size


cdef void consume_kept(connection_t *connection) noexcept nogil:
    cdef size_t used = consume(connection, connection.frame + connection.frame_at, kept(connection))
    if connection.closed:
        return
    connection.frame_at += used
    if connection.frame_at == connection.frame_have and connection.frame != NULL:
        drop_kept(connection)


cdef ssize_t read_socket(connection_t *connection, iovec *places, int32_t count) noexcept nogil:
    """Bytes received; 0 when there are none for now or the connection is at its end (``ended``, or closed)."""
    cdef size_t asked = places[0].iov_len + (places[1].iov_len if count == 2 else 0)
    cdef ssize_t got = readv(connection.fd, places, count)
    while got < 0 and errno == EINTR:
        got = readv(connection.fd, places, count)
    if got > 0:
        connection.thread.received_ms = wall_ms()
        # A short read emptied the socket, and what comes later raises a new edge; the end of the stream may have shared
        # the edge that led here.
        connection.readable = <size_t>got == asked or connection.hung_up
        kx_count64(&connection.thread.counters.bytes_in, got)
        connection.progress += got
        if connection.progress >= PROGRESS:
            connection_touch(connection)
        return got
    connection.readable = 0
    if got == 0:
        connection.ended = 1
    elif errno != EAGAIN:
        connection_close(connection, CLOSE_PEER)
    return 0


cdef void receive_new(connection_t *connection) noexcept nogil:
    """Receive into the scratch buffer, behind a kept fragment of a length prefix."""
    cdef uint8_t *scratch = connection.thread.scratch
    cdef size_t have = kept(connection), used
    cdef iovec place
    cdef ssize_t got
    place.iov_base = scratch + have
    place.iov_len = SCRATCH_SIZE - have
    got = read_socket(connection, &place, 1)
    if got == 0:
        return
    if have:
        memcpy(scratch, connection.frame + connection.frame_at, have)
        drop_kept(connection)
    have += <size_t>got
    used = consume(connection, scratch, have)
    keep(connection, scratch + used, have - used)


cdef void receive_rest(connection_t *connection) noexcept nogil:
    """Receive the rest of an incomplete frame into its buffer, and what follows it into the scratch buffer."""
    cdef uint8_t *scratch = connection.thread.scratch
    cdef size_t whole, fitting, used
    cdef iovec places[2]
    cdef ssize_t got
    if not make_room(connection, room_for(kept(connection), connection.frame + connection.frame_at)):
        return
    whole = 4 + <size_t>kx_be32(connection.frame)
    places[0].iov_base = connection.frame + connection.frame_have
    places[0].iov_len = min(whole, connection.frame_room) - connection.frame_have
    places[1].iov_base = scratch
    places[1].iov_len = SCRATCH_SIZE
    got = read_socket(connection, places, 2 if connection.frame_room >= whole else 1)
    if got == 0:
        return
    fitting = min(<size_t>got, places[0].iov_len)
    connection.frame_have += fitting
    if connection.frame_have == whole:
        consume_kept(connection)
    used = 0
    if kept(connection) == 0 and <size_t>got > fitting:
        used = consume(connection, scratch, <size_t>got - fitting)
    keep(connection, scratch + used, <size_t>got - fitting - used)


cdef void receive(connection_t *connection) noexcept nogil:
    cdef int32_t rounds = ROUNDS
    while may_read(connection):
        if whole_frame_kept(connection):
            consume_kept(connection)
        elif connection.frame == NULL and memory_full(connection.thread.reactor):
            connection_starve(connection, STARVED_MEMORY)
        elif rounds and connection.readable:
            rounds -= 1
            if kept(connection) < 4:
                receive_new(connection)
            else:
                receive_rest(connection)
        else:
            break

"""One connection of the load generator: requests copied from templates, several in flight, answers in order.

A large tail lies in a file and goes out by ``sendfile``, which hands its pages to the socket instead of copying them: the copy
would cost more than all else that a request costs here."""

import os
import tempfile
from weakref import WeakValueDictionary

from libc.errno cimport EAGAIN, EINTR, ENOBUFS, errno
from libc.stdint cimport int16_t, int32_t, int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc, realloc
from libc.string cimport memcpy, memmove, memset
from posix.types cimport off_t
from posix.unistd cimport close

from kafkax._core.crc32c cimport crc32c_update
from kafkax._core.cursor cimport kx_be32, kx_put32, kx_put64
from kafkax._core.linux cimport (
    MSG_DONTWAIT, MSG_MORE, MSG_NOSIGNAL, iovec, msghdr, recv, sendfile, sendmsg,
)
from kafkax._core.load_answers cimport ANSWER_MALFORMED, answer_parse, answer_t

cdef enum:
    # Offsets in a request frame (with its length prefix) and in a record batch.
    FRAME_API = 4
    FRAME_VERSION = 6
    FRAME_CORRELATION = 8
    FRAME_CORRELATION_END = 12
    BATCH_CRC = 17
    BATCH_ATTRIBUTES = 21
    BATCH_SEQUENCE = 53
    BATCH_HEADER = 61
    # Requests that one system call may carry.
    BURST = 32
    RECEIVE_CAPACITY = 64 << 10
    # Tails from this size on lie in a file.
    FILE_FROM = 32 << 10
    # An answer above this is taken for garbage.
    ANSWER_LIMIT = 1 << 30


cdef int connection_init(connection_t* connection, int fd, int depth, target_t* targets, int target_count) noexcept nogil:
    """Prepare a connection over the non-blocking socket ``fd``; returns 0 or LOAD_NO_MEMORY (then free it all the same)."""
    cdef size_t widest = 0
    cdef int index
    connection.fd, connection.depth = fd, depth
    connection.targets, connection.target_count = targets, target_count
    for index in range(target_count):
        widest = max(widest, targets[index].head_size)
    connection.slots = <slot_t*>calloc(<size_t>depth, sizeof(slot_t))
    connection.heads = <uint8_t*>malloc(<size_t>depth * widest)
    connection.capacity = RECEIVE_CAPACITY
    connection.received = <uint8_t*>malloc(connection.capacity)
    if connection.slots == NULL or connection.heads == NULL or connection.received == NULL:
        return LOAD_NO_MEMORY
    for index in range(depth):
        connection.slots[index].head = connection.heads + <size_t>index * widest
    return 0


cdef void connection_free(connection_t* connection) noexcept nogil:
    free(connection.slots)
    free(connection.heads)
    free(connection.received)
    connection.slots, connection.heads, connection.received = NULL, NULL, NULL


cdef void stamp_sequence(uint8_t* batch, target_t* target) noexcept nogil:
    """Give the batch its base sequence and the checksum that goes with it."""
    cdef size_t covered = target.head_size - <size_t>target.batch_at - BATCH_ATTRIBUTES
    cdef uint32_t checksum
    kx_put32(batch + BATCH_SEQUENCE, <uint32_t>target.next)
    checksum = crc32c_update(0, batch + BATCH_ATTRIBUTES, covered)
    kx_put32(batch + BATCH_CRC, crc32c_update(checksum, target.tail, target.tail_size))
    # Sequences wrap to 0 after the greatest int32.
    target.next = (target.next + target.records) & 0x7FFFFFFF


cdef void connection_fill(connection_t* connection, int64_t due) noexcept nogil:
    """Put the next target's request into a free slot, which there must be; connection_flush sends it."""
    cdef slot_t* slot = &connection.slots[connection.filled % connection.depth]
    cdef target_t* target = &connection.targets[connection.turn]
    connection.turn = connection.turn + 1 if connection.turn + 1 < connection.target_count else 0
    slot.target, slot.due = target, due
    slot.correlation = <int32_t>(connection.filled & 0x7FFFFFFF)
    memcpy(slot.head, target.head, target.head_size)
    kx_put32(slot.head + FRAME_CORRELATION, <uint32_t>slot.correlation)
    if target.batch_at >= 0:
        stamp_sequence(slot.head + target.batch_at, target)
    if target.offset_at >= 0:
        kx_put64(slot.head + target.offset_at, <uint64_t>target.next)
    connection.filled += 1


cdef int gather(connection_t* connection, iovec* vectors, bint* file_follows) noexcept nogil:
    """Point ``vectors`` at what is filled and not yet written, up to a tail in a file or BURST requests; returns their number."""
    cdef int64_t number = connection.written
    cdef size_t skipped = connection.partial
    cdef slot_t* slot
    cdef target_t* target
    cdef int count = 0
    file_follows[0] = False
    while number < connection.filled and count <= 2 * BURST - 2:
        slot = &connection.slots[number % connection.depth]
        target = slot.target
        if skipped < target.head_size:
            vectors[count].iov_base = slot.head + skipped
            vectors[count].iov_len = target.head_size - skipped
            count += 1
            skipped = 0
        else:
            skipped -= target.head_size
        if target.tail_file >= 0:
            file_follows[0] = True
            return count
        if target.tail_size > skipped:
            vectors[count].iov_base = <void*>(target.tail + skipped)
            vectors[count].iov_len = target.tail_size - skipped
            count += 1
        skipped = 0
        number += 1
    return count


cdef void note_written(connection_t* connection, size_t sent, done_t done, void* owner) noexcept nogil:
    """Account for ``sent`` bytes; a request without an answer is done as soon as its last byte is with the kernel."""
    cdef slot_t* slot
    cdef size_t whole
    cdef answer_t none
    none.error, none.records, none.size, none.next_offset = 0, 0, 0, -1
    connection.partial += sent
    while connection.written < connection.filled:
        slot = &connection.slots[connection.written % connection.depth]
        whole = slot.target.head_size + slot.target.tail_size
        if connection.partial < whole:
            return
        connection.partial -= whole
        connection.written += 1
        if not slot.target.answered:
            connection.answered += 1
            done(owner, connection, slot, &none)


cdef ssize_t send_some(connection_t* connection) noexcept nogil:
    """Send what comes next, by one call; the bytes that the kernel took."""
    cdef iovec[2 * BURST] vectors
    cdef msghdr message
    cdef bint file_follows
    cdef target_t* target = connection.slots[connection.written % connection.depth].target
    cdef off_t at
    if target.tail_file >= 0 and connection.partial >= target.head_size:
        at = <off_t>(connection.partial - target.head_size)
        return sendfile(connection.fd, target.tail_file, &at, target.tail_size - <size_t>at)
    memset(&message, 0, sizeof(message))
    message.msg_iov = vectors
    message.msg_iovlen = <size_t>gather(connection, vectors, &file_follows)
    return sendmsg(connection.fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL | (MSG_MORE if file_follows else 0))


cdef int connection_flush(connection_t* connection, done_t done, void* owner) noexcept nogil:
    """Send what is filled; returns 0 (``blocked`` says whether the socket is full) or a negative code."""
    cdef ssize_t sent
    connection.blocked = False
    while connection.written < connection.filled:
        sent = send_some(connection)
        if sent < 0:
            if errno == EINTR:
                continue
            if errno == EAGAIN or errno == ENOBUFS:
                connection.blocked = True
                return 0
            return LOAD_SYSTEM
        note_written(connection, <size_t>sent, done, owner)
    return 0


cdef int take_answer(connection_t* connection, const uint8_t* frame, size_t size, done_t done, void* owner) noexcept nogil:
    """Match one answer (from its correlation id on) with the oldest request in flight."""
    cdef slot_t* slot
    cdef answer_t answer
    if connection.answered >= connection.written:
        return LOAD_OUT_OF_ORDER
    slot = &connection.slots[connection.answered % connection.depth]
    if <int32_t>kx_be32(frame) != slot.correlation:
        return LOAD_OUT_OF_ORDER
    if answer_parse(slot.target.api, slot.target.version, frame + 4, size - 4, &answer) == ANSWER_MALFORMED:
        return LOAD_MALFORMED
    connection.answered += 1
    if answer.next_offset > slot.target.next:
        slot.target.next = answer.next_offset
    elif slot.target.first >= 0 and answer.error == 0:
        slot.target.next = slot.target.first
    done(owner, connection, slot, &answer)
    return 0


cdef int make_room(connection_t* connection, size_t frame) noexcept nogil:
    """Grow the buffer until a frame of this size fits."""
    cdef uint8_t* grown
    if frame <= connection.capacity:
        return 0
    grown = <uint8_t*>realloc(connection.received, frame + RECEIVE_CAPACITY)
    if grown == NULL:
        return LOAD_NO_MEMORY
    connection.received, connection.capacity = grown, frame + RECEIVE_CAPACITY
    return 0


cdef int take_frames(connection_t* connection, done_t done, void* owner) noexcept nogil:
    """Take every whole frame out of the buffer and move the rest to its start."""
    cdef size_t position = 0
    cdef int64_t size
    cdef int code
    while connection.held - position >= 4:
        size = <int32_t>kx_be32(connection.received + position)
        if size < 4 or size > ANSWER_LIMIT:
            return LOAD_MALFORMED
        if connection.held - position < 4 + <size_t>size:
            code = make_room(connection, 4 + <size_t>size)
            if code < 0:
                return code
            break
        code = take_answer(connection, connection.received + position + 4, <size_t>size, done, owner)
        if code < 0:
            return code
        position += 4 + <size_t>size
    connection.held -= position
    if position > 0 and connection.held > 0:
        memmove(connection.received, connection.received + position, connection.held)
    return 0


cdef int connection_receive(connection_t* connection, done_t done, void* owner) noexcept nogil:
    """Read once and take the answers in it; returns 0 or a negative code."""
    cdef ssize_t size = recv(connection.fd, connection.received + connection.held, connection.capacity - connection.held,
                             MSG_DONTWAIT)
    if size == 0:
        return LOAD_CLOSED
    if size < 0:
        return 0 if errno == EAGAIN or errno == EINTR else LOAD_SYSTEM
    connection.held += <size_t>size
    return take_frames(connection, done, owner)


FILES = WeakValueDictionary()
"""The tails that lie in files, by their bytes: targets that send the same records share one."""


cdef class TailFile:
    def __cinit__(self):
        self.fd = -1

    def __init__(self, bytes tail not None):
        # An ordinary file in the page cache: of a memory file (memfd) each page is looked up by itself, 17 us instead of 14.
        self.fd, path = tempfile.mkstemp(prefix="kafkax-tail-")
        os.unlink(path)
        written = 0
        while written < len(tail):
            written += os.write(self.fd, memoryview(tail)[written:])

    def __dealloc__(self):
        if self.fd >= 0:
            close(self.fd)


cdef TailFile tail_file(bytes tail):
    """The file with these bytes; None where there is no room for one."""
    file = FILES.get(tail)
    if file is None:
        try:
            file = FILES[tail] = TailFile(tail)
        except OSError:
            return None
    return file


cdef class Target:
    def __init__(self, bytes head not None, bytes tail not None=b"", *, bint answered=True, int32_t records=0,
                 int32_t batch_at=-1, int32_t offset_at=-1, int64_t next=0, int64_t first=-1):
        if len(head) < FRAME_CORRELATION_END:
            raise ValueError(f"a request's head has at least {FRAME_CORRELATION_END} bytes, not {len(head)}")
        if batch_at >= 0 and batch_at + BATCH_HEADER > len(head):
            raise ValueError(f"the batch header at {batch_at} does not lie in the head of {len(head)} bytes")
        if offset_at >= 0 and offset_at + 8 > len(head):
            raise ValueError(f"the fetch offset at {offset_at} does not lie in the head of {len(head)} bytes")
        self.head, self.tail = head, tail
        self.data.head, self.data.head_size = head, len(head)
        self.data.tail, self.data.tail_size = tail, len(tail)
        self.file = tail_file(tail) if len(tail) >= FILE_FROM else None
        self.data.tail_file = -1 if self.file is None else self.file.fd
        if <int64_t>kx_be32(self.data.head) != <int64_t>(len(head) + len(tail)) - 4:
            raise ValueError(f"the length prefix says {kx_be32(self.data.head)}, but {len(head) + len(tail) - 4} bytes follow")
        self.data.api = <int16_t>((<int>self.data.head[FRAME_API] << 8) | self.data.head[FRAME_API + 1])
        self.data.version = <int16_t>((<int>self.data.head[FRAME_VERSION] << 8) | self.data.head[FRAME_VERSION + 1])
        self.data.answered, self.data.records = answered, records
        self.data.batch_at, self.data.offset_at = batch_at, offset_at
        self.data.next, self.data.first = next, first

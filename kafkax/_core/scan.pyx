"""Reading a segment from front to back."""

from libc.errno cimport EIO, ENOMEM
from libc.limits cimport LLONG_MAX
from libc.stdint cimport int32_t, int64_t, uint8_t
from libc.stdlib cimport free, malloc, realloc
from kafkax._core.atomics cimport kx_add64, kx_store32
from kafkax._core.batch cimport AT_MAGIC, BATCH_HEADER, BATCH_OVERHEAD, batch_check, batch_read
from kafkax._core.codes cimport CORE_END, CORE_IO_ERROR, CORE_NO_MEMORY, ERR_CORRUPT_MESSAGE, OK
from kafkax._core.cursor cimport kx_be32
from kafkax._core.files cimport read_up_to
from kafkax._core.index cimport index_lost, index_reset, offset_index_floor
from kafkax._core.pthreads cimport pthread_mutex_lock, pthread_mutex_unlock
from kafkax._core.segment cimport segment_fd, segment_name, segment_note, segment_prepare, segment_seal

cdef extern from "<fcntl.h>" nogil:
    enum:
        POSIX_FADV_RANDOM, POSIX_FADV_SEQUENTIAL
    int posix_fadvise(int fd, int64_t at, int64_t size, int advice) noexcept

cdef enum:
    SCAN_BYTES = 1048576
    HEADER_SCAN_BYTES = 16384
    MAX_RELATIVE = 0x7FFFFFFF

cdef struct window_t:
    uint8_t *data
    int64_t room
    int64_t begin
    int64_t size
    int32_t fd


cdef int32_t window_show(window_t *window, int64_t position, int64_t size, int64_t limit) noexcept nogil:
    """Have ``size`` bytes from ``position`` on in the window; ERR_CORRUPT_MESSAGE when the file ends before."""
    cdef int64_t want
    cdef uint8_t *grown
    if position >= window.begin and position + size <= window.begin + window.size:
        return OK
    if position + size > limit:
        return ERR_CORRUPT_MESSAGE
    if size > window.room:
        grown = <uint8_t *>realloc(window.data, size)
        if grown == NULL:
            return CORE_NO_MEMORY
        window.data = grown
        window.room = size
    want = window.room if limit - position > window.room else limit - position
    window.begin = position
    window.size = read_up_to(window.fd, window.data, want, position)
    if window.size < 0:
        window.size = 0
        return CORE_IO_ERROR
    return OK if window.size >= size else ERR_CORRUPT_MESSAGE


cdef int32_t scan_step(window_t *window, int64_t position, int64_t limit, bint check, batch_t *batch) noexcept nogil:
    cdef const uint8_t *at
    cdef int64_t size
    cdef int32_t code = window_show(window, position, BATCH_HEADER, limit)
    if code != OK:
        return code
    at = window.data + (position - window.begin)
    size = <int64_t><int32_t>kx_be32(at + 8) + BATCH_OVERHEAD
    # The size is not trusted before it fits into the file: memory does not grow by what it claims.
    if at[AT_MAGIC] != 2 or size < BATCH_HEADER or position + size > limit:
        return ERR_CORRUPT_MESSAGE
    if not check:
        batch_read(at, batch)
    else:
        code = window_show(window, position, size, limit)
        if code != OK:
            return code
        code = batch_check(window.data + (position - window.begin), size, batch)
    if code == OK and (batch.last_offset_delta < 0 or batch.base_offset < 0 or batch.last_offset < batch.base_offset):
        return ERR_CORRUPT_MESSAGE
    return code


cdef bint misplaced(window_t *window, segment_t *segment, const batch_t *batch, int64_t position, int64_t expected,
                    int64_t limit) noexcept nogil:
    """Whether the batch's offsets, whose base lies outside the checksum, cannot be what was written there.

    A gap before it is ordinary in a compacted log, unless what comes behind it has offsets that fall into the batch: then it is
    this base that is wrong, not the next one. The window shows the batch again afterwards."""
    cdef batch_t next
    cdef int64_t at = position + batch.size
    cdef bint wrong = batch.base_offset < expected or batch.last_offset - segment.base_offset > MAX_RELATIVE
    if wrong or batch.base_offset == expected or at >= limit:
        return wrong
    if scan_step(window, at, limit, False, &next) == OK:
        wrong = expected <= next.base_offset <= batch.last_offset
    return wrong or window_show(window, position, batch.size, limit) != OK


cdef int32_t segment_scan(segment_t *segment, int64_t position, int64_t limit, bint check, visit_t visit, void *context,
                          int64_t *end, int64_t *done) noexcept nogil:
    cdef window_t window
    cdef batch_t batch
    cdef int64_t expected = segment.base_offset
    cdef int32_t code = OK
    end[0] = position
    window.fd = segment_fd(segment)
    if window.fd < 0:
        return CORE_IO_ERROR
    window.begin = 0
    window.size = 0
    window.room = SCAN_BYTES if check else HEADER_SCAN_BYTES
    window.data = <uint8_t *>malloc(window.room)
    if window.data == NULL:
        return CORE_NO_MEMORY
    posix_fadvise(window.fd, position, 0, POSIX_FADV_SEQUENTIAL)
    while code == OK and position < limit:
        code = scan_step(&window, position, limit, check, &batch)
        if code == OK and misplaced(&window, segment, &batch, position, expected, limit):
            code = ERR_CORRUPT_MESSAGE
        if code == OK:
            code = visit(context, window.data + (position - window.begin), &batch, position)
        if code == OK:
            expected = batch.last_offset + 1
            position += batch.size
            end[0] = position
            if done != NULL:
                kx_add64(done, batch.size)
    posix_fadvise(window.fd, 0, 0, POSIX_FADV_RANDOM)
    free(window.data)
    return code


cdef struct rebuild_t:
    segment_t *segment
    int64_t interval
    int32_t error


cdef int32_t rebuild_visit(void *context, const uint8_t *data, const batch_t *batch, int64_t position) noexcept nogil:
    cdef rebuild_t *state = <rebuild_t *>context
    state.error = segment_note(state.segment, batch, position, state.interval)
    return CORE_END if state.error else OK


cdef int32_t segment_rebuild(segment_t *segment, int64_t index_bytes, int64_t index_interval) noexcept nogil:
    cdef rebuild_t state
    cdef char name[64]
    cdef int64_t end
    cdef int32_t code
    if segment_fd(segment) < 0:
        return EIO
    pthread_mutex_lock(&segment.lock)
    segment.bytes_since_index = 0
    segment.max_timestamp = -1
    segment.max_timestamp_offset = -1
    segment_name(segment, ".index", name)
    state.error = index_reset(&segment.offsets, segment.directory, name, index_bytes)
    segment_name(segment, ".timeindex", name)
    if not state.error:
        state.error = index_reset(&segment.times, segment.directory, name, index_bytes)
    if not state.error:
        state.segment = segment
        state.interval = index_interval
        code = segment_scan(segment, 0, segment.size, False, rebuild_visit, &state, &end, NULL)
        if code == CORE_IO_ERROR:
            state.error = EIO
        elif code == CORE_NO_MEMORY:
            state.error = ENOMEM
    segment.loaded = 1
    if not state.error:
        kx_store32(&segment.prepared, 1)
        if segment.sealed:
            state.error = segment_seal(segment)
    pthread_mutex_unlock(&segment.lock)
    return state.error


cdef int32_t retally_visit(void *context, const uint8_t *data, const batch_t *batch, int64_t position) noexcept nogil:
    cdef segment_t *segment = <segment_t *>context
    if batch.max_timestamp > segment.max_timestamp:
        segment.max_timestamp = batch.max_timestamp
        segment.max_timestamp_offset = batch.last_offset
    segment.bytes_since_index += batch.size
    return OK


cdef int32_t segment_retally(segment_t *segment) noexcept nogil:
    cdef int64_t entry_offset
    cdef int64_t end
    cdef int64_t position = offset_index_floor(&segment.offsets, LLONG_MAX, True, &entry_offset)
    cdef int32_t code
    segment.bytes_since_index = 0
    segment.max_timestamp = segment.times.last_key if segment.times.entries else -1
    segment.max_timestamp_offset = segment.base_offset + segment.times.last_offset if segment.times.entries else -1
    if segment.size == 0:
        segment.first_timestamp = -1
    code = segment_scan(segment, max(position, 0), segment.size, False, retally_visit, segment, &end, NULL)
    return 0 if code == OK else EIO


cdef int32_t segment_ready(segment_t *segment, int64_t index_bytes, int64_t index_interval) noexcept nogil:
    cdef int32_t error
    cdef bint lost = index_lost(&segment.offsets) or index_lost(&segment.times)
    if segment.prepared and segment.offsets.writable and not lost:
        return 0
    error = CORE_END if lost else segment_prepare(segment, index_bytes)
    if error == CORE_END:
        error = segment_rebuild(segment, index_bytes, index_interval)
    return error

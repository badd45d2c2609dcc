"""Aborted-transaction index of a segment (``.txnindex``)."""

from libc.errno cimport ENOENT, errno
from libc.stdint cimport int32_t, int64_t, uint8_t, uint64_t
from libc.stdlib cimport realloc
from posix.fcntl cimport O_CREAT, O_RDONLY, O_RDWR
from posix.stat cimport fstat, struct_stat
from posix.unistd cimport close, fdatasync, ftruncate
from kafkax._core.atomics cimport kx_load32, kx_store32
from kafkax._core.codes cimport CORE_IO_ERROR, CORE_NO_MEMORY, ERR_CORRUPT_MESSAGE, OK
from kafkax._core.cursor cimport kx_be16, kx_be64, kx_put16, kx_put64
from kafkax._core.files cimport open_in, read_up_to, write_all
from kafkax._core.segment cimport segment_name

cdef enum:
    CHUNK_ENTRIES = 256


cdef int32_t open_file(segment_t *segment, int32_t flags) noexcept nogil:
    cdef char name[64]
    segment_name(segment, ".txnindex", name)
    return open_in(segment.directory, name, flags)


cdef int64_t entry_count(int32_t fd) noexcept nogil:
    cdef struct_stat info
    return info.st_size // ABORTED_ENTRY if fstat(fd, &info) == 0 else -errno


cdef int32_t aborted_add(segment_t *segment, const aborted_entry_t *entry) noexcept nogil:
    cdef uint8_t data[ABORTED_ENTRY]
    cdef int32_t fd = open_file(segment, O_RDWR | O_CREAT)
    cdef int64_t count
    cdef int32_t error
    if fd < 0:
        return -fd
    count = entry_count(fd)
    if count < 0:
        close(fd)
        return <int32_t>-count
    kx_put16(data, 0)
    kx_put64(data + 2, <uint64_t>entry.producer_id)
    kx_put64(data + 10, <uint64_t>entry.first_offset)
    kx_put64(data + 18, <uint64_t>entry.last_offset)
    kx_put64(data + 26, <uint64_t>entry.last_stable_offset)
    error = write_all(fd, data, ABORTED_ENTRY, NULL, 0, count * ABORTED_ENTRY)
    close(fd)
    if not error:
        kx_store32(&segment.aborted_dirty, 1)
        kx_store32(&segment.aborted_count, <int32_t>count + 1)
    return error


cdef int32_t keep(aborted_list_t *out, const aborted_entry_t *entry) noexcept nogil:
    cdef aborted_entry_t *grown
    cdef int32_t room
    if out.count == out.room:
        room = out.room * 2 if out.room else 8
        grown = <aborted_entry_t *>realloc(out.entries, room * sizeof(aborted_entry_t))
        if grown == NULL:
            return CORE_NO_MEMORY
        out.entries = grown
        out.room = room
    out.entries[out.count] = entry[0]
    out.count += 1
    return OK


cdef int32_t collect_chunk(const uint8_t *data, int64_t count, int64_t first, int64_t end, aborted_list_t *out) noexcept nogil:
    cdef aborted_entry_t entry
    cdef int64_t _entry
    cdef int32_t code
    for _entry in range(count):
        if kx_be16(data):
            return ERR_CORRUPT_MESSAGE
        entry.producer_id = <int64_t>kx_be64(data + 2)
        entry.first_offset = <int64_t>kx_be64(data + 10)
        entry.last_offset = <int64_t>kx_be64(data + 18)
        entry.last_stable_offset = <int64_t>kx_be64(data + 26)
        if entry.last_offset >= first and entry.first_offset < end:
            code = keep(out, &entry)
            if code != OK:
                return code
        if entry.last_stable_offset >= end:
            return 1
        data += ABORTED_ENTRY
    return OK


cdef int32_t aborted_collect(segment_t *segment, int64_t first, int64_t end, aborted_list_t *out) noexcept nogil:
    cdef uint8_t chunk[CHUNK_ENTRIES * ABORTED_ENTRY]
    cdef int32_t fd
    cdef int32_t code = OK
    cdef int64_t got
    cdef int64_t at = 0
    if kx_load32(&segment.aborted_count) == 0:
        return OK
    fd = open_file(segment, O_RDONLY)
    if fd == -ENOENT:
        # Another thread may add the first entry now; it stores the count after the file exists.
        return OK
    if fd < 0:
        return CORE_IO_ERROR
    while code == OK:
        got = read_up_to(fd, chunk, sizeof(chunk), at)
        if got < 0:
            code = CORE_IO_ERROR
            break
        if got < ABORTED_ENTRY:
            break
        code = collect_chunk(chunk, got // ABORTED_ENTRY, first, end, out)
        at += got // ABORTED_ENTRY * ABORTED_ENTRY
    close(fd)
    return code


cdef int32_t aborted_truncate(segment_t *segment, int64_t offset) noexcept nogil:
    cdef uint8_t data[ABORTED_ENTRY]
    cdef int64_t count
    cdef int32_t error = 0
    cdef int32_t fd = open_file(segment, O_RDWR)
    if fd == -ENOENT:
        kx_store32(&segment.aborted_count, 0)
        return 0
    if fd < 0:
        return -fd
    count = entry_count(fd)
    while count > 0 and read_up_to(fd, data, ABORTED_ENTRY, (count - 1) * ABORTED_ENTRY) == ABORTED_ENTRY:
        if <int64_t>kx_be64(data + 18) < offset:
            break
        count -= 1
    if count < 0:
        error = <int32_t>-count
    elif ftruncate(fd, count * ABORTED_ENTRY) != 0:
        error = errno
    else:
        kx_store32(&segment.aborted_count, <int32_t>count)
    close(fd)
    return error


cdef int32_t aborted_sync(segment_t *segment) noexcept nogil:
    cdef int32_t fd
    cdef int32_t error = 0
    if not kx_load32(&segment.aborted_dirty):
        return 0
    kx_store32(&segment.aborted_dirty, 0)
    fd = open_file(segment, O_RDWR)
    if fd < 0:
        return 0 if fd == -ENOENT else -fd
    if fdatasync(fd) != 0:
        error = errno
    close(fd)
    return error

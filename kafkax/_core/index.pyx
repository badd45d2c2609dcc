"""Offset and time index of a segment: Kafka's file formats, memory-mapped."""

from libc.errno cimport ENOENT, errno
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t, uintptr_t
from libc.string cimport memset
from posix.fcntl cimport O_CREAT, O_RDONLY, O_RDWR, O_TRUNC
from posix.mman cimport MADV_RANDOM, MAP_FAILED, MAP_SHARED, PROT_READ, PROT_WRITE, madvise, mmap, munmap
from posix.stat cimport fstat, struct_stat
from posix.types cimport off_t
from posix.unistd cimport close, ftruncate, sysconf
from kafkax._core.atomics cimport kx_load32, kx_store32
from kafkax._core.codes cimport CORE_COLD, CORE_END
from kafkax._core.cursor cimport kx_be32, kx_be64, kx_put32, kx_put64
from kafkax._core.files cimport directory_t, open_in, unlink_in
from kafkax._core.guard cimport guard_unwatch, guard_watch
from kafkax._core.pthreads cimport (
    pthread_rwlock_destroy, pthread_rwlock_init, pthread_rwlock_rdlock, pthread_rwlock_unlock, pthread_rwlock_wrlock,
)

cdef extern from "<fcntl.h>" nogil:
    int posix_fallocate(int fd, off_t at, off_t size) noexcept

cdef extern from "<sys/mman.h>" nogil:
    int mincore(void *at, size_t size, unsigned char *state) noexcept

cdef extern from "<unistd.h>" nogil:
    int _SC_PAGESIZE

cdef enum:
    # Blocks are reserved this far ahead: a store into a map whose page has no block kills the process when the disk is full.
    RESERVE_BYTES = 16384
    # Look-ups of recent data stay in the pages that appends keep warm; the rest of the index may be cold.
    WARM_BYTES = 8192
    MAX_RELATIVE = 0x7FFFFFFF


cdef void index_init(index_t *index, int64_t base_offset, int32_t entry_size) noexcept nogil:
    memset(index, 0, sizeof(index_t))
    index.base_offset = base_offset
    index.entry_size = entry_size
    index.last_key = -1
    pthread_rwlock_init(&index.lock, NULL)


cdef void unmap(index_t *index) noexcept nogil:
    if index.map != NULL:
        munmap(index.map, index.map_size)
        index.map = NULL
    index.map_size = 0
    index.writable = 0
    kx_store32(&index.lost, 0)


cdef void index_free(index_t *index) noexcept nogil:
    unmap(index)
    pthread_rwlock_destroy(&index.lock)


cdef inline void watch(index_t *index) noexcept nogil:
    """Before the map is touched: from here on a page that cannot be had is noted in ``lost`` and ends nothing."""
    guard_watch(index.map, index.map_size, &index.lost)


cdef bint index_lost(index_t *index) noexcept nogil:
    return kx_load32(&index.lost) != 0


cdef inline const uint8_t *entry_at(index_t *index, int32_t i) noexcept nogil:
    return index.map + <int64_t>i * index.entry_size


cdef inline int64_t key_at(index_t *index, int32_t i) noexcept nogil:
    """What entries are ordered by: the offset (absolute), or the timestamp."""
    if index.entry_size == OFFSET_ENTRY:
        return index.base_offset + <int32_t>kx_be32(entry_at(index, i))
    return <int64_t>kx_be64(entry_at(index, i))


cdef inline int64_t offset_at(index_t *index, int32_t i) noexcept nogil:
    return index.base_offset + <int32_t>kx_be32(entry_at(index, i) + (0 if index.entry_size == OFFSET_ENTRY else 8))


cdef inline int64_t position_at(index_t *index, int32_t i) noexcept nogil:
    return <int32_t>kx_be32(entry_at(index, i) + 4)


cdef void note_last(index_t *index) noexcept nogil:
    if index.entries:
        index.last_key = key_at(index, index.entries - 1)
        index.last_offset = <int32_t>(offset_at(index, index.entries - 1) - index.base_offset)
    else:
        index.last_key = -1
        index.last_offset = -1


cdef bint plausible(index_t *index, int64_t log_size) noexcept nogil:
    """Whether first and last entry can be right for a log of that size."""
    cdef int32_t last = index.entries - 1
    if last < 0:
        return True
    if index.entry_size == TIME_ENTRY:
        return offset_at(index, last) >= index.base_offset and key_at(index, last) >= key_at(index, 0) and (
            last == 0 or key_at(index, last) > key_at(index, last - 1))
    return key_at(index, last) > index.base_offset - (last == 0) and 0 <= position_at(index, last) < log_size and (
        last == 0 or (key_at(index, last) > key_at(index, 0) and position_at(index, last) > position_at(index, 0)
                      and key_at(index, last) > key_at(index, last - 1)))


cdef int32_t map_file(index_t *index, int32_t fd, int64_t size, bint writable) noexcept nogil:
    cdef void *at
    if size == 0:
        return 0
    at = mmap(NULL, size, PROT_READ | PROT_WRITE if writable else PROT_READ, MAP_SHARED, fd, 0)
    if at == MAP_FAILED:
        return errno
    # An entry is looked for here and there: reading ahead would fill memory with the file's empty rest.
    madvise(at, size, MADV_RANDOM)
    index.map = <uint8_t *>at
    index.map_size = size
    index.writable = writable
    return 0


cdef int32_t map_locked(index_t *index, int32_t fd, int64_t max_bytes, int64_t log_size) noexcept nogil:
    cdef struct_stat info
    cdef int64_t room = max_bytes // index.entry_size * index.entry_size
    cdef int64_t size
    cdef int32_t error
    cdef bint right
    if fstat(fd, &info) != 0:
        return errno
    size = info.st_size
    if size % index.entry_size:
        return CORE_END
    if room and room < size:
        room = size
    if room > size and ftruncate(fd, room) != 0:
        return errno
    error = map_file(index, fd, room if room else size, room > 0)
    if error:
        return error
    index.capacity = <int32_t>(room // index.entry_size)
    index.allocated = size
    kx_store32(&index.entries, <int32_t>(size // index.entry_size))
    watch(index)
    right = plausible(index, log_size)
    if right:
        note_last(index)
    if not guard_unwatch() or not right:
        unmap(index)
        return CORE_END
    return 0


cdef int32_t index_open(index_t *index, directory_t *directory, const char *name, int64_t max_bytes,
                        int64_t log_size) noexcept nogil:
    cdef int32_t fd = open_in(directory, name, O_RDWR if max_bytes > 0 else O_RDONLY)
    cdef int32_t error
    if fd < 0:
        return CORE_END if fd == -ENOENT else -fd
    pthread_rwlock_wrlock(&index.lock)
    unmap(index)
    error = map_locked(index, fd, max_bytes, log_size)
    pthread_rwlock_unlock(&index.lock)
    close(fd)
    return error


cdef int32_t index_reset(index_t *index, directory_t *directory, const char *name, int64_t max_bytes) noexcept nogil:
    cdef int32_t fd = open_in(directory, name, O_RDWR | O_CREAT | O_TRUNC)
    cdef int32_t error
    if fd < 0:
        return -fd
    pthread_rwlock_wrlock(&index.lock)
    unmap(index)
    error = map_locked(index, fd, max_bytes, 0)
    pthread_rwlock_unlock(&index.lock)
    close(fd)
    return error


cdef int32_t cut_file(index_t *index, directory_t *directory, const char *name) noexcept nogil:
    cdef int32_t fd
    cdef int32_t error = 0
    if index_lost(index):
        # Nobody knows what is in it: the next who needs it makes it anew.
        return unlink_in(directory, name)
    fd = open_in(directory, name, O_RDWR)
    if fd < 0:
        return -fd
    if ftruncate(fd, <int64_t>index.entries * index.entry_size) != 0:
        error = errno
    close(fd)
    return error


cdef int32_t index_close(index_t *index, directory_t *directory, const char *name) noexcept nogil:
    cdef int32_t error = cut_file(index, directory, name) if index.writable else 0
    pthread_rwlock_wrlock(&index.lock)
    unmap(index)
    pthread_rwlock_unlock(&index.lock)
    return error


cdef int32_t index_seal(index_t *index, directory_t *directory, const char *name) noexcept nogil:
    """Readers touch entries only, which the shorter file still holds: the map may stay."""
    if not index.writable:
        return 0
    index.writable = 0
    index.capacity = 0
    return cut_file(index, directory, name)


cdef int32_t reserve(index_t *index, directory_t *directory, const char *name, int64_t need) noexcept nogil:
    """Have blocks for the first ``need`` bytes of the file; 0 or errno."""
    cdef int64_t upto = index.map_size if need + RESERVE_BYTES > index.map_size else need + RESERVE_BYTES
    cdef int32_t fd
    cdef int32_t error
    if need <= index.allocated:
        return 0
    fd = open_in(directory, name, O_RDWR)
    if fd < 0:
        return -fd
    error = posix_fallocate(fd, index.allocated, upto - index.allocated)
    close(fd)
    if not error:
        index.allocated = upto
    return error


cdef int32_t offset_index_add(index_t *index, directory_t *directory, const char *name, int64_t offset,
                              int64_t position) noexcept nogil:
    cdef int32_t i = index.entries
    cdef int64_t relative = offset - index.base_offset
    cdef uint8_t *at
    cdef int32_t error
    if (i >= index.capacity or relative < 0 or relative > MAX_RELATIVE or position > MAX_RELATIVE
            or (i and offset <= index.last_key)):
        return 0
    error = reserve(index, directory, name, <int64_t>(i + 1) * OFFSET_ENTRY)
    if error:
        return error
    at = index.map + <int64_t>i * OFFSET_ENTRY
    watch(index)
    kx_put32(at, <uint32_t>relative)
    kx_put32(at + 4, <uint32_t>position)
    guard_unwatch()
    index.last_key = offset
    index.last_offset = <int32_t>relative
    kx_store32(&index.entries, i + 1)
    return 0


cdef int32_t time_index_add(index_t *index, directory_t *directory, const char *name, int64_t timestamp,
                            int64_t offset) noexcept nogil:
    cdef int32_t i = index.entries
    cdef int64_t relative = offset - index.base_offset
    cdef uint8_t *at
    cdef int32_t error
    if i >= index.capacity or relative < 0 or relative > MAX_RELATIVE or timestamp < 0 or (i and timestamp <= index.last_key):
        return 0
    error = reserve(index, directory, name, <int64_t>(i + 1) * TIME_ENTRY)
    if error:
        return error
    at = index.map + <int64_t>i * TIME_ENTRY
    watch(index)
    kx_put64(at, <uint64_t>timestamp)
    kx_put32(at + 8, <uint32_t>relative)
    guard_unwatch()
    index.last_key = timestamp
    index.last_offset = <int32_t>relative
    kx_store32(&index.entries, i + 1)
    return 0


cdef bint index_full(index_t *index) noexcept nogil:
    """A time index keeps its last slot for the entry that a roll adds."""
    return index.entries >= index.capacity - (1 if index.entry_size == TIME_ENTRY else 0)


cdef bint in_memory(index_t *index, int32_t i, uintptr_t *seen) noexcept nogil:
    """Whether entry ``i`` can be read without a disk. ``seen``: the page that was looked at last."""
    cdef uintptr_t page = <uintptr_t>entry_at(index, i) & ~<uintptr_t>(sysconf(_SC_PAGESIZE) - 1)
    cdef unsigned char state = 0
    if page == seen[0]:
        return True
    seen[0] = page
    return mincore(<void *>page, 1, &state) != 0 or state & 1


cdef int32_t floor_entry(index_t *index, int64_t key, bint wait) noexcept nogil:
    """Last entry with a key at or below ``key``, -1 when there is none; the lock is held for reading.

    CORE_COLD when that needs a page that is not in memory and the caller does not wait."""
    cdef int32_t entries = kx_load32(&index.entries)
    cdef int32_t low = 0
    cdef int32_t high = entries
    cdef int32_t warm = entries - WARM_BYTES // index.entry_size
    cdef int32_t middle
    cdef uintptr_t seen = 0
    if index.map == NULL or entries == 0:
        return -1
    if warm > 0:
        if not wait and not index.writable and not in_memory(index, warm, &seen):
            return CORE_COLD
        if key_at(index, warm) <= key:
            low = warm
            # Appends keep what they just wrote in memory.
            wait = wait or index.writable
        else:
            high = warm
    while low < high:
        middle = low + ((high - low) >> 1)
        if not wait and not in_memory(index, middle, &seen):
            return CORE_COLD
        if key_at(index, middle) <= key:
            low = middle + 1
        else:
            high = middle
    return low - 1


cdef int64_t offset_index_floor(index_t *index, int64_t offset, bint wait, int64_t *entry_offset) noexcept nogil:
    cdef int64_t position = 0
    cdef int32_t i
    entry_offset[0] = index.base_offset
    pthread_rwlock_rdlock(&index.lock)
    watch(index)
    i = floor_entry(index, offset, wait)
    if i == CORE_COLD:
        position = CORE_COLD
    elif i >= 0:
        entry_offset[0] = key_at(index, i)
        position = position_at(index, i)
    if not guard_unwatch():
        position = -1
    pthread_rwlock_unlock(&index.lock)
    return position


cdef int64_t time_index_floor(index_t *index, int64_t timestamp, int64_t *entry_timestamp) noexcept nogil:
    cdef int64_t offset = index.base_offset
    cdef int32_t i
    entry_timestamp[0] = -1
    pthread_rwlock_rdlock(&index.lock)
    watch(index)
    i = floor_entry(index, timestamp, True)
    if i >= 0:
        entry_timestamp[0] = key_at(index, i)
        offset = offset_at(index, i)
    if not guard_unwatch():
        offset = -1
    pthread_rwlock_unlock(&index.lock)
    return offset


cdef void truncate_to(index_t *index, int64_t offset) noexcept nogil:
    """Drop entries whose offset is at or above ``offset``; offsets ascend in both kinds."""
    cdef int32_t entries
    pthread_rwlock_wrlock(&index.lock)
    entries = index.entries
    watch(index)
    while entries and offset_at(index, entries - 1) >= offset:
        entries -= 1
    kx_store32(&index.entries, entries)
    if index.map != NULL:
        note_last(index)
    guard_unwatch()
    pthread_rwlock_unlock(&index.lock)


cdef void offset_index_truncate(index_t *index, int64_t offset) noexcept nogil:
    truncate_to(index, offset)


cdef void time_index_truncate(index_t *index, int64_t offset) noexcept nogil:
    truncate_to(index, offset)

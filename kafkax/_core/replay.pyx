"""Producer state from disk."""

from libc.errno cimport EIO, ENOMEM, errno
from libc.limits cimport LLONG_MAX
from libc.stdint cimport int32_t, int64_t, uint8_t
from libc.stdlib cimport free, malloc, qsort, realloc
from libc.string cimport strcmp, strlen
from posix.fcntl cimport O_RDONLY
from posix.unistd cimport close
from kafkax._core.atomics cimport kx_load64
from kafkax._core.batch cimport batch_control, batch_t
from kafkax._core.codes cimport CORE_END, CORE_IO_ERROR, CORE_NO_MEMORY, ERR_CORRUPT_MESSAGE, OK
from kafkax._core.files cimport directory_path, file_size, offset_name, open_in, read_up_to, unlink_in, wall_ms
from kafkax._core.logstate cimport log_segment_after, log_segment_for, log_settle
from kafkax._core.producer_state cimport (
    marker_read, marker_t, producers_append, producers_clear, producers_end, producers_read,
)
from kafkax._core.pthreads cimport pthread_mutex_lock, pthread_mutex_unlock
from kafkax._core.scan cimport segment_scan
from kafkax._core.segment cimport segment_release, segment_t

cdef extern from "<dirent.h>" nogil:
    ctypedef struct DIR:
        pass
    struct dirent:
        char d_name[256]
    DIR *opendir(const char *path) noexcept
    dirent *readdir(DIR *folder) noexcept
    int closedir(DIR *folder) noexcept

cdef enum:
    PATH_SIZE = 4096
    NAME_DIGITS = 20
    SNAPSHOT_LIMIT = 1 << 30


cdef int64_t offset_of(const char *name, const char *suffix) noexcept nogil:
    """Offset that the name begins with, when the suffix follows it; -1."""
    cdef int64_t value = 0
    cdef int i
    for i in range(NAME_DIGITS):
        if name[i] < 48 or name[i] > 57 or value > (LLONG_MAX - 9) // 10:
            return -1
        value = value * 10 + (name[i] - 48)
    return value if strcmp(name + NAME_DIGITS, suffix) == 0 else -1


cdef int ascending(const void *a, const void *b) noexcept nogil:
    cdef int64_t x = (<const int64_t *>a)[0]
    cdef int64_t y = (<const int64_t *>b)[0]
    return (x > y) - (x < y)


cdef int64_t list_offsets(directory_t *directory, const char *suffix, int64_t **out) noexcept nogil:
    cdef char path[PATH_SIZE]
    cdef DIR *folder
    cdef dirent *entry
    cdef int64_t *grown
    cdef int64_t count = 0
    cdef int64_t room = 0
    cdef int64_t offset
    out[0] = NULL
    if directory_path(directory, NULL, path, PATH_SIZE):
        return -EIO
    folder = opendir(path)
    if folder == NULL:
        return -errno
    while True:
        entry = readdir(folder)
        if entry == NULL:
            break
        offset = offset_of(entry.d_name, suffix)
        if offset < 0:
            continue
        if count == room:
            room = room * 2 if room else 4
            grown = <int64_t *>realloc(out[0], room * sizeof(int64_t))
            if grown == NULL:
                free(out[0])
                out[0] = NULL
                closedir(folder)
                return -ENOMEM
            out[0] = grown
        out[0][count] = offset
        count += 1
    closedir(folder)
    if count > 1:
        qsort(out[0], count, sizeof(int64_t), ascending)
    return count


cdef bint ends_with(const char *name, const char *suffix) noexcept nogil:
    cdef size_t size = strlen(name)
    cdef size_t tail = strlen(suffix)
    return size >= tail and strcmp(name + (size - tail), suffix) == 0


cdef int64_t has_leftovers(directory_t *directory) noexcept nogil:
    cdef char path[PATH_SIZE]
    cdef DIR *folder
    cdef dirent *entry
    cdef int64_t found = 0
    if directory_path(directory, NULL, path, PATH_SIZE):
        return -EIO
    folder = opendir(path)
    if folder == NULL:
        return -errno
    while not found:
        entry = readdir(folder)
        if entry == NULL:
            break
        found = ends_with(entry.d_name, ".deleted") or ends_with(entry.d_name, ".cleaned") or ends_with(entry.d_name, ".swap")
    closedir(folder)
    return found


cdef int32_t load_snapshot(log_t *log, int64_t offset) noexcept nogil:
    """0, ERR_CORRUPT_MESSAGE, or errno."""
    cdef char name[64]
    cdef uint8_t *data
    cdef int64_t size
    cdef int32_t code = ERR_CORRUPT_MESSAGE
    cdef int32_t fd
    offset_name(offset, ".snapshot", name)
    size = file_size(log.directory, name)
    if size < 0 or size > SNAPSHOT_LIMIT:
        return ERR_CORRUPT_MESSAGE
    fd = open_in(log.directory, name, O_RDONLY)
    if fd < 0:
        return -fd
    data = <uint8_t *>malloc(size + 1)
    if data == NULL:
        close(fd)
        return ENOMEM
    if read_up_to(fd, data, size, 0) == size:
        code = producers_read(log.producers, data, size, wall_ms(), log.settings.producer_id_expiration_ms)
    close(fd)
    free(data)
    return ENOMEM if code == CORE_NO_MEMORY else code


cdef struct replay_t:
    log_t *log
    int64_t begin
    int64_t end


cdef int32_t replay_visit(void *context, const uint8_t *data, const batch_t *batch, int64_t position) noexcept nogil:
    cdef replay_t *state = <replay_t *>context
    cdef marker_t marker
    if batch.last_offset >= state.end:
        return CORE_END
    if batch.producer_id < 0 or batch.base_offset < state.begin:
        return OK
    if not batch_control(batch):
        return producers_append(state.log.producers, batch)
    if marker_read(data, batch, &marker) != OK:
        return OK
    return producers_end(state.log.producers, batch, marker.coordinator_epoch, marker.aborted, &marker)


cdef int32_t replay(log_t *log, int64_t begin, int64_t end) noexcept nogil:
    cdef replay_t state
    cdef segment_t *segment = log_segment_for(log, begin)
    cdef segment_t *next
    cdef int64_t stop
    cdef int32_t code = OK
    state.log = log
    state.begin = begin
    state.end = end
    if segment == NULL:
        segment = log_segment_after(log, begin)
    while segment != NULL and code == OK and segment.base_offset < end:
        code = segment_scan(segment, 0, kx_load64(&segment.size), True, replay_visit, &state, &stop, NULL)
        next = log_segment_after(log, segment.base_offset) if code == OK else NULL
        segment_release(segment)
        segment = next
    if segment != NULL:
        segment_release(segment)
    if code == CORE_IO_ERROR:
        return EIO
    # A batch that does not parse ends what is known of producers; recovery deals with the log itself.
    return ENOMEM if code == CORE_NO_MEMORY else 0


cdef int32_t log_reload_producers(log_t *log, int64_t offset) noexcept nogil:
    cdef char name[64]
    cdef int64_t *snapshots
    cdef int64_t begin = 0
    cdef int64_t count = list_offsets(log.directory, ".snapshot", &snapshots)
    cdef int32_t code = ERR_CORRUPT_MESSAGE
    if count < 0:
        return <int32_t>-count
    pthread_mutex_lock(&log.lock)
    producers_clear(log.producers)
    while count and code == ERR_CORRUPT_MESSAGE:
        count -= 1
        if snapshots[count] <= offset:
            code = load_snapshot(log, snapshots[count])
            begin = snapshots[count] if code == OK else 0
        if code == ERR_CORRUPT_MESSAGE:
            offset_name(snapshots[count], ".snapshot", name)
            unlink_in(log.directory, name)
            producers_clear(log.producers)
    pthread_mutex_unlock(&log.lock)
    free(snapshots)
    if code != OK and code != ERR_CORRUPT_MESSAGE:
        return code
    if begin < offset:
        code = replay(log, begin, offset)
        if code:
            return code
    pthread_mutex_lock(&log.lock)
    log_settle(log)
    pthread_mutex_unlock(&log.lock)
    return 0

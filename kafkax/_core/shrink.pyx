"""Taking things out of a log."""

from libc.errno cimport EIO, ENOMEM
from libc.stdint cimport int32_t, int64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy, memmove, strcpy
from kafkax._core.aborted cimport ABORTED_ENTRY, aborted_truncate
from kafkax._core.atomics cimport kx_load64, kx_store32, kx_store64
from kafkax._core.codes cimport (
    CORE_END, CORE_INDEX_WRONG, ERR_INVALID_REQUEST, ERR_KAFKA_STORAGE_ERROR, ERR_OFFSET_OUT_OF_RANGE, OK,
)
from kafkax._core.epochs cimport epochs_truncate_end, epochs_truncate_start
from kafkax._core.files cimport file_size, offset_name, sync_directory, unlink_in, wall_ms
from kafkax._core.logstate cimport (
    log_active, log_add_segment, log_fail, log_failed, log_segment_index, log_settle, log_wake,
)
from kafkax._core.pthreads cimport pthread_mutex_lock, pthread_mutex_unlock
from kafkax._core.replay cimport log_reload_producers
from kafkax._core.scan cimport segment_ready, segment_rebuild, segment_retally
from kafkax._core.segment cimport (
    found_t, segment_create, segment_find, segment_name, segment_new, segment_release, segment_rename, segment_truncate,
)


cdef void retired_free(retired_t *retired) noexcept nogil:
    cdef int32_t i
    for i in range(retired.count):
        segment_release(retired.segments[i])
    free(retired.segments)
    retired.segments = NULL
    retired.count = 0


cdef int32_t retire_range(log_t *log, int32_t first, int32_t count, retired_t *out) noexcept nogil:
    """Take segments out of the array, with their references; 0 or ENOMEM."""
    cdef segment_t **segments
    cdef int32_t i
    out.count = 0
    out.segments = NULL
    if count <= 0:
        return 0
    segments = <segment_t **>calloc(count, sizeof(segment_t *))
    if segments == NULL:
        return ENOMEM
    pthread_mutex_lock(&log.lock)
    for i in range(count):
        segments[i] = log.segments[first + i]
        kx_store32(&segments[i].deleted, 1)
    memmove(log.segments + first, log.segments + first + count, (log.segment_count - first - count) * sizeof(segment_t *))
    log.segment_count -= count
    pthread_mutex_unlock(&log.lock)
    out.segments = segments
    out.count = count
    return 0


cdef int32_t unlink_all(retired_t *retired) noexcept nogil:
    """Remove the files at once; slices read on through their descriptors."""
    cdef const char *kinds[5]
    cdef char name[64]
    cdef int32_t error = 0
    cdef int32_t i
    cdef int k
    kinds[0] = ".log"
    kinds[1] = ".index"
    kinds[2] = ".timeindex"
    kinds[3] = ".txnindex"
    kinds[4] = ".snapshot"
    for i in range(retired.count):
        for k in range(5):
            segment_name(retired.segments[i], kinds[k], name)
            if not error:
                error = unlink_in(retired.segments[i].directory, name)
    return error


cdef void set_end(log_t *log, int64_t offset) noexcept nogil:
    """Publish a lower log end; every mark comes down with it."""
    pthread_mutex_lock(&log.lock)
    log.generation += 1
    log.end.offset = offset
    log.end.segment_base = log_active(log).base_offset
    kx_store64(&log.end.position, log_active(log).size)
    if log.flushed.offset > offset:
        log.flushed = log.end
    if log.high.offset > offset:
        log.high = log.end
    kx_store64(&log.log_end_offset, offset)
    kx_store64(&log.flushed_offset, log.flushed.offset)
    kx_store64(&log.flushing_offset, log.flushed.offset)
    kx_store64(&log.high_watermark, log.high.offset)
    epochs_truncate_end(&log.epochs, offset)
    log_settle(log)
    pthread_mutex_unlock(&log.lock)


cdef int32_t cut_segment(log_t *log, int64_t *offset) noexcept nogil:
    """Cut the active segment at ``offset``, which moves down to the base of the batch that holds it; 0 or errno."""
    cdef segment_t *active = log_active(log)
    cdef found_t found
    cdef int32_t code
    cdef int32_t error
    kx_store32(&active.sealed, 0)
    error = segment_ready(active, log.settings.segment_index_bytes, log.settings.index_interval_bytes)
    if error:
        return error
    code = segment_find(active, offset[0], active.size, True, &found)
    if code == CORE_INDEX_WRONG:
        error = segment_rebuild(active, log.settings.segment_index_bytes, log.settings.index_interval_bytes)
        code = segment_find(active, offset[0], active.size, True, &found) if not error else code
    if code != OK:
        return 0 if code == CORE_END else error if error else EIO
    if found.base_offset < offset[0]:
        offset[0] = found.base_offset
    error = segment_truncate(active, found.position, offset[0])
    if not error:
        error = segment_retally(active)
    return error if error else aborted_truncate(active, offset[0])


cdef int32_t truncate_locked(log_t *log, int64_t offset) noexcept nogil:
    cdef retired_t retired
    cdef int32_t keep
    cdef int32_t error
    pthread_mutex_lock(&log.lock)
    keep = log_segment_index(log, offset) + 1
    if keep > 1 and log.segments[keep - 1].base_offset == offset:
        keep -= 1
    pthread_mutex_unlock(&log.lock)
    if keep < 1:
        keep = 1
    error = retire_range(log, keep, log.segment_count - keep, &retired)
    if not error:
        error = unlink_all(&retired)
    retired_free(&retired)
    if not error:
        error = cut_segment(log, &offset)
    if not error:
        set_end(log, offset)
    if not error:
        error = log_reload_producers(log, offset)
    return error


cdef int32_t log_truncate(log_t *log, int64_t offset) noexcept nogil:
    cdef int32_t error = 0
    pthread_mutex_lock(&log.append_lock)
    if log_failed(log):
        pthread_mutex_unlock(&log.append_lock)
        return ERR_KAFKA_STORAGE_ERROR
    if offset < log.log_end_offset:
        # A flush that is under way notes afterwards what it covered, which must not be what is cut off here.
        pthread_mutex_lock(&log.flush_lock)
        if offset <= log.segments[0].base_offset:
            error = begin_anew(log, offset)
        else:
            error = truncate_locked(log, offset)
        pthread_mutex_unlock(&log.flush_lock)
    pthread_mutex_unlock(&log.append_lock)
    log_wake(log)
    return log_fail(log, error) if error else OK


cdef int32_t begin_anew(log_t *log, int64_t offset) noexcept nogil:
    """Replace all segments by an empty one at ``offset``; 0 or errno."""
    cdef retired_t retired
    cdef segment_t *segment
    cdef int32_t error = retire_range(log, 0, log.segment_count, &retired)
    if not error:
        error = unlink_all(&retired)
    retired_free(&retired)
    segment = segment_new(log.directory, offset, 0, wall_ms()) if not error else NULL
    if segment == NULL:
        return error if error else ENOMEM
    error = segment_create(segment, log.settings.segment_index_bytes,
                           log.settings.segment_bytes if log.settings.preallocate else 0)
    if not error and log_add_segment(log, segment) != OK:
        error = ENOMEM
    if error:
        segment_release(segment)
        return error
    kx_store64(&log.log_start_offset, offset)
    set_end(log, offset)
    return log_reload_producers(log, offset)


cdef int32_t log_truncate_fully(log_t *log, int64_t offset) noexcept nogil:
    cdef int32_t error
    pthread_mutex_lock(&log.append_lock)
    if log_failed(log):
        pthread_mutex_unlock(&log.append_lock)
        return ERR_KAFKA_STORAGE_ERROR
    error = begin_anew(log, offset)
    pthread_mutex_lock(&log.lock)
    # A log that begins above its old end has nothing unflushed or uncommitted below.
    if log.flushed.offset < offset:
        log.flushed = log.end
        kx_store64(&log.flushed_offset, offset)
    if log.high.offset < offset:
        log.high = log.end
        kx_store64(&log.high_watermark, offset)
    log_settle(log)
    pthread_mutex_unlock(&log.lock)
    pthread_mutex_unlock(&log.append_lock)
    log_wake(log)
    return log_fail(log, error) if error else OK


cdef void begin_epochs_at(log_t *log, int64_t offset) noexcept nogil:
    pthread_mutex_lock(&log.lock)
    epochs_truncate_start(&log.epochs, offset)
    pthread_mutex_unlock(&log.lock)


cdef int32_t rename_retired(log_t *log, retired_t *retired, bint snapshots) noexcept nogil:
    cdef char name[64]
    cdef int32_t error = 0
    cdef int32_t i
    for i in range(retired.count):
        if not error:
            error = segment_rename(retired.segments[i], ".deleted")
        if snapshots and not error:
            offset_name(retired.segments[i].base_offset, ".snapshot", name)
            error = unlink_in(log.directory, name)
    return error


cdef int32_t log_delete_before(log_t *log, int64_t offset, retired_t *out) noexcept nogil:
    cdef int32_t count = 0
    cdef int32_t error
    out.count = 0
    out.segments = NULL
    pthread_mutex_lock(&log.append_lock)
    if log_failed(log):
        pthread_mutex_unlock(&log.append_lock)
        return ERR_KAFKA_STORAGE_ERROR
    while count + 1 < log.segment_count and log.segments[count + 1].base_offset <= offset:
        count += 1
    if count and log.segments[count].base_offset > kx_load64(&log.log_start_offset):
        # The start moves first: a reader that comes now is told that it is out of range, not that a file is gone.
        kx_store64(&log.log_start_offset, log.segments[count].base_offset)
    error = retire_range(log, 0, count, out)
    if not error:
        error = rename_retired(log, out, True)
    if not error:
        begin_epochs_at(log, kx_load64(&log.log_start_offset))
    pthread_mutex_unlock(&log.append_lock)
    return log_fail(log, error) if error else OK


cdef int32_t log_raise_start(log_t *log, int64_t offset) noexcept nogil:
    cdef int32_t error = 0
    pthread_mutex_lock(&log.append_lock)
    if log_failed(log):
        pthread_mutex_unlock(&log.append_lock)
        return ERR_KAFKA_STORAGE_ERROR
    if offset > kx_load64(&log.high_watermark):
        pthread_mutex_unlock(&log.append_lock)
        return ERR_OFFSET_OUT_OF_RANGE
    if offset > log.log_start_offset:
        kx_store64(&log.log_start_offset, offset)
        begin_epochs_at(log, offset)
    pthread_mutex_unlock(&log.append_lock)
    return log_fail(log, error) if error else OK


cdef int32_t find_run(log_t *log, const int64_t *old_bases, int32_t old_count) noexcept nogil:
    """Index of the first of the old segments, which must stand side by side before the active one; -1."""
    cdef int32_t first = log_segment_index(log, old_bases[0])
    cdef int32_t i
    if first < 0 or first + old_count >= log.segment_count:
        return -1
    for i in range(old_count):
        if log.segments[first + i].base_offset != old_bases[i]:
            return -1
    return first


cdef segment_t *adopt(log_t *log, int64_t base) noexcept nogil:
    """A segment over ``.cleaned`` files, renamed to ``.swap``; NULL when that failed."""
    cdef char name[64]
    cdef segment_t *segment = segment_new(log.directory, base, 0, wall_ms())
    cdef int64_t size
    if segment == NULL:
        return NULL
    strcpy(segment.suffix, ".cleaned")
    segment_name(segment, ".log", name)
    size = file_size(log.directory, name)
    if size >= 0:
        segment.size = size
        segment.flushed_size = size
        segment.sealed = 1
        segment_name(segment, ".txnindex", name)
        segment.aborted_count = <int32_t>(file_size(log.directory, name) // ABORTED_ENTRY)
        if segment.aborted_count < 0:
            segment.aborted_count = 0
    if size < 0 or segment_rename(segment, ".swap"):
        segment_release(segment)
        return NULL
    return segment


cdef int32_t swap_range(log_t *log, segment_t **fresh, int32_t new_count, int32_t first, int32_t old_count,
                        retired_t *out) noexcept nogil:
    """Exchange a run of the array for others in one step, so that no reader finds a hole; 0 or ENOMEM."""
    cdef int32_t behind = log.segment_count - first - old_count
    cdef int32_t count = first + new_count + behind
    cdef segment_t **segments = <segment_t **>calloc(count, sizeof(segment_t *))
    cdef segment_t **retired = <segment_t **>calloc(old_count, sizeof(segment_t *))
    cdef int32_t i
    if segments == NULL or retired == NULL:
        free(segments)
        free(retired)
        return ENOMEM
    pthread_mutex_lock(&log.lock)
    memcpy(segments, log.segments, first * sizeof(segment_t *))
    memcpy(segments + first, fresh, new_count * sizeof(segment_t *))
    memcpy(segments + first + new_count, log.segments + first + old_count, behind * sizeof(segment_t *))
    memcpy(retired, log.segments + first, old_count * sizeof(segment_t *))
    for i in range(old_count):
        kx_store32(&retired[i].deleted, 1)
    free(log.segments)
    log.segments = segments
    log.segment_count = count
    log.segment_room = count
    pthread_mutex_unlock(&log.lock)
    out.segments = retired
    out.count = old_count
    return 0


cdef int32_t exchange(log_t *log, segment_t **fresh, int32_t new_count, int32_t first, int32_t old_count,
                      retired_t *out) noexcept nogil:
    """Put the fresh segments in place; from here on ``.swap`` names make a crash end with them. 0 or errno."""
    cdef int32_t error = sync_directory(log.directory)
    cdef int32_t i
    if not error:
        error = swap_range(log, fresh, new_count, first, old_count, out)
    if not error:
        error = rename_retired(log, out, False)
    for i in range(new_count):
        if not error:
            error = segment_rename(fresh[i], "")
    return error if error else sync_directory(log.directory)


cdef int32_t log_replace(log_t *log, const int64_t *new_bases, int32_t new_count, const int64_t *old_bases, int32_t old_count,
                         retired_t *out) noexcept nogil:
    cdef segment_t **fresh
    cdef int32_t first
    cdef int32_t i
    cdef int32_t code = OK
    out.count = 0
    out.segments = NULL
    if new_count < 1 or old_count < 1:
        return ERR_INVALID_REQUEST
    fresh = <segment_t **>calloc(new_count, sizeof(segment_t *))
    if fresh == NULL:
        return ERR_KAFKA_STORAGE_ERROR
    pthread_mutex_lock(&log.append_lock)
    first = find_run(log, old_bases, old_count)
    if log_failed(log):
        code = ERR_KAFKA_STORAGE_ERROR
    elif first < 0 or new_bases[0] != old_bases[0]:
        code = ERR_INVALID_REQUEST
    # The last first: a crash in between leaves .cleaned files, of which recovery keeps none.
    for i in range(new_count - 1, -1, -1):
        if code == OK:
            fresh[i] = adopt(log, new_bases[i])
            if fresh[i] == NULL:
                code = log_fail(log, ENOMEM)
    if code == OK:
        i = exchange(log, fresh, new_count, first, old_count, out)
        if i:
            code = log_fail(log, i)
    pthread_mutex_unlock(&log.append_lock)
    free(fresh)
    return code

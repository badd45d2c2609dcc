"""Opening a log."""

from libc.errno cimport EIO, ENOENT, ENOMEM, errno
from libc.limits cimport LLONG_MAX
from libc.stdint cimport int32_t, int64_t, uint8_t
from libc.stdlib cimport free
from libc.stdio cimport snprintf
from libc.string cimport strcpy
from posix.fcntl cimport O_RDONLY
from posix.stat cimport stat, struct_stat
from posix.unistd cimport close
from kafkax._core.aborted cimport ABORTED_ENTRY, aborted_truncate
from kafkax._core.append cimport log_note_producer
from kafkax._core.atomics cimport kx_add64, kx_store64
from kafkax._core.batch cimport BATCH_HEADER, batch_t
from kafkax._core.codes cimport CORE_END, CORE_IO_ERROR, CORE_NO_MEMORY, ERR_CORRUPT_MESSAGE, OK
from kafkax._core.cursor cimport kx_be32
from kafkax._core.epochs cimport (
    epochs_assign, epochs_load, epochs_truncate_end, epochs_truncate_start,
)
from kafkax._core.files cimport directory_path, file_size, open_in, read_up_to, rename_in, unlink_in, wall_ms
from kafkax._core.index cimport index_reset
from kafkax._core.logstate cimport log_active, log_add_segment, log_appended, log_segment_index, log_settle
from kafkax._core.pthreads cimport pthread_mutex_lock, pthread_mutex_unlock
from kafkax._core.replay cimport has_leftovers, list_offsets, log_reload_producers
from kafkax._core.room cimport room_ahead, room_cut, room_found
from kafkax._core.scan cimport segment_scan
from kafkax._core.segment cimport (
    found_t, segment_batch_at, segment_create, segment_fd, segment_name, segment_new, segment_note, segment_release,
    segment_seal, segment_t,
)

cdef enum:
    PATH_SIZE = 4096
    KINDS = 4
    # Bytes at a segment's end that show whether it may end with room.
    ZEROS_OF_ROOM = 8

# Files of a segment, the log last: while it is there, so is the rest of what an exchange left.
cdef const char *_kinds[4]
_kinds[0] = ".index"
_kinds[1] = ".timeindex"
_kinds[2] = ".txnindex"
_kinds[3] = ".log"


cdef int32_t remove_leftovers(log_t *log, const char *suffix) noexcept nogil:
    """Unlink what a deletion or an unfinished cleaning left under ``suffix``; 0 or errno."""
    cdef char kind[32]
    cdef char name[64]
    cdef int64_t *bases
    cdef int64_t count
    cdef int64_t i
    cdef int32_t error = 0
    cdef int k
    for k in range(KINDS):
        snprintf(kind, sizeof(kind), "%s%s", _kinds[k], suffix)
        count = list_offsets(log.directory, kind, &bases)
        if count < 0:
            return <int32_t>-count
        for i in range(count):
            snprintf(name, sizeof(name), "%020lld%s", <long long>bases[i], kind)
            if not error:
                error = unlink_in(log.directory, name)
        free(bases)
    return error


cdef int64_t swap_end(log_t *log, int64_t base) noexcept nogil:
    """Offset behind the last batch of a ``.swap`` segment."""
    cdef segment_t *segment = segment_new(log.directory, base, 0, 0)
    cdef char name[64]
    cdef int64_t end = base
    if segment == NULL:
        return base
    strcpy(segment.suffix, ".swap")
    segment_name(segment, ".log", name)
    segment.size = file_size(log.directory, name)
    end = walk_to_end(segment, 0)
    segment_release(segment)
    return end if end > base else base


cdef int32_t drop_segment_files(log_t *log, int64_t base) noexcept nogil:
    cdef char name[64]
    cdef int32_t error = 0
    cdef int k
    for k in range(KINDS):
        snprintf(name, sizeof(name), "%020lld%s", <long long>base, _kinds[k])
        if not error:
            error = unlink_in(log.directory, name)
    return error


cdef int32_t finish_swap(log_t *log, int64_t base) noexcept nogil:
    """Complete an exchange for the cleaned segment at ``base``: remove those that it replaces, give it its name."""
    cdef char old[64]
    cdef char new[64]
    cdef int64_t *bases
    cdef int64_t end = swap_end(log, base)
    cdef int64_t count = list_offsets(log.directory, ".log", &bases)
    cdef int64_t i
    cdef int32_t error = 0
    cdef int k
    if count < 0:
        return <int32_t>-count
    for i in range(count):
        if not error and base <= bases[i] and (bases[i] < end or bases[i] == base):
            error = drop_segment_files(log, bases[i])
    free(bases)
    for k in range(KINDS):
        snprintf(old, sizeof(old), "%020lld%s.swap", <long long>base, _kinds[k])
        snprintf(new, sizeof(new), "%020lld%s", <long long>base, _kinds[k])
        if not error:
            error = rename_in(log.directory, old, new)
            error = 0 if error == ENOENT else error
    return error


cdef int32_t tidy_folder(log_t *log) noexcept nogil:
    """Finish or undo what a deletion or an exchange of segments left under other names; 0 or errno."""
    cdef int64_t *swaps
    cdef int64_t count = has_leftovers(log.directory)
    cdef int64_t i
    cdef int32_t error
    if count <= 0:
        return <int32_t>-count
    error = remove_leftovers(log, ".deleted")
    # Cleaned but not yet all renamed to .swap: the exchange had not begun, the old segments are whole.
    count = list_offsets(log.directory, ".log.cleaned", &swaps)
    free(swaps)
    if count < 0:
        return <int32_t>-count
    if not error:
        error = remove_leftovers(log, ".cleaned")
    if count and not error:
        error = remove_leftovers(log, ".swap")
    count = list_offsets(log.directory, ".log.swap", &swaps)
    if count < 0:
        return <int32_t>-count
    for i in range(count):
        if not error:
            error = finish_swap(log, swaps[i])
    free(swaps)
    return error if error else remove_leftovers(log, ".swap")


cdef segment_t *found_segment(log_t *log, int64_t base, int32_t *error) noexcept nogil:
    cdef char name[64]
    cdef char path[PATH_SIZE]
    cdef struct_stat info
    cdef segment_t *segment = segment_new(log.directory, base, 0, 0)
    if segment == NULL:
        error[0] = ENOMEM
        return NULL
    segment_name(segment, ".log", name)
    error[0] = directory_path(log.directory, name, path, PATH_SIZE)
    if not error[0] and stat(path, &info) != 0:
        error[0] = errno
    if error[0]:
        segment_release(segment)
        return NULL
    segment.size = info.st_size
    segment.flushed_size = info.st_size
    segment.created_ms = <int64_t>info.st_mtime * 1000
    room_found(&segment.room, segment.size, info.st_blocks)
    segment.aborted_count = 0
    return segment


cdef int32_t load_segments(log_t *log) noexcept nogil:
    cdef char name[64]
    cdef int64_t *bases
    cdef int64_t count = list_offsets(log.directory, ".log", &bases)
    cdef int64_t i
    cdef int32_t at
    cdef int32_t error = 0
    cdef segment_t *segment
    if count < 0:
        return <int32_t>-count
    for i in range(count):
        segment = found_segment(log, bases[i], &error)
        if segment == NULL:
            break
        segment.sealed = i + 1 < count
        if log_add_segment(log, segment) != OK:
            segment_release(segment)
            error = ENOMEM
            break
    free(bases)
    if error:
        return error
    count = list_offsets(log.directory, ".txnindex", &bases)
    if count < 0:
        return <int32_t>-count
    for i in range(count):
        at = log_segment_index(log, bases[i])
        if at >= 0 and log.segments[at].base_offset == bases[i]:
            segment_name(log.segments[at], ".txnindex", name)
            log.segments[at].aborted_count = <int32_t>(file_size(log.directory, name) // ABORTED_ENTRY)
    free(bases)
    return 0


cdef int64_t last_index_position(segment_t *segment) noexcept nogil:
    """Position that the last entry of the offset index names, read without mapping it; 0 when there is none."""
    cdef char name[64]
    cdef uint8_t entry[8]
    cdef int64_t size
    cdef int64_t position = 0
    cdef int32_t fd
    segment_name(segment, ".index", name)
    size = file_size(segment.directory, name)
    if size < 8:
        return 0
    fd = open_in(segment.directory, name, O_RDONLY)
    if fd < 0:
        return 0
    if read_up_to(fd, entry, 8, size // 8 * 8 - 8) == 8:
        position = <int32_t>kx_be32(entry + 4)
    close(fd)
    return position


cdef int64_t walk_to_end(segment_t *segment, int64_t position) noexcept nogil:
    """Offset behind the last batch, walking headers from ``position``; -1 when they do not end with the file."""
    cdef found_t found
    cdef int64_t previous = segment.base_offset - 1
    cdef int32_t code = OK
    while position < segment.size:
        code = segment_batch_at(segment, position, segment.size, &found)
        if code != OK or found.base_offset <= previous:
            return -1
        previous = found.last_offset
        position += found.size
    return previous + 1 if position == segment.size else -1


cdef int64_t clean_end(segment_t *segment) noexcept nogil:
    cdef int64_t position
    cdef int64_t end
    if segment.size == 0:
        return segment.base_offset
    position = last_index_position(segment)
    end = walk_to_end(segment, position if 0 <= position < segment.size else 0)
    return walk_to_end(segment, 0) if end < 0 and position else end


cdef struct check_t:
    log_t *log
    segment_t *segment
    int64_t end_offset
    # Base of the next segment, below which this one's offsets have to stay.
    int64_t bound
    int32_t error


cdef int32_t check_visit(void *context, const uint8_t *data, const batch_t *batch, int64_t position) noexcept nogil:
    cdef check_t *state = <check_t *>context
    cdef log_t *log = state.log
    if batch.last_offset >= state.bound:
        return ERR_CORRUPT_MESSAGE
    state.error = segment_note(state.segment, batch, position, log.settings.index_interval_bytes)
    if not state.error and epochs_assign(&log.epochs, batch.leader_epoch, batch.base_offset) < 0:
        state.error = ENOMEM
    if not state.error:
        state.error = log_note_producer(log, state.segment, data, batch)
    state.end_offset = batch.last_offset + 1
    return CORE_END if state.error else OK


cdef int32_t check_segment(log_t *log, int32_t i, int64_t *done, int64_t *end, int64_t *end_offset) noexcept nogil:
    """Validate every batch of segment ``i`` and rebuild what is derived from it; ``end``, ``end_offset``: byte and offset behind
    the last good one. 0 or errno."""
    cdef segment_t *segment = log.segments[i]
    cdef check_t state
    cdef char name[64]
    cdef int32_t code
    state.log = log
    state.bound = log.segments[i + 1].base_offset if i + 1 < log.segment_count else LLONG_MAX
    state.segment = segment
    state.end_offset = segment.base_offset
    end[0] = 0
    segment_name(segment, ".index", name)
    state.error = index_reset(&segment.offsets, segment.directory, name, log.settings.segment_index_bytes)
    segment_name(segment, ".timeindex", name)
    if not state.error:
        state.error = index_reset(&segment.times, segment.directory, name, log.settings.segment_index_bytes)
    if not state.error:
        state.error = aborted_truncate(segment, 0)
    if state.error:
        return state.error
    segment.prepared = 1
    segment.loaded = 1
    segment.flushed_size = 0
    code = segment_scan(segment, 0, segment.size, True, check_visit, &state, end, done)
    end_offset[0] = state.end_offset
    if code == CORE_IO_ERROR:
        return EIO
    return ENOMEM if code == CORE_NO_MEMORY else state.error


cdef bint never_written(segment_t *segment, int64_t at) noexcept nogil:
    """Whether the file goes on with zeros from there: room ahead (also that of ``preallocate``), and no batch torn by a crash."""
    cdef uint8_t found[BATCH_HEADER]
    cdef int64_t size = read_up_to(segment_fd(segment), found, BATCH_HEADER, at)
    while size > 0 and found[size - 1] == 0:
        size -= 1
    return size == 0


cdef bint ends_with_room(segment_t *segment) noexcept nogil:
    """Whether zeros follow its last batch: when a log rolls, room is cut off, but it may come back with a power cut."""
    cdef uint8_t found[ZEROS_OF_ROOM]
    cdef int64_t at = segment.size - ZEROS_OF_ROOM
    cdef int32_t k
    if at < 0 or read_up_to(segment_fd(segment), found, ZEROS_OF_ROOM, at) != ZEROS_OF_ROOM:
        return False
    for k in range(ZEROS_OF_ROOM):
        if found[k]:
            return False
    # Records may end with zeros, too.
    return clean_end(segment) < 0


cdef int32_t cut_tail(log_t *log, int32_t i, int64_t end, int64_t end_offset, progress_t *progress) noexcept nogil:
    """Cut segment ``i`` at byte ``end`` and drop the segments behind it, unless all that is cut is room; 0 or errno."""
    cdef segment_t *segment = log.segments[i]
    cdef bint is_room = never_written(segment, end)
    cdef int64_t cut = 0 if is_room else segment.size - end
    cdef int32_t error = room_cut(&segment.room, segment_fd(segment), end)
    kx_store64(&segment.size, end)
    if is_room and i + 1 < log.segment_count and log.segments[i + 1].base_offset == end_offset:
        return error
    while log.segment_count > i + 1 and not error:
        log.segment_count -= 1
        cut += log.segments[log.segment_count].size
        error = drop_segment_files(log, log.segments[log.segment_count].base_offset)
        segment_release(log.segments[log.segment_count])
    if progress != NULL:
        kx_add64(&progress.bytes_cut, cut)
    return error


cdef int32_t check_from(log_t *log, int64_t recovery_point, progress_t *progress, int64_t *end_offset) noexcept nogil:
    """Validate all segments from the one of the recovery point on, cut at the first bad batch; 0 or errno."""
    cdef int32_t first = log_segment_index(log, recovery_point)
    cdef int32_t i = first if first > 0 else 0
    cdef int32_t k
    cdef int64_t end
    cdef segment_t *active
    cdef int32_t error
    if i > 0 and ends_with_room(log.segments[i - 1]):
        i -= 1
    error = log_reload_producers(log, log.segments[i].base_offset)
    epochs_truncate_end(&log.epochs, log.segments[i].base_offset)
    if progress != NULL:
        for k in range(i, log.segment_count):
            kx_add64(&progress.bytes_total, log.segments[k].size)
    while i < log.segment_count and not error:
        error = check_segment(log, i, &progress.bytes_done if progress != NULL else NULL, &end, end_offset)
        if not error and end < log.segments[i].size:
            error = cut_tail(log, i, end, end_offset[0], progress)
        if not error and i + 1 < log.segment_count:
            error = segment_seal(log.segments[i])
        i += 1
    if not error:
        active = log_active(log)
        active.sealed = 0
        if room_ahead(&active.room, active.size):
            error = room_cut(&active.room, segment_fd(active), active.size)
    return error


cdef int32_t begin_empty(log_t *log, int64_t offset) noexcept nogil:
    cdef segment_t *segment = segment_new(log.directory, offset, 0, wall_ms())
    cdef int32_t error
    if segment == NULL:
        return ENOMEM
    error = segment_create(segment, log.settings.segment_index_bytes,
                           log.settings.segment_bytes if log.settings.preallocate else 0)
    if not error and log_add_segment(log, segment) != OK:
        error = ENOMEM
    if error:
        segment_release(segment)
    return error


cdef void settle_marks(log_t *log, int64_t end, int64_t start, int64_t flushed) noexcept nogil:
    """Set the marks that an opened log begins with, and bring the epoch cache into their range."""
    if start < log.segments[0].base_offset:
        start = log.segments[0].base_offset
    pthread_mutex_lock(&log.lock)
    kx_store64(&log.log_start_offset, start)
    kx_store64(&log.log_end_offset, end)
    log.end.offset = end
    log.end.segment_base = log_active(log).base_offset
    log.end.position = log_active(log).size
    log.flushed.offset = flushed if flushed < end else end
    log.flushed.segment_base = -1
    log.flushed.position = -1
    if log.flushed.offset == end:
        log.flushed = log.end
    kx_store64(&log.flushed_offset, log.flushed.offset)
    log.high.offset = start
    log.high.segment_base = -1
    log.high.position = -1
    kx_store64(&log.high_watermark, start)
    # An epoch that begins at the end stays: a leader without a record in it goes on without writing the file again.
    epochs_truncate_end(&log.epochs, end + 1)
    epochs_truncate_start(&log.epochs, start)
    log_settle(log)
    pthread_mutex_unlock(&log.lock)


cdef int32_t log_load_folder(log_t *log, bint clean, int64_t recovery_point, int64_t log_start_offset,
                             progress_t *progress) noexcept nogil:
    cdef int64_t end = -1
    cdef int64_t flushed = LLONG_MAX
    cdef bint unreadable
    cdef int32_t error = tidy_folder(log)
    if not error:
        error = load_segments(log)
    if not error:
        error = epochs_load(&log.epochs, log.directory)
    # An unreadable epoch checkpoint, which a power cut may leave, is made anew from all batches.
    unreadable = error == ERR_CORRUPT_MESSAGE
    error = 0 if unreadable else error
    if not error and log.segment_count == 0:
        error = begin_empty(log, log_start_offset)
    if error:
        return error
    if clean and not unreadable:
        end = clean_end(log_active(log))
    if end >= 0:
        error = log_reload_producers(log, end)
    else:
        # Not clean, or the files say otherwise: then the active segment at least is checked.
        flushed = recovery_point if not clean else log_active(log).base_offset
        error = check_from(log, 0 if unreadable else flushed, progress, &end)
    if not error and end < log_start_offset:
        # Everything at or above the log start was lost: go on there.
        error = cut_all(log, log_start_offset)
        end = log_start_offset
    if not error:
        settle_marks(log, end, log_start_offset, flushed)
    if not error and flushed < end:
        log_appended(log, False)
    return error


cdef int32_t cut_all(log_t *log, int64_t offset) noexcept nogil:
    cdef int32_t error = 0
    while log.segment_count and not error:
        log.segment_count -= 1
        error = drop_segment_files(log, log.segments[log.segment_count].base_offset)
        segment_release(log.segments[log.segment_count])
    if not error:
        error = begin_empty(log, offset)
    return error if error else log_reload_producers(log, offset)

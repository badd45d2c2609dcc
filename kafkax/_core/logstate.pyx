"""The state of one log, its marks, and who waits for them."""

from libc.errno cimport errno
from libc.stdint cimport int32_t, int64_t
from libc.stdlib cimport free, malloc, realloc
from libc.string cimport memmove
from posix.fcntl cimport O_RDWR
from posix.unistd cimport close, fdatasync
from kafkax._core.aborted cimport aborted_sync
from kafkax._core.atomics cimport kx_add32, kx_fence, kx_load32, kx_load64, kx_store32, kx_store64, kx_store_pointer, kx_swap32
from kafkax._core.codes cimport CORE_NO_MEMORY, ERR_KAFKA_STORAGE_ERROR, ERR_NOT_LEADER_OR_FOLLOWER, OK
from kafkax._core.epochs cimport epochs_free, epochs_init
from kafkax._core.files cimport (
    SYNC_FILE_RANGE_WRITE,
    directory_device, directory_new, directory_release, disk_fail, disk_new, disk_release, disk_retain, monotonic_ms, open_in,
    sync_directory, sync_file_range,
)
from kafkax._core.flush cimport (
    FLUSH_LATER, flusher_barrier, flusher_disk, flusher_expects, flusher_release, flusher_replaced, flusher_retain,
    flusher_submit,
)
from kafkax._core.lines cimport zeroed_lines
from kafkax._core.notify cimport notify_push, notify_release
from kafkax._core.producer_state cimport producers_decide, producers_first_unstable, producers_free, producers_new
from kafkax._core.pthreads cimport (
    PTHREAD_MUTEX_RECURSIVE, pthread_mutex_destroy, pthread_mutex_init, pthread_mutex_lock, pthread_mutex_unlock,
    pthread_mutexattr_destroy, pthread_mutexattr_init, pthread_mutexattr_settype, pthread_mutexattr_t,
)
from kafkax._core.replicas cimport replica_fetched, replica_may_join, replica_t, replicas_committed, replicas_find, replicas_t
from kafkax._core.room cimport room_ahead, room_blocks, room_cut, room_flush, room_hasty, room_idle, room_replaces
from kafkax._core.segment cimport segment_fd, segment_name, segment_release, segment_retain, segment_sync, slice_release

cdef enum:
    NEVER = 0x7FFFFFFFFFFFFFFF
    # Logs of which a flush finds so much to write grow fast.
    FAST_BYTES = 8388608


cdef log_t *log_new(const char *path, const log_settings_t *settings, flusher_t *flusher) noexcept nogil:
    cdef log_t *log = <log_t *>zeroed_lines(sizeof(log_t))
    cdef pthread_mutexattr_t recursive
    if log == NULL:
        return NULL
    log.refs = 1
    log.settings = settings[0]
    log.flush_item.begin = flush_begin
    log.flush_item.run = flush_run
    log.flush_item.mark = flush_mark
    log.flush_item.settle = flush_settle
    log.flush_item.retain = flush_retain
    log.flush_item.release = flush_release
    pthread_mutexattr_init(&recursive)
    pthread_mutexattr_settype(&recursive, PTHREAD_MUTEX_RECURSIVE)
    pthread_mutex_init(&log.append_lock, &recursive)
    pthread_mutexattr_destroy(&recursive)
    pthread_mutex_init(&log.lock, NULL)
    pthread_mutex_init(&log.wait_lock, NULL)
    pthread_mutex_init(&log.flush_lock, NULL)
    if flusher != NULL:
        flusher_retain(flusher)
        log.flusher = flusher
        log.disk = flusher_disk(flusher)
        disk_retain(log.disk)
    else:
        log.disk = disk_new()
    log.directory = directory_new(path)
    log.producers = producers_new()
    epochs_init(&log.epochs)
    if log.disk == NULL or log.directory == NULL or log.producers == NULL:
        log_release(log)
        return NULL
    disk_retain(log.disk)
    log.directory.disk = log.disk
    log_set_mark_mode(log, False)
    return log


cdef void log_retain(log_t *log) noexcept nogil:
    kx_add32(&log.refs, 1)


cdef void log_release(log_t *log) noexcept nogil:
    cdef int32_t i
    if log == NULL or kx_add32(&log.refs, -1) > 0:
        return
    for i in range(log.segment_count):
        segment_release(log.segments[i])
    free(log.segments)
    log_release(log.former)
    producers_free(log.producers)
    epochs_free(&log.epochs)
    directory_release(log.directory)
    disk_release(log.disk)
    flusher_release(log.flusher)
    notify_release(log.notify)
    free(log.replicas)
    pthread_mutex_destroy(&log.append_lock)
    pthread_mutex_destroy(&log.lock)
    pthread_mutex_destroy(&log.wait_lock)
    pthread_mutex_destroy(&log.flush_lock)
    free(log)


cdef int32_t log_segment_index(log_t *log, int64_t offset) noexcept nogil:
    cdef int32_t low = 0
    cdef int32_t high = log.segment_count
    cdef int32_t middle
    # Most readers are at the tail.
    if high and log.segments[high - 1].base_offset <= offset:
        return high - 1
    while low < high:
        middle = (low + high) // 2
        if log.segments[middle].base_offset <= offset:
            low = middle + 1
        else:
            high = middle
    return low - 1


cdef segment_t *log_segment_for(log_t *log, int64_t offset) noexcept nogil:
    cdef segment_t *segment = NULL
    cdef int32_t i
    pthread_mutex_lock(&log.lock)
    i = log_segment_index(log, offset)
    if i >= 0:
        segment = log.segments[i]
        segment_retain(segment)
    pthread_mutex_unlock(&log.lock)
    return segment


cdef segment_t *log_segment_after(log_t *log, int64_t offset) noexcept nogil:
    cdef segment_t *segment = NULL
    cdef int32_t i
    pthread_mutex_lock(&log.lock)
    i = log_segment_index(log, offset) + 1
    if i < log.segment_count:
        segment = log.segments[i]
        segment_retain(segment)
    pthread_mutex_unlock(&log.lock)
    return segment


cdef segment_t *log_active(log_t *log) noexcept nogil:
    return log.segments[log.segment_count - 1]


cdef int32_t log_add_segment(log_t *log, segment_t *segment) noexcept nogil:
    cdef segment_t **grown
    cdef int32_t room
    cdef int32_t at
    pthread_mutex_lock(&log.lock)
    if log.segment_count == log.segment_room:
        room = log.segment_room * 2 if log.segment_room else 1
        grown = <segment_t **>realloc(log.segments, room * sizeof(segment_t *))
        if grown == NULL:
            pthread_mutex_unlock(&log.lock)
            return CORE_NO_MEMORY
        log.segments = grown
        log.segment_room = room
    at = log_segment_index(log, segment.base_offset) + 1
    memmove(log.segments + at + 1, log.segments + at, (log.segment_count - at) * sizeof(segment_t *))
    log.segments[at] = segment
    log.segment_count += 1
    pthread_mutex_unlock(&log.lock)
    return OK


cdef int32_t log_fail(log_t *log, int32_t error) noexcept nogil:
    disk_fail(log.disk, error)
    log_wake_all(log)
    return ERR_KAFKA_STORAGE_ERROR


cdef void set_high(log_t *log, const mark_t *mark) noexcept nogil:
    log.high = mark[0]
    kx_store64(&log.high_watermark, mark.offset)


cdef mark_t mark_at(log_t *log, int64_t offset) noexcept nogil:
    """The mark at an offset below or at the log end, with its place where that is known."""
    cdef mark_t mark
    if offset == log.end.offset:
        return log.end
    if offset == log.flushed.offset:
        return log.flushed
    mark.offset = offset
    mark.segment_base = -1
    mark.position = -1
    return mark


cdef void follow_replicas(log_t *log) noexcept nogil:
    cdef int64_t own = log.flushed.offset if log.settings.flushed else log.end.offset
    cdef int64_t committed = replicas_committed(log.replicas, own, log.high.offset, monotonic_ms())
    cdef mark_t mark
    if committed > log.high.offset:
        mark = mark_at(log, committed)
        set_high(log, &mark)


cdef void log_settle(log_t *log) noexcept nogil:
    cdef int64_t stable
    cdef int64_t unstable
    if log.mark_mode == MARK_AUTO_LOG_END:
        set_high(log, &log.end)
    elif log.mark_mode == MARK_AUTO_FLUSHED and log.flushed.offset > log.high.offset:
        set_high(log, &log.flushed)
    elif log.replicas != NULL:
        follow_replicas(log)
    if log.high.offset > log.end.offset:
        set_high(log, &log.end)
    stable = log.high.offset
    if log.producers.txn_count:
        producers_decide(log.producers, stable)
        unstable = producers_first_unstable(log.producers)
        if 0 <= unstable < stable:
            stable = unstable
    kx_store64(&log.last_stable_offset, stable)


cdef void log_publish_end(log_t *log, int64_t offset) noexcept nogil:
    cdef segment_t *active = log_active(log)
    log.end.offset = offset
    log.end.segment_base = active.base_offset
    # Asked for without the lock too.
    kx_store64(&log.end.position, active.size)
    kx_store64(&log.log_end_offset, offset)
    log_settle(log)


cdef void log_set_mark_mode(log_t *log, bint external) noexcept nogil:
    cdef int32_t mode = MARK_EXTERNAL
    if not external:
        mode = MARK_AUTO_FLUSHED if log.settings.flushed else MARK_AUTO_LOG_END
    pthread_mutex_lock(&log.lock)
    log.mark_mode = mode
    log_settle(log)
    pthread_mutex_unlock(&log.lock)
    log_wake(log)


cdef int32_t log_follower_fetched(log_t *log, int32_t leader_epoch, int32_t replica, int64_t broker_epoch,
                                  int64_t offset) noexcept nogil:
    cdef replica_t *known = NULL
    cdef int64_t before
    cdef bint moved = False
    pthread_mutex_lock(&log.lock)
    if log.replicas != NULL and leader_epoch in (-1, log.replicas.leader_epoch):
        known = replicas_find(log.replicas, replica)
    if known != NULL and not replica_fetched(known, broker_epoch, offset, log.end.offset, monotonic_ms()):
        known = NULL
    if known != NULL:
        before = log.high.offset
        log_settle(log)
        moved = log.high.offset != before
        if log.notify != NULL and replica_may_join(log.replicas, known, log.high.offset):
            notify_push(log.notify, log.notify_token, replica)
    pthread_mutex_unlock(&log.lock)
    if moved:
        log_wake(log)
    return OK if known != NULL else ERR_NOT_LEADER_OR_FOLLOWER


cdef void log_set_replicas(log_t *log, replicas_t *replicas) noexcept nogil:
    cdef replicas_t *former
    cdef replica_t *known
    cdef int32_t at, counts
    pthread_mutex_lock(&log.lock)
    former = log.replicas
    if former != NULL and replicas != NULL and former.leader_epoch == replicas.leader_epoch:
        for at in range(replicas.count):
            known = replicas_find(former, replicas.entries[at].id)
            if known != NULL:
                counts = replicas.entries[at].counts
                replicas.entries[at] = known[0]
                replicas.entries[at].counts = counts
    log.replicas = replicas
    log_settle(log)
    pthread_mutex_unlock(&log.lock)
    free(former)
    log_wake(log)


cdef void log_set_high_watermark(log_t *log, int64_t offset) noexcept nogil:
    cdef mark_t mark
    pthread_mutex_lock(&log.lock)
    mark = mark_at(log, min(max(offset, log.log_start_offset), log.end.offset))
    if mark.offset != log.high.offset:
        set_high(log, &mark)
    log_settle(log)
    pthread_mutex_unlock(&log.lock)
    log_wake(log)


cdef void ask_for_flush(log_t *log, bint sync, int64_t delay_ms) noexcept nogil:
    if sync and not kx_load32(&log.sync_wanted):
        kx_store32(&log.sync_wanted, 1)
    if not flusher_expects(&log.flush_item, delay_ms):
        flusher_submit(log.flusher, &log.flush_item, delay_ms)


cdef bint flushes_always(log_t *log) noexcept nogil:
    """Whether every append is flushed, without a number of messages or a time that says when."""
    return log.settings.flushed and log.settings.flush_messages == NEVER and log.settings.flush_ms == NEVER


cdef void write_ahead(log_t *log) noexcept nogil:
    """Have the disk begin while the flush thread wakes, where that writes little, mostly to blocks that are there."""
    cdef segment_t *segment = active_with_reference(log)
    cdef int64_t size, flushed
    if segment == NULL:
        return
    size = kx_load64(&segment.size)
    flushed = kx_load64(&segment.flushed_size)
    if segment_fd(segment) >= 0 and room_hasty(&segment.room, size - flushed):
        sync_file_range(segment_fd(segment), flushed, size - flushed, SYNC_FILE_RANGE_WRITE)
    segment_release(segment)


cdef void log_appended(log_t *log, bint awaited) noexcept nogil:
    cdef int64_t unflushed
    cdef int64_t dirty
    log_wake(log)
    if log.flusher == NULL:
        return
    unflushed = kx_load64(&log.log_end_offset) - kx_load64(&log.flushed_offset)
    if unflushed >= log.settings.flush_messages:
        ask_for_flush(log, True, 0)
    elif log.settings.flush_ms != NEVER:
        ask_for_flush(log, True, log.settings.flush_ms)
    elif flushes_always(log):
        # Somebody waits for the flush, or will hurry it; until then more appends may share it, but not so many that who
        # hurries it waits long.
        dirty = kx_load64(&log.end.position) - kx_load64(&log.written_back)
        awaited = awaited or kx_load32(&log.waiting) or log.notify != NULL or dirty >= log.flusher.lazy_bytes
        ask_for_flush(log, True, 0 if awaited else FLUSH_LATER)
        if awaited:
            write_ahead(log)
    else:
        dirty = kx_load64(&log.end.position) - kx_load64(&log.written_back)
        if dirty >= log.flusher.lazy_bytes or dirty < 0:
            ask_for_flush(log, dirty < 0, 0)


cdef void log_hurry(log_t *log, int64_t offset) noexcept nogil:
    cdef int64_t covered = max(kx_load64(&log.flushed_offset), kx_load64(&log.flushing_offset))
    if log.flusher != NULL and covered <= offset < kx_load64(&log.log_end_offset) and flushes_always(log):
        ask_for_flush(log, True, 0)


cdef int64_t log_flush_is_all(log_t *log) noexcept nogil:
    cdef int64_t end = -1
    pthread_mutex_lock(&log.lock)
    if (log.flusher != NULL and log.mark_mode == MARK_AUTO_FLUSHED and flushes_always(log)
            and log.high.offset < log.end.offset):
        end = log.end.offset
    pthread_mutex_unlock(&log.lock)
    return end


cdef void flush_retain(flush_item_t *item) noexcept nogil:
    log_retain(<log_t *>item)


cdef void flush_release(flush_item_t *item) noexcept nogil:
    log_release(<log_t *>item)


cdef segment_t *active_with_reference(log_t *log) noexcept nogil:
    cdef segment_t *segment = NULL
    pthread_mutex_lock(&log.lock)
    if log.segment_count:
        segment = log_active(log)
        segment_retain(segment)
    pthread_mutex_unlock(&log.lock)
    return segment


cdef void see_growth(log_t *log, segment_t *active, int64_t size, bint alone, int64_t now_ms) noexcept nogil:
    """Note up to where a flush goes; ``alone``: by a sync of this log."""
    cdef int64_t before = kx_load64(&log.written_back)
    room_flush(&active.room, size - before if before <= size else size, alone, now_ms)
    kx_store64(&log.written_back, size)


cdef void flush_begin(flush_item_t *item, bint alone) noexcept nogil:
    """Have the kernel write what is dirty, without waiting for it, and see to the room ahead of it.

    A sync that follows right away, as nothing else is in the round, writes by itself.
    """
    cdef log_t *log = <log_t *>item
    cdef segment_t *segment = active_with_reference(log)
    cdef int64_t size, flushed, now
    cdef bint synced
    if segment == NULL:
        return
    size = kx_load64(&segment.size)
    flushed = kx_load64(&segment.flushed_size)
    now = monotonic_ms()
    synced = kx_load32(&log.sync_wanted)
    see_growth(log, segment, size, synced, now)
    if size - flushed >= FAST_BYTES or room_idle(&segment.room, size, log.flusher.lazy_ms, now):
        change_room(log, now)
    if segment_fd(segment) >= 0 and size > flushed and not (alone and synced):
        sync_file_range(segment_fd(segment), flushed, size - flushed, SYNC_FILE_RANGE_WRITE)
    segment_release(segment)


cdef void change_room(log_t *log, int64_t now_ms) noexcept nogil:
    """Have blocks for a log that grows fast, or give back what was for nothing."""
    cdef segment_t *active
    cdef int32_t error = 0
    pthread_mutex_lock(&log.append_lock)
    if log.segment_count and not log_failed(log):
        active = log_active(log)
        if room_idle(&active.room, active.size, log.flusher.lazy_ms, now_ms):
            error = room_cut(&active.room, segment_fd(active), active.size)
        elif not active.preallocated and active.fd >= 0:
            room_blocks(&active.room, active.fd, active.size, log.settings.segment_bytes)
    pthread_mutex_unlock(&log.append_lock)
    if error:
        log_fail(log, error)


cdef void watch_room(log_t *log) noexcept nogil:
    """Look again later whether the log still needs its room."""
    cdef segment_t *active = active_with_reference(log)
    log.flush_item.again_later = active != NULL and room_ahead(&active.room, kx_load64(&active.size))
    if active != NULL:
        segment_release(active)


cdef int32_t flush_run(flush_item_t *item) noexcept nogil:
    cdef log_t *log = <log_t *>item
    if kx_swap32(&log.sync_wanted, 0):
        # It fails the disk itself; the flusher has nothing to add.
        log_flush(log)
    watch_room(log)
    return 0


cdef int64_t device_of(log_t *log) noexcept nogil:
    if kx_load64(&log.device) == 0:
        kx_store64(&log.device, directory_device(log.directory))
    return log.device


cdef void flush_mark(flush_item_t *item) noexcept nogil:
    """Note what a sync of the whole file system, which begins now, will have made safe."""
    cdef log_t *log = <log_t *>item
    log.marked = 0
    if device_of(log) != log.flusher.device or not kx_swap32(&log.sync_wanted, 0):
        return
    pthread_mutex_lock(&log.lock)
    log.marked = log.segment_count > 0
    log.marked_end = log.end
    log.marked_generation = log.generation
    if log.marked:
        see_growth(log, log_active(log), log.end.position, False, monotonic_ms())
    pthread_mutex_unlock(&log.lock)


cdef void flush_settle(flush_item_t *item, int32_t error) noexcept nogil:
    """Count what was noted as flushed; a log that the sync was not for is flushed by itself."""
    cdef log_t *log = <log_t *>item
    if error:
        log_wake_all(log)
    elif log.marked:
        pthread_mutex_lock(&log.flush_lock)
        note_synced(log)
        set_flushed(log, &log.marked_end, log.marked_generation)
        pthread_mutex_unlock(&log.flush_lock)
        watch_room(log)
    else:
        flush_begin(item, True)
        flush_run(item)


cdef void note_synced(log_t *log) noexcept nogil:
    """Every segment up to the noted end is safe, with its indexes and its name in the folder."""
    cdef segment_t *segment
    cdef int32_t at
    cdef int64_t size
    pthread_mutex_lock(&log.lock)
    at = max(0, log_segment_index(log, log.flushed.offset))
    while (log.generation == log.marked_generation and at < log.segment_count
            and log.segments[at].base_offset <= log.marked_end.segment_base):
        segment = log.segments[at]
        size = log.marked_end.position if segment.base_offset == log.marked_end.segment_base else kx_load64(&segment.size)
        if size > segment.flushed_size:
            kx_store64(&segment.flushed_size, size)
        segment.directory_synced = 1
        at += 1
    pthread_mutex_unlock(&log.lock)


cdef int32_t dirty_segments(log_t *log, segment_t ***out, mark_t *upto, int64_t *generation) noexcept nogil:
    """Segments that hold unsynced data, with references; how many, -1 without memory."""
    cdef int32_t count = 0
    cdef int32_t i
    pthread_mutex_lock(&log.lock)
    upto[0] = log.end
    generation[0] = log.generation
    kx_store64(&log.flushing_offset, log.end.offset)
    i = log_segment_index(log, log.flushed.offset)
    if i < 0:
        i = 0
    out[0] = <segment_t **>malloc((log.segment_count - i) * sizeof(segment_t *)) if log.segment_count else NULL
    if out[0] == NULL and log.segment_count:
        count = -1
    else:
        while i < log.segment_count:
            if kx_load64(&log.segments[i].size) > log.segments[i].flushed_size or not log.segments[i].directory_synced:
                segment_retain(log.segments[i])
                out[0][count] = log.segments[i]
                count += 1
            i += 1
    pthread_mutex_unlock(&log.lock)
    return count


cdef int32_t sync_index(segment_t *segment, const char *kind) noexcept nogil:
    cdef char name[64]
    cdef int32_t fd
    cdef int32_t error = 0
    segment_name(segment, kind, name)
    fd = open_in(segment.directory, name, O_RDWR)
    if fd < 0:
        # Missing or out of reach: it will be rebuilt from the log, which is what counts.
        return 0
    if fdatasync(fd) != 0:
        error = errno
    close(fd)
    return error


cdef int32_t barrier_for(log_t *log, segment_t *segment, int64_t size) noexcept nogil:
    """What the segment's file needs no sync beside, up to ``size``; -1 if it needs one."""
    cdef int32_t barrier = -1
    if room_replaces(&segment.room, size):
        barrier = flusher_barrier(log.flusher, device_of(log))
    if barrier >= 0:
        flusher_replaced(log.flusher)
    return barrier


cdef int32_t sync_segment(log_t *log, segment_t *segment) noexcept nogil:
    cdef int64_t size = kx_load64(&segment.size)
    cdef int32_t error = 0
    if kx_load32(&segment.deleted):
        return 0
    if size > segment.flushed_size:
        error = segment_sync(segment, size, barrier_for(log, segment, size))
    if not error:
        error = aborted_sync(segment)
    if not error and kx_load32(&segment.sealed):
        error = sync_index(segment, ".index")
        if not error:
            error = sync_index(segment, ".timeindex")
    if not error and not segment.directory_synced:
        error = sync_directory(segment.directory)
        segment.directory_synced = error == 0
    if not error:
        kx_store64(&segment.flushed_size, size)
    return error


cdef void set_flushed(log_t *log, const mark_t *upto, int64_t generation) noexcept nogil:
    cdef bint moved = False
    pthread_mutex_lock(&log.lock)
    if generation == log.generation and upto.offset > log.flushed.offset:
        log.flushed = upto[0]
        kx_store64(&log.flushed_offset, upto.offset)
        log_settle(log)
        moved = True
    pthread_mutex_unlock(&log.lock)
    if moved:
        log_wake(log)


cdef int32_t log_flush(log_t *log) noexcept nogil:
    cdef segment_t **dirty = NULL
    cdef mark_t upto
    cdef int64_t generation
    cdef int32_t count
    cdef int32_t error = 0
    cdef int32_t i
    pthread_mutex_lock(&log.flush_lock)
    if kx_load32(&log.disk.failed):
        pthread_mutex_unlock(&log.flush_lock)
        return ERR_KAFKA_STORAGE_ERROR
    count = dirty_segments(log, &dirty, &upto, &generation)
    for i in range(count):
        if not error:
            error = sync_segment(log, dirty[i])
        segment_release(dirty[i])
    free(dirty)
    if not error and count >= 0:
        set_flushed(log, &upto, generation)
    elif not error and log.flusher != NULL:
        # No memory: who relied on this flush gets another.
        ask_for_flush(log, True, FLUSH_LATER)
    pthread_mutex_unlock(&log.flush_lock)
    return log_fail(log, error) if error else OK


cdef int64_t mark_of(log_t *log, int32_t kind) noexcept nogil:
    if kind == WAIT_HIGH_WATERMARK:
        return kx_load64(&log.high_watermark)
    if kind == WAIT_LAST_STABLE:
        return kx_load64(&log.last_stable_offset)
    return kx_load64(&log.log_end_offset)


cdef void unlink_waiter(log_t *log, waiter_t *waiter) noexcept nogil:
    if waiter.prev != NULL:
        waiter.prev.next = waiter.next
    else:
        log.waiters[waiter.kind] = waiter.next
    if waiter.next != NULL:
        waiter.next.prev = waiter.prev
    waiter.next = NULL
    waiter.prev = NULL
    kx_store_pointer(<void **>&waiter.log, NULL)
    kx_add32(&log.waiting, -1)


cdef bint log_wait(log_t *log, waiter_t *waiter) noexcept nogil:
    cdef int64_t offset = waiter.offset
    cdef bint hurry = waiter.kind != WAIT_LOG_END
    pthread_mutex_lock(&log.wait_lock)
    kx_add32(&log.waiting, 1)
    kx_fence()
    if mark_of(log, waiter.kind) >= waiter.offset or log_failed(log):
        kx_add32(&log.waiting, -1)
        pthread_mutex_unlock(&log.wait_lock)
        return True
    kx_store_pointer(<void **>&waiter.log, log)
    waiter.prev = NULL
    waiter.next = log.waiters[waiter.kind]
    if waiter.next != NULL:
        waiter.next.prev = waiter
    log.waiters[waiter.kind] = waiter
    pthread_mutex_unlock(&log.wait_lock)
    # The waiter may be woken and gone by now. A flush that is under way wakes it as well, or hears what comes then.
    if hurry:
        log_hurry(log, offset - 1)
    return False


cdef bint log_unwait(log_t *log, waiter_t *waiter) noexcept nogil:
    cdef bint registered
    pthread_mutex_lock(&log.wait_lock)
    registered = waiter.log == log
    if registered:
        unlink_waiter(log, waiter)
    pthread_mutex_unlock(&log.wait_lock)
    return registered


cdef void wake_list(log_t *log, int32_t kind, int64_t mark) noexcept nogil:
    cdef waiter_t *waiter = log.waiters[kind]
    cdef waiter_t *next
    cdef void (*ring)(void *bell) noexcept nogil
    cdef void (*ring_last)(void *bell) noexcept nogil
    cdef void *bell
    cdef void *last = NULL
    while waiter != NULL:
        next = waiter.next
        if waiter.offset <= mark:
            unlink_waiter(log, waiter)
            ring = waiter.ring
            bell = waiter.wake(waiter)
            if bell != NULL:
                if last != NULL:
                    ring_last(last)
                last, ring_last = bell, ring
        waiter = next
    # Whoever is woken before the others are noted looks for them in vain, and is woken again.
    if last != NULL:
        ring_last(last)


cdef void log_wake(log_t *log) noexcept nogil:
    cdef int32_t kind
    kx_fence()
    if not kx_load32(&log.waiting):
        return
    pthread_mutex_lock(&log.wait_lock)
    for kind in range(WAIT_KINDS):
        wake_list(log, kind, mark_of(log, kind))
    pthread_mutex_unlock(&log.wait_lock)


cdef void log_wake_all(log_t *log) noexcept nogil:
    cdef int32_t kind
    pthread_mutex_lock(&log.wait_lock)
    for kind in range(WAIT_KINDS):
        wake_list(log, kind, NEVER)
    pthread_mutex_unlock(&log.wait_lock)


cdef void read_result_release(read_result_t *result) noexcept nogil:
    slice_release(&result.piece)
    free(result.aborted)
    result.aborted = NULL
    result.aborted_count = 0

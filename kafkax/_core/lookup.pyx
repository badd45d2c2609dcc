"""Finding things in a log."""

from libc.errno cimport EIO
from libc.stdint cimport int32_t, int64_t, uint8_t, uint64_t
from libc.stdlib cimport free, malloc, qsort
from libc.string cimport memset
from kafkax._core.aborted cimport aborted_collect, aborted_entry_t
from kafkax._core.atomics cimport kx_load32, kx_load64
from kafkax._core.batch cimport (
    ATTRIBUTE_LOG_APPEND_TIME, BATCH_HEADER, CODEC_MASK, batch_check, batch_compressed, batch_t, record_next, record_t,
)
from kafkax._core.codes cimport (
    CORE_COLD, CORE_END, CORE_INDEX_WRONG, CORE_IO_ERROR, ERR_KAFKA_STORAGE_ERROR, ERR_OFFSET_OUT_OF_RANGE, OK,
)
from kafkax._core.files cimport read_up_to
from kafkax._core.index cimport time_index_floor
from kafkax._core.inflate cimport inflate_begin, inflate_end, inflate_record, inflater_t
from kafkax._core.logstate cimport (
    READ_COMMITTED, READ_LOG_END, aborted_t, log_fail, log_failed, log_segment_after, log_segment_for,
    log_segment_index, mark_t,
)
from kafkax._core.pthreads cimport pthread_mutex_lock, pthread_mutex_unlock
from kafkax._core.scan cimport segment_rebuild
from kafkax._core.segment cimport (
    segment_batch_at, segment_failed, segment_fd, segment_find, segment_load, segment_release, segment_retain, slice_release,
)

cdef enum:
    # An index may be damaged again while it is made anew; after so many times the disk is not to be trusted.
    MOST_MENDINGS = 8


cdef void log_marks(log_t *log, read_result_t *out) noexcept nogil:
    out.log_start_offset = kx_load64(&log.log_start_offset)
    out.log_end_offset = kx_load64(&log.log_end_offset)
    out.high_watermark = kx_load64(&log.high_watermark)
    out.last_stable_offset = kx_load64(&log.last_stable_offset)


cdef int32_t mend(log_t *log, segment_t *segment) noexcept nogil:
    """Rebuild a segment's indexes; 0 or errno."""
    cdef int32_t error
    pthread_mutex_lock(&log.append_lock)
    error = segment_rebuild(segment, log.settings.segment_index_bytes, log.settings.index_interval_bytes)
    pthread_mutex_unlock(&log.append_lock)
    return error


cdef int32_t log_find(log_t *log, segment_t *segment, int64_t offset, int64_t limit, bint wait, found_t *out) noexcept nogil:
    cdef int32_t code = segment_find(segment, offset, limit, wait, out)
    cdef int32_t mended = 0
    if code == CORE_INDEX_WRONG and not wait:
        # To make it anew is the disk's work.
        return CORE_COLD
    while code == CORE_INDEX_WRONG and mended < MOST_MENDINGS:
        if mend(log, segment):
            return log_fail(log, EIO)
        mended += 1
        code = segment_find(segment, offset, limit, wait, out)
    if code == CORE_IO_ERROR and kx_load32(&segment.deleted) == 0:
        return log_fail(log, EIO)
    # A batch that does not parse is never served; the rest of the disk may be well.
    return code if code in (OK, CORE_END, CORE_COLD) else ERR_KAFKA_STORAGE_ERROR


cdef int32_t log_load(log_t *log, segment_t *segment) noexcept nogil:
    cdef int32_t error = segment_load(segment)
    if error == CORE_END:
        error = mend(log, segment)
    if error:
        segment_failed(segment, error)
    return error


cdef struct view_t:
    # What a read may see of a segment, taken under the lock in one piece.
    segment_t *segment
    mark_t bound
    int64_t limit
    int64_t next_base


cdef int32_t take_view(log_t *log, int64_t offset, int32_t isolation, view_t *view, read_result_t *out) noexcept nogil:
    """Marks, and the segment of ``offset`` with how far it may be read: -1 where the bound's position is not known."""
    cdef int64_t stable
    cdef int32_t i
    view.segment = NULL
    view.next_base = -1
    view.limit = 0
    pthread_mutex_lock(&log.lock)
    log_marks(log, out)
    stable = out.last_stable_offset
    view.bound = log.end if isolation == READ_LOG_END else log.high
    if isolation == READ_COMMITTED and stable < view.bound.offset:
        view.bound.offset = stable
        view.bound.position = -1
        view.bound.segment_base = -1
    i = log_segment_index(log, offset)
    if out.log_start_offset <= offset < view.bound.offset and i >= 0:
        view.segment = log.segments[i]
        segment_retain(view.segment)
        view.next_base = log.segments[i + 1].base_offset if i + 1 < log.segment_count else -1
        if 0 <= view.next_base <= view.bound.offset:
            view.limit = kx_load64(&view.segment.size)
        else:
            view.limit = view.bound.position if view.bound.segment_base == view.segment.base_offset else -1
    pthread_mutex_unlock(&log.lock)
    return ERR_OFFSET_OUT_OF_RANGE if offset < out.log_start_offset or offset > out.log_end_offset else OK


cdef int32_t resolve_limit(log_t *log, view_t *view, bint wait) noexcept nogil:
    """Find where the bound stands when no one noted it: at the batch that holds it, which is not to be seen."""
    cdef found_t found
    cdef int64_t size = kx_load64(&view.segment.size)
    cdef int32_t code = log_find(log, view.segment, view.bound.offset, size, wait, &found)
    if code == OK:
        view.limit = found.position
    elif code == CORE_END:
        view.limit = size
    else:
        return code
    return OK


cdef int32_t add_aborted(log_t *log, const view_t *view, int64_t offset, read_result_t *out) noexcept nogil:
    cdef aborted_list_t found
    cdef int64_t end = view.bound.offset
    cdef int32_t i
    cdef int32_t code
    if 0 <= view.next_base < end:
        end = view.next_base
    memset(&found, 0, sizeof(found))
    code = log_aborted(log, offset, end, &found)
    if code == OK and found.count:
        out.aborted = <aborted_t *>malloc(found.count * sizeof(aborted_t))
        if out.aborted == NULL:
            code = ERR_KAFKA_STORAGE_ERROR
        else:
            out.aborted_count = found.count
            for i in range(found.count):
                out.aborted[i].producer_id = found.entries[i].producer_id
                out.aborted[i].first_offset = found.entries[i].first_offset
    free(found.entries)
    return code


cdef int32_t log_read(log_t *log, int64_t offset, int64_t max_bytes, bint min_one_batch, int32_t isolation,
                      bint wait, read_result_t *out) noexcept nogil:
    cdef view_t view
    cdef found_t found
    cdef int64_t at = offset
    cdef int32_t code
    memset(out, 0, sizeof(read_result_t))
    if log_failed(log):
        log_marks(log, out)
        return ERR_KAFKA_STORAGE_ERROR
    while True:
        code = take_view(log, at, isolation, &view, out)
        if code != OK or view.segment == NULL:
            return code if at == offset else OK
        if view.limit < 0:
            code = resolve_limit(log, &view, wait)
        if code == OK:
            code = log_find(log, view.segment, at, view.limit, wait, &found)
        if code != CORE_END or view.next_base < 0:
            break
        # A gap at the segment's end (compaction): what comes next stands in the next one.
        segment_release(view.segment)
        at = view.next_base
    if code == OK and (found.last_offset >= out.log_end_offset or 0 <= view.next_base <= found.last_offset):
        # The base offset lies outside the checksum: a batch that claims what belongs to others is not served.
        code = ERR_KAFKA_STORAGE_ERROR
    if code != OK:
        segment_release(view.segment)
        return OK if code == CORE_END else code
    if max_bytes < found.size:
        if not min_one_batch:
            out.incomplete = 1
            segment_release(view.segment)
            return OK
        max_bytes = found.size
    out.piece.segment = view.segment
    out.piece.position = found.position
    out.piece.length = view.limit - found.position
    if out.piece.length > max_bytes:
        out.piece.length = max_bytes
    if out.piece.length <= 0:
        slice_release(&out.piece)
        return OK
    return add_aborted(log, &view, offset, out) if isolation == READ_COMMITTED else OK


cdef int by_first_offset(const void *a, const void *b) noexcept nogil:
    cdef int64_t x = (<const aborted_entry_t *>a).first_offset
    cdef int64_t y = (<const aborted_entry_t *>b).first_offset
    return (x > y) - (x < y)


cdef int32_t log_aborted(log_t *log, int64_t first, int64_t end, aborted_list_t *out) noexcept nogil:
    cdef segment_t *segment = log_segment_for(log, first)
    cdef segment_t *next
    cdef int32_t code = OK
    if segment == NULL:
        segment = log_segment_after(log, first)
    # A transaction that began in the range may have ended in any later segment.
    while segment != NULL and code == OK:
        code = aborted_collect(segment, first, end, out)
        if code == CORE_IO_ERROR:
            segment_failed(segment, EIO)
        next = log_segment_after(log, segment.base_offset) if code == OK else NULL
        segment_release(segment)
        segment = next
    if out.count > 1:
        qsort(out.entries, out.count, sizeof(aborted_entry_t), by_first_offset)
    return OK if code == OK or code == 1 else ERR_KAFKA_STORAGE_ERROR


cdef int32_t in_records(const uint8_t *data, const batch_t *batch, int64_t timestamp, int64_t least_offset, int64_t limit,
                        moment_t *out) noexcept nogil:
    """First record of the batch with a timestamp >= ``timestamp`` and an offset >= ``least_offset``; OK or CORE_END."""
    cdef const uint8_t *at = data + BATCH_HEADER
    cdef inflater_t *inflater = NULL
    cdef record_t record
    cdef int32_t code = OK
    out.leader_epoch = batch.leader_epoch
    record.timestamp_delta = 0
    record.offset_delta = 0
    if batch_compressed(batch):
        code = inflate_begin(batch.attributes & CODEC_MASK, at, batch.size - BATCH_HEADER, limit, &inflater)
    if batch.attributes & ATTRIBUTE_LOG_APPEND_TIME or code != OK:
        # One timestamp for all, or out of reach: the first offset is right or early, never late, so that no record is missed.
        out.timestamp = batch.max_timestamp
        out.offset = batch.base_offset if batch.base_offset > least_offset else least_offset
        if inflater != NULL:
            inflate_end(inflater)
        return OK
    while code == OK:
        if inflater != NULL:
            code = inflate_record(inflater, &record)
        else:
            code = record_next(&at, data + batch.size, &record)
        out.timestamp = <int64_t>(<uint64_t>batch.base_timestamp + <uint64_t>record.timestamp_delta)
        out.offset = batch.base_offset + record.offset_delta
        if code == OK and out.timestamp >= timestamp and out.offset >= least_offset:
            break
    if inflater != NULL:
        inflate_end(inflater)
    return OK if code == OK else CORE_END


cdef int32_t in_batch(segment_t *segment, const found_t *found, int64_t timestamp, int64_t least_offset, int64_t limit,
                      moment_t *out) noexcept nogil:
    cdef batch_t batch
    cdef uint8_t *data = <uint8_t *>malloc(found.size)
    cdef int32_t code = ERR_KAFKA_STORAGE_ERROR
    cdef int64_t got
    if data == NULL:
        return code
    got = read_up_to(segment_fd(segment), data, found.size, found.position)
    if got < 0:
        segment_failed(segment, <int32_t>-got)
    elif got == found.size and batch_check(data, found.size, &batch) == OK:
        code = in_records(data, &batch, timestamp, least_offset, limit, out)
    free(data)
    return code


cdef int32_t in_segment(log_t *log, segment_t *segment, int64_t timestamp, moment_t *out) noexcept nogil:
    cdef int64_t least = kx_load64(&log.log_start_offset)
    cdef int64_t limit = kx_load64(&segment.size)
    cdef int64_t entry_timestamp
    cdef int64_t begin = time_index_floor(&segment.times, timestamp, &entry_timestamp)
    cdef found_t found
    cdef int32_t code
    if begin < 0:
        if mend(log, segment):
            return ERR_KAFKA_STORAGE_ERROR
        begin = time_index_floor(&segment.times, timestamp, &entry_timestamp)
    # The entry names a batch whose largest timestamp is at or below the one asked for, or the segment's base.
    code = log_find(log, segment, begin if begin > least else least, limit, True, &found)
    while code == OK:
        if found.max_timestamp >= timestamp:
            code = in_batch(segment, &found, timestamp, least, log.settings.decompressed_max_bytes, out)
            if code != CORE_END:
                return code
        code = segment_batch_at(segment, found.position + found.size, limit, &found)
    if code == CORE_IO_ERROR:
        segment_failed(segment, EIO)
    return CORE_END if code == CORE_END else ERR_KAFKA_STORAGE_ERROR


cdef int32_t log_at_timestamp(log_t *log, int64_t timestamp, moment_t *out) noexcept nogil:
    cdef segment_t *segment = log_segment_for(log, kx_load64(&log.log_start_offset))
    cdef segment_t *next
    cdef int32_t code = CORE_END
    while segment != NULL and code == CORE_END:
        if log_load(log, segment):
            code = ERR_KAFKA_STORAGE_ERROR
        elif segment.max_timestamp >= timestamp:
            code = in_segment(log, segment, timestamp, out)
        next = log_segment_after(log, segment.base_offset) if code == CORE_END else NULL
        segment_release(segment)
        segment = next
    return code


cdef int32_t log_at_max_timestamp(log_t *log, moment_t *out) noexcept nogil:
    cdef segment_t *segment = log_segment_for(log, kx_load64(&log.log_start_offset))
    cdef segment_t *next
    cdef int64_t largest = -1
    while segment != NULL:
        if log_load(log, segment):
            segment_release(segment)
            return ERR_KAFKA_STORAGE_ERROR
        if segment.max_timestamp > largest:
            largest = segment.max_timestamp
        next = log_segment_after(log, segment.base_offset)
        segment_release(segment)
        segment = next
    return log_at_timestamp(log, largest, out) if largest >= 0 else CORE_END

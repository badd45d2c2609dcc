"""Appending to a log."""

from libc.errno cimport ENOMEM
from libc.limits cimport LLONG_MAX
from libc.stdint cimport int16_t, int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memset
from posix.fcntl cimport O_CREAT, O_TRUNC, O_WRONLY
from posix.unistd cimport close
from kafkax._core.aborted cimport aborted_add, aborted_entry_t
from kafkax._core.atomics cimport kx_load64, kx_store32, kx_store64, kx_store_pointer
from kafkax._core.batch cimport (
    AT_ATTRIBUTES, AT_CRC, AT_LEADER_EPOCH, AT_MAGIC, AT_MAX_TIMESTAMP, ATTRIBUTE_LOG_APPEND_TIME,
    CODEC_MASK, RECORD_ERROR_TIMESTAMP, batch_check, batch_compressed, batch_control, batch_read, batch_size_at,
    batch_transactional,
    batch_walk, record_error_t, record_rules_t, walk_t,
)
from kafkax._core.codes cimport (
    CORE_END, CORE_HANDOFF, CORE_NO_MEMORY, ERR_CORRUPT_MESSAGE, ERR_INVALID_RECORD, ERR_INVALID_TIMESTAMP,
    ERR_KAFKA_STORAGE_ERROR,
    ERR_MESSAGE_TOO_LARGE, ERR_OFFSET_OUT_OF_RANGE, ERR_RECORD_LIST_TOO_LARGE, ERR_UNSUPPORTED_COMPRESSION_TYPE, OK,
)
from kafkax._core.crc32c cimport crc32c_update
from kafkax._core.cursor cimport kx_be64, kx_put16, kx_put32, kx_put64
from kafkax._core.epochs cimport epochs_assign, epochs_store
from kafkax._core.files cimport disk_t, iovec, offset_name, open_in, wall_ms, write_all
from kafkax._core.index cimport index_full
from kafkax._core.inflate cimport inflate_walk
from kafkax._core.logstate cimport (
    ORIGIN_CLIENT, ORIGIN_COORDINATOR, log_active, log_add_segment, log_appended, log_fail, log_failed, log_publish_end,
)
from kafkax._core.producer_state cimport (
    kept_batch_t, marker_read, marker_t, producer_t, producers_append, producers_check, producers_check_epoch,
    producers_check_marker,
    producers_end, producers_find, producers_write,
)
from kafkax._core.pthreads cimport pthread_mutex_lock, pthread_mutex_unlock
from kafkax._core.record_errors cimport MOST_RECORD_ERRORS
from kafkax._core.room cimport ZERO_PARTS
from kafkax._core.scan cimport segment_ready
from kafkax._core.segment cimport (
    segment_append, segment_create, segment_new, segment_note, segment_release, segment_seal, segment_t, segment_write,
)
from kafkax._core.window cimport window_next

cdef uint64_t JITTER_MIX = 0x9E3779B97F4A7C15

cdef enum:
    ZSTD = 4
    ZSTD_SINCE = 7
    MAGIC_2_SINCE = 3
    MAX_RELATIVE = 0x7FFFFFFF


cdef void append_result_clear(append_result_t *out, log_t *log) noexcept nogil:
    memset(out, 0, sizeof(append_result_t))
    out.base_offset = -1
    out.last_offset = -1
    out.required_offset = -1
    out.log_append_time_ms = -1
    out.log_start_offset = kx_load64(&log.log_start_offset)
    out.leader_epoch = -1


cdef void append_result_release(append_result_t *out) noexcept nogil:
    free(out.record_errors)
    out.record_errors = NULL
    out.record_error_count = 0


cdef int32_t check_framing(const uint8_t *records, size_t size, int16_t api_version, int64_t *batch_size) noexcept nogil:
    """Exactly one whole batch of magic 2; what is cut off behind it is ignored, as Kafka does."""
    cdef int64_t next
    batch_size[0] = batch_size_at(records, size) if records != NULL else CORE_END
    if batch_size[0] == CORE_END:
        return ERR_INVALID_RECORD
    if batch_size[0] < 0:
        return ERR_CORRUPT_MESSAGE
    if records[AT_MAGIC] != 2:
        return ERR_INVALID_RECORD if api_version >= MAGIC_2_SINCE else CORE_HANDOFF
    next = batch_size_at(records + batch_size[0], size - batch_size[0])
    if next > 0:
        return ERR_INVALID_RECORD
    return OK if next == CORE_END else ERR_CORRUPT_MESSAGE


cdef int32_t check_header(log_t *log, const batch_t *batch, int32_t origin, int16_t api_version) noexcept nogil:
    cdef int32_t codec = batch.attributes & CODEC_MASK
    if codec > ZSTD or (codec == ZSTD and api_version < ZSTD_SINCE and origin == ORIGIN_CLIENT):
        return ERR_UNSUPPORTED_COMPRESSION_TYPE
    if batch.count <= 0 or batch.last_offset_delta != batch.count - 1:
        return ERR_INVALID_RECORD
    if batch.size > log.settings.segment_bytes:
        return ERR_RECORD_LIST_TOO_LARGE
    if origin == ORIGIN_COORDINATOR:
        return OK
    if batch_control(batch) or (batch.producer_id >= 0 and batch.base_sequence < 0):
        return ERR_INVALID_RECORD
    if batch.attributes & ATTRIBUTE_LOG_APPEND_TIME and origin == ORIGIN_CLIENT:
        return ERR_INVALID_TIMESTAMP
    if log.settings.compression >= 0 and codec != log.settings.compression and origin == ORIGIN_CLIENT:
        return CORE_HANDOFF
    return OK


cdef void make_rules(log_t *log, int64_t now_ms, record_rules_t *rules) noexcept nogil:
    cdef int64_t before = log.settings.timestamp_before_max_ms
    cdef int64_t after = log.settings.timestamp_after_max_ms
    rules.need_key = log.settings.compacted
    rules.check_timestamp = not log.settings.log_append_time
    # before can be all of int64, and now is positive: the difference does not overflow; the sum could.
    rules.min_timestamp = now_ms - before
    rules.max_timestamp = now_ms + after if after < LLONG_MAX - now_ms else LLONG_MAX
    rules.room = 0


cdef int32_t walk_records(log_t *log, plan_t *plan, const record_rules_t *rules, walk_t *walk) noexcept nogil:
    cdef int32_t code
    if not batch_compressed(&plan.batch):
        return batch_walk(plan.records, &plan.batch, rules, walk)
    code = inflate_walk(plan.records, &plan.batch, rules, log.settings.decompressed_max_bytes, walk)
    return CORE_HANDOFF if code == CORE_NO_MEMORY else code


cdef void note_errors(log_t *log, plan_t *plan, record_rules_t *rules, int32_t count, append_result_t *out) noexcept nogil:
    """Walk a batch again for the records that are refused; without memory for them, nobody is told which they are."""
    cdef walk_t walk
    rules.room = min(count, <int32_t>MOST_RECORD_ERRORS)
    rules.errors = <record_error_t *>malloc(rules.room * sizeof(record_error_t))
    if rules.errors != NULL and walk_records(log, plan, rules, &walk) == OK:
        out.record_errors = rules.errors
        out.record_error_count = min(walk.error_count, rules.room)
    else:
        free(rules.errors)


cdef int32_t check_records(log_t *log, plan_t *plan, walk_t *walk, append_result_t *out) noexcept nogil:
    """Look at every record of a client's batch."""
    cdef record_rules_t rules
    cdef int32_t code
    if batch_compressed(&plan.batch) and log.settings.trust_compressed:
        return OK
    make_rules(log, plan.now_ms, &rules)
    code = walk_records(log, plan, &rules, walk)
    if code != OK or walk.error_count == 0:
        return code
    note_errors(log, plan, &rules, walk.error_count, out)
    return ERR_INVALID_TIMESTAMP if walk.error_kind == RECORD_ERROR_TIMESTAMP else ERR_INVALID_RECORD


cdef void stamp_timestamps(log_t *log, plan_t *plan, int64_t max_timestamp) noexcept nogil:
    """Bring type and largest timestamp of the header to what the log holds, and the checksum with them."""
    cdef batch_t *batch = &plan.batch
    cdef int16_t attributes = batch.attributes
    if log.settings.log_append_time:
        attributes |= ATTRIBUTE_LOG_APPEND_TIME
        max_timestamp = plan.now_ms
    if attributes == batch.attributes and max_timestamp == batch.max_timestamp:
        return
    batch.attributes = attributes
    batch.max_timestamp = max_timestamp
    kx_put16(plan.header + AT_ATTRIBUTES, <uint16_t>attributes)
    kx_put64(plan.header + AT_MAX_TIMESTAMP, <uint64_t>max_timestamp)
    batch.crc = crc32c_update(0, plan.header + AT_ATTRIBUTES, BATCH_HEADER - AT_ATTRIBUTES)
    batch.crc = crc32c_update(batch.crc, plan.records + BATCH_HEADER, batch.size - BATCH_HEADER)
    kx_put32(plan.header + AT_CRC, batch.crc)


cdef int32_t append_check(log_t *log, const uint8_t *records, size_t size, int32_t origin, int16_t api_version, int64_t now_ms,
                          plan_t *plan, append_result_t *out) noexcept nogil:
    cdef int64_t batch_size
    cdef walk_t walk
    cdef int32_t code = check_framing(records, size, api_version, &batch_size)
    if code != OK:
        # Such a request does not even come to the log, so nothing is told of it.
        out.log_start_offset = -1
        return code
    plan.records = records
    plan.origin = origin
    plan.is_marker = 0
    plan.in_place = 0
    plan.now_ms = now_ms if now_ms >= 0 else wall_ms()
    if batch_size < BATCH_HEADER:
        return ERR_CORRUPT_MESSAGE
    if origin != ORIGIN_COORDINATOR and kx_be64(records) != 0:
        return ERR_INVALID_RECORD
    if batch_size > log.settings.max_message_bytes:
        return ERR_MESSAGE_TOO_LARGE
    code = batch_check(records, batch_size, &plan.batch)
    if code == OK:
        code = check_header(log, &plan.batch, origin, api_version)
    if code != OK:
        return code
    walk.max_timestamp = plan.batch.max_timestamp
    if origin == ORIGIN_CLIENT:
        code = check_records(log, plan, &walk, out)
    elif batch_control(&plan.batch):
        code = marker_read(records, &plan.batch, &plan.marker)
        plan.is_marker = code == OK
        code = OK if code == CORE_END else code
    if code != OK:
        return code
    memcpy(plan.header, records, BATCH_HEADER)
    stamp_timestamps(log, plan, walk.max_timestamp)
    return OK


cdef int32_t check_producer(log_t *log, plan_t *plan, append_result_t *out) noexcept nogil:
    """Sequence and epoch; CORE_END with ``out`` filled when the batch is there already."""
    cdef const producer_t *known
    cdef const kept_batch_t *original = NULL
    cdef int32_t code
    if plan.batch.producer_id < 0:
        return OK
    if plan.origin == ORIGIN_COORDINATOR:
        if plan.is_marker:
            return producers_check_marker(log.producers, &plan.batch, plan.marker.coordinator_epoch)
        return producers_check_epoch(log.producers, &plan.batch)
    if plan.origin == ORIGIN_CLIENT and log.settings.verify_transactions and batch_transactional(&plan.batch):
        known = producers_find(log.producers, plan.batch.producer_id)
        if known == NULL or known.txn_first_offset < 0:
            return CORE_HANDOFF
    code = producers_check(log.producers, &plan.batch, &original)
    if code == CORE_END:
        out.base_offset = original.last_offset - original.offset_delta
        out.last_offset = original.last_offset
        # Whose clock it is by doesn't matter to Kafka here.
        out.log_append_time_ms = original.timestamp
    return code


cdef bint time_to_roll(log_t *log, segment_t *active, int64_t timestamp, int64_t now_ms) noexcept nogil:
    cdef int64_t limit = log.settings.segment_ms - log.roll_jitter_ms
    if active.first_timestamp >= 0 and timestamp >= 0:
        return timestamp - active.first_timestamp > limit
    return now_ms - active.created_ms > limit


cdef bint must_roll(log_t *log, segment_t *active, const batch_t *batch, int64_t pending, int64_t now_ms) noexcept nogil:
    """Whether the batch begins a new segment; ``pending``: bytes that go before it and are not written yet."""
    if active.size + pending + batch.size > log.settings.segment_bytes and active.size + pending > 0:
        return True
    if batch.last_offset - active.base_offset > MAX_RELATIVE:
        return True
    if active.size + pending == 0:
        return False
    return index_full(&active.offsets) or index_full(&active.times) or time_to_roll(log, active, batch.max_timestamp, now_ms)


cdef int32_t note_epoch(log_t *log, int32_t epoch, int64_t offset) noexcept nogil:
    """A new epoch begins with a batch at ``offset``; 0 or errno."""
    cdef int32_t changed
    if epoch <= log.epochs.latest:
        return 0
    pthread_mutex_lock(&log.lock)
    changed = epochs_assign(&log.epochs, epoch, offset)
    pthread_mutex_unlock(&log.lock)
    return ENOMEM if changed < 0 else 0


cdef int32_t log_note_producer(log_t *log, segment_t *segment, const uint8_t *data, const batch_t *batch) noexcept nogil:
    cdef marker_t marker
    cdef aborted_entry_t entry
    cdef int64_t unstable
    if batch.producer_id < 0:
        return OK
    if not batch_control(batch):
        return producers_append(log.producers, batch)
    if marker_read(data, batch, &marker) != OK:
        return OK
    if producers_end(log.producers, batch, marker.coordinator_epoch, marker.aborted, &marker) != OK:
        return ENOMEM
    if not marker.aborted or marker.first_offset < 0:
        return OK
    unstable = first_undecided(log, batch.last_offset)
    entry.producer_id = marker.producer_id
    entry.first_offset = marker.first_offset
    entry.last_offset = marker.last_offset
    entry.last_stable_offset = unstable
    return aborted_add(segment, &entry)


cdef int64_t first_undecided(log_t *log, int64_t last_offset) noexcept nogil:
    """Last stable offset once the marker at ``last_offset`` counts: the next open transaction, or behind the marker."""
    cdef int64_t found = last_offset + 1
    cdef int32_t i
    for i in range(log.producers.txn_count):
        if log.producers.txns[i].last_offset < 0 and log.producers.txns[i].first_offset < found:
            found = log.producers.txns[i].first_offset
    return found


cdef struct run_t:
    # Batches that have their offsets and are not written yet.
    iovec parts[2 * RUN + ZERO_PARTS]
    batch_t *batches[RUN]
    plan_t *plans[RUN]
    int32_t part_count
    int32_t count
    # Those of them that the producer state knows of.
    int32_t noted
    int64_t size
    # Offset of the next batch.
    int64_t next_offset


cdef void add_to_run(run_t *run, plan_t *plan) noexcept nogil:
    cdef iovec *part = &run.parts[run.part_count]
    part.iov_base = <void *>plan.records
    part.iov_len = plan.batch.size
    if plan.in_place:
        memcpy(<void *>plan.records, plan.header, BATCH_HEADER)
    else:
        part[1].iov_base = <void *>(plan.records + BATCH_HEADER)
        part[1].iov_len = plan.batch.size - BATCH_HEADER
        part.iov_base = plan.header
        part.iov_len = BATCH_HEADER
        run.part_count += 1
    run.part_count += 1
    run.batches[run.count] = &plan.batch
    run.plans[run.count] = plan
    run.count += 1
    run.size += plan.batch.size
    run.next_offset = plan.batch.last_offset + 1


cdef int32_t note_producers(log_t *log, run_t *run) noexcept nogil:
    """Have the producer state know of every batch of the run; ``lock`` held. 0, errno or CORE_NO_MEMORY."""
    cdef int32_t error = 0
    while run.noted < run.count and not error:
        error = log_note_producer(log, log_active(log), run.plans[run.noted].records, run.batches[run.noted])
        run.noted += 1
    return error


cdef inline disk_t *windows_disk(log_t *log) noexcept nogil:
    """Where windows of the log's segments are counted; NULL: it gets none."""
    return log.disk if log.settings.flushed else NULL


cdef void note_met(log_t *log) noexcept nogil:
    cdef segment_t *segment = log_active(log)
    kx_store_pointer(<void **>&log.met_segment, segment)
    kx_store_pointer(<void **>&log.met_place, log.segments + log.segment_count - 1)
    kx_store_pointer(<void **>&log.met_producers, log.producers)
    kx_store_pointer(<void **>&log.met_end, window_next(&segment.room.window, segment.size))


cdef int32_t finish_run(log_t *log, run_t *run) noexcept nogil:
    """Write what has its offsets, and publish it; 0 or an error. A failure takes the disk offline, so nothing is taken back."""
    cdef int32_t error
    if run.count == 0:
        return 0
    error = segment_append(log_active(log), run.parts, run.part_count, run.batches, run.count, log.settings.segment_bytes,
                           log.settings.index_interval_bytes, windows_disk(log))
    if not error:
        note_met(log)
        pthread_mutex_lock(&log.lock)
        error = note_producers(log, run)
        log_publish_end(log, run.next_offset)
        pthread_mutex_unlock(&log.lock)
    begin_run(run, run.next_offset)
    return error


cdef void begin_run(run_t *run, int64_t next_offset) noexcept nogil:
    run.part_count = 0
    run.count = 0
    run.noted = 0
    run.size = 0
    run.next_offset = next_offset


cdef int32_t take_offset(log_t *log, run_t *run, plan_t *plan, int32_t leader_epoch) noexcept nogil:
    """Give the batch its place behind those of the run; 0 or an error."""
    cdef batch_t *batch = &plan.batch
    cdef int32_t error = 0
    batch.base_offset = run.next_offset
    batch.last_offset = batch.base_offset + batch.last_offset_delta
    batch.leader_epoch = leader_epoch
    kx_put64(plan.header, <uint64_t>batch.base_offset)
    kx_put32(plan.header + AT_LEADER_EPOCH, <uint32_t>leader_epoch)
    if must_roll(log, log_active(log), batch, run.size, plan.now_ms):
        error = finish_run(log, run)
        if not error:
            error = log_roll(log, batch.base_offset)
    return error if error else note_epoch(log, leader_epoch, batch.base_offset)


cdef void tell_appended(log_t *log, const plan_t *plan, append_result_t *out) noexcept nogil:
    out.base_offset = plan.batch.base_offset
    out.last_offset = plan.batch.last_offset
    out.required_offset = plan.batch.last_offset + 1
    out.leader_epoch = plan.batch.leader_epoch
    out.log_append_time_ms = plan.now_ms if log.settings.log_append_time else -1


cdef int32_t commit_next(log_t *log, run_t *run, plan_t *plan, int32_t leader_epoch, append_result_t *out,
                         int32_t *error) noexcept nogil:
    """Add one batch to the run; its code. ``error`` is set where the log itself fails."""
    cdef int32_t code
    if run.noted < run.count:
        # This batch's sequence may follow on theirs.
        pthread_mutex_lock(&log.lock)
        error[0] = note_producers(log, run)
        pthread_mutex_unlock(&log.lock)
    code = OK if error[0] else check_producer(log, plan, out)
    if code == CORE_END:
        out.duplicate = 1
        out.required_offset = out.last_offset + 1
        out.leader_epoch = leader_epoch
        return OK
    if code == OK and not error[0]:
        error[0] = take_offset(log, run, plan, leader_epoch)
    if code == OK and not error[0]:
        add_to_run(run, plan)
        tell_appended(log, plan, out)
    return code


cdef void append_commit_run(log_t *log, plan_t *plans, int32_t count, int32_t leader_epoch, append_result_t **outs,
                            int32_t *codes) noexcept nogil:
    cdef run_t run
    cdef int32_t error = 0
    cdef int32_t i
    cdef bint failed = log_failed(log)
    begin_run(&run, log.log_end_offset)
    if not failed:
        error = segment_ready(log_active(log), log.settings.segment_index_bytes, log.settings.index_interval_bytes)
        for i in range(count):
            if not error:
                codes[i] = commit_next(log, &run, &plans[i], leader_epoch, outs[i], &error)
        if not error:
            error = finish_run(log, &run)
    if error:
        log_fail(log, error)
    if error or failed:
        for i in range(count):
            codes[i] = ERR_KAFKA_STORAGE_ERROR


cdef int32_t append_commit(log_t *log, plan_t *plan, int32_t leader_epoch, append_result_t *out) noexcept nogil:
    cdef int32_t code = OK
    append_commit_run(log, plan, 1, leader_epoch, &out, &code)
    return code


cdef int32_t log_snapshot(log_t *log, int64_t offset) noexcept nogil:
    """Not synced: a torn snapshot fails its checksum, and the log itself has everything."""
    cdef char name[64]
    cdef uint8_t *data = NULL
    cdef int64_t size = producers_write(log.producers, &data)
    cdef int32_t error
    cdef int32_t fd
    if size < 0:
        return ENOMEM
    offset_name(offset, ".snapshot", name)
    fd = open_in(log.directory, name, O_WRONLY | O_CREAT | O_TRUNC)
    if fd < 0:
        free(data)
        return -fd
    error = write_all(fd, data, size, NULL, 0, 0)
    close(fd)
    free(data)
    return error


cdef int32_t log_roll(log_t *log, int64_t base) noexcept nogil:
    cdef segment_t *old = log_active(log)
    cdef segment_t *segment
    cdef int64_t now = wall_ms()
    cdef int32_t error = segment_seal(old)
    kx_store32(&old.sealed, 1)
    if not error:
        error = epochs_store(&log.epochs, log.directory)
    if not error:
        error = log_snapshot(log, base)
    segment = segment_new(log.directory, base, 0, now) if not error else NULL
    if segment == NULL:
        return log_fail(log, error if error else ENOMEM)
    error = segment_create(segment, log.settings.segment_index_bytes,
                           log.settings.segment_bytes if log.settings.preallocate else 0)
    if not error and log_add_segment(log, segment) != OK:
        error = ENOMEM
    if error:
        segment_release(segment)
        return log_fail(log, error)
    if log.settings.segment_jitter_ms > 0:
        log.roll_jitter_ms = <int64_t>((<uint64_t>now * JITTER_MIX + <uint64_t>base) >> 1) % log.settings.segment_jitter_ms
    pthread_mutex_lock(&log.lock)
    log.end.segment_base = base
    kx_store64(&log.end.position, 0)
    pthread_mutex_unlock(&log.lock)
    return OK


cdef int32_t check_all(log_t *log, const uint8_t *records, size_t size, size_t *whole) noexcept nogil:
    """Every whole batch of a leader's answer: right in itself, and in order behind the log end."""
    cdef int64_t expected = log.log_end_offset
    cdef batch_t batch
    cdef int64_t batch_size
    cdef size_t at = 0
    while True:
        batch_size = batch_size_at(records + at, size - at)
        if batch_size == CORE_END:
            break
        if batch_size < 0 or batch_check(records + at, batch_size, &batch) != OK or batch.last_offset_delta < 0:
            return ERR_CORRUPT_MESSAGE
        if batch.base_offset < expected or batch.last_offset < batch.base_offset:
            return ERR_OFFSET_OUT_OF_RANGE
        expected = batch.last_offset + 1
        at += batch_size
    whole[0] = at
    return OK


cdef int32_t note_run(log_t *log, segment_t *active, const uint8_t *records, size_t size) noexcept nogil:
    """Index, epochs and producer state of batches just written behind ``active.size``; 0 or errno."""
    cdef batch_t batch
    cdef int64_t batch_size
    cdef int32_t error = 0
    cdef size_t at = 0
    while at < size and not error:
        batch_size = batch_size_at(records + at, size - at)
        batch_read(records + at, &batch)
        error = note_epoch(log, batch.leader_epoch, batch.base_offset)
        if not error:
            error = segment_note(active, &batch, active.size, log.settings.index_interval_bytes)
        if not error:
            pthread_mutex_lock(&log.lock)
            kx_store64(&active.size, active.size + batch_size)
            error = log_note_producer(log, active, records + at, &batch)
            log_publish_end(log, batch.last_offset + 1)
            pthread_mutex_unlock(&log.lock)
        at += batch_size
    return error


cdef int32_t write_run(log_t *log, const uint8_t *records, size_t size) noexcept nogil:
    cdef segment_t *active = log_active(log)
    cdef iovec parts[1 + ZERO_PARTS]
    cdef int32_t error
    parts[0].iov_base = <void *>records
    parts[0].iov_len = size
    error = segment_write(active, parts, 1, log.settings.segment_bytes, windows_disk(log)) if size else 0
    return error if error else note_run(log, active, records, size)


cdef int32_t append_runs(log_t *log, const uint8_t *records, size_t size) noexcept nogil:
    """One write for as many batches as go into the same segment."""
    cdef int64_t now = wall_ms()
    cdef batch_t batch
    cdef size_t begin = 0
    cdef size_t at = 0
    cdef int32_t error = segment_ready(log_active(log), log.settings.segment_index_bytes, log.settings.index_interval_bytes)
    while at < size and not error:
        batch_read(records + at, &batch)
        if must_roll(log, log_active(log), &batch, at - begin, now):
            error = write_run(log, records + begin, at - begin)
            begin = at
            if not error and log_roll(log, batch.base_offset) != OK:
                return ERR_KAFKA_STORAGE_ERROR
        at += batch.size
    if not error:
        error = write_run(log, records + begin, at - begin)
    return log_fail(log, error) if error else OK


cdef int32_t append_as_follower(log_t *log, const uint8_t *records, size_t size) noexcept nogil:
    cdef size_t whole = 0
    cdef int32_t code
    pthread_mutex_lock(&log.append_lock)
    code = ERR_KAFKA_STORAGE_ERROR if log_failed(log) else check_all(log, records, size, &whole)
    if code == OK and whole:
        code = append_runs(log, records, whole)
    pthread_mutex_unlock(&log.append_lock)
    log_appended(log, True)
    return code

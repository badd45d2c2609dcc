"""A Fetch request is answered at once when there is enough to say: an error, ``min_bytes`` of records, or no time to wait.
Otherwise it is parked with a waiter at each of its partitions, and looked at again when one of their marks moves.

After registering it is looked at once more by the waiter itself: ``partition_wait`` says so when the mark had moved already.

No network thread waits for the disk: where index or headers are not in memory, helpers read them (``warm``) while the request is
parked, and then it is looked at anew."""

from libc.stdint cimport int32_t, int64_t, uint8_t
from libc.stdlib cimport malloc
from libc.string cimport memcpy
from kafkax._core.atomics cimport kx_count64, kx_load32, kx_load64, kx_load_pointer
from kafkax._core.answers cimport answer_fill, answer_slot
from kafkax._core.codes cimport (
    CORE_COLD,
    CORE_END,
    ERR_KAFKA_STORAGE_ERROR,
    ERR_NOT_LEADER_OR_FOLLOWER,
    ERR_UNKNOWN_TOPIC_ID,
    ERR_UNKNOWN_TOPIC_OR_PARTITION,
    ERR_UNSUPPORTED_COMPRESSION_TYPE,
    OK,
)
from kafkax._core.connection cimport connection_close, connection_work
from kafkax._core.fetch_answer cimport fetch_answer
from kafkax._core.fetch_request cimport fetch_free, fetch_parse
from kafkax._core.fetch_session cimport session_answer, session_enter, session_leave
from kafkax._core.fetch_state cimport FETCH_INCREMENTAL, FETCH_SESSIONLESS, asked_t, fetch_part_t, fetch_t
from kafkax._core.files cimport monotonic_ms
from kafkax._core.leaders cimport leaders_refusal, leaders_t
from kafkax._core.logstate cimport (
    READ_COMMITTED,
    READ_LOG_END,
    WAIT_HIGH_WATERMARK,
    WAIT_LAST_STABLE,
    WAIT_LOG_END,
    read_result_release,
    waiter_t,
)
from kafkax._core.mailbox cimport note_woken, ring_thread, wake_parked
from kafkax._core.network cimport (
    CLOSE_MEMORY,
    DROPPED,
    EXPIRED,
    REQUEST_DONE,
    REQUEST_HANDOFF,
    WOKEN,
    answer_t,
    connection_t,
    parked_t,
    reactor_t,
)
from kafkax._core.park cimport park, repark, unpark
from kafkax._core.partition cimport (
    partition_check_epoch, partition_divergence, partition_follower_fetched, partition_log, partition_read, partition_release,
    partition_t, partition_throttle, partition_unwait, partition_wait,
)
from kafkax._core.registry cimport registry_get, registry_get_by_id, registry_t
from kafkax._core.replicas cimport THROTTLED_BEHIND, THROTTLED_NOT
from kafkax._core.replication_quota cimport quota_limits, quota_record, quota_wait_ms
from kafkax._core.warm cimport warm_place

cdef enum:
    ZSTD_SINCE = 10
    STORAGE_ERROR_SINCE = 6
    CODEC_ZSTD = 4
    SEARCHES = 3
    # What was read from disk may be gone again when it is looked at; after so many times the thread waits for the disk itself.
    DISK_PATIENCE_MS = 30000


cdef int32_t unknown(reactor_t *reactor, fetch_part_t *part) noexcept nogil:
    """The error for a partition that is not here, by what the cluster's image says.

    Without an image an id is unknown when not even its first partition is here, and where it may be on another broker, a client
    is sent to look for its leader."""
    cdef partition_t *first
    if reactor.leaders != NULL:
        return leaders_refusal(<leaders_t *>reactor.leaders, part.topic.name, <size_t>part.topic.name_size, part.topic.id,
                               part.asked.index)
    if (<registry_t *>reactor.registry).elsewhere:
        return ERR_NOT_LEADER_OR_FOLLOWER
    if part.topic.name != NULL:
        return ERR_UNKNOWN_TOPIC_OR_PARTITION
    first = registry_get_by_id(<registry_t *>reactor.registry, part.topic.id, 0)
    if first == NULL:
        return ERR_UNKNOWN_TOPIC_ID
    partition_release(first)
    return ERR_UNKNOWN_TOPIC_OR_PARTITION


cdef bint own_name(fetch_part_t *part) noexcept nogil:
    """Copy a name that points into the frame; False without memory."""
    cdef uint8_t *name
    if part.topic.name == NULL or part.owns_name:
        return True
    name = <uint8_t *>malloc(<size_t>part.topic.name_size + 1)
    if name == NULL:
        return False
    memcpy(name, part.topic.name, <size_t>part.topic.name_size)
    part.topic.name = name
    part.owns_name = True
    return True


cdef partition_t *look_up(reactor_t *reactor, const fetch_part_t *part) noexcept nogil:
    if part.topic.name == NULL:
        return registry_get_by_id(<registry_t *>reactor.registry, part.topic.id, part.asked.index)
    return registry_get(<registry_t *>reactor.registry, <const char *>part.topic.name, <size_t>part.topic.name_size,
                        part.asked.index)


cdef bint led_here(reactor_t *reactor, const fetch_part_t *part) noexcept nogil:
    cdef partition_t *partition = look_up(reactor, part)
    cdef bint led = partition != NULL and kx_load32(&partition.is_leader)
    partition_release(partition)
    return led


cdef bint asks_for_others(reactor_t *reactor, const fetch_t *request) noexcept nogil:
    """Whether a consumer that names all its partitions names one that another broker may lead: of that the control plane knows
    more. Of one that ceases to be led here while it waits, or that is added to a session, the answer tells who leads."""
    cdef int32_t at
    if request.replica >= 0 or request.kind == FETCH_INCREMENTAL or not (<registry_t *>reactor.registry).elsewhere:
        return False
    for at in range(request.count):
        if not led_here(reactor, &request.parts[at]):
            return True
    return False


cdef bint find(reactor_t *reactor, fetch_t *request) noexcept nogil:
    """Look all partitions up; afterwards nothing points into the frame. False without memory."""
    cdef fetch_part_t *part
    cdef int32_t at
    for at in range(request.count):
        part = &request.parts[at]
        part.result.high_watermark = -1
        part.result.last_stable_offset = -1
        part.result.log_start_offset = -1
        part.diverging_epoch = -1
        part.partition = look_up(reactor, part)
        if part.partition == NULL:
            part.no_aborted = True
            part.code = unknown(reactor, part)
            part.refused = 1 if part.code == ERR_UNKNOWN_TOPIC_ID else 2
            if not own_name(part):
                return False
        elif part.topic.name != NULL and not part.owns_name:
            part.topic.name = <const uint8_t *>part.partition.topic
    return True


cdef void make_empty(fetch_part_t *part) noexcept nogil:
    """Give what was read back; nothing is told but an error."""
    read_result_release(&part.result)
    part.result.high_watermark = -1
    part.result.last_stable_offset = -1
    part.result.log_start_offset = -1


cdef bint found_cold(fetch_t *request, fetch_part_t *part) noexcept nogil:
    """Note that a helper has to look first."""
    make_empty(part)
    part.code = OK
    part.cold = True
    request.cold += 1
    return True


cdef bint held_back(fetch_t *request, fetch_part_t *part) noexcept nogil:
    """Whether a throttled follower that is not in sync gets nothing, since the quota is used up."""
    part.throttled = THROTTLED_NOT
    if quota_limits(request.quota):
        part.throttled = partition_throttle(part.partition, request.replica)
    return part.throttled == THROTTLED_BEHIND and quota_wait_ms(request.quota, monotonic_ms()) > 0


cdef void use_quota(fetch_t *request, int64_t now_ms) noexcept nogil:
    """Hold what throttled followers are sent against the quota."""
    cdef int64_t size = 0
    cdef int32_t at
    for at in range(request.count):
        if request.parts[at].throttled != THROTTLED_NOT:
            size += request.parts[at].result.piece.length
    if size:
        quota_record(request.quota, size, now_ms)


cdef int32_t compare_logs(fetch_part_t *part) noexcept nogil:
    """Whether what the asker has is what this log has up to where it asks from: OK, CORE_END with the place from which on it is
    not (KIP-320), or an error."""
    cdef asked_t *asked = &part.asked
    cdef int32_t code = OK
    part.diverging_epoch = -1
    if asked.last_fetched_epoch >= 0:
        code = partition_check_epoch(part.partition, asked.leader_epoch, False)
    if code == OK:
        code = partition_divergence(part.partition, asked.offset, asked.last_fetched_epoch, &part.diverging_epoch,
                                    &part.diverging_end)
    if code != CORE_END:
        part.diverging_epoch = -1
    return code


cdef void tell_divergence(fetch_part_t *part) noexcept nogil:
    """Nothing is read, only the marks are told."""
    partition_read(part.partition, part.asked.offset, part.asked.leader_epoch, 0, False, READ_LOG_END, False, &part.result)
    read_result_release(&part.result)
    # As where the first batch is too large, no aborted transactions are null then.
    part.result.incomplete = 1
    part.code = OK


cdef bint note_follower(fetch_t *request, fetch_part_t *part) noexcept nogil:
    """Where a follower asks from says what it has, and that counts for the high watermark; False on an error."""
    cdef asked_t *asked = &part.asked
    if request.noted:
        return True
    part.code = partition_follower_fetched(part.partition, asked.leader_epoch, request.replica, request.replica_epoch,
                                           asked.offset)
    part.result.high_watermark = kx_load64(&partition_log(part.partition).high_watermark)
    return part.code == OK


cdef bint read_part(fetch_t *request, fetch_part_t *part, int64_t limit, bint first, bint wait) noexcept nogil:
    """Read one partition anew; False when the asker should hear at once: of an error, which is then all that its answer holds,
    or that its log is not this one."""
    cdef bint follows = request.replica >= 0
    cdef int32_t isolation = READ_LOG_END if follows else request.isolation
    read_result_release(&part.result)
    part.cold = False
    part.code = compare_logs(part)
    if part.code == CORE_END:
        tell_divergence(part)
        return False
    if part.code == OK and follows and held_back(request, part):
        limit, first = 0, False
    if part.code == OK:
        part.code = partition_read(part.partition, part.asked.offset, part.asked.leader_epoch, limit, first,
                                   <signed char>isolation, wait, &part.result)
    if part.code == CORE_COLD:
        return found_cold(request, part)
    # A limit that others have used up is not held against the first batch.
    part.result.incomplete = part.result.incomplete and limit > 0
    if part.code == OK and (not follows or note_follower(request, part)):
        return True
    if part.code < -1:
        part.code = ERR_KAFKA_STORAGE_ERROR
    make_empty(part)
    return False


cdef bint read_all(fetch_t *request, bint wait) noexcept nogil:
    """Read every partition within ``max_bytes``; True when that is enough to answer.

    Unless the caller may ``wait`` for the disk, ``cold`` says how many could not be read for that reason."""
    cdef int64_t left = max(request.max_bytes, 0), got = 0
    cdef bint failed = False, any_interesting = False
    cdef fetch_part_t *part
    cdef int32_t at
    request.cold = 0
    for at in range(request.count):
        part = &request.parts[at]
        if part.refused:
            continue
        any_interesting = True
        if not read_part(request, part, max(<int64_t>0, min(left, <int64_t>part.asked.max_bytes)), got == 0, wait):
            failed = True
        got += part.result.piece.length
        left = max(<int64_t>0, left - part.result.piece.length)
    request.noted = request.noted or request.cold == 0
    return failed or not any_interesting or got >= request.min_bytes


cdef void *wake(waiter_t *waiter) noexcept nogil:
    return note_woken(<parked_t *>waiter.owner)


cdef bint watch(fetch_t *request) noexcept nogil:
    """Register where no waiter is; False when a mark has moved since it was read."""
    cdef fetch_part_t *part
    cdef int32_t at
    for at in range(request.count):
        part = &request.parts[at]
        if part.refused or kx_load_pointer(<void *const *>&part.waiter.log) != NULL:
            continue
        if part.waiter.owner == NULL:  # a waker may be reading them
            part.waiter.wake = wake
            part.waiter.ring = ring_thread
            part.waiter.owner = request
        if request.replica >= 0:
            part.waiter.kind = WAIT_LOG_END
            part.waiter.offset = part.result.log_end_offset + 1
        elif request.isolation == READ_COMMITTED:
            part.waiter.kind = WAIT_LAST_STABLE
            part.waiter.offset = part.result.last_stable_offset + 1
        else:
            part.waiter.kind = WAIT_HIGH_WATERMARK
            part.waiter.offset = part.result.high_watermark + 1
        if partition_wait(part.partition, &part.waiter):
            return False
    return True


cdef void unwatch(fetch_t *request) noexcept nogil:
    cdef int32_t at
    for at in range(request.count):
        if not request.parts[at].refused:
            partition_unwait(request.parts[at].partition, &request.parts[at].waiter)


cdef void release(fetch_t *request) noexcept nogil:
    session_leave(request.session)
    fetch_free(request)


cdef void suit_version(fetch_t *request) noexcept nogil:
    """Turn what old clients do not understand into errors that they do."""
    cdef fetch_part_t *part
    cdef int32_t at
    if request.header.version >= ZSTD_SINCE:
        return
    for at in range(request.count):
        part = &request.parts[at]
        if part.code == OK and partition_log(part.partition).settings.compression == CODEC_ZSTD:
            make_empty(part)
            part.code = ERR_UNSUPPORTED_COMPRESSION_TYPE
            part.no_aborted = True
        elif part.code == ERR_KAFKA_STORAGE_ERROR and request.header.version < STORAGE_ERROR_SINCE:
            part.code = ERR_NOT_LEADER_OR_FOLLOWER


cdef void respond(connection_t *connection, fetch_t *request, answer_t *slot) noexcept nogil:
    """Fill the slot from what was read, and free the request."""
    cdef answer_t *content
    suit_version(request)
    session_answer(connection.thread.reactor, request, connection.thread.now_ms)
    use_quota(request, connection.thread.now_ms)
    content = fetch_answer(connection.thread.reactor, connection.listener, request)
    release(request)
    if content == NULL:
        connection.close_after = 1
        connection.close_reason = CLOSE_MEMORY
    else:
        answer_fill(connection, slot, content)
    connection_work(connection)


cdef bint search(fetch_t *request) noexcept nogil:
    """Have helpers look up what is cold, and let the request wait for them instead of its deadline; False without memory."""
    cdef parked_t *parked = &request.parked
    cdef int32_t isolation = request.isolation if request.replica < 0 else READ_LOG_END
    cdef fetch_part_t *part
    cdef int32_t at
    for at in range(request.count):
        part = &request.parts[at]
        if part.cold and warm_place(parked, part.partition, part.asked.offset, part.asked.max_bytes, isolation) == 0:
            parked.looked_up += 1
            kx_count64(&parked.thread.counters.warmed, 1)
    request.searches += 1
    request.searching = parked.looked_up > 0
    if request.searching:
        repark(parked, parked.thread.now_ms + DISK_PATIENCE_MS)
    return request.searching


cdef void look(parked_t *parked, int32_t why) noexcept nogil:
    cdef fetch_t *request = <fetch_t *>parked
    cdef bint done = why == DROPPED
    cdef bint wait = parked.thread.stopping or parked.looked_up
    cdef int32_t tries = 0
    if why == WOKEN and parked.looked_up:
        return
    if why == WOKEN and request.searching:
        request.searching = False
        repark(parked, request.deadline_ms)
    while not done:
        done = read_all(request, wait or request.searches >= SEARCHES) or why == EXPIRED
        if request.cold:
            if search(request):
                return
            wait = True
            done = False
            continue
        if not done and watch(request):
            return
        tries += 1
        if not done and tries == 8:
            # Marks that move faster than they are read must not hold the thread.
            wake_parked(parked)
            return
    unwatch(request)
    unpark(parked)
    if why == DROPPED:
        release(request)
    else:
        respond(parked.connection, request, parked.answer)


cdef int32_t serve(connection_t *connection, fetch_t *request) noexcept nogil:
    """Answer or park a request whose partitions are known."""
    cdef answer_t *slot = answer_slot(connection)
    cdef bint enough
    cdef int64_t deadline = connection.thread.now_ms + max(request.max_wait_ms, 0)
    if slot == NULL:
        release(request)
        connection_close(connection, CLOSE_MEMORY)
        return REQUEST_DONE
    request.max_bytes = <int32_t>min(<int64_t>request.max_bytes, connection.thread.reactor.settings.fetch_max_bytes)
    request.min_bytes = min(request.min_bytes, request.max_bytes)
    request.deadline_ms = deadline
    request.quota = (<registry_t *>connection.thread.reactor.registry).quota
    enough = request.error or read_all(request, connection.thread.stopping)
    if request.cold == 0 and (enough or request.max_wait_ms <= 0 or connection.thread.stopping):
        respond(connection, request, slot)
        return REQUEST_DONE
    request.parked.look = look
    if park(&request.parked, connection, slot, deadline) != 0:
        if request.cold:
            read_all(request, True)
        respond(connection, request, slot)
    elif request.cold or not watch(request):
        look(&request.parked, WOKEN)
    return REQUEST_DONE


cdef int32_t fetch(connection_t *connection, const uint8_t *frame, size_t size) noexcept nogil:
    cdef reactor_t *reactor = connection.thread.reactor
    cdef fetch_t *request = fetch_parse(frame, size)
    cdef fetch_t *served
    if request == NULL:
        return REQUEST_HANDOFF
    if asks_for_others(reactor, request) or (request.names_rack and reactor.settings.rack_aware_reads):
        fetch_free(request)
        return REQUEST_HANDOFF
    if request.replica >= 0 and not reactor.listeners[connection.listener].between_brokers:
        fetch_free(request)
        return REQUEST_HANDOFF
    if request.replica >= 0:
        request.kind = FETCH_SESSIONLESS
        request.session_id = 0
    served = session_enter(reactor, request, connection.thread.now_ms)
    if served != request:
        fetch_free(request)
    if served == NULL or (served.error == 0 and not find(reactor, served)):
        if served != NULL:
            release(served)
        connection_close(connection, CLOSE_MEMORY)
        return REQUEST_DONE
    if served.error:
        served.count = 0
    return serve(connection, served)

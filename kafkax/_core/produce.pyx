"""A Produce request is walked twice: once to check its bounds and count its partitions, once to note where they stand;
once is enough for a single partition, which most requests have.

Nothing is appended before every partition was found and looked at.  The whole frame goes to the control plane when one of
them is not led here or its batch is out of the ordinary, so a request is either the core's or the control plane's, never both.
What the look cannot foresee (a config that changes at this very moment) is answered with an error that clients retry.

Requests that a client sends one after the other for the same partition, and that were received together, are appended by one
write; each is answered, or waits, for itself.

acks=all: the request is parked with a waiter at every partition whose high watermark has still to pass its records."""

from libc.stdint cimport int16_t, int32_t, int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcmp, memcpy
from kafkax._core.append cimport RUN, append_result_release
from kafkax._core.batch cimport BATCH_HEADER, batch_size_at
from kafkax._core.atomics cimport kx_count64, kx_load32, kx_load_pointer
from kafkax._core.answers cimport answer_fill, answer_free, answer_new, answer_now, answer_slot
from kafkax._core.codes cimport (
    CORE_HANDOFF,
    CORE_PENDING,
    ERR_INVALID_REQUIRED_ACKS,
    ERR_KAFKA_STORAGE_ERROR,
    ERR_NOT_LEADER_OR_FOLLOWER,
    OK,
)
from kafkax._core.connection cimport connection_close, connection_work
from kafkax._core.cursor cimport (
    kx_be16, kx_be32, kx_put32, read_i16, read_i32, reader, reader_t, remaining, take, write_bytes, write_i16, write_i32,
    write_i64, writer, writer_t,
)
from kafkax._core.fields cimport (
    read_ascii,
    read_count,
    read_data,
    read_header,
    request_header_t,
    skip_tags,
    write_count,
    write_no_tags,
    write_text,
)
from kafkax._core.inflate cimport inflate_available
from kafkax._core.leaders cimport (
    ENDPOINTS_TAGS_SIZE, LEADER_TAGS_SIZE, endpoints_release, endpoints_t, leader_t, leaders_find, leaders_t, write_endpoints,
    write_leader,
)
from kafkax._core.lines cimport fetch_lines
from kafkax._core.logstate cimport LOG_LINES, WAIT_HIGH_WATERMARK, append_result_t, waiter_t
from kafkax._core.mailbox cimport note_woken, ring_thread, wake_parked
from kafkax._core.network cimport (
    API_PRODUCE,
    CLOSE_ACKS_ZERO,
    CLOSE_MEMORY,
    DROPPED,
    EXPIRED,
    MAX_ANSWERS,
    REQUEST_DONE,
    REQUEST_HANDOFF,
    answer_t,
    connection_t,
    parked_t,
    reactor_t,
)
from kafkax._core.park cimport park, unpark
from kafkax._core.partition cimport (
    partition_append,
    partition_append_run,
    partition_committed,
    partition_log,
    partition_release,
    partition_retain,
    partition_t,
    partition_unwait,
    partition_wait,
    piece_t,
)
from kafkax._core.record_errors cimport record_errors_bound, record_errors_write
from kafkax._core.registry cimport LOOKED_AHEAD, registry_ahead, registry_get, registry_get_by_id, registry_t
from kafkax._core.varint cimport uvarint_size

cdef enum:
    FIRST_VERSION = 3
    LAST_VERSION = 13
    FLEXIBLE_SINCE = 9
    IDS_SINCE = 13
    LEADERS_SINCE = 10
    TAG_CURRENT_LEADER = 0
    MAX_PARTITIONS = 65536
    # Partitions of one request; the rest of a request with more is the control plane's to refuse.
    BATCH_MAGIC_AT = 16
    BATCH_ATTRIBUTES_AT = 21
    CODEC_MASK = 7
    TRANSACTIONAL = 16
    ERR_REQUEST_TIMED_OUT = 7
    SMALL_ANSWER = 512
    INT32_MAX = 2147483647
    # Frames up to this size are served together with those behind them.
    RUN_FRAME = 262144

cdef struct part_t:
    partition_t *partition
    const uint8_t *records
    int32_t size
    int32_t index
    int32_t topic
    int32_t code
    # Who leads it, where it is not led here any more.
    leader_t leader
    append_result_t result
    waiter_t waiter

cdef struct topic_t:
    const uint8_t *name
    int32_t name_size
    uint8_t id[16]
    int32_t first
    int32_t count

cdef struct produce_t:
    parked_t parked
    request_header_t header
    int16_t acks
    bint has_transactional_id
    int32_t timeout_ms
    int32_t topic_count
    int32_t part_count
    # Where those are who lead.
    endpoints_t endpoints
    topic_t *topics
    part_t *parts
    # How many of each the two have room for.
    int32_t room


cdef void read_topic(reader_t *r, bint flexible, int16_t version, topic_t *topic) noexcept nogil:
    cdef const uint8_t *id
    cdef int32_t at
    topic.name = NULL
    topic.name_size = 0
    if version >= IDS_SINCE:
        id = take(r, 16)
        for at in range(16 if id != NULL else 0):
            topic.id[at] = id[at]
    else:
        topic.name_size = read_data(r, flexible, False, &topic.name)
        if topic.name == NULL:
            r.bad = 1


cdef inline void note_part(part_t *to, const part_t *part) noexcept nogil:
    to.index = part.index
    to.size = part.size
    to.records = part.records
    to.topic = part.topic


cdef void walk(reader_t *r, produce_t *request) noexcept nogil:
    """Read the topics, and note as many of them and of their partitions as there is room for; all are counted.

    ``r.bad`` tells whether it parses."""
    cdef bint flexible = request.header.flexible
    cdef int32_t topics = read_count(r, flexible)
    cdef int32_t parts, left, at = 0, number = 0
    cdef topic_t topic
    cdef part_t part
    while number < topics and not r.bad:
        read_topic(r, flexible, request.header.version, &topic)
        parts = read_count(r, flexible)
        topic.first = at
        topic.count = parts
        if parts < 1:
            # Kafka leaves a topic without partitions out of its answer; so does the control plane.
            r.bad = 1
        if number < request.room:
            request.topics[number] = topic
        left = topic.count
        while left and not r.bad:
            part.index = read_i32(r)
            part.size = read_data(r, flexible, True, &part.records)
            if flexible:
                skip_tags(r)
            part.topic = number
            if at < request.room:
                note_part(&request.parts[at], &part)
            at += 1
            left -= 1
        if flexible:
            skip_tags(r)
        number += 1
    if flexible:
        skip_tags(r)
    request.topic_count = number
    request.part_count = at


cdef produce_t *parse(const uint8_t *frame, size_t size) noexcept nogil:
    """The request with its topics and partitions, pointing into the frame; NULL when the control plane has to see it."""
    cdef reader_t r = reader(frame, size)
    cdef reader_t body
    cdef produce_t plain
    cdef produce_t *request
    cdef topic_t topic
    cdef part_t part
    cdef const uint8_t *transactional_id
    plain.header = read_header(&r, FLEXIBLE_SINCE)
    if not FIRST_VERSION <= plain.header.version <= LAST_VERSION:
        return NULL
    plain.has_transactional_id = read_ascii(&r, plain.header.flexible, &transactional_id) >= 0
    plain.acks = read_i16(&r)
    plain.timeout_ms = read_i32(&r)
    plain.topics = &topic
    plain.parts = &part
    plain.room = 1
    body = r
    walk(&r, &plain)
    if r.bad or remaining(&r) or plain.part_count == 0 or plain.part_count > MAX_PARTITIONS:
        return NULL
    request = <produce_t *>calloc(1, sizeof(produce_t) + plain.part_count * sizeof(part_t) + plain.topic_count * sizeof(topic_t))
    if request == NULL:
        return NULL
    request.header = plain.header
    request.acks = plain.acks
    request.has_transactional_id = plain.has_transactional_id
    request.timeout_ms = plain.timeout_ms
    request.parts = <part_t *>(<uint8_t *>request + sizeof(produce_t))
    request.topics = <topic_t *>(<uint8_t *>request.parts + plain.part_count * sizeof(part_t))
    if plain.part_count == 1 and plain.topic_count == 1:
        request.topics[0] = topic
        note_part(&request.parts[0], &part)
        request.topic_count = 1
        request.part_count = 1
        return request
    request.room = MAX_PARTITIONS
    walk(&body, request)
    return request


cdef void release(produce_t *request) noexcept nogil:
    cdef int32_t at
    for at in range(request.part_count):
        append_result_release(&request.parts[at].result)
        if request.parts[at].partition != NULL:
            partition_release(request.parts[at].partition)
    if request.endpoints.ids != NULL:
        endpoints_release(&request.endpoints)
    free(request)


cdef bint find(connection_t *connection, produce_t *request) noexcept nogil:
    """Look every partition up; False when one is not there or not led here."""
    cdef registry_t *registry = <registry_t *>connection.thread.reactor.registry
    cdef part_t *part
    cdef topic_t *topic
    cdef int32_t at
    for at in range(request.part_count):
        part = &request.parts[at]
        topic = &request.topics[part.topic]
        if request.header.version >= IDS_SINCE:
            part.partition = registry_get_by_id(registry, topic.id, part.index)
        else:
            part.partition = registry_get(registry, <const char *>topic.name, <size_t>topic.name_size, part.index)
        if part.partition == NULL or not kx_load32(&part.partition.is_leader) or part.records == NULL:
            return False
        topic.name = <const uint8_t *>part.partition.topic
        fetch_lines(partition_log(part.partition), LOG_LINES)
    return True


cdef bint repeats(const uint64_t *keys, int32_t count, uint64_t *table, uint64_t mask) noexcept nogil:
    """Whether a key stands twice among ``keys``; none is 0, and ``table`` has ``mask`` + 1 places that are."""
    cdef uint64_t place
    cdef int32_t at
    for at in range(count):
        place = (keys[at] * <uint64_t>0x9E3779B97F4A7C15) >> 32 & mask
        while table[place] != 0 and table[place] != keys[at]:
            place = (place + 1) & mask
        if table[place] != 0:
            return True
        table[place] = keys[at]
    return False


cdef bint repeated(produce_t *request) noexcept nogil:
    """Whether a partition or a topic is named twice, which Kafka merges (also True without memory)."""
    cdef int32_t at, count = request.part_count + request.topic_count
    cdef uint64_t mask = 8
    cdef uint64_t *keys
    cdef bint found
    if request.part_count == 1:
        return False
    while mask < <uint64_t>count * 2:
        mask *= 2
    keys = <uint64_t *>calloc(<size_t>count + mask, sizeof(uint64_t))
    if keys == NULL:
        return True
    for at in range(request.part_count):
        keys[at] = <uint64_t>request.parts[at].partition
    for at in range(request.topic_count):
        # The topic's id, whose halves are random enough to stand for it.
        memcpy(&keys[request.part_count + at], request.parts[request.topics[at].first].partition.topic_id, 8)
        keys[request.part_count + at] |= 1
    found = repeats(keys, count, keys + count, mask - 1)
    free(keys)
    return found


cdef bint transactional(const part_t *part) noexcept nogil:
    """Whether the records are said to belong to a transaction."""
    return (batch_size_at(part.records, <size_t>part.size) >= BATCH_HEADER and part.records[BATCH_MAGIC_AT] == 2
            and (kx_be16(part.records + BATCH_ATTRIBUTES_AT) & TRANSACTIONAL) != 0)


cdef bint authorized(const produce_t *request) noexcept nogil:
    """Whether nothing belongs to a transaction of nobody; the control plane says what Kafka does then."""
    cdef int32_t at
    for at in range(0 if request.has_transactional_id else request.part_count):
        if transactional(&request.parts[at]):
            return False
    return True


cdef bint ordinary(part_t *part) noexcept nogil:
    """Whether ``partition_append`` surely needs no control plane; asked where several partitions must not be parted."""
    cdef uint8_t codec, attributes
    if part.size < BATCH_HEADER or part.records[BATCH_MAGIC_AT] != 2:
        return False
    attributes = <uint8_t>kx_be16(part.records + BATCH_ATTRIBUTES_AT)
    codec = attributes & CODEC_MASK
    if partition_log(part.partition).settings.compression >= 0 and partition_log(part.partition).settings.compression != codec:
        return False
    if codec and not partition_log(part.partition).settings.trust_compressed and not inflate_available(codec):
        return False
    return not (transactional(part) and partition_log(part.partition).settings.verify_transactions)


cdef bint explained_elsewhere(part_t *part) noexcept nogil:
    """Whether the control plane can say more about an append that failed, or can still make it."""
    return part.code == CORE_HANDOFF or part.code == ERR_NOT_LEADER_OR_FOLLOWER


cdef int32_t wire_code(int32_t code) noexcept nogil:
    """What a client is told: an error that it retries where the core has only its own."""
    if code == CORE_HANDOFF:
        return ERR_NOT_LEADER_OR_FOLLOWER
    return ERR_KAFKA_STORAGE_ERROR if code < 0 else code


cdef bint append(produce_t *request, int64_t now_ms) noexcept nogil:
    """Append every partition's records. False: nothing was, and the control plane is to have the frame."""
    cdef int32_t at
    cdef bint appended = False
    cdef part_t *part
    if request.part_count > 1:
        for at in range(request.part_count):
            if not ordinary(&request.parts[at]):
                return False
    for at in range(request.part_count):
        part = &request.parts[at]
        # The frame is this thread's own, and nobody looks at the records again.
        part.code = partition_append(part.partition, part.records, <size_t>part.size, request.acks, request.header.version,
                                     now_ms, True, &part.result)
        if part.code != OK and not appended and at == request.part_count - 1 and explained_elsewhere(part):
            return False
        appended = appended or part.code == OK
        part.code = wire_code(part.code)
    return True


cdef void refuse_acks(produce_t *request) noexcept nogil:
    cdef int32_t at
    for at in range(request.part_count):
        request.parts[at].code = ERR_INVALID_REQUIRED_ACKS
        request.parts[at].result.base_offset = -1
        request.parts[at].result.log_append_time_ms = -1
        request.parts[at].result.log_start_offset = -1


cdef size_t answer_bound(produce_t *request) noexcept nogil:
    """At least the bytes of the answer."""
    cdef size_t size = 32 + ENDPOINTS_TAGS_SIZE + request.endpoints.size + <size_t>request.part_count * (48 + LEADER_TAGS_SIZE)
    cdef int32_t at
    for at in range(request.part_count):
        size += record_errors_bound(request.parts[at].result.record_error_count)
    for at in range(request.topic_count):
        size += 32 + <size_t>request.topics[at].name_size
    return size


cdef void write_part(writer_t *w, int16_t version, bint flexible, part_t *part) noexcept nogil:
    write_i32(w, part.index)
    write_i16(w, <int16_t>part.code)
    write_i64(w, part.result.base_offset)
    write_i64(w, part.result.log_append_time_ms)
    if version >= 5:
        write_i64(w, part.result.log_start_offset)
    if version >= 8:
        record_errors_write(w, part.result.record_errors, part.result.record_error_count, flexible)
    if flexible:
        write_leader(w, TAG_CURRENT_LEADER, &part.leader)


cdef size_t write_answer(produce_t *request, uint8_t *data, size_t room) noexcept nogil:
    """The whole response with its length prefix; its bytes."""
    cdef writer_t w = writer(data, room)
    cdef bint flexible = request.header.flexible
    cdef topic_t *topic
    cdef int32_t number, at
    write_i32(&w, 0)
    write_i32(&w, request.header.correlation_id)
    write_no_tags(&w, flexible)
    write_count(&w, request.topic_count, flexible)
    for number in range(request.topic_count):
        topic = &request.topics[number]
        if request.header.version >= IDS_SINCE:
            write_bytes(&w, topic.id, 16)
        else:
            write_text(&w, topic.name, topic.name_size, flexible)
        write_count(&w, topic.count, flexible)
        for at in range(topic.first, topic.first + topic.count):
            write_part(&w, request.header.version, flexible, &request.parts[at])
        write_no_tags(&w, flexible)
    write_i32(&w, 0)
    if flexible:
        write_endpoints(&w, &request.endpoints)
    kx_put32(data, <unsigned int>(w.at - data - 4))
    return <size_t>(w.at - data)


cdef bint tell_leaders(connection_t *connection, produce_t *request) noexcept nogil:
    """Tell the producer who leads what is not led here any more (KIP-951); False without memory."""
    cdef reactor_t *reactor = connection.thread.reactor
    cdef part_t *part
    cdef int32_t at
    for at in range(request.part_count if request.header.version >= LEADERS_SINCE else 0):
        part = &request.parts[at]
        if part.code == ERR_NOT_LEADER_OR_FOLLOWER and not leaders_find(
                <leaders_t *>reactor.leaders, <registry_t *>reactor.registry, connection.listener, part.partition.topic_id,
                part.index, &part.leader, &request.endpoints):
            return False
    return True


cdef answer_t *made_answer(produce_t *request) noexcept nogil:
    """The answer for a slot; NULL without memory, or when its length is not for a frame to tell."""
    cdef size_t room = answer_bound(request)
    cdef answer_t *content = answer_new(room) if room <= INT32_MAX else NULL
    if content != NULL:
        content.size = write_answer(request, content.data, room)
        content.total = <int64_t>content.size
    return content


cdef void answer_immediately(connection_t *connection, produce_t *request) noexcept nogil:
    cdef uint8_t small[SMALL_ANSWER]
    cdef answer_t *content
    cdef answer_t *slot
    if not tell_leaders(connection, request):
        connection_close(connection, CLOSE_MEMORY)
        return
    if answer_bound(request) <= SMALL_ANSWER:
        if answer_now(connection, small, write_answer(request, small, SMALL_ANSWER)) == 0:
            return
    else:
        content = made_answer(request)
        slot = NULL if content == NULL else answer_slot(connection)
        if slot != NULL:
            answer_fill(connection, slot, content)
            return
        if content != NULL:
            answer_free(content)
    connection_close(connection, CLOSE_MEMORY)


cdef void *wake(waiter_t *waiter) noexcept nogil:
    return note_woken(<parked_t *>waiter.owner)


cdef bint settled(produce_t *request) noexcept nogil:
    """Take in what became of the appends; register where one is still pending. True when all are decided."""
    cdef bint all_settled = True
    cdef part_t *part
    cdef int32_t at, code
    for at in range(request.part_count):
        part = &request.parts[at]
        if part.code != CORE_PENDING:
            continue
        code = partition_committed(part.partition, part.result.required_offset, part.result.leader_epoch)
        if (code == CORE_PENDING and kx_load_pointer(<void *const *>&part.waiter.log) == NULL
                and partition_wait(part.partition, &part.waiter)):
            code = partition_committed(part.partition, part.result.required_offset, part.result.leader_epoch)
        if code == CORE_PENDING:
            all_settled = False
            continue
        part.code = code
        partition_unwait(part.partition, &part.waiter)
    return all_settled


cdef void look(parked_t *parked, int32_t why) noexcept nogil:
    cdef produce_t *request = <produce_t *>parked
    cdef connection_t *connection = parked.connection
    cdef answer_t *content
    cdef int32_t at
    if why != DROPPED and not settled(request) and why != EXPIRED:
        return
    for at in range(request.part_count):
        if request.parts[at].code == CORE_PENDING:
            partition_unwait(request.parts[at].partition, &request.parts[at].waiter)
            request.parts[at].code = ERR_REQUEST_TIMED_OUT
    unpark(parked)
    if why != DROPPED:
        content = made_answer(request) if tell_leaders(connection, request) else NULL
        if content == NULL:
            connection.close_after = 1
            connection.close_reason = CLOSE_MEMORY
        else:
            answer_fill(connection, parked.answer, content)
        connection_work(connection)
    release(request)


cdef void wait_for_replicas(connection_t *connection, produce_t *request) noexcept nogil:
    """Park the request, unless everything it waits for has happened already."""
    cdef answer_t *slot
    cdef part_t *part
    cdef bint pending = False
    cdef int32_t at
    for at in range(request.part_count):
        part = &request.parts[at]
        if part.code == OK:
            part.code = partition_committed(part.partition, part.result.required_offset, part.result.leader_epoch)
            pending = pending or part.code == CORE_PENDING
        part.waiter.kind = WAIT_HIGH_WATERMARK
        part.waiter.offset = part.result.required_offset
        part.waiter.wake = wake
        part.waiter.ring = ring_thread
        part.waiter.owner = request
    if not pending:
        answer_immediately(connection, request)
        release(request)
        return
    slot = answer_slot(connection)
    request.parked.look = look
    request.parked.patient = 1
    if slot == NULL or park(&request.parked, connection, slot, connection.thread.now_ms + max(request.timeout_ms, 0)) != 0:
        connection_close(connection, CLOSE_MEMORY)
        release(request)
        return
    if settled(request):
        wake_parked(&request.parked)


cdef bint any_failed(produce_t *request) noexcept nogil:
    cdef int32_t at
    for at in range(request.part_count):
        if request.parts[at].code != OK:
            return True
    return False


cdef bint may_lead(const produce_t *request, size_t size) noexcept nogil:
    """Whether requests behind this one may be served with it: small ones for the same partition, by themselves as a rule."""
    return (request.part_count == 1 and size <= RUN_FRAME and (request.acks == 1 or request.acks == -1)
            and ordinary(&request.parts[0]) and not transactional(&request.parts[0]))


cdef produce_t *follower(connection_t *connection, const produce_t *request, const uint8_t *frame, const uint8_t *next,
                         size_t size) noexcept nogil:
    """The request in the frame ``next``, if but for correlation id and records it is the one in ``frame``; NULL if not."""
    cdef const part_t *part = &request.parts[0]
    cdef size_t same = <size_t>(part.records - frame) - size_width(part.size, request.header.flexible)
    cdef produce_t *found
    # API key and version, then what stands between the correlation id and the length of the records.
    if size <= same or memcmp(next, frame, 4) != 0 or memcmp(next + 8, frame + 8, same - 8) != 0:
        return NULL
    found = parse(next, size)
    if found == NULL:
        return NULL
    if found.part_count == 1 and found.parts[0].records != NULL:
        found.parts[0].partition = part.partition
        partition_retain(part.partition)
        found.topics[0].name = request.topics[0].name
        if may_lead(found, size):
            return found
    release(found)
    return NULL


cdef size_t size_width(int32_t size, bint flexible) noexcept nogil:
    """Bytes that the length of so many bytes of records takes."""
    return <size_t>uvarint_size(<uint32_t>size + 1) if flexible else 4


cdef int32_t append_run(connection_t *connection, produce_t **requests, int32_t count) noexcept nogil:
    """Append the records of all; how many of them are settled."""
    cdef piece_t pieces[RUN]
    cdef part_t *part
    cdef int32_t at, settled_count
    for at in range(count):
        part = &requests[at].parts[0]
        pieces[at].records = part.records
        pieces[at].size = <size_t>part.size
        pieces[at].out = &part.result
    settled_count = partition_append_run(requests[0].parts[0].partition, pieces, count, requests[0].acks,
                                         requests[0].header.version, connection.thread.received_ms)
    for at in range(settled_count):
        requests[at].parts[0].code = wire_code(pieces[at].code)
    return settled_count


cdef int32_t produce_run(connection_t *connection, produce_t *request, const uint8_t *frame, size_t size, size_t behind,
                         size_t *taken) noexcept nogil:
    """Serve the request with those behind it that go to the same partition; how many, 0 when it is better served alone."""
    cdef produce_t *requests[RUN]
    cdef size_t ends[RUN]
    cdef const uint8_t *next = frame + size
    cdef size_t length, at = 0
    cdef int32_t count = 1, settled_count, number
    requests[0] = request
    ends[0] = 0
    while count < RUN and connection.answers + count < MAX_ANSWERS and behind - at > 4:
        length = kx_be32(next + at)
        if length > RUN_FRAME or length > <size_t>connection.frame_limit or length > behind - at - 4:
            break
        requests[count] = follower(connection, request, frame, next + at + 4, length)
        if requests[count] == NULL:
            break
        at += 4 + length
        ends[count] = at
        count += 1
    settled_count = append_run(connection, requests, count) if count > 1 else 0
    for number in range(settled_count):
        if connection.closed:
            release(requests[number])
        else:
            finish(connection, requests[number])
    for number in range(max(settled_count, 1), count):
        release(requests[number])
    if settled_count:
        taken[0] = ends[settled_count - 1]
        kx_count64(&connection.thread.counters.requests[API_PRODUCE], settled_count - 1)
    return settled_count


cdef void finish(connection_t *connection, produce_t *request) noexcept nogil:
    """Answer what was appended or refused, or park it, and let go of it."""
    if request.acks == -1:
        wait_for_replicas(connection, request)
        return
    if request.acks != 0:
        answer_immediately(connection, request)
    elif any_failed(request):
        connection.close_after = 1
        connection.close_reason = CLOSE_ACKS_ZERO
    release(request)


cdef void look_ahead(connection_t *connection, const produce_t *request, const uint8_t *frame, size_t size,
                     size_t behind) noexcept nogil:
    """Have the processor fetch what this request and those behind it will need, if they are of one partition as this one is.

    With thousands of partitions each is out of the processor's caches when its turn comes again. A client writes its requests
    alike, so topic and partition stand where they stand in this one."""
    cdef const part_t *part = &request.parts[0]
    cdef bint by_id = request.header.version >= IDS_SINCE
    cdef size_t key_size = sizeof(request.topics[0].id) if by_id else <size_t>request.topics[0].name_size
    cdef size_t index_at = <size_t>(part.records - frame) - size_width(part.size, request.header.flexible) - 4
    cdef size_t key_at = index_at - (1 if request.header.flexible else 4) - key_size
    cdef const uint8_t *keys[LOOKED_AHEAD]
    cdef int32_t indexes[LOOKED_AHEAD]
    cdef const uint8_t *next = frame
    cdef const uint8_t *end = frame + size + behind
    cdef size_t length = size
    cdef int32_t count = 0
    cdef bint others = False
    while count < LOOKED_AHEAD and length >= index_at + 4 and length <= <size_t>(end - next):
        if memcmp(next, frame, 4) != 0 or memcmp(next + 8, frame + 8, key_at - 8) != 0:
            break
        others = others or memcmp(next + key_at, frame + key_at, index_at + 4 - key_at) != 0
        keys[count] = next + key_at
        indexes[count] = <int32_t>kx_be32(next + index_at)
        count += 1
        next += length
        if end - next < 4:
            break
        length = kx_be32(next)
        next += 4
    connection.thread.looked_until = next
    if others:
        registry_ahead(<registry_t *>connection.thread.reactor.registry, keys, indexes, count, key_size, by_id)


cdef int32_t produce(connection_t *connection, const uint8_t *frame, size_t size, size_t behind, size_t *taken) noexcept nogil:
    cdef produce_t *request
    if connection.handed_produces:
        # Batches must not overtake those that the control plane still has.
        return REQUEST_HANDOFF
    request = parse(frame, size)
    if request == NULL:
        return REQUEST_HANDOFF
    if behind > 4 and frame >= connection.thread.looked_until and request.part_count == 1 and request.parts[0].records != NULL:
        look_ahead(connection, request, frame, size, behind)
    if not find(connection, request) or repeated(request) or not authorized(request):
        release(request)
        return REQUEST_HANDOFF
    if behind > 4 and may_lead(request, size) and produce_run(connection, request, frame, size, behind, taken):
        return REQUEST_DONE
    if not -1 <= request.acks <= 1:
        refuse_acks(request)
    elif not append(request, connection.thread.received_ms):
        release(request)
        return REQUEST_HANDOFF
    finish(connection, request)
    return REQUEST_DONE

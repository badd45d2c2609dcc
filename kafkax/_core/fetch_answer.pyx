"""Records are not copied: the answer's bytes are cut where a slice of a log file belongs.  Small slices are an exception,
since one ``sendmsg`` of everything costs less than a ``sendfile`` for each of them.

Partitions follow each other in the order of the request or session, those refused beforehand after the others, unknown
topic ids first; neighbours of one topic share an entry.  Both as Kafka does it."""

from libc.stdint cimport int16_t, int32_t, int64_t, uint32_t
from libc.stdlib cimport calloc
from kafkax._core.answers cimport answer_free, answer_new
from kafkax._core.codes cimport ERR_FENCED_LEADER_EPOCH, ERR_NOT_LEADER_OR_FOLLOWER
from kafkax._core.cursor cimport (
    give,
    kx_put32,
    write_bytes,
    write_i16,
    write_i32,
    write_i64,
    write_uvarint,
    writer,
    writer_t,
)
from kafkax._core.fetch_request cimport same_topic
from kafkax._core.fetch_state cimport SESSIONS_SINCE, fetch_part_t, fetch_t
from kafkax._core.fields cimport write_count, write_no_tags, write_text
from kafkax._core.leaders cimport ENDPOINTS_TAGS_SIZE, leaders_find, leaders_t, write_endpoints, write_leader
from kafkax._core.linux cimport RWF_NOWAIT, iovec, preadv2
from kafkax._core.network cimport answer_t, cut_t, reactor_t
from kafkax._core.registry cimport registry_t
from kafkax._core.segment cimport segment_fd, slice_release

cdef enum:
    SMALL_SLICE = 16384
    # Bytes up to which records are copied into the answer.
    COPIED_BYTES = 65536
    # And in all.
    INT32_MAX = 2147483647
    TAG_DIVERGING_EPOCH = 0
    TAG_CURRENT_LEADER = 1
    LEADERS_SINCE = 16
    DIVERGING_EPOCH_SIZE = 13


cdef int32_t order(fetch_t *fetch, int32_t *places) noexcept nogil:
    """Places of the partitions to answer, in the answer's order; how many there are."""
    cdef int32_t at, count = 0
    cdef int32_t refused
    for refused in range(3):
        for at in range(fetch.count):
            if fetch.parts[at].refused == refused and not fetch.parts[at].told:
                places[count] = at
                count += 1
    return count


cdef int64_t bound(fetch_t *fetch) noexcept nogil:
    """At least the bytes of the answer without slices that are too large to copy."""
    cdef int64_t size = 64 + ENDPOINTS_TAGS_SIZE + <int64_t>fetch.endpoints.size, copied = 0
    cdef int32_t at
    cdef fetch_part_t *part
    for at in range(fetch.count):
        part = &fetch.parts[at]
        size += 96 + part.topic.name_size + <int64_t>part.result.aborted_count * 17
        if part.result.piece.length <= SMALL_SLICE:
            copied += part.result.piece.length
    return size + min(copied, <int64_t>COPIED_BYTES + SMALL_SLICE)


cdef bint copy_small(writer_t *w, fetch_part_t *part, int64_t *copied) noexcept nogil:
    """Put a small slice's bytes into the answer if they are in memory; False when it has to be sent from the file."""
    cdef iovec place
    cdef int64_t size = part.result.piece.length
    cdef int32_t fd
    if size > SMALL_SLICE or copied[0] >= COPIED_BYTES or size > w.end - w.at:
        return False
    fd = segment_fd(part.result.piece.segment)
    place.iov_base = w.at
    place.iov_len = <size_t>size
    if fd < 0 or preadv2(fd, &place, 1, part.result.piece.position, RWF_NOWAIT) != size:
        return False
    give(w, size)
    copied[0] += size
    slice_release(&part.result.piece)
    return True


cdef bint shows_none(fetch_t *fetch, fetch_part_t *part) noexcept nogil:
    """Whether no aborted transactions are an empty list, and not a null one."""
    return fetch.isolation == 1 and part.code == 0 and not part.result.incomplete


cdef void write_aborted(writer_t *w, fetch_t *fetch, fetch_part_t *part) noexcept nogil:
    cdef bint flexible = fetch.header.flexible
    cdef int32_t at
    if part.result.aborted == NULL and not part.no_aborted and not shows_none(fetch, part):
        if flexible:
            write_uvarint(w, 0)
        else:
            write_i32(w, -1)
        return
    write_count(w, part.result.aborted_count, flexible)
    for at in range(part.result.aborted_count):
        write_i64(w, part.result.aborted[at].producer_id)
        write_i64(w, part.result.aborted[at].first_offset)
        write_no_tags(w, flexible)


cdef void write_records(writer_t *w, answer_t *answer, bint flexible, fetch_part_t *part, int64_t *copied) noexcept nogil:
    cdef int64_t size = part.result.piece.length
    cdef cut_t *cut
    if flexible:
        write_uvarint(w, <uint32_t>size + 1)
    else:
        write_i32(w, <int32_t>size)
    if size == 0 or copy_small(w, part, copied):
        return
    cut = &answer.cuts[answer.cut_count]
    cut.at = <size_t>(w.at - answer.data)
    cut.piece = part.result.piece
    part.result.piece.segment = NULL
    part.result.piece.length = 0
    answer.cut_count += 1
    answer.total += size


cdef void write_diverging(writer_t *w, const fetch_part_t *part) noexcept nogil:
    """The tagged field with the epoch where the follower's log parts from this one."""
    write_uvarint(w, 1)
    write_uvarint(w, TAG_DIVERGING_EPOCH)
    write_uvarint(w, DIVERGING_EPOCH_SIZE)
    write_i32(w, part.diverging_epoch)
    write_i64(w, part.diverging_end)
    write_uvarint(w, 0)


cdef void write_part(writer_t *w, answer_t *answer, fetch_t *fetch, fetch_part_t *part, int64_t *copied) noexcept nogil:
    cdef int16_t version = fetch.header.version
    write_i32(w, part.asked.index)
    write_i16(w, <int16_t>part.code)
    write_i64(w, part.result.high_watermark)
    write_i64(w, part.result.last_stable_offset)
    if version >= 5:
        write_i64(w, part.result.log_start_offset)
    write_aborted(w, fetch, part)
    if version >= 11:
        write_i32(w, -1)
    write_records(w, answer, fetch.header.flexible, part, copied)
    if part.diverging_epoch >= 0 and fetch.header.flexible:
        write_diverging(w, part)
    elif part.leader.told:
        write_leader(w, TAG_CURRENT_LEADER, &part.leader)
    else:
        write_no_tags(w, fetch.header.flexible)


cdef void write_start(writer_t *w, fetch_t *fetch, int32_t topics) noexcept nogil:
    write_i32(w, 0)
    write_i32(w, fetch.header.correlation_id)
    write_no_tags(w, fetch.header.flexible)
    write_i32(w, 0)
    if fetch.header.version >= SESSIONS_SINCE:
        write_i16(w, <int16_t>fetch.error)
        write_i32(w, fetch.session_id)
    write_count(w, topics, fetch.header.flexible)


cdef int32_t run_length(fetch_t *fetch, const int32_t *places, int32_t count, int32_t at) noexcept nogil:
    """How many partitions from place ``at`` on belong to one topic."""
    cdef int32_t end = at + 1
    while end < count and same_topic(&fetch.parts[places[at]].topic, &fetch.parts[places[end]].topic):
        end += 1
    return end - at


cdef int32_t count_topics(fetch_t *fetch, const int32_t *places, int32_t count) noexcept nogil:
    cdef int32_t topics = 0, at = 0
    while at < count:
        at += run_length(fetch, places, count, at)
        topics += 1
    return topics


cdef void write_answer(writer_t *w, answer_t *answer, fetch_t *fetch, const int32_t *places, int32_t count) noexcept nogil:
    cdef bint flexible = fetch.header.flexible
    cdef int64_t copied = 0
    cdef int32_t at = 0, left
    cdef fetch_part_t *part
    write_start(w, fetch, count_topics(fetch, places, count))
    while at < count:
        part = &fetch.parts[places[at]]
        if part.topic.name == NULL:
            write_bytes(w, part.topic.id, 16)
        else:
            write_text(w, part.topic.name, part.topic.name_size, flexible)
        left = run_length(fetch, places, count, at)
        write_count(w, left, flexible)
        while left:
            write_part(w, answer, fetch, &fetch.parts[places[at]], &copied)
            at += 1
            left -= 1
        write_no_tags(w, flexible)
    if flexible:
        write_endpoints(w, &fetch.endpoints)


cdef bint tell_leaders(reactor_t *reactor, int32_t listener, fetch_t *fetch) noexcept nogil:
    """Tell a consumer who leads what it believes to be led here (KIP-951), in the answer's order; False without memory."""
    cdef fetch_part_t *part
    cdef int32_t at, refused
    if fetch.header.version < LEADERS_SINCE or fetch.replica >= 0 or fetch.error:
        return True
    for refused in range(3):
        for at in range(fetch.count):
            part = &fetch.parts[at]
            if part.refused != refused or part.told:
                continue
            if part.code != ERR_NOT_LEADER_OR_FOLLOWER and part.code != ERR_FENCED_LEADER_EPOCH:
                continue
            if not leaders_find(<leaders_t *>reactor.leaders, <registry_t *>reactor.registry, listener, part.topic.id,
                                part.asked.index, &part.leader, &fetch.endpoints):
                return False
    return True


cdef answer_t *fetch_answer(reactor_t *reactor, int32_t listener, fetch_t *fetch) noexcept nogil:
    cdef bint told = tell_leaders(reactor, listener, fetch)
    cdef answer_t *answer = answer_new(<size_t>bound(fetch)) if told else NULL
    cdef int32_t *places
    cdef int32_t count
    cdef writer_t w
    if answer == NULL:
        return NULL
    # One allocation for the cuts, behind which the order is worked out.
    answer.cuts = <cut_t *>calloc(fetch.count + 1, sizeof(cut_t) + sizeof(int32_t))
    if answer.cuts == NULL:
        answer_free(answer)
        return NULL
    places = <int32_t *>(answer.cuts + fetch.count + 1)
    count = 0 if fetch.error else order(fetch, places)
    answer.total = 0
    w = writer(answer.data, answer.size)
    write_answer(&w, answer, fetch, places, count)
    answer.size = <size_t>(w.at - answer.data)
    answer.total += <int64_t>answer.size
    if w.bad or answer.total - 4 > INT32_MAX:
        answer_free(answer)
        return NULL
    kx_put32(answer.data, <uint32_t>(answer.total - 4))
    return answer

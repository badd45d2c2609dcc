"""The topics are walked twice, as in Produce: to count and check, then to note.

A partition that is named twice counts once, at its first place with its last wish, as Kafka's map of them does."""

from libc.stdint cimport int16_t, int32_t, uint8_t, uint32_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcmp, memcpy
from kafkax._core.cursor cimport read_i32, read_i64, read_i8, read_uvarint, reader, reader_t, remaining, take
from kafkax._core.fetch_state cimport (
    FETCH_FULL,
    FETCH_INCREMENTAL,
    FETCH_SESSIONLESS,
    FINAL_EPOCH,
    FLEXIBLE_SINCE,
    INITIAL_EPOCH,
    SESSIONS_SINCE,
    TOPIC_IDS_SINCE,
    asked_t,
    fetch_part_t,
    fetch_t,
    forgotten_t,
    topic_key_t,
)
from kafkax._core.fields cimport read_ascii, read_count, read_header, skip_tags
from kafkax._core.leaders cimport endpoints_release
from kafkax._core.logstate cimport read_result_release
from kafkax._core.partition cimport partition_release

cdef enum:
    FIRST_VERSION = 4
    LAST_VERSION = 18
    MAX_PARTITIONS = 100000
    REPLICA_STATE_SINCE = 15
    TAG_REPLICA_STATE = 1


cdef fetch_t *fetch_new(int32_t parts, int32_t forgotten) noexcept nogil:
    cdef size_t size = sizeof(fetch_t) + parts * sizeof(fetch_part_t) + forgotten * sizeof(forgotten_t)
    cdef fetch_t *fetch = <fetch_t *>calloc(1, size)
    if fetch == NULL:
        return NULL
    fetch.replica = -1
    fetch.count = parts
    fetch.forgotten_count = forgotten
    fetch.parts = <fetch_part_t *>(<uint8_t *>fetch + sizeof(fetch_t))
    fetch.forgotten = <forgotten_t *>(<uint8_t *>fetch.parts + parts * sizeof(fetch_part_t))
    return fetch


cdef void fetch_free(fetch_t *fetch) noexcept nogil:
    cdef fetch_part_t *part
    cdef int32_t at
    for at in range(fetch.count):
        part = &fetch.parts[at]
        read_result_release(&part.result)
        if part.partition != NULL:
            partition_release(part.partition)
        if part.owns_name:
            free(<void *>part.topic.name)
    endpoints_release(&fetch.endpoints)
    free(fetch)


cdef bint same_topic(const topic_key_t *one, const topic_key_t *other) noexcept nogil:
    if one.name == NULL or other.name == NULL:
        return one.name == other.name and memcmp(one.id, other.id, 16) == 0
    return one.name_size == other.name_size and memcmp(one.name, other.name, <size_t>one.name_size) == 0


cdef unsigned int topic_hash(const topic_key_t *topic, int32_t index) noexcept nogil:
    cdef const uint8_t *data = topic.name
    cdef int32_t at, size = topic.name_size
    cdef uint32_t hash = <uint32_t>2166136261 ^ <uint32_t>index
    if data == NULL:
        data = &topic.id[0]
        size = 16
    for at in range(size):
        hash = (hash ^ data[at]) * 16777619
    return hash


cdef int32_t read_present(reader_t *r, bint flexible) noexcept nogil:
    """Elements of an array that may not be null."""
    cdef int32_t count = read_count(r, flexible)
    if count < 0:
        r.bad = 1
    return count


cdef void expect_no_tags(reader_t *r) noexcept nogil:
    """A section of tagged fields where only replicas have any; those are the control plane's."""
    if read_uvarint(r) != 0:
        r.bad = 1


cdef void read_topic(reader_t *r, int16_t version, topic_key_t *topic) noexcept nogil:
    cdef const uint8_t *id
    topic.name = NULL
    topic.name_size = 0
    if version >= TOPIC_IDS_SINCE:
        id = take(r, 16)
        if id != NULL:
            memcpy(topic.id, id, 16)
    else:
        topic.name_size = read_ascii(r, version >= FLEXIBLE_SINCE, &topic.name)
        if topic.name == NULL:
            r.bad = 1


cdef void read_asked(reader_t *r, int16_t version, asked_t *asked) noexcept nogil:
    asked.index = read_i32(r)
    asked.leader_epoch = read_i32(r) if version >= 9 else -1
    asked.offset = read_i64(r)
    asked.last_fetched_epoch = read_i32(r) if version >= FLEXIBLE_SINCE else -1
    if version >= 5:
        read_i64(r)
    asked.max_bytes = read_i32(r)
    if version >= FLEXIBLE_SINCE:
        expect_no_tags(r)


cdef int32_t walk_asked(reader_t *r, fetch_t *fetch, fetch_part_t *parts) noexcept nogil:
    """Read what is asked for, into ``parts`` unless NULL; the number of partitions."""
    cdef int16_t version = fetch.header.version
    cdef int32_t topics = read_present(r, fetch.header.flexible)
    cdef int32_t left, at = 0
    cdef topic_key_t topic
    cdef asked_t asked
    while topics > 0 and not r.bad:
        read_topic(r, version, &topic)
        left = read_present(r, fetch.header.flexible)
        while left > 0 and not r.bad:
            read_asked(r, version, &asked)
            if parts != NULL:
                parts[at].topic = topic
                parts[at].asked = asked
            at += 1
            left -= 1
        if fetch.header.flexible:
            skip_tags(r)
        topics -= 1
    return at


cdef int32_t walk_forgotten(reader_t *r, fetch_t *fetch, forgotten_t *forgotten) noexcept nogil:
    """The same for the partitions that the session shall forget."""
    cdef int32_t topics, left, index, at = 0
    cdef topic_key_t topic
    if fetch.header.version < SESSIONS_SINCE:
        return 0
    topics = read_present(r, fetch.header.flexible)
    while topics > 0 and not r.bad:
        read_topic(r, fetch.header.version, &topic)
        left = read_present(r, fetch.header.flexible)
        while left > 0 and not r.bad:
            index = read_i32(r)
            if forgotten != NULL:
                forgotten[at].topic = topic
                forgotten[at].index = index
            at += 1
            left -= 1
        if fetch.header.flexible:
            skip_tags(r)
        topics -= 1
    return at


cdef void read_start(reader_t *r, fetch_t *fetch) noexcept nogil:
    """The fields before the topics."""
    cdef int16_t version = fetch.header.version
    fetch.max_wait_ms = read_i32(r)
    fetch.min_bytes = read_i32(r)
    fetch.max_bytes = read_i32(r)
    fetch.isolation = read_i8(r)
    fetch.session_id = read_i32(r) if version >= SESSIONS_SINCE else 0
    fetch.session_epoch = read_i32(r) if version >= SESSIONS_SINCE else FINAL_EPOCH
    if fetch.session_epoch == FINAL_EPOCH:
        fetch.kind = FETCH_SESSIONLESS
    elif fetch.session_epoch == INITIAL_EPOCH:
        fetch.kind = FETCH_FULL
    else:
        fetch.kind = FETCH_INCREMENTAL


cdef void read_tags(reader_t *r, fetch_t *fetch) noexcept nogil:
    """The request's tagged fields: none but the state of the replica that fetches."""
    cdef uint32_t count = read_uvarint(r)
    if count == 0:
        return
    if count != 1 or fetch.header.version < REPLICA_STATE_SINCE or read_uvarint(r) != TAG_REPLICA_STATE:
        r.bad = 1
        return
    read_uvarint(r)
    fetch.replica = read_i32(r)
    fetch.replica_epoch = read_i64(r)
    expect_no_tags(r)


cdef void copy_start(fetch_t *fetch, const fetch_t *plain) noexcept nogil:
    """Take over the fields before the topics."""
    fetch.header = plain.header
    fetch.max_wait_ms = plain.max_wait_ms
    fetch.min_bytes = plain.min_bytes
    fetch.max_bytes = plain.max_bytes
    fetch.isolation = plain.isolation
    fetch.session_id = plain.session_id
    fetch.session_epoch = plain.session_epoch
    fetch.kind = plain.kind
    fetch.replica = plain.replica
    fetch.replica_epoch = plain.replica_epoch
    fetch.names_rack = plain.names_rack


cdef bint merge_repeats(fetch_t *fetch) noexcept nogil:
    """Let a partition that is asked for twice count once; False without memory."""
    cdef uint32_t mask = 16, place
    cdef int32_t at, kept = 0
    cdef int32_t *table
    cdef fetch_part_t *part
    if fetch.count < 2:
        return True
    while mask < <uint32_t>fetch.count * 2:
        mask *= 2
    table = <int32_t *>calloc(mask, sizeof(int32_t))
    if table == NULL:
        return False
    mask -= 1
    for at in range(fetch.count):
        part = &fetch.parts[at]
        place = topic_hash(&part.topic, part.asked.index) & mask
        while table[place] and not (fetch.parts[table[place] - 1].asked.index == part.asked.index
                                    and same_topic(&fetch.parts[table[place] - 1].topic, &part.topic)):
            place = (place + 1) & mask
        if table[place]:
            fetch.parts[table[place] - 1].asked = part.asked
        else:
            fetch.parts[kept] = part[0]
            kept += 1
            table[place] = kept
    fetch.count = kept
    free(table)
    return True


cdef bint ordinary(fetch_t *fetch) noexcept nogil:
    """Whether it is a fetch that the core understands in full: any of a follower outside sessions, a consumer's otherwise."""
    if fetch.replica >= 0:
        return fetch.kind != FETCH_INCREMENTAL
    return 0 <= fetch.isolation <= 1


cdef fetch_t *fetch_parse(const uint8_t *frame, size_t size) noexcept nogil:
    cdef reader_t r = reader(frame, size)
    cdef reader_t body
    cdef fetch_t plain
    cdef fetch_t *fetch
    cdef int32_t parts, forgotten, rack_size
    cdef const uint8_t *rack
    plain.header = read_header(&r, FLEXIBLE_SINCE)
    if not FIRST_VERSION <= plain.header.version <= LAST_VERSION:
        return NULL
    plain.replica = read_i32(&r) if plain.header.version < REPLICA_STATE_SINCE else -1
    plain.replica_epoch = -1
    plain.names_rack = False
    read_start(&r, &plain)
    body = r
    parts = walk_asked(&r, &plain, NULL)
    forgotten = walk_forgotten(&r, &plain, NULL)
    if plain.header.version >= 11:
        rack_size = read_ascii(&r, plain.header.flexible, &rack)
        if rack_size < 0:
            r.bad = 1
        plain.names_rack = rack_size > 0
    if plain.header.flexible:
        read_tags(&r, &plain)
    if r.bad or remaining(&r) or parts > MAX_PARTITIONS or forgotten > MAX_PARTITIONS:
        return NULL
    fetch = fetch_new(parts, forgotten)
    if fetch == NULL:
        return NULL
    copy_start(fetch, &plain)
    walk_asked(&body, fetch, fetch.parts)
    walk_forgotten(&body, fetch, fetch.forgotten)
    if not merge_repeats(fetch) or not ordinary(fetch):
        fetch_free(fetch)
        return NULL
    return fetch

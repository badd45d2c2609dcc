"""A session is an ordered list of partitions with a hash table over it, under its own lock; the cache is a hash table of
sessions and a list by last use, under the cache's.  Lock order: cache, session.

Rules of eviction are Kafka's: a session unused for two minutes goes first; else the smallest one that is older than two
minutes and not larger than the newcomer.  Partitions that were answered with records move to the end of the session's
order, so that under a tight ``max_bytes`` each has its turn."""

from libc.stdint cimport int32_t, int64_t, uint32_t, uint8_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcpy
from kafkax._core.atomics cimport kx_add32
from kafkax._core.codes cimport CORE_NO_MEMORY
from kafkax._core.fetch_request cimport fetch_free, fetch_new, same_topic, topic_hash
from kafkax._core.fetch_state cimport (
    ERR_FETCH_SESSION_ID_NOT_FOUND,
    ERR_FETCH_SESSION_TOPIC_ID_ERROR,
    ERR_INVALID_FETCH_SESSION_EPOCH,
    FETCH_FULL,
    FETCH_INCREMENTAL,
    FETCH_SESSIONLESS,
    asked_t,
    by_id,
    fetch_part_t,
    fetch_t,
    topic_key_t,
)
from kafkax._core.network cimport reactor_t
from kafkax._core.pthreads cimport (
    pthread_mutex_destroy,
    pthread_mutex_init,
    pthread_mutex_lock,
    pthread_mutex_t,
    pthread_mutex_unlock,
)

cdef extern from "<sys/random.h>" nogil:
    ssize_t getrandom(void *, size_t, unsigned int)

cdef enum:
    EVICTION_MS = 120000
    INT32_MAX = 2147483647

cdef struct entry_t:
    entry_t *hash_next
    entry_t *next
    entry_t *previous
    topic_key_t topic
    asked_t asked
    # What the client was told last; -1: tell again.
    int64_t high_watermark
    int64_t log_start_offset

cdef struct session_t:
    int32_t refs
    int32_t id
    int32_t epoch
    bint by_id
    int32_t count
    int32_t bucket_count
    int64_t created_ms
    int64_t used_ms
    session_t *hash_next
    session_t *lru_next
    session_t *lru_previous
    entry_t **buckets
    entry_t *first
    entry_t *last
    pthread_mutex_t lock

cdef struct sessions_t:
    int64_t slots
    int32_t count
    uint32_t bucket_count
    session_t **buckets
    # By last use, longest ago first.
    session_t *lru_first
    session_t *lru_last
    pthread_mutex_t lock


# --- entries of a session; its lock is held ---

cdef entry_t *entry_find(session_t *session, const topic_key_t *topic, int32_t index) noexcept nogil:
    cdef entry_t *entry
    if session.bucket_count == 0:
        return NULL
    entry = session.buckets[topic_hash(topic, index) & <uint32_t>(session.bucket_count - 1)]
    while entry != NULL and not (entry.asked.index == index and same_topic(&entry.topic, topic)):
        entry = entry.hash_next
    return entry


cdef void append_entry(session_t *session, entry_t *entry) noexcept nogil:
    entry.next = NULL
    entry.previous = session.last
    if session.last != NULL:
        session.last.next = entry
    else:
        session.first = entry
    session.last = entry


cdef void unlink_entry(session_t *session, entry_t *entry) noexcept nogil:
    if entry.previous != NULL:
        entry.previous.next = entry.next
    else:
        session.first = entry.next
    if entry.next != NULL:
        entry.next.previous = entry.previous
    else:
        session.last = entry.previous


cdef bint grow(session_t *session) noexcept nogil:
    """Keep the hash table at least as large as the list; False without memory."""
    cdef int32_t size = 16 if session.bucket_count == 0 else session.bucket_count * 2
    cdef entry_t **buckets
    cdef entry_t **bucket
    cdef entry_t *entry = session.first
    if session.count < session.bucket_count:
        return True
    buckets = <entry_t **>calloc(size, sizeof(entry_t *))
    if buckets == NULL:
        return False
    while entry != NULL:
        bucket = &buckets[topic_hash(&entry.topic, entry.asked.index) & <uint32_t>(size - 1)]
        entry.hash_next = bucket[0]
        bucket[0] = entry
        entry = entry.next
    free(session.buckets)
    session.buckets = buckets
    session.bucket_count = size
    return True


cdef entry_t *entry_add(session_t *session, const topic_key_t *topic, const asked_t *asked) noexcept nogil:
    """A new entry at the end with its own copy of the name; NULL without memory."""
    cdef size_t name_size = 0 if topic.name == NULL else <size_t>topic.name_size
    cdef entry_t *entry
    cdef entry_t **bucket
    if not grow(session):
        return NULL
    entry = <entry_t *>malloc(sizeof(entry_t) + name_size)
    if entry == NULL:
        return NULL
    entry.topic = topic[0]
    if topic.name != NULL:
        memcpy(<uint8_t *>entry + sizeof(entry_t), topic.name, name_size)
        entry.topic.name = <uint8_t *>entry + sizeof(entry_t)
    entry.asked = asked[0]
    entry.high_watermark = -1
    entry.log_start_offset = -1
    bucket = &session.buckets[topic_hash(topic, asked.index) & <uint32_t>(session.bucket_count - 1)]
    entry.hash_next = bucket[0]
    bucket[0] = entry
    append_entry(session, entry)
    session.count += 1
    return entry


cdef void entry_remove(session_t *session, const topic_key_t *topic, int32_t index) noexcept nogil:
    cdef entry_t *entry = entry_find(session, topic, index)
    cdef entry_t **link
    if entry == NULL:
        return
    link = &session.buckets[topic_hash(topic, index) & <uint32_t>(session.bucket_count - 1)]
    while link[0] != entry:
        link = &link[0].hash_next
    link[0] = entry.hash_next
    unlink_entry(session, entry)
    session.count -= 1
    free(entry)


# --- sessions ---

cdef session_t *session_new(bint uses_ids, int64_t now_ms) noexcept nogil:
    cdef session_t *session = <session_t *>calloc(1, sizeof(session_t))
    if session == NULL:
        return NULL
    session.refs = 1
    session.by_id = uses_ids
    session.epoch = 1
    session.created_ms = now_ms
    session.used_ms = now_ms
    pthread_mutex_init(&session.lock, NULL)
    return session


cdef void session_leave(session_t *session) noexcept nogil:
    cdef entry_t *entry
    cdef entry_t *following
    if session == NULL or kx_add32(&session.refs, -1) > 0:
        return
    entry = session.first
    while entry != NULL:
        following = entry.next
        free(entry)
        entry = following
    pthread_mutex_destroy(&session.lock)
    free(session.buckets)
    free(session)


cdef int32_t sessions_open(reactor_t *reactor) noexcept nogil:
    cdef sessions_t *sessions = <sessions_t *>calloc(1, sizeof(sessions_t))
    if sessions == NULL:
        return CORE_NO_MEMORY
    reactor.sessions = sessions
    sessions.slots = reactor.settings.session_slots
    sessions.bucket_count = 1024
    sessions.buckets = <session_t **>calloc(sessions.bucket_count, sizeof(session_t *))
    pthread_mutex_init(&sessions.lock, NULL)
    return CORE_NO_MEMORY if sessions.buckets == NULL else 0


cdef void sessions_close(reactor_t *reactor) noexcept nogil:
    cdef sessions_t *sessions = <sessions_t *>reactor.sessions
    reactor.sessions = NULL
    if sessions == NULL:
        return
    while sessions.lru_first != NULL:
        forget(sessions, sessions.lru_first)
    pthread_mutex_destroy(&sessions.lock)
    free(sessions.buckets)
    free(sessions)


cdef int32_t sessions_count(reactor_t *reactor) noexcept nogil:
    cdef sessions_t *sessions = <sessions_t *>reactor.sessions
    cdef int32_t count
    pthread_mutex_lock(&sessions.lock)
    count = sessions.count
    pthread_mutex_unlock(&sessions.lock)
    return count


# --- the cache; its lock is held ---

cdef session_t *lookup(sessions_t *sessions, int32_t id) noexcept nogil:
    cdef session_t *session = sessions.buckets[<uint32_t>id % sessions.bucket_count]
    while session != NULL and session.id != id:
        session = session.hash_next
    return session


cdef void unlink_lru(sessions_t *sessions, session_t *session) noexcept nogil:
    if session.lru_previous != NULL:
        session.lru_previous.lru_next = session.lru_next
    else:
        sessions.lru_first = session.lru_next
    if session.lru_next != NULL:
        session.lru_next.lru_previous = session.lru_previous
    else:
        sessions.lru_last = session.lru_previous


cdef void use(sessions_t *sessions, session_t *session, int64_t now_ms) noexcept nogil:
    """Put the session to the end of the list by last use, which it must not be in."""
    session.used_ms = now_ms
    session.lru_next = NULL
    session.lru_previous = sessions.lru_last
    if sessions.lru_last != NULL:
        sessions.lru_last.lru_next = session
    else:
        sessions.lru_first = session
    sessions.lru_last = session


cdef void forget(sessions_t *sessions, session_t *session) noexcept nogil:
    cdef session_t **link = &sessions.buckets[<uint32_t>session.id % sessions.bucket_count]
    while link[0] != session:
        link = &link[0].hash_next
    link[0] = session.hash_next
    unlink_lru(sessions, session)
    sessions.count -= 1
    session_leave(session)


cdef bint evict(sessions_t *sessions, int32_t size, int64_t now_ms) noexcept nogil:
    """Make room for a session of ``size`` partitions; False when none may go."""
    cdef session_t *victim = sessions.lru_first
    cdef session_t *smallest = NULL
    if victim == NULL:
        return False
    if now_ms - victim.used_ms > EVICTION_MS:
        forget(sessions, victim)
        return True
    while victim != NULL:
        if now_ms - victim.created_ms > EVICTION_MS and (smallest == NULL or victim.count < smallest.count):
            smallest = victim
        victim = victim.lru_next
    if smallest == NULL or smallest.count > size:
        return False
    forget(sessions, smallest)
    return True


cdef void admit(sessions_t *sessions, session_t *session) noexcept nogil:
    """Give the session an id that nobody could guess and put it into the cache."""
    cdef uint32_t id = 0
    cdef session_t **bucket
    while id == 0 or lookup(sessions, <int32_t>id) != NULL:
        getrandom(&id, sizeof(id), 0)
        id &= INT32_MAX
    session.id = <int32_t>id
    bucket = &sessions.buckets[id % sessions.bucket_count]
    session.hash_next = bucket[0]
    bucket[0] = session
    use(sessions, session, session.used_ms)
    sessions.count += 1


# --- a request enters ---

cdef bint apply(session_t *session, fetch_t *fetch) noexcept nogil:
    """Add, change and forget partitions as the request says; False without memory."""
    cdef entry_t *entry
    cdef fetch_part_t *part
    cdef int32_t at
    for at in range(fetch.count):
        part = &fetch.parts[at]
        entry = entry_find(session, &part.topic, part.asked.index)
        if entry != NULL:
            entry.asked = part.asked
        elif entry_add(session, &part.topic, &part.asked) == NULL:
            return False
    for at in range(fetch.forgotten_count):
        entry_remove(session, &fetch.forgotten[at].topic, fetch.forgotten[at].index)
    return True


cdef bint copy_key(topic_key_t *into, const topic_key_t *topic) noexcept nogil:
    """Copy a key with its name; False without memory."""
    cdef uint8_t *name
    into[0] = topic[0]
    if topic.name == NULL:
        return True
    name = <uint8_t *>malloc(<size_t>topic.name_size + 1)
    into.name = name
    if name == NULL:
        return False
    memcpy(name, topic.name, <size_t>topic.name_size)
    return True


cdef fetch_t *everything(session_t *session, const fetch_t *fetch) noexcept nogil:
    """A request for all that the session follows, in its order; NULL without memory."""
    cdef fetch_t *all_parts = fetch_new(session.count, 0)
    cdef entry_t *entry = session.first
    cdef int32_t at = 0
    if all_parts == NULL:
        return NULL
    all_parts.header = fetch.header
    all_parts.max_wait_ms = fetch.max_wait_ms
    all_parts.min_bytes = fetch.min_bytes
    all_parts.max_bytes = fetch.max_bytes
    all_parts.isolation = fetch.isolation
    all_parts.session_id = fetch.session_id
    all_parts.session_epoch = fetch.session_epoch
    all_parts.kind = FETCH_INCREMENTAL
    while entry != NULL:
        all_parts.parts[at].asked = entry.asked
        all_parts.parts[at].owns_name = entry.topic.name != NULL
        if not copy_key(&all_parts.parts[at].topic, &entry.topic):
            fetch_free(all_parts)
            return NULL
        at += 1
        entry = entry.next
    return all_parts


cdef int32_t next_epoch(int32_t epoch) noexcept nogil:
    return 1 if epoch == INT32_MAX else epoch + 1


cdef fetch_t *enter_incremental(sessions_t *sessions, session_t *session, fetch_t *fetch, int64_t now_ms) noexcept nogil:
    """Both locks are held."""
    cdef fetch_t *served
    if session.epoch != fetch.session_epoch:
        fetch.error = ERR_INVALID_FETCH_SESSION_EPOCH
        return fetch
    if session.by_id != by_id(fetch):
        fetch.error = ERR_FETCH_SESSION_TOPIC_ID_ERROR
        return fetch
    if not apply(session, fetch):
        return NULL
    if session.count == 0:
        # What is asked for and forgotten at once is answered all the same, as Kafka does.
        fetch.kind = FETCH_SESSIONLESS
        return fetch
    served = everything(session, fetch)
    if served == NULL:
        return NULL
    unlink_lru(sessions, session)
    use(sessions, session, now_ms)
    session.epoch = next_epoch(session.epoch)
    kx_add32(&session.refs, 1)
    served.session = session
    return served


cdef fetch_t *session_enter(reactor_t *reactor, fetch_t *fetch, int64_t now_ms) noexcept nogil:
    cdef sessions_t *sessions = <sessions_t *>reactor.sessions
    cdef session_t *session
    cdef fetch_t *served = fetch
    if fetch.kind != FETCH_INCREMENTAL and fetch.session_id == 0:
        return fetch
    pthread_mutex_lock(&sessions.lock)
    session = lookup(sessions, fetch.session_id)
    if fetch.kind != FETCH_INCREMENTAL:
        if session != NULL:
            forget(sessions, session)
    elif session == NULL:
        fetch.error = ERR_FETCH_SESSION_ID_NOT_FOUND
    else:
        kx_add32(&session.refs, 1)
        pthread_mutex_lock(&session.lock)
        served = enter_incremental(sessions, session, fetch, now_ms)
        if served == fetch and fetch.error == 0:
            forget(sessions, session)
        pthread_mutex_unlock(&session.lock)
        session_leave(session)
    pthread_mutex_unlock(&sessions.lock)
    return served


# --- a request is answered ---

cdef session_t *session_of(fetch_t *fetch, int64_t now_ms) noexcept nogil:
    """A new session that follows what a full request asked for and knows what it is told; NULL without memory."""
    cdef session_t *session = session_new(by_id(fetch), now_ms)
    cdef entry_t *entry
    cdef int32_t at
    if session == NULL:
        return NULL
    for at in range(fetch.count):
        entry = entry_add(session, &fetch.parts[at].topic, &fetch.parts[at].asked)
        if entry == NULL:
            session_leave(session)
            return NULL
        entry.high_watermark = fetch.parts[at].result.high_watermark
        entry.log_start_offset = fetch.parts[at].result.log_start_offset
    return session


cdef void create(sessions_t *sessions, fetch_t *fetch, int64_t now_ms) noexcept nogil:
    cdef session_t *session = session_of(fetch, now_ms)
    fetch.session_id = 0
    if session == NULL:
        return
    pthread_mutex_lock(&sessions.lock)
    if sessions.count < sessions.slots or (sessions.slots > 0 and evict(sessions, session.count, now_ms)):
        admit(sessions, session)
        fetch.session_id = session.id
        session = NULL
    pthread_mutex_unlock(&sessions.lock)
    session_leave(session)


cdef bint has_news(entry_t *entry, fetch_part_t *part) noexcept nogil:
    """Whether the answer differs from what the client knows; takes it in."""
    cdef bint news = part.result.piece.length > 0 or part.diverging_epoch >= 0
    if entry.high_watermark != part.result.high_watermark:
        news = True
        entry.high_watermark = part.result.high_watermark
    if entry.log_start_offset != part.result.log_start_offset:
        news = True
        entry.log_start_offset = part.result.log_start_offset
    if part.code != 0:
        news = True
        entry.high_watermark = -1
    return news


cdef void tell_news(fetch_t *fetch) noexcept nogil:
    cdef session_t *session = fetch.session
    cdef fetch_part_t *part
    cdef entry_t *entry
    cdef int32_t at
    pthread_mutex_lock(&session.lock)
    if session.epoch != next_epoch(fetch.session_epoch):
        fetch.error = ERR_INVALID_FETCH_SESSION_EPOCH
    for at in range(fetch.count if fetch.error == 0 else 0):
        part = &fetch.parts[at]
        entry = entry_find(session, &part.topic, part.asked.index)
        part.told = entry == NULL or not has_news(entry, part)
        if entry != NULL and part.result.piece.length > 0:
            unlink_entry(session, entry)
            append_entry(session, entry)
    pthread_mutex_unlock(&session.lock)


cdef void session_answer(reactor_t *reactor, fetch_t *fetch, int64_t now_ms) noexcept nogil:
    if fetch.error:
        fetch.session_id = 0
    elif fetch.kind == FETCH_INCREMENTAL:
        tell_news(fetch)
    elif fetch.kind == FETCH_FULL:
        create(<sessions_t *>reactor.sessions, fetch, now_ms)
    else:
        fetch.session_id = 0

"""A table from requests to answers, which network threads look into and the control plane writes to, under one lock.

A request is known by its whole frame without the correlation id, on one connection; so the core need not understand it."""

cimport cython
from libc.stdint cimport int32_t, int64_t, uint8_t, uint64_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcmp, memcpy
from kafkax._core.answers cimport answer_now
from kafkax._core.codes cimport OK
from kafkax._core.cursor cimport kx_put32
from kafkax._core.linux cimport monotonic_ms
from kafkax._core.network cimport REQUEST_DONE, REQUEST_HANDOFF, connection_t
from kafkax._core.pthreads cimport pthread_mutex_destroy, pthread_mutex_init, pthread_mutex_lock, pthread_mutex_unlock

__all__ = ["StandingAnswers"]

cdef enum:
    CORRELATION_AT = 4
    CORRELATION_END = 8
    FIRST_ROOM = 64

cdef uint64_t PRIME = 0x100000001B3
cdef uint64_t OFFSET = 0xCBF29CE484222325


cdef uint64_t hash_of(uint64_t connection, const uint8_t *frame, size_t size) noexcept nogil:
    """FNV-1a over eight bytes at a time, of what is the same in every request that is alike."""
    cdef uint64_t value = (OFFSET ^ connection) * PRIME
    cdef uint64_t word
    cdef size_t at = CORRELATION_END
    while at + 8 <= size:
        memcpy(&word, frame + at, 8)
        value = (value ^ word) * PRIME
        value ^= value >> 29
        at += 8
    while at < size:
        value = (value ^ frame[at]) * PRIME
        at += 1
    return value ^ (value >> 32)


cdef inline bint alike(const standing_t *entry, uint64_t hash, uint64_t connection, const uint8_t *frame,
                       size_t size) noexcept nogil:
    return (entry.hash == hash and entry.connection == connection and entry.frame_size == size
            and memcmp(entry.data, frame, CORRELATION_AT) == 0
            and memcmp(entry.data + CORRELATION_END, frame + CORRELATION_END, size - CORRELATION_END) == 0)


cdef standing_t *standing_for(standings_t *table, uint64_t hash, connection_t *connection, const uint8_t *frame,
                              size_t size) noexcept nogil:
    """What stands for what begins a frame, NULL when nothing does any more; ``lock`` held."""
    cdef standing_t *entry = table.buckets[hash & (table.room - 1)]
    while entry != NULL and not alike(entry, hash, connection.id, frame, size):
        entry = entry.next
    return entry if entry != NULL and entry.kept_in == entry.round[0] else NULL


cdef int32_t answer_standing(connection_t *connection, const uint8_t *frame, size_t size) noexcept nogil:
    cdef standings_t *table = <standings_t *>connection.thread.reactor.standings
    cdef standing_t *entry
    cdef uint64_t hash
    cdef int32_t done = REQUEST_HANDOFF
    # What the control plane has of this connection comes first.
    if table == NULL or connection.handed:
        return REQUEST_HANDOFF
    hash = hash_of(connection.id, frame, size)
    pthread_mutex_lock(&table.lock)
    entry = standing_for(table, hash, connection, frame, size)
    if entry != NULL and answer_now(connection, entry.data + entry.frame_size, entry.answer_size) == OK:
        memcpy(connection.last.data + 4, frame + CORRELATION_AT, 4)
        entry.heard_ms = monotonic_ms()
        done = REQUEST_DONE
    pthread_mutex_unlock(&table.lock)
    return done


cdef bint commits_stand(connection_t *connection, const uint8_t *who, size_t size) noexcept nogil:
    cdef standings_t *table = <standings_t *>connection.thread.reactor.standings
    cdef standing_t *entry
    cdef uint64_t hash
    if table == NULL or size < CORRELATION_END:
        return False
    hash = hash_of(connection.id, who, size)
    pthread_mutex_lock(&table.lock)
    entry = standing_for(table, hash, connection, who, size)
    if entry != NULL and not entry.silent:
        entry.heard_ms = monotonic_ms()
    pthread_mutex_unlock(&table.lock)
    return entry != NULL


@cython.no_gc_clear  # the table is needed to the end
cdef class Standing:
    def __dealloc__(self):
        if self.entry != NULL:
            self.table.remove(self.entry)
            free(self.entry)


cdef class StandingGroup:
    def __cinit__(self):
        self.members, self.committers = {}, {}
        self.round = <int64_t *>calloc(1, sizeof(int64_t))
        if self.round == NULL:
            raise MemoryError("a group of standing answers")

    def __dealloc__(self):
        # the members' entries point to it
        self.members = self.committers = None
        free(self.round)


cdef class StandingAnswers:
    def __cinit__(self):
        self.groups = {}
        self.table.buckets = <standing_t **>calloc(FIRST_ROOM, sizeof(standing_t *))
        if self.table.buckets == NULL:
            raise MemoryError("standing answers")
        self.table.room = FIRST_ROOM
        pthread_mutex_init(&self.table.lock, NULL)
        self.opened = True

    def __dealloc__(self):
        if self.opened:
            free(self.table.buckets)
            pthread_mutex_destroy(&self.table.lock)

    def __len__(self):
        return self.table.count

    cdef void insert(self, standing_t *entry) noexcept:
        cdef standing_t **bucket
        pthread_mutex_lock(&self.table.lock)
        bucket = &self.table.buckets[entry.hash & (self.table.room - 1)]
        entry.next = bucket[0]
        bucket[0] = entry
        self.table.count += 1
        pthread_mutex_unlock(&self.table.lock)

    cdef void remove(self, standing_t *entry) noexcept:
        cdef standing_t **link
        pthread_mutex_lock(&self.table.lock)
        link = &self.table.buckets[entry.hash & (self.table.room - 1)]
        while link[0] != entry:
            link = &link[0].next
        link[0] = entry.next
        self.table.count -= 1
        pthread_mutex_unlock(&self.table.lock)

    cdef int grow(self) except -1:
        cdef size_t room = self.table.room * 2, at
        cdef standing_t **buckets
        cdef standing_t **old
        cdef standing_t *entry
        cdef standing_t *following
        if self.table.count < self.table.room:
            return 0
        buckets = <standing_t **>calloc(room, sizeof(standing_t *))
        if buckets == NULL:
            raise MemoryError(f"{room} standing answers")
        pthread_mutex_lock(&self.table.lock)
        for at in range(self.table.room):
            entry = self.table.buckets[at]
            while entry != NULL:
                following = entry.next
                entry.next = buckets[entry.hash & (room - 1)]
                buckets[entry.hash & (room - 1)] = entry
                entry = following
        old = self.table.buckets
        self.table.buckets = buckets
        self.table.room = room
        pthread_mutex_unlock(&self.table.lock)
        free(old)
        return 0

    cdef int put(self, StandingGroup of, dict kept, str member, uint64_t connection, bytes frame, bytes answer,
                 bint silent) except -1:
        cdef Standing before = kept.get(member), standing
        cdef standing_t *entry
        cdef size_t size = len(frame), answer_size = len(answer)
        self.grow()
        entry = <standing_t *>malloc(sizeof(standing_t) + size + 4 + answer_size)
        if entry == NULL:
            raise MemoryError("a standing answer")
        entry.hash = hash_of(connection, <const uint8_t *><const char *>frame, size)
        entry.connection = connection
        entry.heard_ms = 0 if before is None else before.entry.heard_ms
        entry.silent = silent
        entry.round = of.round
        entry.kept_in = of.round[0]
        entry.frame_size = size
        entry.answer_size = 4 + answer_size
        memcpy(entry.data, <const char *>frame, size)
        kx_put32(entry.data + size, <unsigned int>answer_size)
        memcpy(entry.data + size + 4, <const char *>answer, answer_size)
        standing = Standing.__new__(Standing)
        standing.table = self
        standing.entry = entry
        self.insert(entry)
        kept[member] = standing
        return 0

    def keep(self, str group not None, str member not None, long long round, unsigned long long connection, bytes frame not None,
             bytes answer not None):
        cdef StandingGroup of = self.groups.get(group)
        if of is not None and of.round[0] == round and len(frame) >= CORRELATION_END and len(answer) >= 4:
            self.put(of, of.members, member, connection, frame, answer, False)

    def allow(self, str group not None, str member not None, long long round, unsigned long long connection, bytes who not None,
              *, bint silent):
        cdef StandingGroup of = self.groups.get(group)
        if of is not None and of.round[0] == round and len(who) >= CORRELATION_END:
            self.put(of, of.committers, member, connection, who, b"", silent)

    def round(self, str group not None):
        cdef StandingGroup of = self.groups.get(group)
        if of is None:
            of = self.groups[group] = StandingGroup()
            self.rounds += 1
            of.round[0] = self.rounds
        return of.round[0]

    def revoke(self, str group not None):
        cdef StandingGroup of = self.groups.get(group)
        if of is not None:
            self.rounds += 1
            pthread_mutex_lock(&self.table.lock)
            of.round[0] = self.rounds
            pthread_mutex_unlock(&self.table.lock)

    def revoke_all(self):
        for group in self.groups:
            self.revoke(group)

    def heard(self, str group not None, str member not None):
        cdef StandingGroup of = self.groups.get(group)
        cdef Standing standing
        cdef int64_t heard_ms = 0
        if of is None:
            return 0.0
        for kept in (of.members, of.committers):
            standing = kept.get(member)
            if standing is not None:
                pthread_mutex_lock(&self.table.lock)
                heard_ms = max(heard_ms, standing.entry.heard_ms)
                pthread_mutex_unlock(&self.table.lock)
        return heard_ms / 1000.0

    def forget(self, str group not None, str member=None):
        cdef StandingGroup of = self.groups.get(group)
        if of is None:
            return
        self.revoke(group)
        if member is not None:
            of.members.pop(member, None)
            of.committers.pop(member, None)
        else:
            of.members.clear()
            of.committers.clear()
            del self.groups[group]

"""The partitions that this broker hosts, by topic name and by topic id."""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcmp
from kafkax._core.atomics cimport kx_add32, kx_store32
from kafkax._core.hashes cimport fnv1a
from kafkax._core.lines cimport fetch_lines
from kafkax._core.logstate cimport LOG_LINES, log_ahead, log_wake_all
from kafkax._core.partition cimport Partition, partition_log, partition_release, partition_retain
from kafkax._core.pthreads cimport (
    pthread_rwlock_destroy, pthread_rwlock_init, pthread_rwlock_rdlock, pthread_rwlock_unlock, pthread_rwlock_wrlock,
)
from kafkax._core.replication_quota cimport ReplicationQuota, quota_release, quota_retain

cdef enum:
    SMALLEST_TABLE = 16
    ID_BYTES = 16


cdef uint64_t hash_key(const void *key, size_t size, int32_t index) noexcept nogil:
    """FNV-1a over the key, mixed with the partition's number."""
    cdef uint64_t h = (fnv1a(key, size) ^ <uint64_t>index) * <uint64_t>0x9E3779B97F4A7C15
    return h ^ (h >> 32)


cdef bint same(const partition_t *partition, const void *key, size_t size, int32_t index, bint by_id) noexcept nogil:
    if partition.index != index:
        return False
    if by_id:
        return memcmp(partition.topic_id, key, ID_BYTES) == 0
    return <size_t>partition.topic_size == size and memcmp(partition.topic, key, size) == 0


cdef registry_slot_t *probe(registry_table_t *table, uint64_t h, const void *key, size_t size, int32_t index,
                            bint by_id) noexcept nogil:
    """The partition's slot, or the free one where it would go; NULL in a table without slots."""
    cdef uint64_t i = h & <uint64_t>(table.room - 1)
    if table.room == 0:
        return NULL
    while table.slots[i].partition != NULL:
        if table.slots[i].hash == h and same(table.slots[i].partition, key, size, index, by_id):
            break
        i = (i + 1) & <uint64_t>(table.room - 1)
    return &table.slots[i]


cdef bint resize(registry_table_t *table, int64_t room) noexcept nogil:
    """Put all partitions into a table of ``room`` slots; False without memory."""
    cdef registry_slot_t *slots = <registry_slot_t *>calloc(room, sizeof(registry_slot_t))
    cdef uint64_t at
    cdef int64_t i
    if slots == NULL:
        return False
    table.count = 0
    for i in range(table.room):
        if table.slots[i].partition == NULL:
            continue
        at = table.slots[i].hash & <uint64_t>(room - 1)
        while slots[at].partition != NULL:
            at = (at + 1) & <uint64_t>(room - 1)
        slots[at] = table.slots[i]
        table.count += 1
    free(table.slots)
    table.slots = slots
    table.room = room
    return True


cdef bint remove(registry_table_t *table, const partition_t *partition, uint64_t h) noexcept nogil:
    """Take the partition out, moving up what its slot kept from its place; whether it was there."""
    cdef uint64_t mask = <uint64_t>(table.room - 1)
    cdef uint64_t hole = h & mask
    cdef uint64_t i
    if table.room == 0:
        return False
    while table.slots[hole].partition != partition:
        if table.slots[hole].partition == NULL:
            return False
        hole = (hole + 1) & mask
    i = (hole + 1) & mask
    while table.slots[i].partition != NULL:
        # It may move up unless its home lies behind the hole.
        if ((i - (table.slots[i].hash & mask)) & mask) >= ((i - hole) & mask):
            table.slots[hole] = table.slots[i]
            hole = i
        i = (i + 1) & mask
    table.slots[hole].partition = NULL
    table.count -= 1
    return True


cdef bint insert(registry_table_t *table, partition_t *partition, const void *key, size_t size, bint by_id) noexcept nogil:
    cdef uint64_t h = hash_key(key, size, partition.index)
    cdef registry_slot_t *slot
    if table.count * 2 >= table.room and not resize(table, table.room * 2 if table.room else SMALLEST_TABLE):
        return False
    slot = probe(table, h, key, size, partition.index, by_id)
    if slot.partition == NULL:
        table.count += 1
    slot.hash = h
    slot.partition = partition
    return True


cdef void registry_retain(registry_t *registry) noexcept nogil:
    kx_add32(&registry.refs, 1)


cdef void registry_release(registry_t *registry) noexcept nogil:
    cdef int64_t i
    if registry == NULL or kx_add32(&registry.refs, -1) > 0:
        return
    for i in range(registry.names.room):
        partition_release(registry.names.slots[i].partition)
    free(registry.names.slots)
    free(registry.ids.slots)
    quota_release(registry.quota)
    pthread_rwlock_destroy(&registry.lock)
    free(registry)


cdef partition_t *find(registry_t *registry, registry_table_t *table, const void *key, size_t size, int32_t index,
                       bint by_id) noexcept nogil:
    cdef registry_slot_t *slot
    cdef partition_t *partition = NULL
    pthread_rwlock_rdlock(&registry.lock)
    slot = probe(table, hash_key(key, size, index), key, size, index, by_id)
    if slot != NULL and slot.partition != NULL:
        partition = slot.partition
        partition_retain(partition)
    pthread_rwlock_unlock(&registry.lock)
    return partition


cdef partition_t *registry_get(registry_t *registry, const char *topic, size_t size, int32_t index) noexcept nogil:
    return find(registry, &registry.names, topic, size, index, False)


cdef partition_t *registry_get_by_id(registry_t *registry, const uint8_t *topic_id, int32_t index) noexcept nogil:
    return find(registry, &registry.ids, topic_id, ID_BYTES, index, True)


cdef void registry_ahead(registry_t *registry, const uint8_t *const *keys, const int32_t *indexes, int32_t count, size_t size,
                         bint by_id) noexcept nogil:
    cdef registry_table_t *table = &registry.ids if by_id else &registry.names
    cdef registry_slot_t *slots[LOOKED_AHEAD]
    cdef partition_t *partitions[LOOKED_AHEAD]
    cdef int32_t at, found = 0
    pthread_rwlock_rdlock(&registry.lock)
    if table.room > 0:
        for at in range(count):
            # Mostly the right one; nothing depends on it.
            slots[at] = &table.slots[hash_key(keys[at], size, indexes[at]) & <uint64_t>(table.room - 1)]
            fetch_lines(slots[at], 1)
        for at in range(count):
            if slots[at].partition != NULL:
                partitions[found] = slots[at].partition
                fetch_lines(partitions[found], 1)
                found += 1
        for at in range(found):
            fetch_lines(partition_log(partitions[at]), LOG_LINES)
        for at in range(found):
            log_ahead(partition_log(partitions[at]))
    pthread_rwlock_unlock(&registry.lock)


cdef void wake_and_release(partition_t *partition) noexcept:
    with nogil:
        log_wake_all(partition.log)
        partition_release(partition)


cdef class Registry:
    def __cinit__(self, *, bint elsewhere=False, ReplicationQuota quota=None):
        self._partitions = {}
        self.registry = <registry_t *>calloc(1, sizeof(registry_t))
        if self.registry == NULL:
            raise MemoryError
        self.registry.refs = 1
        self.registry.elsewhere = elsewhere
        if quota is not None:
            quota_retain(quota.quota)
            self.registry.quota = quota.quota
        pthread_rwlock_init(&self.registry.lock, NULL)

    def __dealloc__(self):
        registry_release(self.registry)

    def add(self, Partition partition not None):
        cdef partition_t *own = partition.partition
        cdef bint done
        key = (partition.topic, partition.index)
        if key in self._partitions:
            raise ValueError(f"partition {key[0]}-{key[1]} is registered already")
        with nogil:
            pthread_rwlock_wrlock(&self.registry.lock)
            done = insert(&self.registry.names, own, own.topic, own.topic_size, False)
            if done:
                partition_retain(own)
                done = insert(&self.registry.ids, own, own.topic_id, ID_BYTES, True)
            pthread_rwlock_unlock(&self.registry.lock)
        if not done:
            raise MemoryError
        self._partitions[key] = partition

    def get(self, str topic not None, int32_t index):
        return self._partitions.get((topic, index))

    def get_by_id(self, topic_id, int32_t index):
        cdef bytes uuid = topic_id.bytes
        cdef const uint8_t *text = uuid
        cdef partition_t *found = registry_get_by_id(self.registry, text, index)
        if found == NULL:
            return None
        name = found.topic[: found.topic_size].decode()
        partition_release(found)
        return self._partitions.get((name, index))

    def remove(self, str topic not None, int32_t index):
        cdef Partition partition = self.take(topic, index)
        if partition is not None:
            wake_and_release(partition.partition)
        return partition

    def remove_all(self, partitions):
        cdef Partition partition
        cdef list taken = [self.take(topic, index) for topic, index in partitions]
        for partition in taken:
            if partition is not None:
                wake_and_release(partition.partition)

    cdef Partition take(self, str topic, int32_t index):
        """Forget a partition; whoever waits for it has still to be woken, and the reference is the caller's."""
        cdef Partition partition = self._partitions.pop((topic, index), None)
        cdef partition_t *own
        if partition is None:
            return None
        own = partition.partition
        with nogil:
            pthread_rwlock_wrlock(&self.registry.lock)
            remove(&self.registry.names, own, hash_key(own.topic, own.topic_size, own.index))
            remove(&self.registry.ids, own, hash_key(own.topic_id, ID_BYTES, own.index))
            pthread_rwlock_unlock(&self.registry.lock)
            kx_store32(&own.removed, 1)
            kx_store32(&own.is_leader, 0)
        return partition

    def __len__(self):
        return len(self._partitions)

    def __iter__(self):
        return iter(list(self._partitions.values()))

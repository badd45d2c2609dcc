"""A hash table of topics, by id and by name, and a list of brokers for each listener, under one lock: read where a client has
asked the wrong broker or for what is nowhere, written when the image changes.  Names tell topics apart, as in the image."""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc, realloc
from libc.string cimport memcmp, memcpy
from kafkax._core.atomics cimport kx_load64
from kafkax._core.codes cimport (
    ERR_KAFKA_STORAGE_ERROR, ERR_NOT_LEADER_OR_FOLLOWER, ERR_UNKNOWN_TOPIC_ID, ERR_UNKNOWN_TOPIC_OR_PARTITION,
)
from kafkax._core.cursor cimport write_bytes, write_i32, write_uvarint, writer, writer_t
from kafkax._core.fields cimport write_no_tags, write_no_text, write_text
from kafkax._core.hashes cimport fnv1a
from kafkax._core.network cimport MAX_LISTENERS
from kafkax._core.partition cimport leader_epoch_of, leader_of, leadership as packed, partition_release, partition_t
from kafkax._core.pthreads cimport (
    pthread_rwlock_destroy, pthread_rwlock_init, pthread_rwlock_rdlock, pthread_rwlock_unlock, pthread_rwlock_wrlock,
)
from kafkax._core.registry cimport registry_get_by_id
from kafkax._core.varint cimport uvarint_size

__all__ = ["Leaders", "leadership"]

cdef enum:
    ID_BYTES = 16
    FIRST_ROOM = 64
    CURRENT_LEADER_SIZE = 9
    # Bytes of a ``NodeEndpoint`` beside its texts.
    NODE_SIZE = 24


cdef inline size_t bucket_of(const uint8_t *topic_id, size_t room) noexcept nogil:
    """Ids are random, but for those that somebody chose."""
    cdef uint64_t words[2]
    memcpy(words, topic_id, ID_BYTES)
    return <size_t>(((words[0] ^ words[1]) * <uint64_t>0x9E3779B97F4A7C15) >> 32) & (room - 1)


cdef size_t bucket_of_name(const uint8_t *name, size_t size, size_t room) noexcept nogil:
    """Its place among all buckets, where those by name are behind those by id."""
    cdef uint64_t h = fnv1a(name, size)
    return room + (<size_t>(h ^ h >> 32) & (room - 1))


cdef led_topic_t *find_topic(leaders_t *leaders, const uint8_t *topic_id) noexcept nogil:
    """NULL when there is none; lock held."""
    cdef led_topic_t *topic = leaders.buckets[bucket_of(topic_id, leaders.room)]
    while topic != NULL and memcmp(topic.id, topic_id, ID_BYTES) != 0:
        topic = topic.next
    return topic


cdef led_topic_t *find_named(leaders_t *leaders, const uint8_t *name, size_t size) noexcept nogil:
    """NULL when there is none; lock held."""
    cdef led_topic_t *topic = leaders.buckets[bucket_of_name(name, size, leaders.room)]
    while topic != NULL and (topic.name_size != size or memcmp(topic.name, name, size) != 0):
        topic = topic.next_named
    return topic


cdef int64_t in_image(leaders_t *leaders, const uint8_t *topic_id, int32_t index) noexcept nogil:
    """What the image says, -1 when it knows no such partition; lock held."""
    cdef led_topic_t *topic = find_topic(leaders, topic_id)
    return topic.leaders[index] if topic != NULL and 0 <= index < topic.count else -1


cdef int64_t at_hand(registry_t *registry, const uint8_t *topic_id, int32_t index) noexcept nogil:
    """What the replica here was told, -1 when there is none."""
    cdef partition_t *partition = registry_get_by_id(registry, topic_id, index)
    cdef int64_t found = -1
    if partition != NULL:
        found = kx_load64(&partition.leadership)
        partition_release(partition)
    return found


cdef bint add_endpoint(endpoints_t *endpoints, const node_t *node) noexcept nogil:
    cdef uint8_t *data
    cdef int32_t *ids
    cdef int32_t at
    for at in range(endpoints.count):
        if endpoints.ids[at] == node.id:
            return True
    ids = <int32_t *>realloc(endpoints.ids, (endpoints.count + 1) * sizeof(int32_t))
    if ids == NULL:
        return False
    endpoints.ids = ids
    data = <uint8_t *>realloc(endpoints.data, endpoints.size + <size_t>node.size)
    if data == NULL:
        return False
    endpoints.data = data
    memcpy(data + endpoints.size, node.data, <size_t>node.size)
    endpoints.size += <size_t>node.size
    ids[endpoints.count] = node.id
    endpoints.count += 1
    return True


cdef bint leaders_find(leaders_t *leaders, registry_t *registry, int32_t listener, const uint8_t *topic_id, int32_t index,
                       leader_t *leader, endpoints_t *endpoints) noexcept nogil:
    cdef int64_t here = at_hand(registry, topic_id, index), found
    cdef bint done = True
    cdef nodes_t *nodes
    cdef int32_t at
    leader.told = False
    if leaders == NULL:
        return True
    pthread_rwlock_rdlock(&leaders.lock)
    found = in_image(leaders, topic_id, index)
    if leader_epoch_of(here) > leader_epoch_of(found):
        found = here
    leader.id = leader_of(found)
    leader.epoch = leader_epoch_of(found)
    leader.told = found != -1
    nodes = &leaders.listeners[listener]
    for at in range(nodes.count if leader.told else 0):
        if nodes.nodes[at].id == leader.id:
            done = add_endpoint(endpoints, nodes.nodes[at])
            break
    pthread_rwlock_unlock(&leaders.lock)
    return done


cdef int32_t leaders_refusal(leaders_t *leaders, const uint8_t *name, size_t name_size, const uint8_t *topic_id,
                             int32_t index) noexcept nogil:
    cdef int32_t code = ERR_NOT_LEADER_OR_FOLLOWER
    cdef led_topic_t *topic
    pthread_rwlock_rdlock(&leaders.lock)
    topic = find_topic(leaders, topic_id) if name == NULL else find_named(leaders, name, name_size)
    if topic == NULL and name == NULL:
        code = ERR_UNKNOWN_TOPIC_ID
    elif topic == NULL or not 0 <= index < topic.count or topic.leaders[index] == -1:
        code = ERR_UNKNOWN_TOPIC_OR_PARTITION
    elif topic.failed != NULL and topic.failed[index]:
        code = ERR_KAFKA_STORAGE_ERROR
    pthread_rwlock_unlock(&leaders.lock)
    return code


cdef void endpoints_release(endpoints_t *endpoints) noexcept nogil:
    free(endpoints.ids)
    free(endpoints.data)
    endpoints.ids = NULL
    endpoints.data = NULL
    endpoints.size = 0
    endpoints.count = 0


cdef void write_leader(writer_t *w, int32_t tag, const leader_t *leader) noexcept nogil:
    if not leader.told:
        write_uvarint(w, 0)
        return
    write_uvarint(w, 1)
    write_uvarint(w, <uint32_t>tag)
    write_uvarint(w, CURRENT_LEADER_SIZE)
    write_i32(w, leader.id)
    write_i32(w, leader.epoch)
    write_uvarint(w, 0)


cdef void write_endpoints(writer_t *w, const endpoints_t *endpoints) noexcept nogil:
    cdef uint32_t length = <uint32_t>endpoints.count + 1
    if endpoints.count == 0:
        write_uvarint(w, 0)
        return
    write_uvarint(w, 1)
    write_uvarint(w, 0)
    write_uvarint(w, <uint32_t>(uvarint_size(length) + endpoints.size))
    write_uvarint(w, length)
    write_bytes(w, endpoints.data, endpoints.size)


def leadership(int32_t leader, int32_t epoch):
    return packed(leader, epoch)


cdef node_t *new_node(int32_t id, bytes host, int32_t port, bytes rack) except NULL:
    cdef size_t room = NODE_SIZE + <size_t>len(host) + (0 if rack is None else <size_t>len(rack))
    cdef node_t *node = <node_t *>malloc(sizeof(node_t) + room)
    cdef writer_t w
    if node == NULL:
        raise MemoryError("an endpoint")
    w = writer(node.data, room)
    write_i32(&w, id)
    write_text(&w, <const char *>host, <int32_t>len(host), True)
    write_i32(&w, port)
    if rack is None:
        write_no_text(&w, True)
    else:
        write_text(&w, <const char *>rack, <int32_t>len(rack), True)
    write_no_tags(&w, True)
    node.id = id
    node.size = <int32_t>(w.at - node.data)
    return node


cdef void free_nodes(nodes_t *nodes) noexcept nogil:
    cdef int32_t at
    for at in range(nodes.count):
        free(nodes.nodes[at])
    free(nodes.nodes)
    nodes.nodes = NULL
    nodes.count = 0


cdef led_topic_t *new_topic(bytes name, bytes id, const int64_t[::1] leaders, bytes failed) except NULL:
    cdef size_t count = <size_t>leaders.shape[0], size = <size_t>len(name), marks = <size_t>len(failed)
    cdef led_topic_t *topic
    cdef uint8_t *texts
    if marks and marks != count:
        raise ValueError(f"{marks} marks for {count} partitions")
    topic = <led_topic_t *>malloc(sizeof(led_topic_t) + count * sizeof(int64_t) + size + marks)
    if topic == NULL:
        raise MemoryError("leaders of a topic")
    memcpy(topic.id, <const char *>id, ID_BYTES)
    topic.count = <int32_t>count
    if count:
        memcpy(topic.leaders, &leaders[0], count * sizeof(int64_t))
    texts = <uint8_t *>(topic.leaders + count)
    memcpy(texts, <const char *>name, size)
    memcpy(texts + size, <const char *>failed, marks)
    topic.name = texts
    topic.name_size = size
    topic.failed = texts + size if marks else NULL
    return topic


cdef class Leaders:
    def __cinit__(self):
        self.table.buckets = <led_topic_t **>calloc(2 * FIRST_ROOM, sizeof(led_topic_t *))
        if self.table.buckets == NULL:
            raise MemoryError("leaders")
        self.table.room = FIRST_ROOM
        pthread_rwlock_init(&self.table.lock, NULL)
        self.opened = True

    def __dealloc__(self):
        cdef led_topic_t *topic
        cdef size_t at
        if not self.opened:
            return
        for at in range(self.table.room):
            while self.table.buckets[at] != NULL:
                topic = self.table.buckets[at]
                self.table.buckets[at] = topic.next
                free(topic)
        free(self.table.buckets)
        for at in range(<size_t>MAX_LISTENERS):
            free_nodes(&self.table.listeners[at])
        pthread_rwlock_destroy(&self.table.lock)

    def __len__(self):
        return self.table.count

    cdef led_topic_t *take(self, const uint8_t *name, size_t size) noexcept nogil:
        """Take a topic out, NULL when it is not there; lock held."""
        cdef led_topic_t *topic = find_named(&self.table, name, size)
        cdef led_topic_t **link
        if topic == NULL:
            return NULL
        link = &self.table.buckets[bucket_of_name(name, size, self.table.room)]
        while link[0] != topic:
            link = &link[0].next_named
        link[0] = topic.next_named
        # Several may have one id: topics of old have none, which is a zero.
        link = &self.table.buckets[bucket_of(topic.id, self.table.room)]
        while link[0] != topic:
            link = &link[0].next
        link[0] = topic.next
        self.table.count -= 1
        return topic

    cdef void link(self, led_topic_t *topic) noexcept nogil:
        """Put a topic into its buckets; lock held."""
        cdef led_topic_t **bucket = &self.table.buckets[bucket_of(topic.id, self.table.room)]
        topic.next = bucket[0]
        bucket[0] = topic
        bucket = &self.table.buckets[bucket_of_name(topic.name, topic.name_size, self.table.room)]
        topic.next_named = bucket[0]
        bucket[0] = topic

    cdef bint put(self, led_topic_t *topic) noexcept nogil:
        """Put a topic in that is not there, in a table as large as there are topics; False without memory. Lock held."""
        cdef size_t room = self.table.room, at
        cdef led_topic_t **former = self.table.buckets
        cdef led_topic_t **buckets
        cdef led_topic_t *moved
        if self.table.count == room:
            buckets = <led_topic_t **>calloc(room * 4, sizeof(led_topic_t *))
            if buckets == NULL:
                return False
            self.table.buckets = buckets
            self.table.room = room * 2
            for at in range(room):
                while former[at] != NULL:
                    moved = former[at]
                    former[at] = moved.next
                    self.link(moved)
            free(former)
        self.link(topic)
        self.table.count += 1
        return True

    def set_topic(self, str name not None, topic_id not None, const int64_t[::1] leaders not None, bytes failed not None=b""):
        cdef led_topic_t *topic = new_topic(name.encode(), topic_id.bytes, leaders, failed)
        cdef led_topic_t *former
        cdef bint done
        with nogil:
            pthread_rwlock_wrlock(&self.table.lock)
            former = self.take(topic.name, topic.name_size)
            done = self.put(topic)
            pthread_rwlock_unlock(&self.table.lock)
        free(former)
        if not done:
            free(topic)
            raise MemoryError("leaders of a topic")

    def forget_topic(self, str name not None):
        cdef bytes encoded = name.encode()
        cdef const uint8_t *text = <const uint8_t *><const char *>encoded
        cdef size_t size = <size_t>len(encoded)
        cdef led_topic_t *former
        with nogil:
            pthread_rwlock_wrlock(&self.table.lock)
            former = self.take(text, size)
            pthread_rwlock_unlock(&self.table.lock)
        free(former)

    def set_nodes(self, int32_t listener, nodes):
        cdef list known = list(nodes)
        cdef nodes_t fresh, former
        if not 0 <= listener < MAX_LISTENERS:
            raise ValueError(f"listener {listener}: 0 to {MAX_LISTENERS - 1}")
        fresh.count = 0
        fresh.nodes = <node_t **>calloc(len(known) + 1, sizeof(node_t *))
        if fresh.nodes == NULL:
            raise MemoryError("endpoints")
        try:
            for id, host, port, rack in known:
                fresh.nodes[fresh.count] = new_node(id, host.encode(), port, None if rack is None else rack.encode())
                fresh.count += 1
        except BaseException:
            free_nodes(&fresh)
            raise
        with nogil:
            pthread_rwlock_wrlock(&self.table.lock)
            former = self.table.listeners[listener]
            self.table.listeners[listener] = fresh
            pthread_rwlock_unlock(&self.table.lock)
        free_nodes(&former)

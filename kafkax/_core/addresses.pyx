"""A chained hash table from address to count, under the reactor's lock: touched once per connection, not per request."""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcmp, memcpy, memset
from kafkax._core.linux cimport AF_INET6, sockaddr_in, sockaddr_in6
from kafkax._core.network cimport reactor_t
from kafkax._core.pthreads cimport pthread_mutex_lock, pthread_mutex_unlock

cdef enum:
    BUCKETS = 4096

cdef struct entry_t:
    entry_t *next
    int64_t count
    uint8_t address[16]


cdef void key_of(const sockaddr_in6 *address, uint8_t *key) noexcept nogil:
    """16 bytes that stand for the peer's address without its port."""
    memset(key, 0, 16)
    if address.sin6_family == AF_INET6:
        memcpy(key, &address.sin6_addr, 16)
    else:
        memcpy(key + 12, &(<const sockaddr_in *>address).sin_addr, 4)


cdef entry_t **bucket_of(reactor_t *reactor, const uint8_t *key) noexcept nogil:
    cdef uint32_t hash = 2166136261
    cdef int32_t at
    if reactor.addresses == NULL:
        reactor.addresses = calloc(BUCKETS, sizeof(entry_t *))
        if reactor.addresses == NULL:
            return NULL
    for at in range(16):
        hash = (hash ^ key[at]) * 16777619
    return &(<entry_t **>reactor.addresses)[hash % BUCKETS]


cdef bint count_in(reactor_t *reactor, const uint8_t *key) noexcept nogil:
    cdef entry_t **bucket = bucket_of(reactor, key)
    cdef entry_t *entry
    if bucket == NULL:
        return False
    entry = bucket[0]
    while entry != NULL and memcmp(entry.address, key, 16) != 0:
        entry = entry.next
    if entry == NULL:
        if reactor.settings.max_connections_per_ip < 1:
            return False
        entry = <entry_t *>malloc(sizeof(entry_t))
        if entry == NULL:
            return False
        memcpy(entry.address, key, 16)
        entry.count = 0
        entry.next = bucket[0]
        bucket[0] = entry
    elif entry.count >= reactor.settings.max_connections_per_ip:
        return False
    entry.count += 1
    return True


cdef bint address_enter(reactor_t *reactor, const sockaddr_in6 *address) noexcept nogil:
    cdef uint8_t key[16]
    cdef bint admitted
    key_of(address, key)
    pthread_mutex_lock(&reactor.lock)
    admitted = count_in(reactor, key)
    pthread_mutex_unlock(&reactor.lock)
    return admitted


cdef void address_leave(reactor_t *reactor, const sockaddr_in6 *address) noexcept nogil:
    cdef uint8_t key[16]
    cdef entry_t **link
    cdef entry_t *entry
    key_of(address, key)
    pthread_mutex_lock(&reactor.lock)
    link = bucket_of(reactor, key)
    while link != NULL and link[0] != NULL and memcmp(link[0].address, key, 16) != 0:
        link = &link[0].next
    if link != NULL and link[0] != NULL:
        entry = link[0]
        entry.count -= 1
        if entry.count <= 0:
            link[0] = entry.next
            free(entry)
    pthread_mutex_unlock(&reactor.lock)


cdef void addresses_free(reactor_t *reactor) noexcept nogil:
    cdef int32_t at
    cdef entry_t *entry
    cdef entry_t *following
    if reactor.addresses == NULL:
        return
    for at in range(BUCKETS):
        entry = (<entry_t **>reactor.addresses)[at]
        while entry != NULL:
            following = entry.next
            free(entry)
            entry = following
    free(reactor.addresses)
    reactor.addresses = NULL

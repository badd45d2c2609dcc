"""A chained hash table from address to count, under the reactor's lock: touched once per connection, not per request."""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcmp, memcpy, memset
from kafkax._core.linux cimport AF_INET6, sockaddr_in, sockaddr_in6
from kafkax._core.network cimport own_limit_t, reactor_t
from kafkax._core.pthreads cimport pthread_mutex_lock, pthread_mutex_unlock

cdef enum:
    BUCKETS = 4096

cdef struct entry_t:
    entry_t *next
    int64_t count
    uint8_t address[16]


cdef bint is_mapped(const uint8_t *address) noexcept nogil:
    """Whether an IPv6 address stands for an IPv4 one."""
    cdef int32_t at
    for at in range(10):
        if address[at] != 0:
            return False
    return address[10] == 0xFF and address[11] == 0xFF


cdef void address_key(const sockaddr_in6 *address, uint8_t *key) noexcept nogil:
    memset(key, 0, 16)
    if address.sin6_family == AF_INET6:
        if is_mapped(<const uint8_t *>&address.sin6_addr):
            memcpy(key + 12, <const uint8_t *>&address.sin6_addr + 12, 4)
        else:
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


cdef int64_t most_of(reactor_t *reactor, const uint8_t *key) noexcept nogil:
    """Connections that an address may have."""
    cdef int32_t at
    for at in range(reactor.own_limit_count):
        if memcmp(reactor.own_limits[at].address, key, 16) == 0:
            return reactor.own_limits[at].most
    return reactor.settings.max_connections_per_ip


cdef bint count_in(reactor_t *reactor, const uint8_t *key) noexcept nogil:
    cdef entry_t **bucket = bucket_of(reactor, key)
    cdef int64_t most = most_of(reactor, key)
    cdef entry_t *entry
    if bucket == NULL:
        return False
    entry = bucket[0]
    while entry != NULL and memcmp(entry.address, key, 16) != 0:
        entry = entry.next
    if entry == NULL:
        if most < 1:
            return False
        entry = <entry_t *>malloc(sizeof(entry_t))
        if entry == NULL:
            return False
        memcpy(entry.address, key, 16)
        entry.count = 0
        entry.next = bucket[0]
        bucket[0] = entry
    elif entry.count >= most:
        return False
    entry.count += 1
    return True


cdef bint address_enter(reactor_t *reactor, const sockaddr_in6 *address) noexcept nogil:
    cdef uint8_t key[16]
    cdef bint admitted
    address_key(address, key)
    pthread_mutex_lock(&reactor.lock)
    admitted = count_in(reactor, key)
    pthread_mutex_unlock(&reactor.lock)
    return admitted


cdef void address_leave(reactor_t *reactor, const sockaddr_in6 *address) noexcept nogil:
    cdef uint8_t key[16]
    cdef entry_t **link
    cdef entry_t *entry
    address_key(address, key)
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


cdef void limits_set(reactor_t *reactor, int64_t most, own_limit_t *own, int32_t count) noexcept nogil:
    cdef own_limit_t *before
    pthread_mutex_lock(&reactor.lock)
    before = reactor.own_limits
    reactor.settings.max_connections_per_ip = most
    reactor.own_limits = own
    reactor.own_limit_count = count
    pthread_mutex_unlock(&reactor.lock)
    free(before)


cdef void addresses_free(reactor_t *reactor) noexcept nogil:
    cdef int32_t at
    cdef entry_t *entry
    cdef entry_t *following
    free(reactor.own_limits)
    reactor.own_limits = NULL
    reactor.own_limit_count = 0
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

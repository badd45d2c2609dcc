"""Who leads a partition, and where the brokers are, for answers to clients that asked the wrong one (KIP-951); what is nowhere.

The control plane leaves here what the cluster's image says.  A partition that is hosted here may know better: its replica hears
of a new leader before the image does (see ``Partition.become_follower``)."""

from libc.stdint cimport int32_t, int64_t, uint8_t
from kafkax._core.cursor cimport writer_t
from kafkax._core.pthreads cimport pthread_rwlock_t
from kafkax._core.registry cimport registry_t

cdef enum:
    LEADER_TAGS_SIZE = 12
    ENDPOINTS_TAGS_SIZE = 12

cdef struct led_topic_t:
    led_topic_t *next
    # Of the same bucket.
    led_topic_t *next_named
    # Of the same bucket by name.
    uint8_t id[16]
    const uint8_t *name
    size_t name_size
    const uint8_t *failed
    # By index: whether the replica here is out of service; NULL where none is.
    int32_t count
    int64_t leaders[1]
    # ``leadership`` of each partition, by index.

cdef struct node_t:
    int32_t id
    int32_t size
    uint8_t data[1]
    # It as a ``NodeEndpoint`` of an answer.

cdef struct nodes_t:
    node_t **nodes
    int32_t count

cdef struct leaders_t:
    pthread_rwlock_t lock
    led_topic_t **buckets
    # By id, and behind those as many by name.
    size_t room
    # A power of two.
    size_t count
    nodes_t listeners[32]
    # MAX_LISTENERS; the brokers as a client of each listener reaches them.

cdef struct leader_t:
    # ``CurrentLeader`` of a partition in an answer; ``told``: whether there is anything to say.
    bint told
    int32_t id
    int32_t epoch

cdef struct endpoints_t:
    # ``NodeEndpoints`` of an answer, each broker once; all zero at first, given back by ``endpoints_release``.
    int32_t count
    int32_t *ids
    uint8_t *data
    size_t size

# Find out who leads a partition, and add where that broker is for clients of the listener; False without memory.
# ``leaders`` may be NULL: then nobody is told anything.
cdef bint leaders_find(leaders_t *leaders, registry_t *registry, int32_t listener, const uint8_t *topic_id, int32_t index,
                       leader_t *leader, endpoints_t *endpoints) noexcept nogil

# The error for a partition that is not hosted here, by what the image says of it; by id where ``name`` is NULL.
cdef int32_t leaders_refusal(leaders_t *leaders, const uint8_t *name, size_t name_size, const uint8_t *topic_id,
                             int32_t index) noexcept nogil

cdef void endpoints_release(endpoints_t *endpoints) noexcept nogil

# The tagged fields of a partition that has no others; ``LEADER_TAGS_SIZE`` bytes at most.
cdef void write_leader(writer_t *w, int32_t tag, const leader_t *leader) noexcept nogil
# The tagged fields of the whole answer, where ``NodeEndpoints`` is tag 0; ``endpoints.size`` and ``ENDPOINTS_TAGS_SIZE`` bytes
# at most.
cdef void write_endpoints(writer_t *w, const endpoints_t *endpoints) noexcept nogil


cdef class Leaders:
    cdef leaders_t table
    cdef bint opened
    cdef led_topic_t *take(self, const uint8_t *name, size_t size) noexcept nogil
    cdef void link(self, led_topic_t *topic) noexcept nogil
    cdef bint put(self, led_topic_t *topic) noexcept nogil

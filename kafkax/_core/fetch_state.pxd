"""A Fetch request on its way through the core, and the session that it may belong to."""

from libc.stdint cimport int16_t, int32_t, int64_t, uint8_t
from kafkax._core.fields cimport request_header_t
from kafkax._core.leaders cimport endpoints_t, leader_t
from kafkax._core.logstate cimport read_result_t, waiter_t
from kafkax._core.network cimport parked_t
from kafkax._core.partition cimport partition_t
from kafkax._core.pthreads cimport pthread_mutex_t
from kafkax._core.replication_quota cimport replication_quota_t

cdef enum:
    FETCH_SESSIONLESS = 0
    FETCH_FULL = 1
    FETCH_INCREMENTAL = 2

    FLEXIBLE_SINCE = 12
    TOPIC_IDS_SINCE = 13
    SESSIONS_SINCE = 7

    INITIAL_EPOCH = 0
    FINAL_EPOCH = -1

    ERR_FETCH_SESSION_ID_NOT_FOUND = 70
    ERR_INVALID_FETCH_SESSION_EPOCH = 71
    ERR_FETCH_SESSION_TOPIC_ID_ERROR = 106

cdef struct topic_key_t:
    # A topic by id (``name`` NULL) or by name.
    const uint8_t *name
    int32_t name_size
    uint8_t id[16]

cdef struct asked_t:
    # What a request says about a partition.
    int32_t index
    int32_t leader_epoch
    int64_t offset
    int32_t last_fetched_epoch
    int32_t max_bytes

cdef struct fetch_part_t:
    topic_key_t topic
    asked_t asked
    partition_t *partition
    int32_t code
    # The topic's name is this part's own allocation.
    bint owns_name
    # Decided before any log was read: 1 the topic's id, 2 the partition is not known here.
    int32_t refused
    # Its aborted transactions are an empty list, where other errors have none at all.
    bint no_aborted
    # An incremental answer leaves out what has no news.
    bint told
    # Where its records stand has yet to be read from disk.
    bint cold
    # To a follower: one of ``THROTTLED_*``.
    int32_t throttled
    # The epoch from which on the asker's log is not the leader's, and where that ends; -1 while they agree.
    int32_t diverging_epoch
    int64_t diverging_end
    # Who leads it, where the asker is wrong about that.
    leader_t leader
    read_result_t result
    waiter_t waiter

cdef struct forgotten_t:
    topic_key_t topic
    int32_t index

cdef struct session_t

cdef struct fetch_t:
    parked_t parked
    request_header_t header
    int32_t max_wait_ms
    int32_t min_bytes
    int32_t max_bytes
    int32_t isolation
    int32_t session_id
    int32_t session_epoch
    int32_t kind
    int32_t error
    # The broker that fetches as a follower, -1 for a consumer; its epoch, where it tells it.
    int32_t replica
    int64_t replica_epoch
    # A consumer that says where it is.
    bint names_rack
    # What the follower has was noted; it says nothing new while it waits.
    bint noted
    # Parts that are cold; how often helpers were asked for such; whether it waits for them, not for its own deadline.
    int32_t cold
    int32_t searches
    bint searching
    int64_t deadline_ms
    # For throttled followers; borrowed from the registry, NULL where there is none.
    replication_quota_t *quota
    session_t *session
    # Where those are who lead.
    endpoints_t endpoints
    int32_t count
    int32_t forgotten_count
    fetch_part_t *parts
    forgotten_t *forgotten


cdef inline bint by_id(const fetch_t *fetch) noexcept nogil:
    return fetch.header.version >= TOPIC_IDS_SINCE

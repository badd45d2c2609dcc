"""Offset commits from the request to the log without the control plane: one lane for each partition of the internal topic."""

from libc.stdint cimport int16_t, int32_t, int64_t, uint8_t, uint64_t
from kafkax._core.batch_writer cimport batch_buffer_t
from kafkax._core.logstate cimport waiter_t
from kafkax._core.network cimport answer_t, connection_t, network_thread_t, parked_t, reactor_t
from kafkax._core.notify cimport notify_t
from kafkax._core.partition cimport partition_t
from kafkax._core.pthreads cimport pthread_mutex_t

cdef enum:
    ERROR_CODES = 160

cdef struct known_t:
    # A topic that may be committed for, in the chains of its name and of its id.
    known_t *by_name
    known_t *by_id
    int32_t partitions
    int32_t name_size
    uint8_t id[16]
    uint8_t name[1]

cdef struct commit_t:
    # A commit that waits: gathered for the lane's next batch, then for the high watermark.
    parked_t parked
    waiter_t waiter
    commit_t *next
    commit_t *previous
    lane_t *lane
    partition_t *partition
    answer_t *content
    int32_t version
    int32_t gathered
    int32_t code
    int32_t leader_epoch
    int64_t required_offset

cdef struct lane_t:
    pthread_mutex_t lock
    lanes_t *lanes
    # NULL while the control plane has not opened it.
    partition_t *partition
    int32_t index
    int32_t halted
    # In the list of a thread that will append what is gathered.
    int32_t listed
    lane_t *next_listed
    # Gathered: the records, and who waits for them.
    batch_buffer_t batch
    commit_t *first
    commit_t *last
    # Appended: the batches that the control plane has not seen, and the offset after the last one.
    uint8_t *taken
    size_t taken_size
    size_t taken_room
    int64_t end
    int32_t told

cdef struct lanes_t:
    int32_t count
    int32_t metadata_max
    int64_t timeout_ms
    int64_t batch_max
    # What clients are told, by error code.
    int16_t as_seen[ERROR_CODES]
    notify_t *notify
    int64_t token
    # Guards everything below.
    pthread_mutex_t lock
    reactor_t *reactor
    known_t **names
    known_t **ids
    size_t room
    size_t known_count
    lane_t lanes[1]

# Serve an OffsetCommit frame: REQUEST_DONE, REQUEST_HANDOFF, or REQUEST_WAIT for what the control plane has to do first.
cdef int32_t commit(connection_t *connection, const uint8_t *frame, size_t size) noexcept nogil
# Append what the thread has gathered.
cdef void append_commits(network_thread_t *thread) noexcept nogil


cdef class CommitLanes:
    cdef lanes_t *lanes
    cdef object find
    cdef object queue
    cdef void drop_known(self) noexcept
    cdef int grow(self) except -1
    cdef lane_t *lane(self, int index) except NULL
    cdef tuple taken(self, lane_t *lane, uint8_t *data, size_t size, int64_t end)
    cdef void attach(self, reactor_t *reactor) noexcept

from libc.stdint cimport int16_t, int32_t, int64_t, uint8_t

from kafkax._core.load_answers cimport answer_t

cdef enum:
    LOAD_CLOSED = -1         # the broker closed the connection
    LOAD_MALFORMED = -2      # an answer does not parse
    LOAD_OUT_OF_ORDER = -3   # an answer carries another correlation id than the oldest request
    LOAD_NO_MEMORY = -4
    LOAD_SYSTEM = -5         # a system call failed: errno says why
    LOAD_SILENT = -6         # no answer for longer than the timeout

# A prebuilt request. Only ``head`` is copied for each sending, since its correlation id and its moving field differ; ``tail``
# (the records, as a rule) is shared by all requests in flight and stays in the processor's cache.
cdef struct target_t:
    const uint8_t* head
    size_t head_size
    const uint8_t* tail
    size_t tail_size
    int tail_file            # a file that holds the tail as well, -1: none, it is copied from memory
    int16_t api
    int16_t version
    bint answered            # False for Produce with acks=0
    int32_t batch_at         # where in head a record batch of an idempotent producer starts, -1: sequences do not move
    int32_t offset_at        # where in head the fetch offset stands, -1: it does not move
    int64_t next             # the next base sequence or the next fetch offset
    int64_t first            # the fetch offset to start over from at the end of the log, -1: wait there for more
    int32_t records          # records in the request

# A request under way.
cdef struct slot_t:
    uint8_t* head
    target_t* target
    int64_t due              # when it was meant to be sent, ns of the monotonic clock
    int32_t correlation

cdef struct connection_t:
    int fd
    int depth
    slot_t* slots            # a ring of ``depth``
    uint8_t* heads           # the memory behind slots[].head
    int64_t answered         # running numbers of requests: answered <= written <= filled <= answered + depth
    int64_t written
    int64_t filled
    size_t partial           # bytes of request ``written`` that are already with the kernel
    bint blocked             # the socket takes no more: wait until it is writable
    bint writable_wanted     # epoll is asked to wake when it is
    target_t* targets
    int target_count
    int turn                 # the target that is next
    uint8_t* received
    size_t capacity
    size_t held              # bytes in ``received``

# One answer, or the sending of a request that has none.
ctypedef void (*done_t)(void* owner, connection_t* connection, slot_t* slot, const answer_t* answer) noexcept nogil

cdef int connection_init(connection_t* connection, int fd, int depth, target_t* targets, int target_count) noexcept nogil
cdef void connection_free(connection_t* connection) noexcept nogil
cdef void connection_fill(connection_t* connection, int64_t due) noexcept nogil
cdef int connection_flush(connection_t* connection, done_t done, void* owner) noexcept nogil
cdef int connection_receive(connection_t* connection, done_t done, void* owner) noexcept nogil


cdef inline int connection_free_slots(const connection_t* connection) noexcept nogil:
    return connection.depth - <int>(connection.filled - connection.answered)


cdef class TailFile:
    cdef object __weakref__
    cdef int fd


cdef class Target:
    cdef TailFile file
    cdef readonly bytes head
    cdef readonly bytes tail
    cdef target_t data

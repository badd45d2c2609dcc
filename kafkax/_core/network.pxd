"""What the network side's modules share: a connection, its answers in request order, a network thread, what is parked.

Ownership.  A connection belongs to one network thread and only that thread touches it; other threads and Python leave a
``letter_t`` in the thread's mailbox, naming the connection by id.  A connection owns its answers and is the place that its
parked requests hang on.  A ``handed_t`` (a frame for the control plane) belongs to the queue until Python takes it.
"""

from libc.stdint cimport int16_t, int32_t, int64_t, uint8_t, uint32_t, uint64_t
from kafkax._core.linux cimport sockaddr_in6
from kafkax._core.pthreads cimport pthread_mutex_t, pthread_t
from kafkax._core.segment cimport slice_t

cdef enum:
    API_PRODUCE = 0
    API_FETCH = 1
    API_OFFSET_COMMIT = 8
    API_HEARTBEAT = 12
    API_VERSIONS = 18
    API_CONSUMER_HEARTBEAT = 68
    API_COUNTED = 96
    # API keys counted one by one; larger ones share the last place.

    MAX_THREADS = 64
    MAX_LISTENERS = 32
    CONGESTION_NAME = 16
    # Bytes that the kernel takes for a congestion control's name, with its zero.
    MAX_ANSWERS = 256
    # Answers of one connection that may be outstanding before it is read no further.
    SCRATCH_SIZE = 1048576
    # Bytes of a thread's receive buffer, shared by its connections.

    ANSWER_PENDING = 0
    ANSWER_READY = 1
    ANSWER_CLOSES = 2
    # There is none: the connection ends when what stands before it has left.

    LETTER_CONNECTION = 1
    LETTER_ANSWER = 2
    LETTER_CLOSE = 3
    LETTER_TRUST = 4
    LETTER_WARMED = 5
    LETTER_RESUME = 6
    LETTER_FREE = 7
    LETTER_PAUSE = 8
    LETTER_FOUND = 9
    LETTER_END = 10

    READY_VERSIONS = 16
    # Versions of ApiVersions whose answer can be kept ready.

    WOKEN = 1
    EXPIRED = 2
    DROPPED = 3
    # Why a parked request is looked at: something happened, its time is over, its connection is gone.

    STARVED_QUEUE = 1
    STARVED_MEMORY = 2
    STARVED_LANE = 3
    # Waits for room in the queue to the control plane; in the memory for requests that are kept; for a lane of commits that
    # the control plane has halted.

    REQUEST_DONE = 0
    REQUEST_HANDOFF = 1
    REQUEST_CLOSE = 2
    REQUEST_WAIT = 3
    # What became of a frame: answered or parked here, to be handed over, its connection to be closed, to be served later.

    CLOSE_PEER = 0
    CLOSE_DISK = 1
    CLOSE_IDLE = 2
    CLOSE_FRAME_SIZE = 3
    CLOSE_FRAME = 4
    CLOSE_ACKS_ZERO = 5
    CLOSE_ASKED = 6
    CLOSE_STOPPING = 7
    CLOSE_MEMORY = 8
    CLOSE_PER_IP = 9
    CLOSE_REASONS = 10

cdef struct cut_t:
    size_t at
    # The slice's bytes stand before this byte of the answer's ``data``.
    slice_t piece

cdef struct answer_t:
    answer_t *next
    uint64_t token
    int32_t state
    int32_t cut
    # The next slice to send.
    int32_t cut_count
    int32_t handed
    # The control plane's to answer: API key + 1; 0 for the core's own.
    answer_t *content
    # Who owns ``data``, when it is not this.
    size_t size
    size_t sent
    int64_t slice_sent
    # Bytes of slice ``cut`` that are on their way.
    int64_t total
    # ``size`` and all slices.
    cut_t *cuts
    uint8_t *data
    # The bytes behind this struct, or behind that of ``content``.

cdef struct parked_t:
    parked_t *woken_next
    parked_t *woken_previous
    parked_t *peer_next
    parked_t *peer_previous
    # Others parked on the same connection.
    network_thread_t *thread
    connection_t *connection
    answer_t *answer
    int64_t deadline_ms
    int32_t heap_at
    # Place in the thread's timer heap; -1 when not in it.
    int32_t woken
    int32_t patient
    # Waits on while the broker stops.
    int32_t looked_up
    # Places in logs that helpers still look up for it.
    void (*look)(parked_t *parked, int32_t why) noexcept nogil
    # Answers and frees the request, or leaves it parked (never after EXPIRED or DROPPED).

cdef struct connection_t:
    uint64_t id
    int32_t fd
    int32_t listener
    network_thread_t *thread
    connection_t *idle_next
    connection_t *idle_previous
    connection_t *work_next
    # Link in the thread's list of connections that have something to do.
    int64_t active_ms
    sockaddr_in6 address
    int32_t in_work
    int32_t readable
    # The socket may hold more than was read.
    int32_t writable
    int32_t hung_up
    # The peer's end of the stream is on its way: read on until it is met.
    int32_t ended
    # The peer sends nothing more.
    int32_t broken
    # Nothing can be sent to the peer any more.
    int32_t closed
    int32_t close_after
    # Close as soon as every answer that is due has left.
    int32_t close_reason
    int32_t fast
    # Produce and Fetch are answered in the core.
    int32_t quota_generation
    # Of the quotas that the control plane has looked at, or is asked to.
    int32_t metered
    # Everything is handed over, one request at a time.
    int32_t paused
    # Reads no further until the control plane says so.
    int32_t orderly
    # Reads no further before what was handed over is answered.
    int32_t frame_limit
    int32_t handed
    int32_t handed_produces
    int32_t handed_ever
    # The control plane knows it, so it is told of its end.
    int32_t starved
    # Reads no further until there is room: STARVED_ for what.
    connection_t *starved_next
    int32_t warming
    # A helper reads the next slice from disk into the page cache.
    int64_t warmed_to
    # Bytes of the slice at the head that need no further look.
    int64_t warming_to
    # What ``warmed_to`` becomes.
    int64_t progress
    # Bytes received since the connection last counted as active.
    uint8_t *frame
    size_t frame_room
    size_t frame_at
    # Kept bytes are ``frame[frame_at:frame_have]``.
    size_t frame_have
    uint64_t next_token
    answer_t *first
    answer_t *last
    int32_t answers
    int64_t unsent
    parked_t *parked
    int64_t requests

cdef struct letter_t:
    letter_t *next
    int32_t kind
    int32_t value
    uint64_t connection
    uint64_t token
    void *body

cdef struct handed_t:
    handed_t *next
    uint64_t connection
    uint64_t token
    int32_t listener
    int32_t closed
    # 0: a frame. -1: a new connection to be screened. Otherwise it went away for this CLOSE_ reason + 1.
    sockaddr_in6 address
    size_t size
    uint8_t frame[1]

cdef struct counters_t:
    int64_t requests[96]
    int64_t bytes_in
    int64_t bytes_out
    int64_t handed
    int64_t accepted
    int64_t closed[10]
    int64_t warmed
    int64_t stood_in
    # Parked requests that were answered by the thread that made it possible.
    int64_t looks
    int64_t looks_in_vain
    # Waits that began by looking, and those of them in which nothing came, or something took the processor.

cdef struct settings_t:
    int64_t request_max_bytes
    int64_t unauthenticated_max_bytes
    int64_t max_connections
    int64_t max_connections_per_ip
    int64_t idle_ms
    int64_t queued_requests
    int64_t queued_bytes
    int64_t output_bytes
    int64_t fetch_max_bytes
    # Consumers that name their rack are the control plane's: it may send them to a nearer replica.
    int32_t rack_aware_reads
    int64_t session_slots
    int32_t send_buffer
    int32_t receive_buffer
    int64_t backlog
    int64_t busy_poll_ns

cdef struct listener_t:
    int32_t fd
    int32_t fast
    int32_t trusted
    # Connections need no authentication.
    int32_t between_brokers
    # Brokers of one cluster meet here: followers are served by the core.
    int32_t paused
    char[CONGESTION_NAME] congestion
    # The host's own congestion control where connections begin with another (see pacing), otherwise empty.

cdef struct network_thread_t:
    reactor_t *reactor
    int32_t number
    int32_t epoll
    int32_t wakeup
    # eventfd
    pthread_t thread
    pthread_t joinable
    int32_t running
    int32_t stopping
    int32_t credit
    # For looking before it sleeps; see ``busy_poll``.
    int64_t worked_ns
    # When it last was about its work.
    int64_t now_ms
    # The wall clock's time when bytes last came in.
    int64_t received_ms
    pthread_mutex_t run
    # Held by who works through its connections, parked requests and timers; see ``stand_in``. Taken before ``lock``.
    void (*stand_in)(void *thread, bint at_leisure) noexcept nogil
    pthread_mutex_t lock
    letter_t *letters
    letter_t *letters_last
    parked_t *woken
    int32_t signalled
    connection_t **slots
    uint32_t *generations
    int32_t slot_count
    int32_t free_slot
    int32_t *free_next
    int32_t connections
    # Counted when dealt, by the accepting thread.
    connection_t *idle_first
    connection_t *idle_last
    connection_t *work
    connection_t *starved
    int32_t starved_count[4]
    # By what they wait for.
    int64_t lanes_seen
    # ``lanes_moved`` when those who wait for a lane last looked.
    void *lanes
    # Lanes with commits that this thread appends at the end of its turn.
    connection_t *graveyard
    parked_t **heap
    int32_t heap_size
    int32_t heap_room
    uint8_t *scratch
    # Up to where in the bytes at hand what requests need was fetched ahead; NULL: nowhere.
    const uint8_t *looked_until
    counters_t counters

cdef struct ready_t:
    # An answer that is kept ready; its bytes follow, but for the correlation id. ``before``: the one that it replaced.
    ready_t *before
    size_t size

cdef struct own_limit_t:
    # Of max.connections.per.ip.overrides.
    uint8_t address[16]
    int64_t most

cdef struct reactor_t:
    int32_t refs
    settings_t settings
    void *registry
    # registry_t, sessions_t, warmer_t and the table of ``addresses``, which know more of the core than this file.
    void *sessions
    void *warmer
    void *addresses
    void *standings
    # standings_t, NULL where the control plane answers heartbeats.
    void *lanes
    # lanes_t, NULL where the control plane takes commits.
    void *leaders
    # leaders_t, NULL where answers do not say who leads.
    int64_t lanes_moved
    # Counts how often lanes went on after they were halted.
    ready_t *ready[16]
    # Of ApiVersions, by version; NULL where the control plane answers.
    int32_t processors
    # That the process may run on.
    int32_t thread_count
    network_thread_t threads[64]
    int32_t listener_count
    listener_t listeners[32]
    int32_t connections
    int32_t stand_ins
    # Threads that are about to stand in for a network thread.
    int32_t stopping
    int32_t quota_generation
    # 0 while nobody has a quota; any other number sends each connection's next request to the control plane.
    int32_t screening
    # New connections are not read until the control plane lets them in.
    int64_t stop_at_ms
    own_limit_t *own_limits
    int32_t own_limit_count
    pthread_mutex_t lock
    handed_t *handed
    handed_t *handed_last
    int32_t handed_event
    # eventfd of the control plane
    int64_t handed_requests
    # Handed over and not answered yet.
    int64_t handed_bytes
    # Of the frames that were handed over and not taken yet.
    int64_t kept_bytes
    # Of requests that are incomplete or wait for room.
    int64_t starved

"""A piece is asked for by ``readahead``, which copies nothing, and waited for by reading a byte here and there of it.

That a page is in the cache does not mean that it was read yet: somebody else may wait for it at this moment. So whoever must not
wait looks at both."""

from libc.errno cimport EINTR, ENOMEM, errno
from libc.stdint cimport int32_t, int64_t, uint64_t
from libc.stdlib cimport calloc, free
from posix.unistd cimport pread, sysconf
from kafkax._core.codes cimport CORE_NO_MEMORY
from kafkax._core.linux cimport (
    RWF_NOWAIT,
    iovec,
    preadv2,
    readahead,
    syscall,
)
from kafkax._core.logstate cimport read_result_release, read_result_t
from kafkax._core.mailbox cimport post
from kafkax._core.network cimport LETTER_FOUND, LETTER_WARMED, connection_t, network_thread_t, parked_t, reactor_t
from kafkax._core.partition cimport partition_read, partition_release, partition_retain, partition_t
from kafkax._core.pthreads cimport (
    pthread_cond_broadcast,
    pthread_cond_destroy,
    pthread_cond_init,
    pthread_cond_signal,
    pthread_cond_t,
    pthread_cond_wait,
    pthread_create,
    pthread_join,
    pthread_mutex_destroy,
    pthread_mutex_init,
    pthread_mutex_lock,
    pthread_mutex_t,
    pthread_mutex_unlock,
    pthread_setname_np,
    pthread_t,
)
from kafkax._core.segment cimport segment_failed, segment_fd, segment_release, segment_retain, segment_t
from kafkax._core.signals cimport block_signals

cdef extern from "<unistd.h>" nogil:
    int _SC_PAGESIZE

cdef enum:
    HELPERS = 2
    PIECE = 524288
    # Bytes that a helper has the disk read at a time.
    SAMPLE = 262144
    # One byte in so many is probed: what the disk reads at once becomes readable at once.
    FIRST_BYTES = 1048576
    # Bytes of records that a look-up has read as well.
    SYS_CACHESTAT = 451

cdef struct job_t:
    job_t *next
    network_thread_t *thread
    uint64_t connection
    segment_t *segment
    int64_t position
    int64_t length
    # A look-up, when ``partition`` is not NULL: ``position`` is the offset, ``length`` the bytes asked for.
    partition_t *partition
    int32_t isolation
    uint64_t token

cdef struct warmer_t:
    pthread_mutex_t lock
    pthread_cond_t work
    job_t *first
    job_t *last
    int32_t stopping
    int32_t started
    pthread_t threads[2]

cdef struct cache_range_t:
    uint64_t offset
    uint64_t length

cdef struct cache_state_t:
    uint64_t cached
    uint64_t dirty
    uint64_t writeback
    uint64_t evicted
    uint64_t recently_evicted


cdef bint probed(int32_t fd, int64_t position, int64_t length) noexcept nogil:
    """Whether reading a byte here and there would not wait."""
    cdef char byte
    cdef iovec place
    cdef int64_t at = position
    place.iov_base = &byte
    place.iov_len = 1
    while at < position + length:
        if preadv2(fd, &place, 1, at, RWF_NOWAIT) < 0:
            return False
        at += SAMPLE
    return preadv2(fd, &place, 1, position + length - 1, RWF_NOWAIT) >= 0


cdef bint resident(int32_t fd, int64_t position, int64_t length) noexcept nogil:
    cdef cache_range_t range_
    cdef cache_state_t state
    cdef int64_t page = sysconf(_SC_PAGESIZE)
    cdef int64_t first = position // page
    cdef int64_t pages = (position + length + page - 1) // page - first
    if length <= 0:
        return True
    range_.offset = <uint64_t>(first * page)
    range_.length = <uint64_t>(pages * page)
    if syscall(SYS_CACHESTAT, fd, &range_, &state, 0) == 0 and <int64_t>state.cached < pages:
        return False
    return probed(fd, position, length)


cdef bint wait_for_byte(segment_t *segment, int32_t fd, int64_t at) noexcept nogil:
    """Whether there is a byte to be read."""
    cdef char byte
    cdef ssize_t got = pread(fd, &byte, 1, at)
    while got < 0 and errno == EINTR:
        got = pread(fd, &byte, 1, at)
    if got < 0:
        segment_failed(segment, errno)
    # Who sends the range meets the same error or end and closes the connection.
    return got > 0


cdef void read_through(segment_t *segment, int64_t position, int64_t length) noexcept nogil:
    cdef int32_t fd = segment_fd(segment)
    cdef int64_t at = position, end = position + length
    cdef int64_t piece_end
    if fd < 0:
        return
    while at < end:
        piece_end = min(at + PIECE, end)
        readahead(fd, at, <size_t>(piece_end - at))
        while at < piece_end:
            if not wait_for_byte(segment, fd, at):
                return
            at += SAMPLE
        at = piece_end
        if not wait_for_byte(segment, fd, at - 1):
            return


cdef void do_look_up(job_t *job) noexcept nogil:
    cdef read_result_t result
    cdef int32_t code = partition_read(job.partition, job.position, -1, job.length, True, <signed char>job.isolation, True,
                                       &result)
    if code == 0 and result.piece.segment != NULL:
        read_through(result.piece.segment, result.piece.position, min(result.piece.length, <int64_t>FIRST_BYTES))
    read_result_release(&result)


cdef void do_job(job_t *job) noexcept nogil:
    if job.partition != NULL:
        do_look_up(job)
        post(job.thread, LETTER_FOUND, job.connection, job.token, 0, NULL)
    else:
        read_through(job.segment, job.position, job.length)
        post(job.thread, LETTER_WARMED, job.connection, 0, 0, NULL)


cdef void free_job(job_t *job) noexcept nogil:
    if job.partition != NULL:
        partition_release(job.partition)
    else:
        segment_release(job.segment)
    free(job)


cdef job_t *next_job(warmer_t *warmer) noexcept nogil:
    """The oldest job, waited for; NULL when the helpers stop."""
    cdef job_t *job = NULL
    pthread_mutex_lock(&warmer.lock)
    while warmer.first == NULL and not warmer.stopping:
        pthread_cond_wait(&warmer.work, &warmer.lock)
    if not warmer.stopping:
        job = warmer.first
        warmer.first = job.next
        if warmer.first == NULL:
            warmer.last = NULL
    pthread_mutex_unlock(&warmer.lock)
    return job


cdef void *run(void *argument) noexcept nogil:
    cdef warmer_t *warmer = <warmer_t *>argument
    cdef job_t *job
    block_signals()
    job = next_job(warmer)
    while job != NULL:
        do_job(job)
        free_job(job)
        job = next_job(warmer)
    return NULL


cdef int32_t warmer_start(reactor_t *reactor) noexcept nogil:
    cdef warmer_t *warmer = <warmer_t *>calloc(1, sizeof(warmer_t))
    cdef int32_t at, error = 0
    if warmer == NULL:
        return ENOMEM
    reactor.warmer = warmer
    pthread_mutex_init(&warmer.lock, NULL)
    pthread_cond_init(&warmer.work, NULL)
    for at in range(HELPERS):
        error = pthread_create(&warmer.threads[at], NULL, run, warmer)
        if error:
            break
        warmer.started = at + 1
        pthread_setname_np(warmer.threads[at], "kafkax-warm")
    return error


cdef void warmer_stop(reactor_t *reactor) noexcept nogil:
    cdef warmer_t *warmer = <warmer_t *>reactor.warmer
    cdef job_t *job
    cdef int32_t at
    if warmer == NULL:
        return
    pthread_mutex_lock(&warmer.lock)
    warmer.stopping = 1
    pthread_cond_broadcast(&warmer.work)
    pthread_mutex_unlock(&warmer.lock)
    for at in range(warmer.started):
        pthread_join(warmer.threads[at], NULL)
    while warmer.first != NULL:
        job = warmer.first
        warmer.first = job.next
        free_job(job)
    pthread_cond_destroy(&warmer.work)
    pthread_mutex_destroy(&warmer.lock)
    free(warmer)
    reactor.warmer = NULL


cdef void enqueue(warmer_t *warmer, job_t *job) noexcept nogil:
    pthread_mutex_lock(&warmer.lock)
    if warmer.last == NULL:
        warmer.first = job
    else:
        warmer.last.next = job
    warmer.last = job
    pthread_cond_signal(&warmer.work)
    pthread_mutex_unlock(&warmer.lock)


cdef int32_t warm(connection_t *connection, segment_t *segment, int64_t position, int64_t length) noexcept nogil:
    cdef job_t *job = <job_t *>calloc(1, sizeof(job_t))
    if job == NULL:
        return CORE_NO_MEMORY
    job.thread = connection.thread
    job.connection = connection.id
    job.segment = segment
    job.position = position
    job.length = length
    segment_retain(segment)
    enqueue(<warmer_t *>connection.thread.reactor.warmer, job)
    return 0


cdef int32_t warm_place(parked_t *parked, partition_t *partition, int64_t offset, int64_t max_bytes,
                        int32_t isolation) noexcept nogil:
    cdef job_t *job = <job_t *>calloc(1, sizeof(job_t))
    if job == NULL:
        return CORE_NO_MEMORY
    job.thread = parked.thread
    job.connection = parked.connection.id
    job.token = parked.answer.token
    job.partition = partition
    job.position = offset
    job.length = max_bytes
    job.isolation = isolation
    partition_retain(partition)
    enqueue(<warmer_t *>parked.thread.reactor.warmer, job)
    return 0

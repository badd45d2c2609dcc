"""Flush threads of a log directory: group commit outside the append locks.

Knows nothing of logs: an item says how to begin and how to finish its flush. What somebody waits for is ready at once; what
nobody waits for is put off, and later items join the time that is set, so that a round has many of them; one thread more watches
the clock for those and does nothing else, so that who has work to do need not hand the watch over. Each thread takes its
share of what is ready: those items first all begin their write-back, then are synced one after the other. Several threads sync
at once since the file system commits what they ask for together: six logs cost little more than one, where one after the other
costs six times. From ``TOGETHER`` items on, one thread syncs the whole file system instead, which costs a quarter of that."""

from libc.stdint cimport int32_t, int64_t
from kafkax._core.files cimport disk_t
from kafkax._core.notify cimport notify_t
from kafkax._core.pthreads cimport pthread_cond_t, pthread_mutex_t, pthread_t, sem_t

cdef enum:
    # A flush waits three or four times for the disk, which does several at once: twelve files take 1.7 times as many as four.
    FLUSH_THREADS = 8
    # ``delay_ms`` of a flush that nobody waits for.
    FLUSH_LATER = -1

cdef struct flush_item_t:
    flush_item_t *next
    # In the list of those that are put off.
    flush_item_t *previous
    # 0 idle, 1 ready, 2 put off, 3 being flushed, 4 being flushed and asked for again.
    int32_t state
    # Monotonic time at which it becomes ready; 0 once it is.
    int64_t due_ms
    # Set by ``run`` and ``settle``: to be looked at again later, though nobody asks for it.
    int32_t again_later
    # Begin to write; ``alone``: ``run`` follows right away.
    void (*begin)(flush_item_t *item, bint alone) noexcept nogil
    # Sync; 0 or errno, which takes the disk offline.
    int32_t (*run)(flush_item_t *item) noexcept nogil
    # Before and after a sync of the whole file system: note what it will cover; take note of its end, 0 or errno.
    void (*mark)(flush_item_t *item) noexcept nogil
    void (*settle)(flush_item_t *item, int32_t error) noexcept nogil
    void (*retain)(flush_item_t *item) noexcept nogil
    void (*release)(flush_item_t *item) noexcept nogil

cdef struct flush_worker_t:
    # A flush thread. It sleeps on a semaphore of its own: a condition variable's waiters take its mutex again before they go on,
    # and who signals it waits for those that have not gone on yet.
    flusher_t *flusher
    pthread_t thread
    sem_t woken
    # The one that fell asleep before it.
    flush_worker_t *below

cdef struct flusher_t:
    int32_t refs
    int32_t running
    int32_t stopping
    # Those to be flushed at once, in the order they were asked for.
    flush_item_t *ready
    flush_item_t *ready_last
    int32_t ready_count
    # Those that are put off, by the time at which they become ready.
    flush_item_t *later
    flush_item_t *later_last
    int32_t later_count
    # How long a flush that nobody waits for is put off at least, and how many bytes of a log it may come to.
    int64_t lazy_ms
    int64_t lazy_bytes
    # When the next round of what nobody waits for is, and how many the last one had.
    int64_t later_due_ms
    int32_t later_taken
    # Until when the thread that watches the clock sleeps; 0: until something is put off.
    int64_t watched_ms
    # The directory, opened, and its file system, for ``syncfs``; -1 where that is not known to keep its promise.
    int32_t directory
    int64_t device
    # See ``_core/barrier``; -1 where there is none.
    int32_t barrier
    disk_t *disk
    notify_t *notify
    int64_t token
    int64_t rounds
    int64_t flushes
    int64_t together
    int64_t replaced
    pthread_mutex_t lock
    # Something is put off that is due before the clock is looked at again.
    pthread_cond_t sooner
    flush_worker_t workers[FLUSH_THREADS]
    int32_t thread_count
    # Those that sleep, the last to fall asleep first: what it works with is in its processor's caches still.
    flush_worker_t *asleep
    pthread_t watch
    int32_t watching

cdef void flusher_retain(flusher_t *flusher) noexcept nogil
cdef void flusher_release(flusher_t *flusher) noexcept nogil
# Ask for a flush within ``delay_ms`` (0: now; ``FLUSH_LATER``); joins one that is already asked for, keeping the earlier time.
cdef void flusher_submit(flusher_t *flusher, flush_item_t *item, int64_t delay_ms) noexcept nogil
# Whether a flush is asked for already, and no later than that. What was appended before the call is part of it.
cdef bint flusher_expects(flush_item_t *item, int64_t delay_ms) noexcept nogil
# What has the disk empty its cache when it is synced, for a log on ``device``; -1 where it takes a sync of its file.
cdef int32_t flusher_barrier(flusher_t *flusher, int64_t device) noexcept nogil
# Note a flush that did with that.
cdef void flusher_replaced(flusher_t *flusher) noexcept nogil
cdef disk_t *flusher_disk(flusher_t *flusher) noexcept nogil


cdef class Flusher:
    cdef flusher_t *flusher
    cdef object _queue
    cdef int64_t _token
    cdef readonly str directory

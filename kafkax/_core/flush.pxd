"""Flush threads of a log directory: group commit outside the append locks.

Knows nothing of logs: an item says how to begin and how to finish its flush. Each thread takes its share of what is due: those
items first all begin their write-back, then are synced one after the other. Several threads sync at once since the file
system commits what they ask for together: six logs cost little more than one, where one after the other costs six times."""

from libc.stdint cimport int32_t, int64_t
from kafkax._core.files cimport disk_t
from kafkax._core.notify cimport notify_t
from kafkax._core.pthreads cimport pthread_cond_t, pthread_mutex_t, pthread_t

cdef enum:
    FLUSH_THREADS = 4

cdef struct flush_item_t:
    flush_item_t *next
    # 0 idle, 1 queued, 2 being flushed, 3 being flushed and asked for again.
    int32_t state
    # Monotonic time from which it may be flushed; 0 at once.
    int64_t due_ms
    void (*begin)(flush_item_t *item) noexcept nogil
    # Sync; 0 or errno, which takes the disk offline.
    int32_t (*run)(flush_item_t *item) noexcept nogil
    void (*retain)(flush_item_t *item) noexcept nogil
    void (*release)(flush_item_t *item) noexcept nogil

cdef struct flusher_t:
    int32_t refs
    int32_t running
    int32_t stopping
    # In the order they were asked for.
    flush_item_t *queued
    flush_item_t *queued_last
    disk_t *disk
    notify_t *notify
    int64_t token
    int64_t rounds
    int64_t flushes
    pthread_mutex_t lock
    pthread_cond_t changed
    pthread_t threads[FLUSH_THREADS]
    int32_t thread_count

cdef void flusher_retain(flusher_t *flusher) noexcept nogil
cdef void flusher_release(flusher_t *flusher) noexcept nogil
# Ask for a flush at ``due_ms`` (0: now); joins one that is already asked for, keeping the earlier time.
cdef void flusher_submit(flusher_t *flusher, flush_item_t *item, int64_t due_ms) noexcept nogil
cdef disk_t *flusher_disk(flusher_t *flusher) noexcept nogil


cdef class Flusher:
    cdef flusher_t *flusher
    cdef object _queue
    cdef int64_t _token
    cdef readonly str directory

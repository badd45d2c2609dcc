"""The flush threads of a log directory: group commit outside the append locks."""

import os
import platform
import re

from libc.errno cimport ENOMEM, errno
from libc.stdint cimport int32_t, int64_t
from libc.stdlib cimport calloc, free
from posix.fcntl cimport O_CLOEXEC, O_DIRECTORY, O_RDONLY, open
from posix.stat cimport fstat, struct_stat
from posix.time cimport CLOCK_MONOTONIC, timespec
from posix.unistd cimport close
from kafkax._core.atomics cimport kx_add32, kx_add64, kx_fence, kx_load32, kx_load64, kx_store32, kx_store64
from kafkax._core.barrier cimport barrier_open
from kafkax._core.deferred cimport keep_deferred, run_deferred
from kafkax._core.files cimport disk_fail, disk_forget, disk_new, disk_release, disk_t, monotonic_ms
from kafkax._core.notify cimport NotifyQueue, notify_push, notify_release, notify_retain
from kafkax._core.pthreads cimport (
    pthread_cond_destroy, pthread_cond_init, pthread_cond_signal, pthread_cond_timedwait,
    pthread_cond_wait,
    pthread_condattr_destroy, pthread_condattr_init, pthread_condattr_setclock, pthread_condattr_t, pthread_create, pthread_join,
    pthread_mutex_destroy, pthread_mutex_init, pthread_mutex_lock, pthread_mutex_unlock,
    pthread_setname_np, sem_destroy, sem_init, sem_post, sem_wait,
)
from kafkax._core.signals cimport block_signals

cdef extern from "<unistd.h>" nogil:
    int syncfs(int fd) noexcept

cdef extern from "<sys/statfs.h>" nogil:
    ctypedef struct statfs_t "struct statfs":
        long f_type
    int fstatfs(int fd, statfs_t *out) noexcept

FILE_SYSTEMS = {0xEF53: "ext4", 0x58465342: "xfs", 0x9123683E: "btrfs", 0xF2F52010: "f2fs", 0x01021994: "tmpfs"}
SYNCFS_TELLS_SINCE = (5, 8)

cdef enum:
    IDLE = 0
    READY = 1
    LATER = 2
    FLUSHING = 3
    FLUSHING_AGAIN = 4
    # Who has to be told of something that is to be flushed: a flush thread, or the one that watches the clock.
    NOBODY = 0
    WORKER = 1
    WATCH = 2
    # From so many items on the whole file system is synced at once.
    TOGETHER = 16
    # How many flushes that nobody waits for a millisecond may cost at most, with the faults of pages that are clean after them.
    LATER_PER_MS = 2


cdef void tell_failure(void *context, int32_t error) noexcept nogil:
    cdef flusher_t *flusher = <flusher_t *>context
    if flusher.notify != NULL:
        notify_push(flusher.notify, flusher.token, error)


cdef flusher_t *flusher_new() noexcept nogil:
    cdef flusher_t *flusher = <flusher_t *>calloc(1, sizeof(flusher_t))
    cdef pthread_condattr_t attributes
    if flusher == NULL:
        return NULL
    flusher.disk = disk_new()
    if flusher.disk == NULL:
        free(flusher)
        return NULL
    flusher.refs = 1
    flusher.directory = -1
    flusher.barrier = -1
    flusher.disk.on_failure = tell_failure
    flusher.disk.context = flusher
    pthread_mutex_init(&flusher.lock, NULL)
    pthread_condattr_init(&attributes)
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC)
    pthread_cond_init(&flusher.sooner, &attributes)
    pthread_condattr_destroy(&attributes)
    return flusher


cdef void flusher_retain(flusher_t *flusher) noexcept nogil:
    kx_add32(&flusher.refs, 1)


cdef void close_file_system(flusher_t *flusher) noexcept nogil:
    if flusher.directory >= 0:
        close(flusher.directory)
        flusher.directory = -1


cdef void flusher_release(flusher_t *flusher) noexcept nogil:
    if flusher == NULL or kx_add32(&flusher.refs, -1) > 0:
        return
    close_file_system(flusher)
    if flusher.barrier >= 0:
        close(flusher.barrier)
    disk_forget(flusher.disk)
    disk_release(flusher.disk)
    notify_release(flusher.notify)
    pthread_mutex_destroy(&flusher.lock)
    pthread_cond_destroy(&flusher.sooner)
    free(flusher)


cdef disk_t *flusher_disk(flusher_t *flusher) noexcept nogil:
    return flusher.disk


cdef int32_t flusher_barrier(flusher_t *flusher, int64_t device) noexcept nogil:
    return flusher.barrier if flusher != NULL and flusher.device == device else -1


cdef void flusher_replaced(flusher_t *flusher) noexcept nogil:
    kx_add64(&flusher.replaced, 1)


cdef void make_ready(flusher_t *flusher, flush_item_t *item) noexcept nogil:
    """Put the item behind those that are to be flushed at once, with the lock held."""
    kx_store64(&item.due_ms, 0)
    kx_store32(&item.state, READY)
    item.next = NULL
    if flusher.ready_last == NULL:
        flusher.ready = item
    else:
        flusher.ready_last.next = item
    flusher.ready_last = item
    flusher.ready_count += 1


cdef void put_off(flusher_t *flusher, flush_item_t *item, int64_t due_ms) noexcept nogil:
    """Put the item behind those that are due no later, with the lock held; they are mostly asked for in that order."""
    cdef flush_item_t *before = flusher.later_last
    while before != NULL and before.due_ms > due_ms:
        before = before.previous
    kx_store64(&item.due_ms, due_ms)
    kx_store32(&item.state, LATER)
    item.previous = before
    item.next = flusher.later if before == NULL else before.next
    if item.next != NULL:
        item.next.previous = item
    else:
        flusher.later_last = item
    if before != NULL:
        before.next = item
    else:
        flusher.later = item
    flusher.later_count += 1


cdef void take_back(flusher_t *flusher, flush_item_t *item) noexcept nogil:
    """Take an item out of those that are put off, with the lock held."""
    if item.previous != NULL:
        item.previous.next = item.next
    else:
        flusher.later = item.next
    if item.next != NULL:
        item.next.previous = item.previous
    else:
        flusher.later_last = item.previous
    flusher.later_count -= 1


cdef int64_t due_time(flusher_t *flusher, int64_t delay_ms) noexcept nogil:
    """When the item is to be flushed, with the lock held; what nobody waits for joins the next round of its kind."""
    cdef int64_t now
    if delay_ms == 0:
        return 0
    now = monotonic_ms()
    if delay_ms != FLUSH_LATER:
        return now + delay_ms
    if flusher.later_due_ms <= now:
        flusher.later_due_ms = now + max(flusher.lazy_ms, <int64_t>flusher.later_taken // LATER_PER_MS)
    return flusher.later_due_ms


cdef int32_t ask(flusher_t *flusher, flush_item_t *item, int64_t due_ms) noexcept nogil:
    """Note the wish, with the lock held; who has to be told: NOBODY, WORKER or WATCH."""
    if item.state == FLUSHING:
        kx_store32(&item.state, FLUSHING_AGAIN)
        kx_store64(&item.due_ms, due_ms)
        return NOBODY
    if item.state == FLUSHING_AGAIN:
        if due_ms < item.due_ms:
            kx_store64(&item.due_ms, due_ms)
        return NOBODY
    if item.state == READY or (item.state == LATER and item.due_ms <= due_ms):
        return NOBODY
    if item.state == LATER:
        take_back(flusher, item)
    else:
        item.retain(item)
    if due_ms == 0:
        make_ready(flusher, item)
        return WORKER
    put_off(flusher, item, due_ms)
    return WATCH if flusher.watched_ms == 0 or due_ms < flusher.watched_ms else NOBODY


cdef flush_worker_t *rouse(flusher_t *flusher) noexcept nogil:
    """A thread that sleeps, with the lock held, for the caller to wake; NULL if none does: who works looks again when done."""
    cdef flush_worker_t *worker = flusher.asleep
    if worker != NULL:
        flusher.asleep = worker.below
    return worker


cdef void wake(flush_worker_t *worker) noexcept nogil:
    if worker != NULL:
        sem_post(&worker.woken)


cdef void flusher_submit(flusher_t *flusher, flush_item_t *item, int64_t delay_ms) noexcept nogil:
    cdef int32_t told = NOBODY
    cdef flush_worker_t *worker = NULL
    pthread_mutex_lock(&flusher.lock)
    if flusher.running and not flusher.stopping:
        told = ask(flusher, item, due_time(flusher, delay_ms))
    if told == WORKER:
        worker = rouse(flusher)
    pthread_mutex_unlock(&flusher.lock)
    # Who is woken while the lock is held wakes only to wait for it.
    wake(worker)
    if told == WATCH:
        pthread_cond_signal(&flusher.sooner)


cdef bint flusher_expects(flush_item_t *item, int64_t delay_ms) noexcept nogil:
    # Who takes the item marks it first and looks at what there is then: seen waiting, it covers what was there before.
    cdef int32_t state
    kx_fence()
    state = kx_load32(&item.state)
    if state != LATER or delay_ms == 0:
        return state == READY
    return delay_ms == FLUSH_LATER or kx_load64(&item.due_ms) <= monotonic_ms() + delay_ms


cdef int32_t collect_due(flusher_t *flusher, bint all_of_them) noexcept nogil:
    """Make ready what was put off until now, or everything, with the lock held; how many."""
    cdef flush_item_t *item
    cdef int64_t now = 0 if all_of_them or flusher.later == NULL else monotonic_ms()
    cdef int32_t taken = 0
    while flusher.later != NULL and (all_of_them or flusher.later.due_ms <= now):
        item = flusher.later
        take_back(flusher, item)
        make_ready(flusher, item)
        taken += 1
    if taken:
        flusher.later_taken = taken
    return taken


cdef flush_item_t *take_share(flusher_t *flusher, bint *together) noexcept nogil:
    """Unlink what this thread is to flush, with the lock held; NULL when nothing is ready."""
    cdef int32_t share
    cdef flush_item_t *taken = NULL
    cdef flush_item_t *last = NULL
    if flusher.stopping:
        collect_due(flusher, True)
    together[0] = flusher.ready_count >= TOGETHER and flusher.directory >= 0
    if together[0]:
        # The whole file system is synced anyway.
        collect_due(flusher, True)
    share = flusher.ready_count
    if not together[0]:
        share = (share + flusher.thread_count - 1) // flusher.thread_count
    flusher.ready_count -= share
    taken = flusher.ready
    while share > 0:
        last = flusher.ready
        kx_store32(&last.state, FLUSHING)
        last.again_later = 0
        flusher.ready = last.next
        share -= 1
    if last != NULL:
        last.next = NULL
    if flusher.ready == NULL:
        flusher.ready_last = NULL
    return taken


cdef void flush_each(flusher_t *flusher, flush_item_t *round_items) noexcept nogil:
    cdef flush_item_t *item = round_items
    cdef int32_t error
    while item != NULL:
        item.begin(item, round_items.next == NULL)
        item = item.next
    item = round_items
    while item != NULL:
        if not kx_load32(&flusher.disk.failed):
            error = item.run(item)
            kx_add64(&flusher.flushes, 1)
            if error:
                disk_fail(flusher.disk, error)
        item = item.next
        run_deferred(item == NULL)


cdef void flush_together(flusher_t *flusher, flush_item_t *round_items) noexcept nogil:
    """One sync for all. It fails when any write of the file system failed since the last time, whichever file it was of."""
    cdef flush_item_t *item = round_items
    cdef int32_t error = kx_load32(&flusher.disk.failed)
    while item != NULL:
        item.mark(item)
        item = item.next
    if not error and syncfs(flusher.directory) != 0:
        error = errno
        disk_fail(flusher.disk, error)
    item = round_items
    while item != NULL:
        item.settle(item, error)
        run_deferred(False)
        kx_add64(&flusher.flushes, 1)
        item = item.next
    kx_add64(&flusher.together, 1)


cdef flush_item_t *finish_round(flusher_t *flusher, flush_item_t *round_items) noexcept nogil:
    """Put items that were asked for meanwhile back, with the lock held, and let go of the others.

    The lock is given back in between. The last item that is idle now is the caller's to let go of, without the lock; NULL if
    there is none.
    """
    cdef flush_item_t *item = round_items
    cdef flush_item_t *idle = NULL
    cdef flush_item_t *next
    while item != NULL:
        if idle != NULL:
            pthread_mutex_unlock(&flusher.lock)
            idle.release(idle)
            pthread_mutex_lock(&flusher.lock)
            idle = NULL
        # Once idle, the item may be queued by another thread, which then owns its link.
        next = item.next
        if item.state == FLUSHING and (flusher.stopping or not item.again_later):
            kx_store32(&item.state, IDLE)
            idle = item
        elif item.state == FLUSHING_AGAIN and item.due_ms == 0:
            make_ready(flusher, item)
            if next != NULL:
                # One is this thread's own.
                wake(rouse(flusher))
        else:
            put_off(flusher, item, item.due_ms if item.state == FLUSHING_AGAIN else due_time(flusher, FLUSH_LATER))
            if flusher.watched_ms == 0 or item.due_ms < flusher.watched_ms:
                pthread_cond_signal(&flusher.sooner)
        item = next
    return idle


cdef void *watch_clock(void *argument) noexcept nogil:
    """Make ready what was put off, when its time has come."""
    cdef flusher_t *flusher = <flusher_t *>argument
    cdef timespec until
    cdef int32_t _each
    block_signals()
    pthread_mutex_lock(&flusher.lock)
    while not flusher.stopping:
        for _each in range(min(collect_due(flusher, False), flusher.thread_count)):
            wake(rouse(flusher))
        flusher.watched_ms = 0 if flusher.later == NULL else flusher.later.due_ms
        if flusher.watched_ms == 0:
            pthread_cond_wait(&flusher.sooner, &flusher.lock)
        else:
            until.tv_sec = flusher.watched_ms // 1000
            until.tv_nsec = flusher.watched_ms % 1000 * 1000000
            pthread_cond_timedwait(&flusher.sooner, &flusher.lock, &until)
    pthread_mutex_unlock(&flusher.lock)
    return NULL


cdef void sleep_until_woken(flush_worker_t *worker) noexcept nogil:
    """Give the lock back meanwhile."""
    cdef flusher_t *flusher = worker.flusher
    worker.below = flusher.asleep
    flusher.asleep = worker
    pthread_mutex_unlock(&flusher.lock)
    while sem_wait(&worker.woken) != 0:
        pass
    pthread_mutex_lock(&flusher.lock)


cdef void *flush_thread(void *argument) noexcept nogil:
    cdef flush_worker_t *worker = <flush_worker_t *>argument
    cdef flusher_t *flusher = worker.flusher
    cdef flush_item_t *round_items = NULL
    cdef flush_item_t *idle
    cdef bint together
    block_signals()
    keep_deferred()
    while True:
        pthread_mutex_lock(&flusher.lock)
        idle = finish_round(flusher, round_items)
        round_items = take_share(flusher, &together)
        while round_items == NULL and idle == NULL and not flusher.stopping:
            sleep_until_woken(worker)
            round_items = take_share(flusher, &together)
        pthread_mutex_unlock(&flusher.lock)
        if idle != NULL:
            idle.release(idle)
        elif round_items == NULL:
            return NULL
        if round_items == NULL:
            continue
        if together:
            flush_together(flusher, round_items)
        else:
            flush_each(flusher, round_items)
        kx_add64(&flusher.rounds, 1)


cdef void start_threads(flusher_t *flusher) noexcept nogil:
    """Start as many threads as the system grants; the lock keeps them from sharing out work before they are counted."""
    cdef flush_worker_t *worker
    pthread_mutex_lock(&flusher.lock)
    flusher.watching = pthread_create(&flusher.watch, NULL, watch_clock, flusher) == 0
    if flusher.watching:
        pthread_setname_np(flusher.watch, "kafkax-flush")
    while flusher.watching and flusher.thread_count < FLUSH_THREADS:
        worker = &flusher.workers[flusher.thread_count]
        worker.flusher = flusher
        sem_init(&worker.woken, 0, 0)
        if pthread_create(&worker.thread, NULL, flush_thread, worker) != 0:
            sem_destroy(&worker.woken)
            break
        pthread_setname_np(worker.thread, "kafkax-flush")
        flusher.thread_count += 1
    flusher.running = flusher.thread_count > 0
    pthread_mutex_unlock(&flusher.lock)


cdef int open_file_system(flusher_t *flusher, bytes directory, str release) except -1:
    """Keep the directory open where ``syncfs`` writes all data and tells errors: local file systems, Linux 5.8 and later.

    It reports what failed since it was opened, so that happens before anything is written."""
    cdef statfs_t info
    cdef struct_stat status
    cdef int32_t fd
    version = re.match(r"(\d+)\.(\d+)", release)
    if version is None or (int(version[1]), int(version[2])) < SYNCFS_TELLS_SINCE:
        return 0
    fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
    if fd < 0:
        return 0
    if fstatfs(fd, &info) != 0 or <long>info.f_type not in FILE_SYSTEMS or fstat(fd, &status) != 0:
        close(fd)
        return 0
    flusher.directory = fd
    flusher.device = <int64_t>status.st_dev
    return 0


cdef class Flusher:
    def __cinit__(self, str directory, NotifyQueue queue=None, on_failure=None, *, int64_t lazy_ms=1000,
                  int64_t lazy_bytes=1 << 28, int32_t windows=10000):
        self.directory = directory
        self.flusher = flusher_new()
        if self.flusher == NULL:
            raise MemoryError
        self.flusher.lazy_ms = lazy_ms
        self.flusher.lazy_bytes = lazy_bytes
        self.flusher.disk.windows_most = windows
        self._queue = queue
        self._token = 0
        if queue is not None and on_failure is not None:
            self._token = queue.add(on_failure, True)
            notify_retain(queue.queue)
            self.flusher.token = self._token
            self.flusher.notify = queue.queue
        open_file_system(self.flusher, os.fsencode(directory), platform.release())
        self.flusher.barrier = barrier_open(directory)
        start_threads(self.flusher)
        if not self.flusher.running:
            raise OSError(ENOMEM, f"no thread to flush {directory}")

    def __dealloc__(self):
        if self.flusher != NULL:
            self.stop()
            flusher_release(self.flusher)

    @property
    def failed(self):
        return kx_load32(&self.flusher.disk.failed)

    @property
    def rounds(self):
        return kx_load64(&self.flusher.rounds)

    @property
    def flushes(self):
        return kx_load64(&self.flusher.flushes)

    @property
    def together(self):
        return kx_load64(&self.flusher.together)

    @property
    def replaced(self):
        return kx_load64(&self.flusher.replaced)

    def sync_file_system(self):
        cdef int32_t error = 0
        if self.flusher.directory < 0:
            return False
        with nogil:
            if syncfs(self.flusher.directory) != 0:
                error = errno
                disk_fail(self.flusher.disk, error)
        if error:
            raise OSError(error, os.strerror(error), self.directory)
        return True

    def fail(self, int32_t error):
        disk_fail(self.flusher.disk, error)

    def stop(self):
        cdef flusher_t *flusher = self.flusher
        cdef int32_t thread
        with nogil:
            pthread_mutex_lock(&flusher.lock)
            if not flusher.watching or flusher.stopping:
                pthread_mutex_unlock(&flusher.lock)
                with gil:
                    return
            flusher.stopping = 1
            while flusher.asleep != NULL:
                wake(rouse(flusher))
            pthread_cond_signal(&flusher.sooner)
            pthread_mutex_unlock(&flusher.lock)
            pthread_join(flusher.watch, NULL)
            for thread in range(flusher.thread_count):
                pthread_join(flusher.workers[thread].thread, NULL)
                sem_destroy(&flusher.workers[thread].woken)
            flusher.running = 0
            close_file_system(flusher)

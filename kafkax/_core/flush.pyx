"""The flush threads of a log directory: group commit outside the append locks."""

from libc.errno cimport ENOMEM
from libc.stdint cimport int32_t, int64_t
from libc.stdlib cimport calloc, free
from posix.signal cimport sigfillset, sigset_t
from posix.time cimport CLOCK_MONOTONIC, timespec
from kafkax._core.atomics cimport kx_add32, kx_add64, kx_load32, kx_load64, kx_store32
from kafkax._core.files cimport disk_fail, disk_new, disk_release, disk_t, monotonic_ms
from kafkax._core.notify cimport NotifyQueue, notify_push, notify_release, notify_retain
from kafkax._core.pthreads cimport (
    pthread_cond_broadcast, pthread_cond_destroy, pthread_cond_init, pthread_cond_signal, pthread_cond_timedwait,
    pthread_cond_wait,
    pthread_condattr_destroy, pthread_condattr_init, pthread_condattr_setclock, pthread_condattr_t, pthread_create, pthread_join,
    pthread_mutex_destroy, pthread_mutex_init, pthread_mutex_lock, pthread_mutex_unlock,
)

cdef extern from "<signal.h>" nogil:
    enum:
        SIG_BLOCK
    int pthread_sigmask(int how, const sigset_t *set, sigset_t *old) noexcept

cdef enum:
    IDLE = 0
    QUEUED = 1
    FLUSHING = 2
    FLUSHING_AGAIN = 3


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
    flusher.disk.on_failure = tell_failure
    flusher.disk.context = flusher
    pthread_mutex_init(&flusher.lock, NULL)
    pthread_condattr_init(&attributes)
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC)
    pthread_cond_init(&flusher.changed, &attributes)
    pthread_condattr_destroy(&attributes)
    return flusher


cdef void flusher_retain(flusher_t *flusher) noexcept nogil:
    kx_add32(&flusher.refs, 1)


cdef void flusher_release(flusher_t *flusher) noexcept nogil:
    if flusher == NULL or kx_add32(&flusher.refs, -1) > 0:
        return
    disk_release(flusher.disk)
    notify_release(flusher.notify)
    pthread_mutex_destroy(&flusher.lock)
    pthread_cond_destroy(&flusher.changed)
    free(flusher)


cdef disk_t *flusher_disk(flusher_t *flusher) noexcept nogil:
    return flusher.disk


cdef void enqueue(flusher_t *flusher, flush_item_t *item) noexcept nogil:
    """Put the item behind those that wait, with the lock held."""
    kx_store32(&item.state, QUEUED)
    item.next = NULL
    if flusher.queued_last == NULL:
        flusher.queued = item
    else:
        flusher.queued_last.next = item
    flusher.queued_last = item


cdef void flusher_submit(flusher_t *flusher, flush_item_t *item, int64_t due_ms) noexcept nogil:
    pthread_mutex_lock(&flusher.lock)
    if flusher.running and not flusher.stopping:
        if item.state == IDLE:
            item.retain(item)
            item.due_ms = due_ms
            enqueue(flusher, item)
        elif item.state == FLUSHING:
            item.state = FLUSHING_AGAIN
            item.due_ms = due_ms
        elif due_ms < item.due_ms:
            item.due_ms = due_ms
        pthread_cond_signal(&flusher.changed)
    pthread_mutex_unlock(&flusher.lock)


cdef bint is_due(flusher_t *flusher, flush_item_t *item, int64_t *now) noexcept nogil:
    if item.due_ms <= 0 or flusher.stopping:
        return True
    if now[0] < 0:
        now[0] = monotonic_ms()
    return item.due_ms <= now[0]


cdef int32_t share_of_due(flusher_t *flusher, int64_t *now, int64_t *next_due) noexcept nogil:
    """How many items one thread takes; ``next_due``: earliest time of those that have to wait, 0 when there are none."""
    cdef flush_item_t *item = flusher.queued
    cdef int32_t due = 0
    next_due[0] = 0
    while item != NULL:
        if is_due(flusher, item, now):
            due += 1
        elif next_due[0] == 0 or item.due_ms < next_due[0]:
            next_due[0] = item.due_ms
        item = item.next
    return (due + flusher.thread_count - 1) // flusher.thread_count


cdef flush_item_t *take_due(flusher_t *flusher, int64_t *next_due) noexcept nogil:
    """Unlink this thread's share of the items whose time has come, with the lock held, and wake another thread for the rest."""
    cdef int64_t now = -1
    cdef int32_t share = share_of_due(flusher, &now, next_due)
    cdef flush_item_t *taken = NULL
    cdef flush_item_t **taken_end = &taken
    cdef flush_item_t **link = &flusher.queued
    cdef flush_item_t *last = NULL
    cdef flush_item_t *item
    while link[0] != NULL:
        item = link[0]
        if share > 0 and is_due(flusher, item, &now):
            share -= 1
            kx_store32(&item.state, FLUSHING)
            link[0] = item.next
            item.next = NULL
            taken_end[0] = item
            taken_end = &item.next
        else:
            last = item
            link = &item.next
    flusher.queued_last = last
    if taken != NULL and flusher.queued != NULL:
        pthread_cond_signal(&flusher.changed)
    return taken


cdef void run_round(flusher_t *flusher, flush_item_t *round_items) noexcept nogil:
    cdef flush_item_t *item = round_items
    cdef int32_t error
    while item != NULL:
        item.begin(item)
        item = item.next
    item = round_items
    while item != NULL:
        if not kx_load32(&flusher.disk.failed):
            error = item.run(item)
            kx_add64(&flusher.flushes, 1)
            if error:
                disk_fail(flusher.disk, error)
        item = item.next
    kx_add64(&flusher.rounds, 1)


cdef void finish_round(flusher_t *flusher, flush_item_t *round_items) noexcept nogil:
    """Put items that were asked for meanwhile back; let go of the others."""
    cdef flush_item_t *item = round_items
    cdef flush_item_t *next
    while item != NULL:
        pthread_mutex_lock(&flusher.lock)
        # Once idle, the item may be queued by another thread, which then owns its link.
        next = item.next
        if item.state == FLUSHING_AGAIN:
            enqueue(flusher, item)
            pthread_mutex_unlock(&flusher.lock)
        else:
            kx_store32(&item.state, IDLE)
            pthread_mutex_unlock(&flusher.lock)
            item.release(item)
        item = next


cdef void *flush_thread(void *argument) noexcept nogil:
    cdef flusher_t *flusher = <flusher_t *>argument
    cdef flush_item_t *round_items
    cdef sigset_t signals
    cdef timespec until
    cdef int64_t next_due
    sigfillset(&signals)
    pthread_sigmask(SIG_BLOCK, &signals, NULL)
    while True:
        pthread_mutex_lock(&flusher.lock)
        while True:
            round_items = take_due(flusher, &next_due)
            if round_items != NULL or flusher.stopping:
                break
            if next_due:
                until.tv_sec = next_due // 1000
                until.tv_nsec = next_due % 1000 * 1000000
                pthread_cond_timedwait(&flusher.changed, &flusher.lock, &until)
            else:
                pthread_cond_wait(&flusher.changed, &flusher.lock)
        pthread_mutex_unlock(&flusher.lock)
        if round_items == NULL:
            return NULL
        run_round(flusher, round_items)
        finish_round(flusher, round_items)


cdef void start_threads(flusher_t *flusher) noexcept nogil:
    """Start as many threads as the system grants; the lock keeps them from sharing out work before they are counted."""
    pthread_mutex_lock(&flusher.lock)
    while flusher.thread_count < FLUSH_THREADS and pthread_create(
            &flusher.threads[flusher.thread_count], NULL, flush_thread, flusher) == 0:
        flusher.thread_count += 1
    flusher.running = flusher.thread_count > 0
    pthread_mutex_unlock(&flusher.lock)


cdef class Flusher:
    def __cinit__(self, str directory, NotifyQueue queue=None, on_failure=None):
        self.directory = directory
        self.flusher = flusher_new()
        if self.flusher == NULL:
            raise MemoryError
        self._queue = queue
        self._token = 0
        if queue is not None and on_failure is not None:
            self._token = queue.add(on_failure, True)
            notify_retain(queue.queue)
            self.flusher.token = self._token
            self.flusher.notify = queue.queue
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

    def fail(self, int32_t error):
        disk_fail(self.flusher.disk, error)

    def stop(self):
        cdef flusher_t *flusher = self.flusher
        cdef int32_t thread
        with nogil:
            pthread_mutex_lock(&flusher.lock)
            if not flusher.running or flusher.stopping:
                pthread_mutex_unlock(&flusher.lock)
                with gil:
                    return
            flusher.stopping = 1
            pthread_cond_broadcast(&flusher.changed)
            pthread_mutex_unlock(&flusher.lock)
            for thread in range(flusher.thread_count):
                pthread_join(flusher.threads[thread], NULL)
            flusher.running = 0

"""Events from threads without the GIL to the Python loop: a queue behind an eventfd."""

from libc.stdint cimport int32_t, int64_t, uint64_t
from libc.stdlib cimport calloc, free, realloc
from posix.unistd cimport close, read, write
from kafkax._core.atomics cimport kx_add32
from kafkax._core.codes cimport CORE_NO_MEMORY, OK
from kafkax._core.pthreads cimport pthread_mutex_destroy, pthread_mutex_init, pthread_mutex_lock, pthread_mutex_unlock

cdef extern from "<sys/eventfd.h>" nogil:
    int eventfd(unsigned int initial, int flags) noexcept
    enum:
        EFD_NONBLOCK
        EFD_CLOEXEC


cdef notify_t *notify_new() noexcept nogil:
    cdef notify_t *queue = <notify_t *>calloc(1, sizeof(notify_t))
    if queue == NULL:
        return NULL
    queue.refs = 1
    queue.fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)
    if queue.fd < 0:
        free(queue)
        return NULL
    pthread_mutex_init(&queue.lock, NULL)
    return queue


cdef void notify_retain(notify_t *queue) noexcept nogil:
    kx_add32(&queue.refs, 1)


cdef void notify_release(notify_t *queue) noexcept nogil:
    if queue == NULL or kx_add32(&queue.refs, -1) > 0:
        return
    close(queue.fd)
    pthread_mutex_destroy(&queue.lock)
    free(queue.events)
    free(queue)


cdef int32_t notify_push(notify_t *queue, int64_t token, int64_t value) noexcept nogil:
    cdef event_t *grown
    cdef size_t room
    cdef bint first
    cdef uint64_t one = 1
    pthread_mutex_lock(&queue.lock)
    if queue.count == queue.room:
        room = queue.room * 2 if queue.room else 16
        grown = <event_t *>realloc(queue.events, room * sizeof(event_t))
        if grown == NULL:
            pthread_mutex_unlock(&queue.lock)
            return CORE_NO_MEMORY
        queue.events = grown
        queue.room = room
    queue.events[queue.count].token = token
    queue.events[queue.count].value = value
    first = queue.count == 0
    queue.count += 1
    pthread_mutex_unlock(&queue.lock)
    if first:
        # An eventfd write of 1 fails only when its counter is at its maximum, and then it is readable anyway.
        write(queue.fd, &one, sizeof(one))
    return OK


cdef class NotifyQueue:
    def __cinit__(self):
        self.queue = notify_new()
        if self.queue == NULL:
            raise OSError("no eventfd for a notify queue: out of file descriptors or memory")
        self._callbacks = {}
        self._next = 1

    def __dealloc__(self):
        notify_release(self.queue)

    cdef int64_t add(self, object callback, bint once):
        cdef int64_t token = self._next
        self._next += 1
        self._callbacks[token] = (callback, once)
        return token

    cdef void drop(self, int64_t token):
        self._callbacks.pop(token, None)

    def fileno(self):
        return self.queue.fd

    def register(self, callback, *, bint once=False):
        return self.add(callback, once)

    def unregister(self, int64_t token):
        self.drop(token)

    def push(self, int64_t token, int64_t value):
        if notify_push(self.queue, token, value) != OK:
            raise MemoryError

    def drain(self):
        cdef event_t *events
        cdef size_t count
        cdef size_t i
        cdef uint64_t counter
        # The descriptor is reset before the events are taken: an event pushed in between signals again.
        read(self.queue.fd, &counter, sizeof(counter))
        pthread_mutex_lock(&self.queue.lock)
        events = self.queue.events
        count = self.queue.count
        self.queue.events = NULL
        self.queue.count = 0
        self.queue.room = 0
        pthread_mutex_unlock(&self.queue.lock)
        try:
            return [(events[i].token, events[i].value) for i in range(count)]
        finally:
            free(events)

    def dispatch(self):
        called = 0
        failure = None
        for token, value in self.drain():
            entry = self._callbacks.get(token)
            if entry is None:
                continue
            callback, once = entry
            if once:
                del self._callbacks[token]
            called += 1
            try:
                callback(value)
            except Exception as error:
                failure = failure or error
        if failure is not None:
            raise failure
        return called

"""A client's end of a connection: what was asked and not yet answered, and the frames that arrive."""

from cpython.bytearray cimport PyByteArray_AS_STRING, PyByteArray_FromStringAndSize
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.pythread cimport PyThread_get_thread_ident
from libc.math cimport INFINITY
from libc.stdint cimport int16_t, int32_t, int64_t, uint8_t, uint32_t
from libc.string cimport memcpy, memmove

from kafkax._core.cursor cimport kx_be32, kx_put32
from kafkax._core.linux cimport monotonic
from kafkax._core.socket_io cimport receive_at, send_parts

from kafkax.errors import ErrorCode, KafkaError

cdef enum:
    SCRATCH = 65536
    # How often a socket is read before others have their turn.
    READS = 16
    AT_CORRELATION_ID = 8


cdef double TAKEN = 0.02


cdef object network_error(text):
    return KafkaError(ErrorCode.NETWORK_EXCEPTION, text)


cdef class Pending:

    def __cinit__(self):
        self.correlation_id = -1

    cdef object answered(self, object answer):
        """Take a response's frame, or an error."""
        if self._home is None or self._home._owner == <int64_t>PyThread_get_thread_ident():
            self._answer(answer)
        else:
            self._home._call_soon(self._answer, (answer,))


cdef class Channel:

    def __init__(self, address, int64_t limit):
        self.address = address
        self.fd = self.shared_fd = -1
        self.used = monotonic()
        self.watched_until = INFINITY
        self.lock = Latch()
        self._turn = Latch()
        self._owner = <int64_t>PyThread_get_thread_ident()
        self.unsent = []
        self._limit = limit
        self._headers = {}
        self._scratch = PyByteArray_FromStringAndSize(NULL, SCRATCH)
        self._room = <uint8_t *>PyByteArray_AS_STRING(self._scratch)
        self._frames = []

    # sending

    def send(self, int16_t api_key, int16_t version, list parts not None, double timeout, answer):
        cdef Pending pending = Pending.__new__(Pending)
        pending._answer = answer
        self.post(api_key, version, parts, timeout, pending)

    def ask(self, int16_t api_key, int16_t version, list parts not None, double timeout, answer):
        cdef Pending pending = Pending.__new__(Pending)
        pending._answer = answer
        pending._home = self
        self.post(api_key, version, parts, timeout, pending)

    cdef int32_t post(self, int16_t api_key, int16_t version, list parts, double timeout, Pending pending) except -1:
        cdef bint gone
        pending.api_key = api_key
        pending.timeout = timeout
        pending.deadline = monotonic() + timeout
        with self.lock:
            gone = self.transport is None and self.fd < 0
            if not gone:
                self._correlation_id = <int32_t>((<uint32_t>self._correlation_id + 1) & 0x7FFFFFFF)
                pending.correlation_id = self._correlation_id
                if self._last is None:
                    self._first = pending
                else:
                    self._last._next = pending
                self._last = pending
                self.in_flight += 1
                self._write(api_key, version, parts)
        if gone:
            pending.answered(self.gone())
        elif pending.deadline < self.watched_until:
            self._call_soon(self.expect, (pending.deadline,))
        return 0

    cdef object _call_soon(self, object function, tuple arguments):
        """Have the thread that owns the connection do something, unless it has ended."""
        if self.loop is None:
            function(*arguments)
        elif not self.loop.is_closed():
            self.loop.call_soon_threadsafe(function, *arguments)

    cdef object _broken(self, object error):
        """Have the connection closed; from any thread."""
        self.shared_fd = -1
        self._call_soon(self.abort, (error,))

    def send_unanswered(self, int16_t api_key, int16_t version, list parts not None):
        cdef bint gone
        with self.lock:
            gone = self.transport is None and self.fd < 0
            if not gone:
                self._correlation_id = <int32_t>((<uint32_t>self._correlation_id + 1) & 0x7FFFFFFF)
                self._write(api_key, version, parts)
        if gone:
            raise self.gone()

    cdef object _write(self, int16_t api_key, int16_t version, list parts):
        """Put a request on its way, with the lock held; what is wrong with the connection is told by its end."""
        cdef int32_t which = (<int32_t>api_key << 16) | version
        cdef bytes header = self._headers.get(which)
        cdef bytes front
        cdef uint8_t *at
        cdef Py_ssize_t size
        self.used = monotonic()
        if header is None:
            header = self._headers[which] = b"\0\0\0\0" + self.header(api_key, version)
        size = PyBytes_GET_SIZE(header)
        front = PyBytes_FromStringAndSize(PyBytes_AS_STRING(header), size)
        for part in parts:
            size += len(part)
        at = <uint8_t *>PyBytes_AS_STRING(front)
        kx_put32(at, <uint32_t>(size - 4))
        kx_put32(at + AT_CORRELATION_ID, <uint32_t>self._correlation_id)
        whole = [front]
        whole += parts
        if self.transport is not None:
            self.transport.writelines(whole)
        elif self.unsent:
            self.unsent += whole
        else:
            try:
                left = send_parts(self.fd, whole)
            except OSError as failure:
                self._broken(network_error(f"{self.address} closed the connection: {failure}"))
                return
            if left is not None:
                self.unsent = left
                self._call_soon(self.await_room, ())

    def flush(self):
        with self.lock:
            if self.fd < 0:
                return True
            self.unsent = send_parts(self.fd, self.unsent) or []
            return not self.unsent

    # receiving

    def get_buffer(self, sizehint):
        if self._large is not None:
            return memoryview(self._large)[self._large_filled:]
        return memoryview(self._scratch)[self._filled:]

    def buffer_updated(self, Py_ssize_t nbytes):
        with self._turn:
            with self.lock:
                error = self._arrived(nbytes)
            self._hand_out(error)

    cpdef take_over(self):
        self.taken_until = monotonic() + TAKEN

    cpdef receive(self):
        with self._turn:
            self._receive()

    cdef object _receive(self):
        cdef Py_ssize_t room, size
        cdef uint8_t *at
        error = None
        try:
            with self.lock:
                for _ in range(READS):
                    if self.fd < 0:
                        break
                    if self._large is not None:
                        at = <uint8_t *>PyByteArray_AS_STRING(self._large) + self._large_filled
                        room = self._large_size - self._large_filled
                    else:
                        at = self._room + self._filled
                        room = SCRATCH - self._filled
                    size = receive_at(self.fd, at, room)
                    if size > 0:
                        error = self._arrived(size)
                    elif size == 0:
                        error = network_error(f"{self.address} closed the connection")
                    if size < room or error is not None:
                        break
        except OSError as failure:
            error = network_error(f"{self.address} closed the connection: {failure}")
        self._hand_out(error)

    cdef object _arrived(self, Py_ssize_t size):
        """Note bytes that were put into the buffer; what is wrong with them."""
        if self._large is not None:
            self._large_filled += size
            if self._large_filled >= self._large_size:
                self._frames.append(self._large)
                self._large = None
            return None
        self._filled += size
        return self._split()

    cdef object _split(self):
        """Take the whole frames out of the scratch buffer and begin a large one."""
        cdef Py_ssize_t start = 0
        cdef Py_ssize_t end
        cdef int64_t size
        while self._filled - start >= 4:
            size = <int32_t>kx_be32(self._room + start)
            if size < 4 or size > self._limit:
                return network_error(
                    f"{self.address} claims a response of {size} bytes; 4 to {self._limit} (receive.message.max.bytes) are "
                    "allowed. Is it a Kafka broker, and does security.protocol match its listener?"
                )
            end = start + 4 + size
            if end > self._filled:
                if end > SCRATCH or size > SCRATCH // 2:
                    self._large = PyByteArray_FromStringAndSize(NULL, size)
                    self._large_size = size
                    self._large_filled = self._filled - start - 4
                    memcpy(PyByteArray_AS_STRING(self._large), self._room + start + 4, self._large_filled)
                    start = self._filled
                break
            self._frames.append(PyBytes_FromStringAndSize(<const char *>self._room + start + 4, size))
            start = end
        if start:
            memmove(self._room, self._room + start, self._filled - start)
            self._filled -= start
        return None

    cdef Pending _pop(self):
        cdef Pending first = self._first
        self._first = first._next
        first._next = None
        if self._first is None:
            self._last = None
        self.in_flight -= 1
        return first

    cdef object _hand_out(self, object error):
        """Give each frame that has arrived to the request that waited longest; the connection ends if something is wrong.

        All get theirs even if what one does with it raises, which Ctrl-C may have it do on a caller's thread.
        """
        cdef int32_t correlation_id
        cdef Pending pending
        if error is None and not self._frames:
            return
        matched = []
        wrong = None
        with self.lock:
            frames = self._frames
            self._frames = []
            for frame in frames:
                view = memoryview(frame)
                correlation_id = id_of(view)
                if self._first is None or self._first.correlation_id != correlation_id:
                    expected = "none" if self._first is None else self._first.correlation_id
                    wrong = network_error(f"{self.address} answered with correlation id {correlation_id}, {expected} was due")
                    break
                matched.append((self._pop(), view))
        raised = None
        for pending, view in matched:
            try:
                pending.answered(view)
            except BaseException as failure:
                raised = raised or failure
        if wrong is not None or error is not None:
            self._broken(error if wrong is None else wrong)
        if raised is not None:
            raise raised

    def soonest(self):
        cdef Pending pending
        cdef Pending found = None
        with self.lock:
            pending = self._first
            while pending is not None:
                if found is None or pending.deadline < found.deadline:
                    found = pending
                pending = pending._next
        return found

    def give_up(self, error):
        cdef Pending pending
        waiting = []
        with self.lock:
            while self._first is not None:
                waiting.append(self._pop())
        for pending in waiting:
            pending.answered(error)


cdef inline int32_t id_of(const uint8_t[::1] frame) except? -1:
    return <int32_t>kx_be32(&frame[0])

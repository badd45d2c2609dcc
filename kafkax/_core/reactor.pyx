"""Everything here runs with the GIL and only touches what other threads may: letters, the hand-over queue, counters."""

import os
import socket


from libc.errno cimport errno
from libc.stdint cimport int32_t, int64_t, uint32_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy
from posix.unistd cimport close, usleep
from kafkax._core.addresses cimport addresses_free, limits_set
from kafkax._core.answers cimport answer_free, answer_new
from kafkax._core.atomics cimport kx_load32, kx_load64, kx_store32, kx_store64
from kafkax._core.cursor cimport kx_put32
from kafkax._core.fetch_session cimport sessions_close, sessions_count, sessions_open
from kafkax._core.handoff cimport take_handed, taken_bytes
from kafkax._core.leaders cimport Leaders
from kafkax._core.linux cimport AF_INET6, EFD_CLOEXEC, EFD_NONBLOCK, eventfd, monotonic_ms, sockaddr_in, sockaddr_in6
from kafkax._core.mailbox cimport announce, leave, post, wake_thread
from kafkax._core.network cimport (
    API_COUNTED,
    CLOSE_REASONS,
    LETTER_ANSWER,
    LETTER_CLOSE,
    LETTER_END,
    LETTER_FREE,
    LETTER_PAUSE,
    LETTER_TRUST,
    MAX_LISTENERS,
    MAX_THREADS,
    READY_VERSIONS,
    answer_t,
    counters_t,
    cut_t,
    handed_t,
    listener_t,
    own_limit_t,
    reactor_t,
    settings_t,
)
from kafkax._core.network_thread cimport thread_free, thread_init, thread_start, watch_listener
from kafkax._core.registry cimport Registry
from kafkax._core.segment cimport FileSlice, segment_retain
from kafkax._core.standing cimport StandingAnswers
from kafkax._core.versions cimport versions_free, versions_set
from kafkax._core.warm cimport warmer_start, warmer_stop
from kafkax._core.pthreads cimport pthread_join, pthread_mutex_destroy, pthread_mutex_init

from kafkax._core.pacing import unpaced

__all__ = ["ClosedConnection", "HandedRequest", "NewConnection", "Reactor"]

CLOSE_NAMES = (
    "closed by peer",
    "log file could not be read",
    "idle for longer than connections.max.idle.ms",
    "frame length out of bounds",
    "frame does not parse",
    "produce with acks=0 failed",
    "closed by the broker",
    "broker stops",
    "out of memory",
    "more than max.connections.per.ip",
)
"""What the CLOSE_ reasons of ``network.pxd`` mean, in their order."""

MAX_INT32 = 2**31 - 1


cdef str peer_of(bytes address):
    """``host:port`` of a socket address."""
    cdef const sockaddr_in6 *six = <const sockaddr_in6 *><const char *>address
    cdef const sockaddr_in *four = <const sockaddr_in *><const char *>address
    if six.sin6_family == AF_INET6:
        host = socket.inet_ntop(socket.AF_INET6, (<const char *>&six.sin6_addr)[:16])
        return f"[{host}]:{socket.ntohs(six.sin6_port)}"
    host = socket.inet_ntop(socket.AF_INET, (<const char *>&four.sin_addr)[:4])
    return f"{host}:{socket.ntohs(four.sin_port)}"


cdef class HandedRequest:
    @staticmethod
    cdef HandedRequest of(handed_t *handed, list listeners):
        cdef HandedRequest request = HandedRequest.__new__(HandedRequest)
        request.connection = handed.connection
        request.token = handed.token
        request.listener = listeners[handed.listener]
        request.frame = (<const char *>handed.frame)[:handed.size]
        request._address = (<const char *>&handed.address)[:sizeof(handed.address)]
        return request

    @property
    def peer(self):
        return peer_of(self._address)


cdef class ClosedConnection:
    @staticmethod
    cdef ClosedConnection of(handed_t *handed, list listeners):
        cdef ClosedConnection gone = ClosedConnection.__new__(ClosedConnection)
        gone.connection = handed.connection
        gone.listener = listeners[handed.listener]
        gone.reason = CLOSE_NAMES[handed.closed - 1]
        gone._address = (<const char *>&handed.address)[:sizeof(handed.address)]
        return gone

    @property
    def peer(self):
        return peer_of(self._address)


cdef class NewConnection:
    @staticmethod
    cdef NewConnection of(handed_t *handed, list listeners):
        cdef NewConnection opened = NewConnection.__new__(NewConnection)
        opened.connection = handed.connection
        opened.listener = listeners[handed.listener]
        opened._address = (<const char *>&handed.address)[:sizeof(handed.address)]
        return opened

    @property
    def peer(self):
        return peer_of(self._address)


cdef int fill_settings(settings_t *into, settings) except -1:
    into.request_max_bytes = settings.socket_request_max_bytes
    into.unauthenticated_max_bytes = settings.sasl_server_max_receive_size
    into.max_connections = settings.max_connections
    into.max_connections_per_ip = settings.max_connections_per_ip
    into.idle_ms = settings.connections_max_idle_ms
    into.queued_requests = settings.queued_max_requests
    into.queued_bytes = settings.queued_max_request_bytes
    into.output_bytes = settings.connection_output_bytes
    into.fetch_max_bytes = settings.fetch_max_bytes
    into.rack_aware_reads = settings.rack_aware_reads
    into.session_slots = settings.max_incremental_fetch_session_cache_slots
    into.send_buffer = settings.socket_send_buffer_bytes
    into.receive_buffer = settings.socket_receive_buffer_bytes
    into.backlog = settings.socket_listen_backlog_size
    into.busy_poll_ns = settings.network_busy_poll_us * 1000
    return 0


cdef void add_slice(answer_t *answer, size_t at, FileSlice part):
    """Let the slice's bytes stand before byte ``at`` of the answer."""
    cdef cut_t *cut = &answer.cuts[answer.cut_count]
    if part.piece.length == 0:
        return
    cut.at = at
    cut.piece = part.piece
    segment_retain(cut.piece.segment)
    answer.cut_count += 1
    answer.total += cut.piece.length


cdef answer_t *whole_answer(bytes payload) except NULL:
    """Answer with its length prefix, from a response in one piece."""
    cdef size_t size = len(payload)
    cdef answer_t *answer
    if size > <size_t>(MAX_INT32 - 4):
        raise ValueError(f"response of {size} bytes: at most {MAX_INT32 - 4} fit into a frame")
    answer = answer_new(4 + size)
    if answer == NULL:
        raise MemoryError("response")
    memcpy(answer.data + 4, <const char *>payload, size)
    kx_put32(answer.data, <uint32_t>size)
    return answer


cdef answer_t *make_answer(object payload) except NULL:
    """Answer with its length prefix, from a response given as bytes or as parts."""
    cdef answer_t *answer
    cdef bytes data
    cdef size_t at = 4
    if isinstance(payload, bytes):
        return whole_answer(payload)
    parts = tuple(payload)
    for part in parts:
        if not isinstance(part, (bytes, FileSlice)):
            raise TypeError(f"part of a response: bytes or FileSlice, not {type(part).__name__}")
    slices = sum(isinstance(part, FileSlice) for part in parts)
    if 4 + sum(len(part) for part in parts) > MAX_INT32:
        raise ValueError(f"response of {sum(len(part) for part in parts)} bytes: at most {MAX_INT32} fit into a frame")
    answer = answer_new(4 + sum(len(part) for part in parts if not isinstance(part, FileSlice)))
    if answer == NULL:
        raise MemoryError("response")
    answer.cuts = <cut_t *>calloc(slices + 1, sizeof(cut_t))
    if answer.cuts == NULL:
        answer_free(answer)
        raise MemoryError("response")
    for part in parts:
        if isinstance(part, FileSlice):
            add_slice(answer, at, part)
        else:
            data = part
            memcpy(answer.data + at, <const char *>data, len(data))
            at += len(data)
    kx_put32(answer.data, <uint32_t>(answer.total - 4))
    return answer


cdef class Reactor:
    def __cinit__(self, Registry registry, settings):
        cdef reactor_t *reactor = <reactor_t *>calloc(1, sizeof(reactor_t))
        if reactor == NULL:
            raise MemoryError("reactor")
        self.reactor = reactor
        self._registry = registry
        self._listeners = []
        pthread_mutex_init(&reactor.lock, NULL)
        reactor.handed_event = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)
        if reactor.handed_event < 0:
            raise OSError(errno, os.strerror(errno), "eventfd")
        fill_settings(&reactor.settings, settings)
        if sessions_open(reactor) != 0:
            raise MemoryError("fetch sessions")
        if registry is not None:
            reactor.registry = registry.registry

    def __dealloc__(self):
        cdef handed_t *handed
        cdef handed_t *following
        cdef int32_t at
        if self.reactor == NULL:
            return
        if self._started:
            self.stop(0)
        elif self._lanes is not None:
            self._lanes.attach(NULL)
        for at in range(self.reactor.listener_count):
            if self.reactor.listeners[at].fd >= 0:
                close(self.reactor.listeners[at].fd)
        handed = take_handed(self.reactor)
        while handed != NULL:
            following = handed.next
            free(handed)
            handed = following
        addresses_free(self.reactor)
        sessions_close(self.reactor)
        versions_free(self.reactor)
        if self.reactor.handed_event >= 0:
            close(self.reactor.handed_event)
        pthread_mutex_destroy(&self.reactor.lock)
        free(self.reactor)

    def listen(self, str host, int port, str listener_name, *, bint fast=True, bint authenticated=True,
               bint between_brokers=False):
        cdef listener_t *listener
        if self._started:
            raise RuntimeError(f"listen on {host}:{port}: the reactor runs already, open listeners before start()")
        if self.reactor.listener_count == MAX_LISTENERS:
            raise ValueError(f"listener {listener_name}: at most {MAX_LISTENERS} listeners")
        found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, kind, proto, _, address = found[0]
        with socket.socket(family, kind | socket.SOCK_NONBLOCK, proto) as opened:
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            opened.bind(address)
            congestion = unpaced(opened).encode()
            opened.listen(self.reactor.settings.backlog)
            bound = opened.getsockname()[1]
            listener = &self.reactor.listeners[self.reactor.listener_count]
            listener.fd = opened.detach()
        memcpy(listener.congestion, <char *>congestion, len(congestion) + 1)
        listener.fast = fast and self.reactor.registry != NULL
        listener.trusted = authenticated
        listener.between_brokers = between_brokers
        listener.paused = 0
        self.reactor.listener_count += 1
        self._listeners.append(listener_name)
        return bound

    def start(self, int threads):
        cdef int32_t at, error = 0
        if self._started:
            raise RuntimeError("start: the reactor runs already")
        if not 1 <= threads <= MAX_THREADS:
            raise ValueError(f"num.network.threads={threads}: 1 to {MAX_THREADS}")
        self.reactor.processors = len(os.sched_getaffinity(0))
        for at in range(threads):
            error = thread_init(self.reactor, at)
            self.reactor.thread_count = at + 1
            if error:
                break
        for at in range(self.reactor.listener_count):
            error = error or watch_listener(self.reactor, at)
        error = error or warmer_start(self.reactor)
        if error:
            self.release_threads()
            raise OSError(error, os.strerror(error), "network threads")
        for at in range(threads):
            error = thread_start(&self.reactor.threads[at])
            if error:
                kx_store32(&self.reactor.stopping, 1)
                self.join(at)
                raise OSError(error, os.strerror(error), "network threads")
        self._started = True

    def stop(self, double timeout):
        cdef int32_t at
        cdef listener_t *listener
        if not self._started or kx_load32(&self.reactor.stopping):
            return
        kx_store64(&self.reactor.stop_at_ms, monotonic_ms() + <int64_t>(timeout * 1000))
        kx_store32(&self.reactor.stopping, 1)
        if self._lanes is not None:
            self._lanes.attach(NULL)
        self.join(self.reactor.thread_count)
        self._started = False
        for at in range(self.reactor.listener_count):
            listener = &self.reactor.listeners[at]
            close(listener.fd)
            listener.fd = -1

    def join(self, int32_t started):
        """Wait for the threads that run, then release all."""
        cdef int32_t at
        with nogil:
            for at in range(started):
                wake_thread(&self.reactor.threads[at])
            for at in range(started):
                pthread_join(self.reactor.threads[at].joinable, NULL)
        self.release_threads()

    def release_threads(self):
        """Free the threads' structures; their counters stay readable."""
        with nogil:
            warmer_stop(self.reactor)
            # Who was about to stand in for one of them when its last request went finds nothing to do.
            while kx_load32(&self.reactor.stand_ins):
                usleep(100)
        cdef int32_t at
        for at in range(self.reactor.thread_count):
            thread_free(&self.reactor.threads[at])

    def fileno(self):
        return self.reactor.handed_event

    def take(self):
        cdef handed_t *handed = take_handed(self.reactor)
        cdef handed_t *following
        taken = []
        while handed != NULL:
            following = handed.next
            if handed.closed < 0:
                taken.append(NewConnection.of(handed, self._listeners))
            elif handed.closed:
                taken.append(ClosedConnection.of(handed, self._listeners))
            else:
                taken_bytes(self.reactor, <long>handed.size)
                taken.append(HandedRequest.of(handed, self._listeners))
            free(handed)
            handed = following
        return taken

    cdef int check_token(self, unsigned long long connection) except -1:
        """Number of the thread that serves the connection; raises ValueError when no such thread exists."""
        cdef int number = <int>((connection >> 24) & 0xFF)
        if number >= self.reactor.thread_count:
            raise ValueError(f"connection {connection}: not one of this reactor's")
        return number

    def send_letter(self, unsigned long long connection, unsigned long long token, int kind, int value):
        """Leave a letter without a body."""
        cdef int number = self.check_token(connection)
        if self._started and post(&self.reactor.threads[number], kind, connection, token, value, NULL) != 0:
            raise MemoryError("letter to a network thread")

    def respond(self, unsigned long long connection, unsigned long long token, payload):
        cdef int number = self.check_token(connection)
        cdef answer_t *answer
        if not self._started:
            return
        answer = make_answer(payload)
        if leave(&self.reactor.threads[number], LETTER_ANSWER, connection, token, 0, answer, self._soon is None) != 0:
            answer_free(answer)
            raise MemoryError("letter to a network thread")
        if self._soon is not None and not self._left:
            self._left = True
            self._soon()

    def gather(self, soon):
        self._soon = soon

    def announce(self):
        cdef int32_t at
        self._left = False
        for at in range(self.reactor.thread_count if self._started else 0):
            announce(&self.reactor.threads[at])

    def answer_standing(self, StandingAnswers answers not None):
        if self._started:
            raise RuntimeError("the reactor runs already")
        self._standing = answers
        self.reactor.standings = &answers.table

    def take_commits(self, CommitLanes lanes not None):
        if self._started:
            raise RuntimeError("the reactor runs already")
        self._lanes = lanes
        self.reactor.lanes = lanes.lanes
        lanes.attach(self.reactor)

    def tell_leaders(self, Leaders leaders not None):
        if self._started:
            raise RuntimeError("the reactor runs already")
        self._leaders = leaders
        self.reactor.leaders = &leaders.table

    @property
    def listeners(self):
        return list(self._listeners)

    def skip(self, unsigned long long connection, unsigned long long token):
        self.send_letter(connection, token, LETTER_ANSWER, 0)

    def close(self, unsigned long long connection):
        self.send_letter(connection, 0, LETTER_CLOSE, 0)

    def end(self, unsigned long long connection, unsigned long long token):
        self.send_letter(connection, token, LETTER_END, 0)

    def authenticated(self, unsigned long long connection, *, bint fast):
        self.send_letter(connection, 0, LETTER_TRUST, fast and self.reactor.registry != NULL)

    def set_api_versions(self, int version, bytes body):
        cdef const unsigned char *data = NULL if body is None else <const unsigned char *><const char *>body
        if not 0 <= version < READY_VERSIONS:
            raise ValueError(f"ApiVersions version {version}: 0 to {READY_VERSIONS - 1}")
        if versions_set(self.reactor, version, data, 0 if body is None else len(body)) != 0:
            raise MemoryError("ready answer")

    def meter(self, int generation):
        kx_store32(&self.reactor.quota_generation, generation)

    def free(self, unsigned long long connection, int generation):
        self.send_letter(connection, generation, LETTER_FREE, 0)

    def pause(self, unsigned long long connection, *, bint paused):
        self.send_letter(connection, 0, LETTER_PAUSE, paused)

    def screen(self, bint screening):
        kx_store32(&self.reactor.screening, screening)

    def limit(self, long long connections, long long per_address, own):
        cdef own_limit_t *limits = NULL
        cdef bytes packed
        cdef int32_t at
        if own:
            limits = <own_limit_t *>calloc(len(own), sizeof(own_limit_t))
            if limits == NULL:
                raise MemoryError("limits of addresses")
        for at, (address, most) in enumerate(own.items()):
            packed = address.packed
            memcpy(limits[at].address + 16 - len(packed), <const char *>packed, len(packed))
            limits[at].most = most
        kx_store64(&self.reactor.settings.max_connections, connections)
        limits_set(self.reactor, per_address, limits, <int32_t>len(own))
        for at in range(self.reactor.thread_count if self._started else 0):
            wake_thread(&self.reactor.threads[at])

    def counters(self):
        cdef int32_t at, key
        cdef counters_t *of
        totals = {"bytes_in": 0, "bytes_out": 0, "handed_over": 0, "accepted": 0, "cold_reads": 0, "stood_in": 0, "looks": 0,
                  "looks_in_vain": 0}
        requests = {}
        closed = dict.fromkeys(CLOSE_NAMES, 0)
        for at in range(self.reactor.thread_count):
            of = &self.reactor.threads[at].counters
            totals["bytes_in"] += kx_load64(&of.bytes_in)
            totals["bytes_out"] += kx_load64(&of.bytes_out)
            totals["handed_over"] += kx_load64(&of.handed)
            totals["accepted"] += kx_load64(&of.accepted)
            totals["cold_reads"] += kx_load64(&of.warmed)
            totals["stood_in"] += kx_load64(&of.stood_in)
            totals["looks"] += kx_load64(&of.looks)
            totals["looks_in_vain"] += kx_load64(&of.looks_in_vain)
            for key in range(API_COUNTED):
                if kx_load64(&of.requests[key]):
                    requests[key] = requests.get(key, 0) + kx_load64(&of.requests[key])
            for key in range(CLOSE_REASONS):
                closed[CLOSE_NAMES[key]] += kx_load64(&of.closed[key])
        totals["connections"] = kx_load32(&self.reactor.connections)
        totals["waiting_for_control_plane"] = kx_load64(&self.reactor.handed_requests)
        totals["held_bytes"] = kx_load64(&self.reactor.kept_bytes) + kx_load64(&self.reactor.handed_bytes)
        totals["fetch_sessions"] = sessions_count(self.reactor)
        return {**totals, "requests": requests, "closed": closed}

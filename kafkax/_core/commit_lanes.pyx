"""A commit is taken when it begins as one that the coordinator has allowed (``standing``), by the same connection, since the
group last changed; when its topics exist as far as the coordinator has said; and when the lane of its group's partition is
open. Then it is a part of the log's order: it is written with whatever comes in the same turn for the same partition, and
waits for the high watermark by itself.

The coordinator halts a lane while it has records of its own that are not appended: so there is one order in the log and in its
state, which takes over what the lane has appended before anybody looks. Who meets a halted lane, or comes behind a request
that the coordinator has not answered, waits with all that its connection sends behind it, as with Apache Kafka."""

from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdint cimport int16_t, int32_t, int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc, realloc
from libc.string cimport memcmp, memcpy
from kafkax._core.answers cimport answer_fill, answer_free, answer_new, answer_slot
from kafkax._core.atomics cimport kx_add64, kx_load64, kx_load_pointer
from kafkax._core.batch cimport BATCH_HEADER
from kafkax._core.batch_writer cimport batch_begin, batch_clear, batch_finish
from kafkax._core.codes cimport (
    CORE_NO_MEMORY, CORE_PENDING, ERR_NOT_ENOUGH_REPLICAS_AFTER_APPEND, ERR_UNKNOWN_SERVER_ERROR, OK,
)
from kafkax._core.commit_request cimport (
    commit_answer, commit_answer_bound, commit_asked_t, commit_parse, commit_refuse, commit_release, commit_size, commit_topic_t,
    commit_write,
)
from kafkax._core.connection cimport connection_close, connection_starve, connection_work
from kafkax._core.cursor cimport kx_put32
from kafkax._core.fields cimport is_ascii
from kafkax._core.files cimport wall_ms
from kafkax._core.hashes cimport fnv1a
from kafkax._core.logstate cimport WAIT_HIGH_WATERMARK, append_result_t, waiter_t
from kafkax._core.mailbox cimport note_woken, ring_thread, wake_parked, wake_thread
from kafkax._core.network cimport (
    CLOSE_MEMORY, DROPPED, REQUEST_CLOSE, REQUEST_DONE, REQUEST_HANDOFF, REQUEST_WAIT, STARVED_LANE, WOKEN,
)
from kafkax._core.notify cimport NotifyQueue, notify_push, notify_release, notify_retain
from kafkax._core.park cimport park, unpark
from kafkax._core.partition cimport (
    Partition, partition_append_own, partition_committed, partition_release, partition_retain, partition_unwait, partition_wait,
)
from kafkax._core.pthreads cimport pthread_mutex_destroy, pthread_mutex_init, pthread_mutex_lock, pthread_mutex_unlock
from kafkax._core.standing cimport commits_stand

__all__ = ["CommitLanes"]

cdef enum:
    IDS_SINCE = 10
    ID_SIZE = 16
    ERR_REQUEST_TIMED_OUT = 7
    FIRST_ROOM = 64
    MOST_KNOWN = 100000
    # Bytes that the control plane is to take over even if nobody looks, and beyond which nothing more is taken until it does.
    MANY_TAKEN = 262144
    MOST_TAKEN = 16777216
    KEPT_TAKEN = 65536


cdef size_t place_of(const uint8_t *data, size_t size, size_t room) noexcept nogil:
    cdef uint64_t value = fnv1a(data, size)
    return (value ^ (value >> 32)) & (room - 1)


cdef int32_t lane_of(const uint8_t *group, int32_t size, int32_t count) noexcept nogil:
    """The partition of a group, whose id is ASCII: Java's hash of a string."""
    cdef uint32_t value = 0
    cdef int32_t at
    for at in range(size):
        value = value * 31 + group[at]
    return <int32_t>((value & 0x7FFFFFFF) % <uint32_t>count)


# -- topics ----------------------------------------------------------------------------------------------------------------


cdef known_t *known_by_name(lanes_t *lanes, const uint8_t *name, size_t size) noexcept nogil:
    cdef known_t *known = lanes.names[place_of(name, size, lanes.room)]
    while known != NULL and not (<size_t>known.name_size == size and memcmp(known.name, name, size) == 0):
        known = known.by_name
    return known


cdef known_t *known_by_id(lanes_t *lanes, const uint8_t *topic_id) noexcept nogil:
    cdef known_t *known = lanes.ids[place_of(topic_id, ID_SIZE, lanes.room)]
    while known != NULL and memcmp(known.id, topic_id, ID_SIZE) != 0:
        known = known.by_id
    return known


cdef void link_known(lanes_t *lanes, known_t *known) noexcept nogil:
    cdef known_t **name = &lanes.names[place_of(known.name, known.name_size, lanes.room)]
    cdef known_t **topic_id = &lanes.ids[place_of(known.id, ID_SIZE, lanes.room)]
    known.by_name, known.by_id = name[0], topic_id[0]
    name[0] = topic_id[0] = known


cdef void unlink_known(lanes_t *lanes, known_t *known) noexcept nogil:
    cdef known_t **link = &lanes.names[place_of(known.name, known.name_size, lanes.room)]
    while link[0] != known:
        link = &link[0].by_name
    link[0] = known.by_name
    link = &lanes.ids[place_of(known.id, ID_SIZE, lanes.room)]
    while link[0] != known:
        link = &link[0].by_id
    link[0] = known.by_id


cdef bint find_topics(lanes_t *lanes, commit_asked_t *asked) noexcept nogil:
    """Whether everything that is asked for exists; ``lock`` held as long as what was found is used."""
    cdef commit_topic_t *topic
    cdef known_t *known
    cdef int32_t at, each
    for at in range(asked.topic_count):
        topic = &asked.topics[at]
        if asked.version >= IDS_SINCE:
            known = known_by_id(lanes, topic.name)
        else:
            known = known_by_name(lanes, topic.name, <size_t>topic.size)
        if known == NULL:
            return False
        for each in range(topic.first, topic.first + topic.count):
            if not 0 <= asked.parts[each].partition < known.partitions:
                return False
            if not is_ascii(asked.parts[each].metadata, asked.parts[each].metadata_size):
                return False
        topic.found, topic.found_size, topic.id = known.name, known.name_size, known.id
    return True


# -- appending -------------------------------------------------------------------------------------------------------------


cdef bint room_to_take(lane_t *lane) noexcept nogil:
    cdef size_t needed = lane.taken_size + lane.batch.size
    cdef size_t room
    cdef uint8_t *grown
    if needed > lane.taken_room:
        room = max(needed, 2 * lane.taken_room)
        grown = <uint8_t *>realloc(lane.taken, room)
        if grown == NULL:
            return False
        lane.taken, lane.taken_room = grown, room
    return True


cdef int32_t append_gathered(lane_t *lane, append_result_t *result) noexcept nogil:
    """Write the batch; 0 or why not."""
    cdef int64_t now_ms = wall_ms()
    cdef int32_t code
    batch_finish(&lane.batch, now_ms, -1, -1, False)
    if not room_to_take(lane):
        return CORE_NO_MEMORY
    code = partition_append_own(lane.partition, lane.batch.data, lane.batch.size, now_ms, result)
    if code == OK:
        memcpy(lane.taken + lane.taken_size, lane.batch.data, lane.batch.size)
        lane.taken_size += lane.batch.size
        lane.end = result.last_offset + 1
        if lane.taken_size > MANY_TAKEN and not lane.told:
            lane.told = notify_push(lane.lanes.notify, lane.lanes.token, lane.index) == OK
    return code


cdef void flush_lane(lane_t *lane) noexcept nogil:
    """Append what is gathered and have everybody wait for it, or told why it was not; ``lock`` held."""
    cdef append_result_t result
    cdef commit_t *waiting
    cdef commit_t *following = lane.first
    cdef int32_t code
    if lane.batch.count == 0:
        return
    code = append_gathered(lane, &result)
    batch_clear(&lane.batch)
    lane.first = lane.last = NULL
    while following != NULL:
        waiting = following
        following = waiting.next
        waiting.gathered = 0
        waiting.code = code
        if code == OK:
            waiting.required_offset = result.last_offset + 1
            waiting.leader_epoch = result.leader_epoch
            waiting.waiter.offset = waiting.required_offset
        # Its own thread may free it as soon as it is woken, but only with the lock.
        if code != OK or partition_wait(waiting.partition, &waiting.waiter):
            wake_parked(&waiting.parked)


cdef void append_commits(network_thread_t *thread) noexcept nogil:
    cdef lane_t *lane = <lane_t *>thread.lanes
    cdef lane_t *following
    thread.lanes = NULL
    while lane != NULL:
        following = lane.next_listed
        pthread_mutex_lock(&lane.lock)
        lane.listed = 0
        flush_lane(lane)
        pthread_mutex_unlock(&lane.lock)
        lane = following


# -- waiting and answering -------------------------------------------------------------------------------------------------


cdef void *wake(waiter_t *waiter) noexcept nogil:
    return note_woken(<parked_t *>waiter.owner)


cdef void leave_batch(lane_t *lane, commit_t *waiting) noexcept nogil:
    """Wait no more for what is gathered, which is appended all the same; ``lock`` held."""
    if waiting.previous != NULL:
        waiting.previous.next = waiting.next
    else:
        lane.first = waiting.next
    if waiting.next != NULL:
        waiting.next.previous = waiting.previous
    else:
        lane.last = waiting.previous
    waiting.gathered = 0


cdef int32_t committed(commit_t *waiting) noexcept nogil:
    cdef int32_t code = partition_committed(waiting.partition, waiting.required_offset, waiting.leader_epoch)
    # What the high watermark has passed is committed, however many are in sync now.
    return OK if code == ERR_NOT_ENOUGH_REPLICAS_AFTER_APPEND else code


cdef int32_t settled(commit_t *waiting) noexcept nogil:
    """What became of an appended commit; registered anew while that is open."""
    cdef int32_t code = committed(waiting) if waiting.code == OK else waiting.code
    if (code == CORE_PENDING and kx_load_pointer(<void *const *>&waiting.waiter.log) == NULL
            and partition_wait(waiting.partition, &waiting.waiter)):
        code = committed(waiting)
    return code


cdef void look(parked_t *parked, int32_t why) noexcept nogil:
    cdef commit_t *waiting = <commit_t *>parked
    cdef lane_t *lane = waiting.lane
    cdef int32_t code = ERR_REQUEST_TIMED_OUT
    cdef bint gathered
    pthread_mutex_lock(&lane.lock)
    gathered = waiting.gathered
    if gathered and why != WOKEN:
        leave_batch(lane, waiting)
    pthread_mutex_unlock(&lane.lock)
    if gathered and why == WOKEN:
        return
    if not gathered and why != DROPPED:
        code = settled(waiting)
    if code == CORE_PENDING:
        if why == WOKEN:
            return
        code = ERR_REQUEST_TIMED_OUT
    partition_unwait(waiting.partition, &waiting.waiter)
    unpark(parked)
    if why == DROPPED:
        answer_free(waiting.content)
    else:
        answer_commit(parked, waiting.content, waiting.version, code)
        connection_work(parked.connection)
    partition_release(waiting.partition)
    free(waiting)


cdef void answer_commit(parked_t *parked, answer_t *content, int32_t version, int32_t code) noexcept nogil:
    cdef lanes_t *lanes = (<commit_t *>parked).lane.lanes
    if code != OK:
        code = lanes.as_seen[code] if 0 < code < ERROR_CODES else ERR_UNKNOWN_SERVER_ERROR
        commit_refuse(content.data + 4, content.size - 4, version, <int16_t>code)
    answer_fill(parked.connection, parked.answer, content)


# -- requests --------------------------------------------------------------------------------------------------------------


cdef commit_t *new_waiting(lane_t *lane, const commit_asked_t *asked) noexcept nogil:
    """A commit with the answer that it gets when all goes well; NULL without memory."""
    cdef size_t bound = commit_answer_bound(asked)
    cdef commit_t *waiting = <commit_t *>calloc(1, sizeof(commit_t))
    cdef answer_t *content = answer_new(4 + bound)
    if waiting == NULL or content == NULL:
        free(waiting)
        free(content)
        return NULL
    content.size = 4 + commit_answer(asked, OK, content.data + 4, bound)
    content.total = <int64_t>content.size
    kx_put32(content.data, <uint32_t>(content.size - 4))
    waiting.parked.look = look
    waiting.parked.patient = 1
    waiting.waiter.kind = WAIT_HIGH_WATERMARK
    waiting.waiter.wake = wake
    waiting.waiter.ring = ring_thread
    waiting.waiter.owner = waiting
    waiting.lane = lane
    waiting.content = content
    waiting.version = asked.version
    return waiting


cdef int32_t wait_in(connection_t *connection, lane_t *lane, commit_t *waiting) noexcept nogil:
    """Park a commit whose records are gathered, and see to it that they are appended; ``lock`` held."""
    cdef network_thread_t *thread = connection.thread
    cdef answer_t *slot = answer_slot(connection)
    if not lane.listed:
        lane.listed = 1
        lane.next_listed = <lane_t *>thread.lanes
        thread.lanes = lane
    if slot == NULL or park(&waiting.parked, connection, slot, thread.now_ms + lane.lanes.timeout_ms) != 0:
        answer_free(waiting.content)
        free(waiting)
        return REQUEST_CLOSE
    partition_retain(lane.partition)
    waiting.partition = lane.partition
    waiting.gathered = 1
    waiting.previous = lane.last
    if lane.last != NULL:
        lane.last.next = waiting
    else:
        lane.first = waiting
    lane.last = waiting
    return REQUEST_DONE


cdef int32_t gather(connection_t *connection, lane_t *lane, commit_asked_t *asked) noexcept nogil:
    """Take a commit that may be made; ``lock`` held."""
    cdef lanes_t *lanes = lane.lanes
    cdef commit_t *waiting = NULL
    cdef int64_t size
    cdef bint written = False
    pthread_mutex_lock(&lanes.lock)
    if not find_topics(lanes, asked) or commit_size(asked) > lanes.batch_max - <int64_t>BATCH_HEADER:
        pthread_mutex_unlock(&lanes.lock)
        return REQUEST_HANDOFF
    size = commit_size(asked)
    if <int64_t>lane.batch.size + size > lanes.batch_max:
        flush_lane(lane)
    waiting = new_waiting(lane, asked)
    if waiting != NULL:
        written = commit_write(asked, &lane.batch, connection.thread.received_ms)
    pthread_mutex_unlock(&lanes.lock)
    if written:
        return wait_in(connection, lane, waiting)
    if waiting != NULL:
        answer_free(waiting.content)
        free(waiting)
    return REQUEST_CLOSE


cdef int32_t commit(connection_t *connection, const uint8_t *frame, size_t size) noexcept nogil:
    cdef lanes_t *lanes = <lanes_t *>connection.thread.reactor.lanes
    cdef commit_asked_t asked
    cdef lane_t *lane
    cdef int32_t served = REQUEST_HANDOFF
    connection.orderly = 0
    if lanes == NULL or not commit_parse(frame, size, lanes.metadata_max, &asked):
        return REQUEST_HANDOFF
    if is_ascii(asked.group, asked.group_size):
        lane = &lanes.lanes[lane_of(asked.group, asked.group_size, lanes.count)]
        pthread_mutex_lock(&lane.lock)
        if lane.partition == NULL or not commits_stand(connection, frame, <size_t>asked.who_size):
            pass
        elif connection.handed:
            connection.orderly = 1
            served = REQUEST_WAIT
        elif lane.halted or lane.taken_size > MOST_TAKEN:
            connection_starve(connection, STARVED_LANE)
            served = REQUEST_WAIT
        else:
            served = gather(connection, lane, &asked)
        pthread_mutex_unlock(&lane.lock)
    commit_release(&asked)
    if served == REQUEST_CLOSE:
        connection_close(connection, CLOSE_MEMORY)
        return REQUEST_DONE
    return served


# -- the control plane -----------------------------------------------------------------------------------------------------


cdef void lanes_move(lanes_t *lanes) noexcept nogil:
    """Have those look again who wait for a lane."""
    cdef int32_t at
    pthread_mutex_lock(&lanes.lock)
    if lanes.reactor != NULL:
        kx_add64(&lanes.reactor.lanes_moved, 1)
        if kx_load64(&lanes.reactor.starved) > 0:
            for at in range(lanes.reactor.thread_count):
                wake_thread(&lanes.reactor.threads[at])
    pthread_mutex_unlock(&lanes.lock)


cdef uint8_t *take_over(lane_t *lane, bint halt, size_t *size, int64_t *end) noexcept nogil:
    """What was appended since this was last asked, for the caller to free; NULL when that is nothing."""
    cdef uint8_t *data = NULL
    pthread_mutex_lock(&lane.lock)
    flush_lane(lane)
    if halt:
        lane.halted = 1
    size[0], end[0] = lane.taken_size, lane.end
    if lane.taken_size:
        data = lane.taken
        lane.taken = NULL
        lane.taken_size = lane.taken_room = 0
        lane.told = 0
    pthread_mutex_unlock(&lane.lock)
    return data


cdef class CommitLanes:
    def __cinit__(self, int count, find not None, NotifyQueue queue not None, full not None, dict as_seen not None, *,
                  int metadata_max, long long timeout_ms, long long batch_max):
        cdef int32_t at
        cdef lanes_t *lanes
        if not 1 <= count <= 1 << 20:
            raise ValueError(f"{count} lanes")
        lanes = self.lanes = <lanes_t *>calloc(1, sizeof(lanes_t) + <size_t>count * sizeof(lane_t))
        if lanes == NULL:
            raise MemoryError("lanes of commits")
        lanes.count, lanes.metadata_max, lanes.timeout_ms, lanes.batch_max = count, metadata_max, timeout_ms, batch_max
        pthread_mutex_init(&lanes.lock, NULL)
        for at in range(count):
            pthread_mutex_init(&lanes.lanes[at].lock, NULL)
            lanes.lanes[at].lanes, lanes.lanes[at].index = lanes, at
            batch_begin(&lanes.lanes[at].batch)
        for at in range(ERROR_CODES):
            lanes.as_seen[at] = as_seen.get(at, at)
        lanes.room = FIRST_ROOM
        lanes.names = <known_t **>calloc(FIRST_ROOM, sizeof(known_t *))
        lanes.ids = <known_t **>calloc(FIRST_ROOM, sizeof(known_t *))
        if lanes.names == NULL or lanes.ids == NULL:
            raise MemoryError("topics that may be committed for")
        self.find, self.queue = find, queue
        notify_retain(queue.queue)
        lanes.notify = queue.queue
        lanes.token = queue.add(full, False)

    def __dealloc__(self):
        cdef int32_t at
        if self.lanes == NULL:
            return
        if self.lanes.names != NULL and self.lanes.ids != NULL:
            self.drop_known()
        free(self.lanes.names)
        free(self.lanes.ids)
        for at in range(self.lanes.count):
            partition_release(self.lanes.lanes[at].partition)
            free(self.lanes.lanes[at].batch.data)
            free(self.lanes.lanes[at].taken)
            pthread_mutex_destroy(&self.lanes.lanes[at].lock)
        notify_release(self.lanes.notify)
        pthread_mutex_destroy(&self.lanes.lock)
        free(self.lanes)

    cdef void attach(self, reactor_t *reactor) noexcept:
        pthread_mutex_lock(&self.lanes.lock)
        self.lanes.reactor = reactor
        pthread_mutex_unlock(&self.lanes.lock)

    cdef lane_t *lane(self, int index) except NULL:
        if not 0 <= index < self.lanes.count:
            raise ValueError(f"lane {index} of {self.lanes.count}")
        return &self.lanes.lanes[index]

    cdef tuple taken(self, lane_t *lane, uint8_t *data, size_t size, int64_t end):
        cdef bytes copy = b""
        if data != NULL:
            try:
                copy = PyBytes_FromStringAndSize(<const char *>data, size)
            finally:
                free(data)
        return copy, end

    def open(self, int index):
        cdef lane_t *lane = self.lane(index)
        cdef Partition partition = self.find(index)
        self.shut(index)
        partition_retain(partition.partition)
        pthread_mutex_lock(&lane.lock)
        lane.partition = partition.partition
        pthread_mutex_unlock(&lane.lock)

    def shut(self, int index):
        cdef lane_t *lane = self.lane(index)
        cdef partition_t *partition
        with nogil:
            pthread_mutex_lock(&lane.lock)
            flush_lane(lane)
            partition = lane.partition
            lane.partition = NULL
            lane.halted = lane.told = 0
            lane.taken_size = 0
            lane.end = 0
            pthread_mutex_unlock(&lane.lock)
            partition_release(partition)
            lanes_move(self.lanes)

    def halt(self, int index):
        cdef lane_t *lane = self.lane(index)
        cdef uint8_t *data
        cdef size_t size
        cdef int64_t end
        with nogil:
            data = take_over(lane, True, &size, &end)
        return self.taken(lane, data, size, end)

    def take(self, int index):
        cdef lane_t *lane = self.lane(index)
        cdef uint8_t *data
        cdef size_t size
        cdef int64_t end
        with nogil:
            data = take_over(lane, False, &size, &end)
            if size > MOST_TAKEN:
                lanes_move(self.lanes)
        return self.taken(lane, data, size, end)

    def resume(self, int index):
        cdef lane_t *lane = self.lane(index)
        with nogil:
            pthread_mutex_lock(&lane.lock)
            lane.halted = 0
            pthread_mutex_unlock(&lane.lock)
            lanes_move(self.lanes)

    def know(self, str name not None, topic_id not None, int partitions):
        cdef bytes raw = name.encode()
        cdef bytes uuid = topic_id.bytes
        cdef known_t *known
        cdef known_t *before
        if self.lanes.known_count >= MOST_KNOWN:
            self.drop_known()
        self.grow()
        known = <known_t *>malloc(sizeof(known_t) + len(raw))
        if known == NULL:
            raise MemoryError("a topic that may be committed for")
        known.partitions, known.name_size = partitions, <int32_t>len(raw)
        memcpy(known.name, <const char *>raw, len(raw))
        memcpy(known.id, <const char *>uuid, ID_SIZE)
        pthread_mutex_lock(&self.lanes.lock)
        before = known_by_name(self.lanes, known.name, known.name_size)
        if before != NULL:
            unlink_known(self.lanes, before)
            self.lanes.known_count -= 1
        link_known(self.lanes, known)
        self.lanes.known_count += 1
        pthread_mutex_unlock(&self.lanes.lock)
        free(before)

    def knows(self, str name not None):
        cdef bytes raw = name.encode()
        # Only this thread changes what is known.
        return known_by_name(self.lanes, <const uint8_t *><const char *>raw, len(raw)) != NULL

    def forget(self, topics):
        cdef known_t *known
        cdef bytes raw
        for name in topics:
            raw = (<str?>name).encode()
            pthread_mutex_lock(&self.lanes.lock)
            known = known_by_name(self.lanes, <const uint8_t *><const char *>raw, len(raw))
            if known != NULL:
                unlink_known(self.lanes, known)
                self.lanes.known_count -= 1
            pthread_mutex_unlock(&self.lanes.lock)
            free(known)

    cdef void drop_known(self) noexcept:
        cdef known_t *known
        cdef size_t at
        pthread_mutex_lock(&self.lanes.lock)
        for at in range(self.lanes.room):
            while self.lanes.names[at] != NULL:
                known = self.lanes.names[at]
                self.lanes.names[at] = known.by_name
                free(known)
            self.lanes.ids[at] = NULL
        self.lanes.known_count = 0
        pthread_mutex_unlock(&self.lanes.lock)

    cdef int grow(self) except -1:
        cdef size_t room = self.lanes.room * 2, old = self.lanes.room, at
        cdef known_t **names
        cdef known_t **ids
        cdef known_t **old_names = self.lanes.names
        cdef known_t **old_ids = self.lanes.ids
        cdef known_t *known
        cdef known_t *following
        if self.lanes.known_count < old:
            return 0
        names = <known_t **>calloc(room, sizeof(known_t *))
        ids = <known_t **>calloc(room, sizeof(known_t *))
        if names == NULL or ids == NULL:
            free(names)
            free(ids)
            raise MemoryError(f"{room} topics that may be committed for")
        pthread_mutex_lock(&self.lanes.lock)
        self.lanes.names, self.lanes.ids, self.lanes.room = names, ids, room
        for at in range(old):
            known = old_names[at]
            while known != NULL:
                following = known.by_name
                link_known(self.lanes, known)
                known = following
        pthread_mutex_unlock(&self.lanes.lock)
        free(old_names)
        free(old_ids)
        return 0

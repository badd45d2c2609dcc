"""A partition as the data plane sees it: a log plus leadership."""

from typing import NamedTuple
from uuid import UUID

from libc.errno cimport ENOMEM
from libc.stdint cimport int8_t, int16_t, int32_t, int64_t, uint8_t
from libc.stdlib cimport free
from libc.string cimport memcpy
from kafkax._core.append cimport (
    RUN, append_check, append_commit, append_commit_run, append_result_clear, append_result_release, plan_t,
)
from kafkax._core.atomics cimport kx_add32, kx_load32, kx_load64, kx_store32, kx_store64, kx_store_pointer
from kafkax._core.codes cimport (
    CORE_END, CORE_PENDING, ERR_CORRUPT_MESSAGE, ERR_FENCED_LEADER_EPOCH, ERR_INVALID_REQUIRED_ACKS, ERR_KAFKA_STORAGE_ERROR,
    ERR_MESSAGE_TOO_LARGE, ERR_NOT_ENOUGH_REPLICAS, ERR_NOT_ENOUGH_REPLICAS_AFTER_APPEND, ERR_NOT_LEADER_OR_FOLLOWER,
    ERR_OFFSET_OUT_OF_RANGE, ERR_RECORD_LIST_TOO_LARGE, ERR_UNKNOWN_LEADER_EPOCH, ERR_UNSUPPORTED_COMPRESSION_TYPE,
    OK,
)
from kafkax._core.cursor cimport kx_put64
from kafkax._core.epochs cimport epochs_assign, epochs_end
from kafkax._core.files cimport monotonic_ms
from kafkax._core.lines cimport zeroed_lines
from kafkax._core.log cimport Log, aborted_list, append_result, origin_of, raise_append
from kafkax._core.logstate cimport (
    LOG_REPLACED, MARK_EXTERNAL,
    ORIGIN_CLIENT, ORIGIN_COORDINATOR, READ_COMMITTED, READ_LOG_END, READ_UNCOMMITTED, WAIT_HIGH_WATERMARK, WAIT_LAST_STABLE,
    WAIT_LOG_END, log_ahead, log_appended, log_fail, log_failed, log_follower_fetched, log_hurry, log_release, log_retain,
    log_set_high_watermark,
    log_set_mark_mode, log_set_replicas, log_settle, log_unwait, log_wait, log_wake, log_wake_all, read_result_release,
)
from kafkax._core.lookup cimport log_marks, log_read
from kafkax._core.notify cimport NotifyQueue, notify_push, notify_release, notify_retain
from kafkax._core.pthreads cimport pthread_mutex_lock, pthread_mutex_unlock
from kafkax._core.replicas cimport THROTTLED_BEHIND, THROTTLED_NOT, replica_t, replicas_new, replicas_t, replicas_throttle
from kafkax._core.segment cimport FileSlice

from kafkax.errors import ErrorCode, KafkaError
from kafkax.model import valid_topic_name

cdef enum:
    NEWEST_PRODUCE = 13

ISOLATION = {"read_uncommitted": READ_UNCOMMITTED, "read_committed": READ_COMMITTED, "log_end": READ_LOG_END}
KINDS = {"high_watermark": WAIT_HIGH_WATERMARK, "last_stable": WAIT_LAST_STABLE, "log_end": WAIT_LOG_END}


class ReplicaProgress(NamedTuple):
    replica: int
    offset: int
    broker_epoch: int
    caught_up_ms: int


class ReadResult(NamedTuple):
    records: object
    high_watermark: int
    last_stable_offset: int
    log_start_offset: int
    log_end_offset: int
    aborted: object


cdef void partition_retain(partition_t *partition) noexcept nogil:
    kx_add32(&partition.refs, 1)


cdef void partition_release(partition_t *partition) noexcept nogil:
    if partition == NULL or kx_add32(&partition.refs, -1) > 0:
        return
    log_release(partition.log)
    free(partition)


cdef log_t *lock_state(partition_t *partition) noexcept nogil:
    """The partition's log with its state lock held, so that it stays the partition's."""
    cdef log_t *log = partition_log(partition)
    pthread_mutex_lock(&log.lock)
    while partition_log(partition) != log:
        pthread_mutex_unlock(&log.lock)
        log = partition_log(partition)
        pthread_mutex_lock(&log.lock)
    return log


cdef int32_t append_to(partition_t *partition, log_t *log, const uint8_t *records, size_t size, int16_t acks, int32_t origin,
                       int16_t api_version, int64_t now_ms, bint in_place, append_result_t *out) noexcept nogil:
    cdef plan_t plan
    cdef int32_t code
    append_result_clear(out, log)
    if acks < -1 or acks > 1:
        return ERR_INVALID_REQUIRED_ACKS
    if not kx_load32(&partition.is_leader):
        return ERR_NOT_LEADER_OR_FOLLOWER
    if log_failed(log):
        return ERR_KAFKA_STORAGE_ERROR
    if acks == -1 and kx_load32(&partition.in_sync) < kx_load32(&partition.min_in_sync):
        return ERR_NOT_ENOUGH_REPLICAS
    log_ahead(log)
    code = append_check(log, records, size, origin, api_version, now_ms, &plan, out)
    if code != OK:
        return code
    plan.in_place = in_place
    pthread_mutex_lock(&log.append_lock)
    # Leadership may have gone while the batch was checked; it changes under this lock only.
    if not kx_load32(&partition.is_leader):
        code = ERR_NOT_LEADER_OR_FOLLOWER
    else:
        code = append_commit(log, &plan, partition.leader_epoch, out)
    pthread_mutex_unlock(&log.append_lock)
    if code == OK and not out.duplicate:
        log_appended(log, acks == -1 or origin == ORIGIN_COORDINATOR)
    return code


cdef bint tells_log_start(int32_t code) noexcept nogil:
    """Whether Kafka's answer has the log's start beside an error: where the log itself refused, not before."""
    return code not in (ERR_CORRUPT_MESSAGE, ERR_MESSAGE_TOO_LARGE, ERR_RECORD_LIST_TOO_LARGE, ERR_NOT_LEADER_OR_FOLLOWER,
                        ERR_KAFKA_STORAGE_ERROR, ERR_INVALID_REQUIRED_ACKS, ERR_UNSUPPORTED_COMPRESSION_TYPE)


cdef int32_t append_as_leader(partition_t *partition, const uint8_t *records, size_t size, int16_t acks, int32_t origin,
                              int16_t api_version, int64_t now_ms, bint in_place, append_result_t *out) noexcept nogil:
    cdef log_t *log
    cdef int32_t code
    while True:
        log = partition_log(partition)
        code = append_to(partition, log, records, size, acks, origin, api_version, now_ms, in_place, out)
        if code == OK:
            return OK
        if code != ERR_KAFKA_STORAGE_ERROR or partition_log(partition) == log:
            break
        if in_place and size >= sizeof(int64_t):
            # A write that failed may have left its offset there, which a producer must not send.
            kx_put64(<void *>records, 0)
    if not tells_log_start(code):
        out.log_start_offset = -1
    return code


cdef int32_t partition_append(partition_t *partition, const uint8_t *records, size_t size, int16_t acks, int16_t api_version,
                              int64_t now_ms, bint in_place, append_result_t *out) noexcept nogil:
    return append_as_leader(partition, records, size, acks, ORIGIN_CLIENT, api_version, now_ms, in_place, out)


cdef int32_t partition_append_own(partition_t *partition, const uint8_t *records, size_t size, int64_t now_ms,
                                  append_result_t *out) noexcept nogil:
    return append_as_leader(partition, records, size, -1, ORIGIN_COORDINATOR, NEWEST_PRODUCE, now_ms, True, out)


cdef int32_t partition_append_run(partition_t *partition, piece_t *pieces, int32_t count, int16_t acks, int16_t api_version,
                                  int64_t now_ms) noexcept nogil:
    cdef plan_t plans[RUN]
    cdef append_result_t *outs[RUN]
    cdef int32_t codes[RUN]
    cdef log_t *log = partition_log(partition)
    cdef int32_t ready = 0
    cdef int32_t i
    if log_failed(log) or (acks == -1 and kx_load32(&partition.in_sync) < kx_load32(&partition.min_in_sync)):
        return 0
    while ready < count:
        outs[ready] = pieces[ready].out
        append_result_clear(outs[ready], log)
        if append_check(log, pieces[ready].records, pieces[ready].size, ORIGIN_CLIENT, api_version, now_ms, &plans[ready],
                        outs[ready]) != OK:
            # It is appended again by itself, and then it is told.
            append_result_release(outs[ready])
            break
        plans[ready].in_place = 1
        ready += 1
    pthread_mutex_lock(&log.append_lock)
    if not kx_load32(&partition.is_leader) or partition_log(partition) != log:
        ready = 0
    append_commit_run(log, plans, ready, partition.leader_epoch, outs, codes)
    pthread_mutex_unlock(&log.append_lock)
    if ready:
        log_appended(log, acks == -1)
    for i in range(ready):
        pieces[i].code = codes[i]
        if codes[i] != OK and not tells_log_start(codes[i]):
            outs[i].log_start_offset = -1
    return ready


cdef int32_t partition_committed(partition_t *partition, int64_t required_offset, int32_t leader_epoch) noexcept nogil:
    if not kx_load32(&partition.is_leader) or leader_epoch < kx_load32(&partition.led_since):
        return ERR_NOT_LEADER_OR_FOLLOWER
    cdef log_t *log = partition_log(partition)
    while log_failed(log):
        if partition_log(partition) == log:
            return ERR_KAFKA_STORAGE_ERROR
        log = partition_log(partition)
    if kx_load64(&log.high_watermark) < required_offset:
        return CORE_PENDING
    if kx_load32(&partition.in_sync) < kx_load32(&partition.min_in_sync):
        return ERR_NOT_ENOUGH_REPLICAS_AFTER_APPEND
    return OK


cdef int32_t partition_check_epoch(partition_t *partition, int32_t current_leader_epoch, bint any_replica) noexcept nogil:
    cdef int32_t known = kx_load32(&partition.leader_epoch)
    if current_leader_epoch >= 0:
        if current_leader_epoch < known:
            return ERR_FENCED_LEADER_EPOCH
        if current_leader_epoch > known:
            return ERR_UNKNOWN_LEADER_EPOCH
    if kx_load32(&partition.removed) or known < 0:
        return ERR_NOT_LEADER_OR_FOLLOWER
    return OK if any_replica or kx_load32(&partition.is_leader) else ERR_NOT_LEADER_OR_FOLLOWER


cdef int32_t read_checked(partition_t *partition, int64_t offset, int32_t current_leader_epoch, int64_t max_bytes,
                          bint min_one_batch, int32_t isolation, bint any_replica, bint wait,
                          read_result_t *out) noexcept nogil:
    cdef int32_t code = partition_check_epoch(partition, current_leader_epoch, any_replica)
    cdef log_t *log = partition_log(partition)
    out.piece.segment = NULL
    out.piece.length = 0
    out.aborted = NULL
    out.aborted_count = 0
    if code != OK:
        log_marks(log, out)
        return code
    while True:
        code = log_read(log, offset, max_bytes, min_one_batch, isolation, wait, out)
        if code != ERR_KAFKA_STORAGE_ERROR or partition_log(partition) == log:
            if code == OK and out.piece.segment == NULL and not out.incomplete and isolation != READ_LOG_END:
                log_hurry(log, offset)
            return code
        read_result_release(out)
        log = partition_log(partition)


cdef int32_t partition_read(partition_t *partition, int64_t offset, int32_t current_leader_epoch, int64_t max_bytes,
                            bint min_one_batch, int8_t isolation, bint wait, read_result_t *out) noexcept nogil:
    return read_checked(partition, offset, current_leader_epoch, max_bytes, min_one_batch, isolation, False, wait, out)


cdef int32_t partition_divergence(partition_t *partition, int64_t offset, int32_t last_epoch, int32_t *epoch,
                                  int64_t *end_offset) noexcept nogil:
    cdef log_t *log
    if last_epoch < 0:
        return OK
    log = lock_state(partition)
    epochs_end(&log.epochs, last_epoch, log.end.offset, epoch, end_offset)
    pthread_mutex_unlock(&log.lock)
    if epoch[0] < 0:
        return ERR_OFFSET_OUT_OF_RANGE
    return CORE_END if epoch[0] < last_epoch or end_offset[0] < offset else OK


cdef int32_t partition_throttle(partition_t *partition, int32_t replica) noexcept nogil:
    cdef log_t *log = lock_state(partition)
    cdef int32_t throttle = replicas_throttle(log.replicas, replica)
    pthread_mutex_unlock(&log.lock)
    return throttle


cdef int32_t partition_follower_fetched(partition_t *partition, int32_t leader_epoch, int32_t replica, int64_t broker_epoch,
                                        int64_t offset) noexcept nogil:
    cdef log_t *log = partition_log(partition)
    cdef int32_t code = log_follower_fetched(log, leader_epoch, replica, broker_epoch, offset)
    while code != OK and partition_log(partition) != log:
        log = partition_log(partition)
        code = log_follower_fetched(log, leader_epoch, replica, broker_epoch, offset)
    return code


cdef bint partition_wait(partition_t *partition, waiter_t *waiter) noexcept nogil:
    cdef log_t *log = partition_log(partition)
    if log_wait(log, waiter):
        return True
    # Whoever takes leadership away or exchanges the log wakes after it did: seen here, or woken there.
    if kx_load32(&partition.removed) or partition_log(partition) != log:
        return log_unwait(log, waiter)
    return False


cdef bint partition_unwait(partition_t *partition, waiter_t *waiter) noexcept nogil:
    cdef log_t *log = partition_log(partition)
    cdef bint registered = False
    # It may have registered before an exchange; a look at each also waits for whoever wakes it there now.
    while log != NULL and not registered:
        registered = log_unwait(log, waiter)
        log = log.former
    return registered


cdef void *wake_python(waiter_t *waiter) noexcept nogil:
    cdef wake_t *wake = <wake_t *>waiter.owner
    notify_push(wake.notify, wake.token, waiter.offset)
    return NULL


cdef log_t *lock_appends(partition_t *partition) noexcept nogil:
    """The partition's log with its append lock held, so that it stays the partition's."""
    cdef log_t *log = partition_log(partition)
    pthread_mutex_lock(&log.append_lock)
    while partition_log(partition) != log:
        pthread_mutex_unlock(&log.append_lock)
        log = partition_log(partition)
        pthread_mutex_lock(&log.append_lock)
    return log


cdef void settle_locked(log_t *log) noexcept nogil:
    """Compute the marks anew, give the state lock back, wake who waited."""
    log_settle(log)
    pthread_mutex_unlock(&log.lock)
    log_wake(log)


cdef void put_in_place(partition_t *partition, log_t *new) noexcept nogil:
    """Have ``new`` stand for the partition; the append lock of the log in place is held."""
    cdef log_t *old = partition.log
    log_set_mark_mode(new, old.mark_mode == MARK_EXTERNAL)
    log_retain(new)
    pthread_mutex_lock(&old.lock)
    pthread_mutex_lock(&new.lock)
    # The partition's reference to the old log goes over to the new one.
    new.former = old
    new.notify = old.notify
    new.notify_token = old.notify_token
    old.notify = NULL
    new.replicas = old.replicas
    old.replicas = NULL
    log_settle(new)
    kx_store32(&old.closed, LOG_REPLACED)
    kx_store_pointer(<void **>&partition.log, new)
    pthread_mutex_unlock(&new.lock)
    pthread_mutex_unlock(&old.lock)


cdef class Wait:
    def __dealloc__(self):
        if self.wake.partition != NULL:
            partition_unwait(self.wake.partition, &self.wake.waiter)
            partition_release(self.wake.partition)
        notify_release(self.wake.notify)

    def cancel(self):
        cdef bint registered
        with nogil:
            registered = partition_unwait(self.wake.partition, &self.wake.waiter)
        self.queue.drop(self.wake.token)
        return registered

    def _woken(self, value):
        # The queue holds this method until it is called, and with it the waiter's memory.
        self.callback(value)


cdef class Partition:
    def __cinit__(self, str topic not None, int32_t index, topic_id not None, Log log not None):
        cdef bytes name = topic.encode("ascii", "replace")
        cdef bytes uuid = topic_id.bytes
        if not valid_topic_name(topic) or index < 0:
            raise KafkaError(ErrorCode.INVALID_TOPIC_EXCEPTION, f"{topic!r}-{index} is not a name for a partition")
        self.partition = <partition_t *>zeroed_lines(sizeof(partition_t))
        if self.partition == NULL:
            raise MemoryError
        self.topic = topic
        self.log = log
        self.partition.refs = 1
        self.partition.index = index
        self.partition.leader_epoch = -1
        self.partition.leadership = -1
        self.partition.in_sync = 1
        self.partition.min_in_sync = 1
        self.partition.topic_size = <int16_t>len(name)
        memcpy(self.partition.topic, <const char *>name, len(name))
        memcpy(self.partition.topic_id, <const char *>uuid, 16)
        log_retain(log.log)
        self.partition.log = log.log

    def __dealloc__(self):
        partition_release(self.partition)

    cdef object check(self, int32_t code, str what):
        if code == OK:
            return None
        if code == ERR_KAFKA_STORAGE_ERROR:
            return self.log.check(code, what)
        raise KafkaError(ErrorCode(code) if code > 0 else ErrorCode.UNKNOWN_SERVER_ERROR, f"{what} of {self.topic}-{self.index}")

    @property
    def index(self):
        return self.partition.index

    @property
    def topic_id(self):
        return UUID(bytes=self.partition.topic_id[:16])

    @property
    def is_leader(self):
        return kx_load32(&self.partition.is_leader) != 0

    @property
    def leader_epoch(self):
        return kx_load32(&self.partition.leader_epoch)

    @property
    def leadership(self):
        cdef int64_t who = kx_load64(&self.partition.leadership)
        return leader_of(who), leader_epoch_of(who)

    @property
    def high_watermark(self):
        return kx_load64(&partition_log(self.partition).high_watermark)

    @high_watermark.setter
    def high_watermark(self, int64_t offset):
        with nogil:
            log_set_high_watermark(partition_log(self.partition), offset)

    cdef int32_t change(self, int32_t epoch, bint leads, bint external, int64_t leader) noexcept nogil:
        """Take a role from ``epoch`` on; 0, ERR_FENCED_LEADER_EPOCH or errno as a negative number. ``leader``: ``leadership``."""
        cdef partition_t *partition = self.partition
        cdef log_t *log = lock_appends(partition)
        cdef int32_t changed = 0
        if epoch < partition.leader_epoch:
            pthread_mutex_unlock(&log.append_lock)
            return ERR_FENCED_LEADER_EPOCH
        # What followers of an earlier leadership had says nothing about this one.
        log_set_replicas(log, NULL)
        if leads:
            pthread_mutex_lock(&log.lock)
            changed = epochs_assign(&log.epochs, epoch, log.log_end_offset)
            pthread_mutex_unlock(&log.lock)
            changed = ENOMEM if changed < 0 else 0
        if leads and not partition.is_leader:
            kx_store32(&partition.led_since, epoch)
        # Whoever sees that the epoch or the role has changed can say who leads.
        kx_store64(&partition.leadership, leader)
        kx_store32(&partition.leader_epoch, epoch)
        kx_store32(&partition.is_leader, leads and changed == 0)
        pthread_mutex_unlock(&log.append_lock)
        log_set_mark_mode(log, external)
        log_wake_all(log)
        return -log_fail(log, changed) if changed else OK

    def replace_log(self, Log log not None, settle not None):
        cdef log_t *old
        if log.log == self.partition.log:
            raise ValueError("a log cannot take its own place")
        with nogil:
            old = lock_appends(self.partition)
        try:
            settle()
            with nogil:
                put_in_place(self.partition, log.log)
            self.log = log
        finally:
            with nogil:
                pthread_mutex_unlock(&old.append_lock)
        with nogil:
            log_wake_all(old)

    def become_leader(self, int32_t epoch, *, int32_t in_sync=1, int32_t min_in_sync=1, str mark="auto", leader=None):
        cdef int64_t who = -1 if leader is None else leadership(leader, epoch)
        cdef int32_t code
        cdef bint external = mark == "external"
        if mark not in ("auto", "external"):
            raise ValueError(f"mark is {mark!r}, must be 'auto' or 'external'")
        self.set_in_sync(in_sync, min_in_sync)
        with nogil:
            code = self.change(epoch, True, external, who)
        self.check(code if code >= 0 else -code, f"leader epoch {epoch}, behind {self.leader_epoch},")

    def become_follower(self, int32_t epoch, *, leader=None):
        cdef int64_t who = -1 if leader is None else leadership(leader, epoch)
        cdef int32_t code
        with nogil:
            code = self.change(epoch, False, True, who)
        self.check(code, f"leader epoch {epoch}, behind {self.leader_epoch},")

    def set_in_sync(self, int32_t in_sync, int32_t min_in_sync):
        cdef log_t *log
        kx_store32(&self.partition.in_sync, in_sync)
        kx_store32(&self.partition.min_in_sync, min_in_sync)
        with nogil:
            log = lock_state(self.partition)
            if log.replicas != NULL:
                log.replicas.enough = in_sync >= min_in_sync
            settle_locked(log)

    def append(self, const uint8_t[::1] records not None, *, int16_t acks=-1, int16_t api_version=13, str origin="client",
               bint validated=False, int64_t now_ms=-1):
        cdef append_result_t result
        cdef int32_t who = origin_of(origin, validated)
        cdef const uint8_t *data = &records[0] if records.shape[0] else NULL
        cdef size_t size = records.shape[0]
        cdef int32_t code
        with nogil:
            code = append_as_leader(self.partition, data, size, acks, who, api_version, now_ms, False, &result)
        if code == ERR_KAFKA_STORAGE_ERROR:
            self.check(code, "append")
        if code != OK:
            raise_append(code, &result)
        return append_result(&result)

    def committed(self, int64_t required_offset, int32_t leader_epoch):
        cdef int32_t code = partition_committed(self.partition, required_offset, leader_epoch)
        if code == CORE_PENDING:
            return False
        self.check(code, f"acknowledgement of offsets below {required_offset}")
        return True

    def read(self, int64_t offset, int64_t max_bytes, *, int32_t current_leader_epoch=-1, str isolation="read_uncommitted",
             bint min_one_batch=True, bint any_replica=False):
        cdef read_result_t result
        cdef int32_t level = ISOLATION[isolation]
        cdef int32_t code
        with nogil:
            code = read_checked(self.partition, offset, current_leader_epoch, max_bytes, min_one_batch, level, any_replica,
                                True, &result)
        try:
            self.check(code, f"read at {offset}")
            piece = None
            if result.piece.segment != NULL:
                piece = FileSlice.adopt(result.piece)
                result.piece.segment = NULL
            aborted = aborted_list(&result) if level == READ_COMMITTED else None
            return ReadResult(piece, result.high_watermark, result.last_stable_offset, result.log_start_offset,
                              result.log_end_offset,
                              aborted)
        finally:
            read_result_release(&result)

    def check_epoch(self, int32_t current_leader_epoch, *, bint any_replica=False):
        self.check(partition_check_epoch(self.partition, current_leader_epoch, any_replica),
                   f"leader epoch {current_leader_epoch}")

    def wait(self, str kind not None, int64_t offset, NotifyQueue queue not None, callback):
        cdef Wait wait = Wait.__new__(Wait)
        cdef bint there
        wait.partition = self
        wait.queue = queue
        wait.callback = callback
        partition_retain(self.partition)
        wait.wake.partition = self.partition
        notify_retain(queue.queue)
        wait.wake.notify = queue.queue
        wait.wake.token = queue.add(wait._woken, True)
        wait.wake.waiter.kind = KINDS[kind]
        wait.wake.waiter.offset = offset
        wait.wake.waiter.wake = wake_python
        wait.wake.waiter.owner = &wait.wake
        with nogil:
            there = partition_wait(self.partition, &wait.wake.waiter)
        if there:
            queue.drop(wait.wake.token)
            return None
        return wait

    def set_replicas(self, NotifyQueue queue not None, callback not None, list replicas not None, *, int32_t leader_epoch,
                     int64_t epoch_start, int64_t lag_max_ms, bint throttled=False):
        cdef replicas_t *known = replicas_new(<int32_t>len(replicas))
        cdef int64_t now = monotonic_ms()
        cdef replica_t *replica
        cdef log_t *log
        if known == NULL:
            raise MemoryError
        known.leader_epoch = leader_epoch
        known.epoch_start = epoch_start
        known.lag_max_ms = lag_max_ms
        known.throttled = throttled
        known.enough = kx_load32(&self.partition.in_sync) >= kx_load32(&self.partition.min_in_sync)
        for at, (replica_id, counts) in enumerate(replicas):
            replica = &known.entries[<int32_t>at]
            replica.id = replica_id
            replica.counts = counts
            replica.offset = -1
            replica.broker_epoch = -1
            replica.caught_up_ms = now
        self.notify(queue, queue.add(callback, False))
        with nogil:
            # Roles change under this lock only.
            log = lock_appends(self.partition)
            if leader_epoch == self.partition.leader_epoch and self.partition.is_leader:
                log_set_replicas(log, known)
            else:
                free(known)
            pthread_mutex_unlock(&log.append_lock)

    def forget_replicas(self, NotifyQueue queue not None):
        with nogil:
            log_set_replicas(partition_log(self.partition), NULL)
        self.notify(queue, 0)

    cdef void notify(self, NotifyQueue queue, int64_t token):
        """Who is told of replicas that may join; ``token`` 0: nobody."""
        cdef log_t *log
        cdef int64_t former
        notify_retain(queue.queue)
        with nogil:
            log = lock_state(self.partition)
            former = log.notify_token
            notify_release(log.notify)
            log.notify = queue.queue if token else NULL
            log.notify_token = token
            pthread_mutex_unlock(&log.lock)
        if not token:
            notify_release(queue.queue)
        if former:
            queue.drop(former)

    def follower_fetched(self, int32_t replica, int64_t broker_epoch, int64_t offset, *, int32_t leader_epoch=-1):
        self.check(partition_follower_fetched(self.partition, leader_epoch, replica, broker_epoch, offset),
                   f"fetch of replica {replica} at {offset}")

    def throttle(self, int32_t replica):
        cdef int32_t throttle = partition_throttle(self.partition, replica)
        return throttle != THROTTLED_NOT, throttle == THROTTLED_BEHIND

    def replicas(self):
        cdef log_t *log
        cdef int32_t at
        with nogil:
            log = lock_state(self.partition)
        try:
            return [] if log.replicas == NULL else [
                ReplicaProgress(log.replicas.entries[at].id, log.replicas.entries[at].offset,
                                log.replicas.entries[at].broker_epoch, log.replicas.entries[at].caught_up_ms)
                for at in range(log.replicas.count)
            ]
        finally:
            pthread_mutex_unlock(&log.lock)

    def settle(self):
        with nogil:
            settle_locked(lock_state(self.partition))

"""The partitions that a consumer has, and what is to be fetched for them."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport int8_t, int16_t, int32_t, int64_t, uint8_t, uint64_t
from libc.string cimport memcpy

from kafkax._core.batch cimport (
    AT_ATTRIBUTES, AT_LAST_OFFSET_DELTA, AT_LENGTH, AT_MAGIC, ATTRIBUTE_CONTROL, BATCH_HEADER, BATCH_OVERHEAD, CODEC_MASK,
)
from kafkax._core.cursor cimport kx_be16, kx_be32, kx_be64, kx_put32, kx_put64
from kafkax._core.fetched cimport FetchedBatch
from kafkax._core.varint cimport put_uvarint

cdef enum:
    OFFSET_INVALID = -1001
    TOPIC_ID = 16
    NO_REPLICA_SINCE = 15
    FIRST_FIELDS = 21
    PARTITION = 33
    MOST_VARINT = 5


cdef class Assigned:

    def __init__(self, key, int64_t start, topic_id):
        self.key = key
        self.start = start
        self.position = self.fetch_offset = self.stored = self.committed = OFFSET_INVALID
        self.high_watermark = self.last_stable_offset = self.log_start_offset = -1
        self.live = True
        self.preferred = (-1, 0.0)
        self.topic_id = topic_id
        self._source_version = -1

    def place(self, int64_t offset):
        self.epoch += 1
        self.position = self.fetch_offset = offset
        self.queued = 0
        self.drop()

    cpdef drop(self):
        cdef FetchedBatch batch = self.batch
        self.batch = None
        if batch is not None:
            batch.drop()

    def at_end(self, committed):
        cdef int64_t end = self.last_stable_offset if committed else self.high_watermark
        return 0 <= end <= self.fetch_offset

    def current(self):
        cdef FetchedBatch batch = self.batch
        if batch is not None and batch.given:
            return max(self.position, batch.position)
        return self.position


def wanted(dict assigned not None, int64_t version, int64_t most_queued, int64_t most_of_one, source, unplaced):
    cdef Assigned state
    cdef int64_t queued = 0
    cdef int32_t node
    cdef bint follower
    by_node = {}
    full = set()
    for state in assigned.values():
        queued += state.queued
    for key, state in assigned.items():
        if state.resolving or state.paused:
            continue
        if state.fetch_offset < 0:
            if state.start != OFFSET_INVALID:
                unplaced(state)
            continue
        follower = state.preferred[0] >= 0
        if follower or state._source_version != version:
            node = source(state)
            if node < 0:
                continue
            state._source = node
            state._source_version = -1 if follower else version
        else:
            node = state._source
        if state.queued == 0 or (queued < most_queued and state.queued < most_of_one):
            chosen = by_node.get(node)
            if chosen is None:
                chosen = by_node[node] = {}
            chosen[key] = state
        else:
            full.add(node)
    return by_node, full


cdef class Fetched:

    def __init__(self, Assigned state not None, int64_t epoch, batches, int64_t size, int64_t next_offset, event=None):
        self.state = state
        self.epoch = epoch
        self.batches = batches
        self.size = size
        self.next_offset = next_offset
        self.event = event


cdef class Exchange:

    def __init__(self, connection, session, int32_t version, dict states not None):
        cdef Assigned state
        self.connection = connection
        self.session = session
        self.version = version
        self.states = states
        self.epochs = {}
        self.offsets = {}
        for key, state in states.items():
            self.epochs[key] = state.epoch
            self.offsets[key] = state.fetch_offset


cdef class FetchForm:

    def __init__(self, int32_t min_bytes, int32_t max_bytes, int32_t most, int8_t isolation, str rack not None):
        cdef uint8_t[MOST_VARINT] size
        name = rack.encode()
        self._min_bytes = min_bytes
        self._max_bytes = max_bytes
        self._most = most
        self._isolation = isolation
        # Nothing is forgotten, the rack, no tags.
        end = put_uvarint(size, len(name) + 1)
        self._tail = b"\1" + <bytes>(<const char *>size)[:end - size] + name + b"\0"

    def body(
        self, int16_t version, int32_t wait, int32_t session_id, int32_t session_epoch, dict sent not None,
        dict offsets not None, topics,
    ):
        cdef int64_t known = 0
        cdef Py_ssize_t room = 4 + FIRST_FIELDS + MOST_VARINT + PyBytes_GET_SIZE(self._tail)
        cdef uint8_t *at
        cdef bytes out
        cdef list entries
        by_topic = {}
        for key, offset in offsets.items():
            before = sent.get(key)
            if before is not None:
                known += 1
                if before == offset:
                    continue
            entries = by_topic.get(key[0])
            if entries is None:
                entries = by_topic[key[0]] = []
                room += TOPIC_ID + MOST_VARINT + 1
            entries.append((key[1], offset))
            room += PARTITION
        if known < len(sent):
            return None
        out = PyBytes_FromStringAndSize(NULL, room)
        at = <uint8_t *>PyBytes_AS_STRING(out)
        if version < NO_REPLICA_SINCE:
            kx_put32(at, 0xFFFFFFFF)
            at += 4
        kx_put32(at, wait)
        kx_put32(at + 4, self._min_bytes)
        kx_put32(at + 8, self._max_bytes)
        at[12] = self._isolation
        kx_put32(at + 13, session_id)
        kx_put32(at + 17, session_epoch)
        at = put_uvarint(at + FIRST_FIELDS, len(by_topic) + 1)
        for name, entries in by_topic.items():
            at = self._topic(at, topics[name], entries)
        memcpy(at, PyBytes_AS_STRING(self._tail), PyBytes_GET_SIZE(self._tail))
        at += PyBytes_GET_SIZE(self._tail)
        return out[:at - <uint8_t *>PyBytes_AS_STRING(out)]

    cdef uint8_t *_topic(self, uint8_t *at, topic, list entries) except NULL:
        cdef bytes raw = topic.raw_id
        cdef int32_t number, epoch
        cdef int64_t offset
        partitions = topic.partitions
        if PyBytes_GET_SIZE(raw) != TOPIC_ID:
            raise ValueError(f"a topic id has 16 bytes, not {len(raw)}")
        memcpy(at, PyBytes_AS_STRING(raw), TOPIC_ID)
        at = put_uvarint(at + TOPIC_ID, len(entries) + 1)
        for each in entries:
            number, offset = each
            epoch = partitions[number].leader_epoch
            kx_put32(at, number)
            kx_put32(at + 4, epoch)
            kx_put64(at + 8, <uint64_t>offset)
            # No epoch of the last fetched batch, no log start: this is no follower.
            kx_put32(at + 16, 0xFFFFFFFF)
            kx_put64(at + 20, <uint64_t>-1)
            kx_put32(at + 28, self._most)
            at[32] = 0
            at += PARTITION
        at[0] = 0
        return at + 1


def plain_batches(records not None, topic, int32_t partition, int64_t offset, kind):
    cdef const uint8_t[::1] data = records
    cdef const uint8_t *at
    cdef int64_t size = data.shape[0]
    cdef int64_t start = 0
    cdef int64_t end, base
    cdef int64_t last = offset
    cdef int64_t count = 0
    cdef int32_t length
    found = []
    while size - start > AT_MAGIC:
        at = &data[start]
        length = <int32_t>kx_be32(at + AT_LENGTH)
        if at[AT_MAGIC] != 2 or length < BATCH_HEADER - BATCH_OVERHEAD:
            return None
        end = start + BATCH_OVERHEAD + length
        if end > size:
            break
        if kx_be16(at + AT_ATTRIBUTES) & (CODEC_MASK | ATTRIBUTE_CONTROL):
            return None
        base = <int64_t>kx_be64(at)
        last = base + <int32_t>kx_be32(at + AT_LAST_OFFSET_DELTA) + 1
        count += last - base
        found.append(kind(records[start:end], records[start + BATCH_HEADER:end], topic, partition, offset))
        start = end
    return (found, last, count) if found else None

"""Committed offsets, from the bytes of a log straight into dictionaries: what groups and topics share is made once."""

from cpython.bytes cimport PyBytes_FromStringAndSize
from cpython.dict cimport PyDict_GetItem, PyDict_SetItem
from cpython.object cimport PyObject
from cpython.unicode cimport PyUnicode_DecodeUTF8
from libc.stdint cimport int16_t, int32_t, int64_t, uint8_t, uint32_t
from libc.string cimport memcmp
from kafkax._core.batch cimport (
    BATCH_HEADER, batch_check, batch_compressed, batch_control, batch_size_at, batch_t, batch_transactional, record_next,
    record_t,
)
from kafkax._core.cursor cimport read_i16, read_i32, read_i64, read_uvarint, reader, reader_t, take
from kafkax.errors import ErrorCode, KafkaError

cdef enum:
    KEY_OF_COMMIT = 1
    MAGIC_AT = 16
    NEWEST = 4
    TOPIC_ID_TAG = 0
    TOPIC_ID_SIZE = 16
    MOST_KEYS = 100000

# Topics and partitions that groups have committed for: one object each for all groups.
cdef dict KEYS = {}

cdef struct commit_t:
    const uint8_t *group
    const uint8_t *topic
    const uint8_t *metadata
    const uint8_t *topic_id
    int64_t offset
    int64_t timestamp
    int32_t partition
    int32_t epoch
    int32_t metadata_size
    int16_t group_size
    int16_t topic_size


cdef bint read_key(const record_t *record, commit_t *out) noexcept nogil:
    cdef reader_t r
    if record.key_size < 0:
        return False
    r = reader(record.key, record.key_size)
    if read_i16(&r) != KEY_OF_COMMIT:
        return False
    out.group_size = read_i16(&r)
    out.group = take(&r, out.group_size)
    out.topic_size = read_i16(&r)
    out.topic = take(&r, out.topic_size)
    out.partition = read_i32(&r)
    return not r.bad and r.at == r.end


cdef bint read_tags(reader_t *r, commit_t *out) noexcept nogil:
    cdef uint32_t count = read_uvarint(r)
    cdef uint32_t tag, size
    cdef const uint8_t *data
    while count > 0 and not r.bad:
        tag = read_uvarint(r)
        size = read_uvarint(r)
        data = take(r, size)
        if tag == TOPIC_ID_TAG and size == TOPIC_ID_SIZE:
            out.topic_id = data
        count -= 1
    return not r.bad and r.at == r.end


cdef bint read_value(const record_t *record, commit_t *out) noexcept nogil:
    """A value of version 3 or 4; others are rare enough to be read elsewhere."""
    cdef reader_t r
    cdef int16_t version
    if record.value_size < 0:
        return False
    r = reader(record.value, record.value_size)
    version = read_i16(&r)
    if not NEWEST - 1 <= version <= NEWEST:
        return False
    out.offset = read_i64(&r)
    out.epoch = read_i32(&r)
    out.metadata_size = <int32_t>read_uvarint(&r) - 1 if version == NEWEST else read_i16(&r)
    out.metadata = take(&r, out.metadata_size)
    out.timestamp = read_i64(&r)
    out.topic_id = NULL
    if version == NEWEST:
        return read_tags(&r, out)
    return not r.bad and r.at == r.end


cdef class Shared:
    """The last of what neighbouring records have in common, so that it is made once."""

    cdef bytes raw
    cdef object made

    cdef bint holds(self, const uint8_t *data, Py_ssize_t size) except -1:
        return self.raw is not None and len(self.raw) == size and memcmp(<const char *>self.raw, data, size) == 0

    cdef object text(self, const uint8_t *data, Py_ssize_t size):
        if not self.holds(data, size):
            self.made = PyUnicode_DecodeUTF8(<const char *>data, size, NULL)
            self.raw = PyBytes_FromStringAndSize(<const char *>data, size)
        return self.made

    cdef object id(self, const uint8_t *data, object make):
        if not self.holds(data, TOPIC_ID_SIZE):
            self.raw = PyBytes_FromStringAndSize(<const char *>data, TOPIC_ID_SIZE)
            self.made = make(self.raw)
        return self.made


cdef class Replay:
    """One call of :func:`replay_commits`."""

    cdef object committed, begin, topic_id, none, other
    cdef type make
    cdef Shared group, topic, metadata, id
    cdef int64_t when
    cdef object timestamp
    cdef dict keys

    cdef object key_of(self, object topic, int32_t partition):
        """What a group's offsets are kept under, which is the same object for every group."""
        cdef object key = (topic, partition)
        cdef PyObject *found = PyDict_GetItem(self.keys, key)
        if found != NULL:
            return <object>found
        if len(self.keys) < MOST_KEYS:
            self.keys[key] = key
        return key

    cdef bint apply(self, const commit_t *commit) except -1:
        """Keep a commit; false when its texts are none."""
        cdef object group, topic, metadata, offsets, topic_id, value
        cdef PyObject *found
        try:
            group = self.group.text(commit.group, commit.group_size)
            topic = self.topic.text(commit.topic, commit.topic_size)
            metadata = "" if commit.metadata_size == 0 else self.metadata.text(commit.metadata, commit.metadata_size)
        except UnicodeDecodeError:
            return False
        found = PyDict_GetItem(self.committed, group)
        offsets = self.begin(group) if found == NULL else <object>found
        topic_id = self.none if commit.topic_id == NULL else self.id.id(commit.topic_id, self.topic_id)
        if self.timestamp is None or self.when != commit.timestamp:
            self.timestamp, self.when = commit.timestamp, commit.timestamp
        value = committed_offset(self.make, commit.offset, commit.epoch, metadata, self.timestamp, -1, topic_id)
        PyDict_SetItem(offsets, self.key_of(topic, commit.partition), value)
        return True

    cdef int pass_on(self, const record_t *record) except -1:
        cdef object key = b"" if record.key_size < 0 else PyBytes_FromStringAndSize(<const char *>record.key, record.key_size)
        cdef object value = None
        if record.value_size >= 0:
            value = PyBytes_FromStringAndSize(<const char *>record.value, record.value_size)
        self.other(key, value)
        return 0

    cdef int batch(self, const uint8_t *data, const batch_t *batch) except -1:
        cdef const uint8_t *at = data + BATCH_HEADER
        cdef const uint8_t *end = data + batch.size
        cdef record_t record
        cdef commit_t commit
        cdef int32_t index
        for index in range(batch.count):
            if record_next(&at, end, &record) != 0:
                where = f"record {index} of the batch at offset {batch.base_offset}"
                raise KafkaError(ErrorCode.INVALID_RECORD, f"{where} is damaged")
            if not (read_key(&record, &commit) and read_value(&record, &commit) and self.apply(&commit)):
                self.pass_on(&record)
        return 0


def replay_commits(bytes data not None, Py_ssize_t position, committed, begin, make, topic_id, none, other):
    cdef const uint8_t *start = <const uint8_t *><const char *>data
    cdef Py_ssize_t size = len(data)
    cdef int64_t whole
    cdef batch_t batch
    cdef Replay replay = Replay()
    replay.committed, replay.begin, replay.make = committed, begin, make
    replay.topic_id, replay.none, replay.other = topic_id, none, other
    replay.group, replay.topic, replay.metadata, replay.id = Shared(), Shared(), Shared(), Shared()
    replay.keys = KEYS
    if not issubclass(make, tuple):
        raise TypeError(f"committed offsets are tuples, not {make.__name__}")
    if not isinstance(committed, dict):
        raise TypeError(f"committed offsets are a dict, not {type(committed).__name__}")
    if not 0 <= position <= size:
        raise ValueError(f"position {position} of {size} bytes")
    while size - position >= BATCH_HEADER and start[position + MAGIC_AT] == 2:
        whole = batch_size_at(start + position, size - position)
        if whole < 0 or batch_check(start + position, whole, &batch) != 0:
            break
        if batch_compressed(&batch) or batch_control(&batch) or batch_transactional(&batch):
            break
        replay.batch(start + position, &batch)
        position += whole
    return position

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


cdef bint is_text(const uint8_t *data, Py_ssize_t size) except -1:
    """Whether bytes are UTF-8."""
    cdef Py_ssize_t at
    for at in range(size):
        if data[at] >= 0x80:
            try:
                PyUnicode_DecodeUTF8(<const char *>data, size, NULL)
            except UnicodeDecodeError:
                return False
            return True
    return True


cdef bint is_commit(const record_t *record, commit_t *out) except -1:
    """Read a record; false of what is no offset commit, or has texts that are none."""
    return (read_key(record, out) and read_value(record, out) and is_text(out.group, out.group_size)
            and is_text(out.topic, out.topic_size) and is_text(out.metadata, out.metadata_size))


cdef class Gathering:
    """One call of :func:`gather_commits`."""

    cdef object gathered, begin, other
    cdef Shared group

    cdef int keep(self, const commit_t *first, const uint8_t *start, const uint8_t *end) except -1:
        """Keep neighbouring records of one group."""
        cdef object group = self.group.text(first.group, first.group_size)
        cdef PyObject *found = PyDict_GetItem(self.gathered, group)
        cdef bytes records = PyBytes_FromStringAndSize(<const char *>start, end - start)
        if found == NULL:
            self.begin(group)
            self.gathered[group] = [records]
        else:
            (<list>found).append(records)
        return 0

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
        cdef const uint8_t *run = NULL
        cdef const uint8_t *start
        cdef record_t record
        cdef commit_t commit, first
        cdef int32_t index
        for index in range(batch.count):
            start = at
            if record_next(&at, end, &record) != 0:
                where = f"record {index} of the batch at offset {batch.base_offset}"
                raise KafkaError(ErrorCode.INVALID_RECORD, f"{where} is damaged")
            if not is_commit(&record, &commit):
                if run != NULL:
                    self.keep(&first, run, start)
                    run = NULL
                self.pass_on(&record)
            elif run == NULL or not same_group(&first, &commit):
                if run != NULL:
                    self.keep(&first, run, start)
                run, first = start, commit
        if run != NULL:
            self.keep(&first, run, at)
        return 0


cdef bint same_group(const commit_t *one, const commit_t *other) noexcept nogil:
    return one.group_size == other.group_size and memcmp(one.group, other.group, one.group_size) == 0


def gather_commits(bytes data not None, Py_ssize_t position, dict gathered not None, begin, other):
    cdef const uint8_t *start = <const uint8_t *><const char *>data
    cdef Py_ssize_t size = len(data)
    cdef int64_t whole
    cdef batch_t batch
    cdef Gathering gathering = Gathering()
    gathering.gathered, gathering.begin, gathering.other, gathering.group = gathered, begin, other, Shared()
    if not 0 <= position <= size:
        raise ValueError(f"position {position} of {size} bytes")
    while size - position >= BATCH_HEADER and start[position + MAGIC_AT] == 2:
        whole = batch_size_at(start + position, size - position)
        if whole < 0 or batch_check(start + position, whole, &batch) != 0:
            break
        if batch_compressed(&batch) or batch_control(&batch) or batch_transactional(&batch):
            break
        gathering.batch(start + position, &batch)
        position += whole
    return position


cdef object key_of(object topic, int32_t partition):
    """What a group's offsets are kept under, which is the same object for every group."""
    cdef object key = (topic, partition)
    cdef PyObject *found = PyDict_GetItem(KEYS, key)
    if found != NULL:
        return <object>found
    if len(KEYS) < MOST_KEYS:
        KEYS[key] = key
    return key


def unpack_commits(list gathered not None, offsets, make, make_id, none):
    cdef Shared topic = Shared(), metadata = Shared(), ids = Shared()
    cdef const uint8_t *at
    cdef const uint8_t *end
    cdef record_t record
    cdef commit_t commit
    cdef bytes records
    cdef object note, topic_id, name
    cdef object timestamp = None
    cdef int64_t when = 0
    if not issubclass(make, tuple):
        raise TypeError(f"committed offsets are tuples, not {make.__name__}")
    if not isinstance(offsets, dict):
        raise TypeError(f"the offsets of a group are a dict, not {type(offsets).__name__}")
    for records in gathered:
        at = <const uint8_t *><const char *>records
        end = at + len(records)
        while at < end:
            if record_next(&at, end, &record) != 0 or not (read_key(&record, &commit) and read_value(&record, &commit)):
                raise KafkaError(ErrorCode.INVALID_RECORD, "an offset commit is damaged")
            name = topic.text(commit.topic, commit.topic_size)
            note = "" if commit.metadata_size == 0 else metadata.text(commit.metadata, commit.metadata_size)
            topic_id = none if commit.topic_id == NULL else ids.id(commit.topic_id, make_id)
            if timestamp is None or when != commit.timestamp:
                timestamp, when = commit.timestamp, commit.timestamp
            value = committed_offset(make, commit.offset, commit.epoch, note, timestamp, -1, topic_id)
            PyDict_SetItem(offsets, key_of(name, commit.partition), value)

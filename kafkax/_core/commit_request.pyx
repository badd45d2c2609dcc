"""A request is walked twice: once to check its bounds and count its partitions, once to note where they stand."""

from cpython.bytes cimport PyBytes_FromStringAndSize
from cpython.unicode cimport PyUnicode_DecodeUTF8
from libc.stdint cimport int16_t, int32_t, int64_t, uint8_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcmp
from kafkax._core.batch_writer cimport BatchWriter
from kafkax._core.committed cimport committed_offset
from kafkax._core.cursor cimport (
    read_i32, read_i64, reader, reader_t, remaining, take, write_bytes, write_i16, write_i32, write_i64, write_i8,
    write_uvarint, writer, writer_t,
)
from kafkax._core.fields cimport (
    read_count, read_data, read_header, request_header_t, skip_tags, write_count, write_no_tags, write_text,
)

__all__ = ["CommitRequest"]

cdef enum:
    API_KEY = 8
    FIRST_VERSION = 5
    EPOCHS_SINCE = 6
    INSTANCES_SINCE = 7
    FLEXIBLE_SINCE = 8
    IDS_SINCE = 10
    LAST_VERSION = 10
    ID_SIZE = 16
    MOST_TEXT = 32767
    KEY_OF_COMMIT = 1
    VALUE_VERSION = 4
    KEY_OVERHEAD = 10
    # Kind, two lengths and the partition.
    VALUE_OVERHEAD = 45
    # Version, offset, epoch, metadata's length, timestamp and the topic's id at their longest.
    RECORD_OVERHEAD = 32


cdef uint8_t NO_ID[16]
# The id of a topic that has none: zeros.


cdef inline int32_t uvarint_size(int64_t value) noexcept nogil:
    cdef int32_t size = 1
    while value >= 128:
        value >>= 7
        size += 1
    return size


cdef bint read_part(reader_t *r, int32_t version, commit_part_t *part) noexcept nogil:
    part.partition = read_i32(r)
    part.offset = read_i64(r)
    part.epoch = read_i32(r) if version >= EPOCHS_SINCE else -1
    part.metadata_size = max(read_data(r, version >= FLEXIBLE_SINCE, False, &part.metadata), 0)
    if version >= FLEXIBLE_SINCE:
        skip_tags(r)
    return not r.bad


cdef int32_t read_topics(reader_t *r, int32_t version, commit_topic_t *topics, commit_part_t *parts) noexcept nogil:
    """Walk the topics, noting them unless ``topics`` is NULL; partitions, or -1 when something is out of the ordinary."""
    cdef bint flexible = version >= FLEXIBLE_SINCE
    cdef int32_t count = read_count(r, flexible)
    cdef int32_t total = 0, at, _each
    cdef commit_topic_t topic
    cdef commit_part_t part
    for at in range(count):
        if version >= IDS_SINCE:
            topic.name = take(r, ID_SIZE)
            topic.size = ID_SIZE
        else:
            topic.size = read_data(r, flexible, False, &topic.name)
        topic.first = total
        topic.count = read_count(r, flexible)
        if r.bad or topic.count <= 0 or not 0 < topic.size <= MOST_TEXT:
            return -1
        for _each in range(topic.count):
            if not read_part(r, version, &part) or part.metadata_size > MOST_TEXT:
                return -1
            if parts != NULL:
                parts[total] = part
            total += 1
        if flexible:
            skip_tags(r)
        if topics != NULL:
            topics[at] = topic
    return -1 if r.bad else total


cdef str text(reader_t *r, bint flexible):
    """A string of the request, None for null; ValueError when it is longer than a record's key takes or no UTF-8."""
    cdef const uint8_t *data
    cdef int32_t size = read_data(r, flexible, False, &data)
    if r.bad or size > MOST_TEXT:
        raise ValueError
    return None if size < 0 else PyUnicode_DecodeUTF8(<const char *>data, size, NULL)


cdef str metadata_of(const commit_part_t *part):
    """Raises UnicodeDecodeError."""
    return PyUnicode_DecodeUTF8(<const char *>part.metadata, part.metadata_size, NULL) if part.metadata_size else ""


cdef class CommitRequest:
    def __dealloc__(self):
        free(self.topics)
        free(self.parts)

    @staticmethod
    def read(bytes frame not None, int32_t metadata_max):
        cdef CommitRequest request = CommitRequest.__new__(CommitRequest)
        request.frame = frame
        try:
            return request if request.parse(metadata_max) else None
        except ValueError:
            return None

    cdef bint parse(self, int32_t metadata_max) except -1:
        cdef reader_t r = reader(<const uint8_t *><const char *>self.frame, len(self.frame))
        cdef reader_t again
        cdef reader_t count
        cdef request_header_t header = read_header(&r, FLEXIBLE_SINCE)
        cdef bint flexible = header.flexible
        cdef int32_t at
        if r.bad or header.api_key != API_KEY or not FIRST_VERSION <= header.version <= LAST_VERSION:
            return False
        self.version = header.version
        self.correlation_id = header.correlation_id
        self.group_id = text(&r, flexible)
        self.generation_id_or_member_epoch = read_i32(&r)
        self.member_id = text(&r, flexible)
        self.group_instance_id = text(&r, flexible) if self.version >= INSTANCES_SINCE else None
        if r.bad or not self.group_id or self.member_id is None:
            return False
        again = count = r
        self.topic_count = read_count(&count, flexible)
        self.part_count = read_topics(&r, self.version, NULL, NULL)
        if flexible:
            skip_tags(&r)
        if r.bad or remaining(&r) or self.part_count <= 0:
            return False
        self.topics = <commit_topic_t *>calloc(self.topic_count, sizeof(commit_topic_t))
        self.parts = <commit_part_t *>calloc(self.part_count, sizeof(commit_part_t))
        if self.topics == NULL or self.parts == NULL:
            raise MemoryError(f"an offset commit of {self.part_count} partitions")
        read_topics(&again, self.version, self.topics, self.parts)
        for at in range(self.part_count):
            if self.parts[at].metadata_size > metadata_max:
                return False
            metadata_of(&self.parts[at])
        self.group = self.group_id.encode()
        return True

    def find(self, topics, names, make_id):
        cdef int32_t at, each
        cdef commit_topic_t *topic
        self.names, self.ids = [], []
        for at in range(self.topic_count):
            topic = &self.topics[at]
            if self.version >= IDS_SINCE:
                name = names.get(make_id(PyBytes_FromStringAndSize(<const char *>topic.name, ID_SIZE)))
            else:
                try:
                    name = PyUnicode_DecodeUTF8(<const char *>topic.name, topic.size, NULL)
                except UnicodeDecodeError:
                    return False
            found = None if name is None else topics.get(name)
            if found is None:
                return False
            partitions = found.partitions
            for each in range(topic.first, topic.first + topic.count):
                if self.parts[each].partition not in partitions:
                    return False
            self.names.append(found.name)
            self.ids.append(found.topic_id)
        self.measure()
        return True

    cdef int measure(self) except -1:
        """How much the records take at most."""
        cdef int32_t at, each
        cdef Py_ssize_t key
        self.size = 0
        for at in range(self.topic_count):
            # a character of a name that exists takes one byte
            key = KEY_OVERHEAD + len(self.group) + len(<str>self.names[at])
            for each in range(self.topics[at].first, self.topics[at].first + self.topics[at].count):
                self.size += key + VALUE_OVERHEAD + self.parts[each].metadata_size + RECORD_OVERHEAD
        return 0

    def apply(self, offsets, type make not None, object timestamp):
        cdef int32_t at, each
        cdef commit_part_t *part
        if not issubclass(make, tuple):
            raise TypeError(f"committed offsets are tuples, not {make.__name__}")
        self.timestamp = timestamp
        for at in range(self.topic_count):
            name, topic_id = self.names[at], self.ids[at]
            for each in range(self.topics[at].first, self.topics[at].first + self.topics[at].count):
                part = &self.parts[each]
                offsets[name, part.partition] = committed_offset(
                    make, part.offset, part.epoch, metadata_of(part), timestamp, -1, topic_id)

    def write(self, BatchWriter batch not None):
        cdef int32_t at, each
        cdef bytes name, topic_id
        for at in range(self.topic_count):
            name, topic_id = (<str>self.names[at]).encode(), self.ids[at].int.to_bytes(ID_SIZE, "big")
            for each in range(self.topics[at].first, self.topics[at].first + self.topics[at].count):
                self.write_part(batch, name, topic_id, &self.parts[each])

    cdef int write_part(self, BatchWriter batch, bytes name, bytes topic_id, const commit_part_t *part) except -1:
        cdef bint known = memcmp(<const char *>topic_id, NO_ID, ID_SIZE) != 0
        cdef int64_t key_size = KEY_OVERHEAD + len(self.group) + len(name)
        cdef int64_t value_size = 22 + uvarint_size(<int64_t>part.metadata_size + 1) + part.metadata_size + (
            3 + ID_SIZE if known else 1)
        cdef uint8_t *value = NULL
        cdef writer_t w = writer(batch.record(key_size, value_size, &value), key_size)
        write_i16(&w, KEY_OF_COMMIT)
        write_i16(&w, <int16_t>len(self.group))
        write_bytes(&w, <const char *>self.group, len(self.group))
        write_i16(&w, <int16_t>len(name))
        write_bytes(&w, <const char *>name, len(name))
        write_i32(&w, part.partition)
        w = writer(value, value_size)
        write_i16(&w, VALUE_VERSION)
        write_i64(&w, part.offset)
        write_i32(&w, part.epoch)
        write_uvarint(&w, <unsigned int>part.metadata_size + 1)
        write_bytes(&w, part.metadata, part.metadata_size)
        write_i64(&w, self.timestamp)
        write_i8(&w, known)
        if known:
            write_i8(&w, 0)
            write_i8(&w, ID_SIZE)
            write_bytes(&w, <const char *>topic_id, ID_SIZE)
        return 0

    def promise(self, answer, code_of):
        self.answer_with = answer
        self.code_of = code_of

    def settle(self, error):
        self.answer_with(self.answer(0 if error is None else self.code_of(error)))

    def undone(self, error):
        self.settle(error)

    def answer(self, int16_t code=0):
        cdef bint flexible = self.version >= FLEXIBLE_SINCE
        cdef int32_t at, each
        cdef Py_ssize_t most = 24
        cdef bytes out
        cdef writer_t w
        for at in range(self.topic_count):
            most += 16 + self.topics[at].size + 8 * self.topics[at].count
        out = PyBytes_FromStringAndSize(NULL, most)
        w = writer(<uint8_t *><char *>out, most)
        write_i32(&w, self.correlation_id)
        write_no_tags(&w, flexible)
        write_i32(&w, 0)
        write_count(&w, self.topic_count, flexible)
        for at in range(self.topic_count):
            if self.version >= IDS_SINCE:
                write_bytes(&w, self.topics[at].name, ID_SIZE)
            else:
                write_text(&w, self.topics[at].name, self.topics[at].size, flexible)
            write_count(&w, self.topics[at].count, flexible)
            for each in range(self.topics[at].first, self.topics[at].first + self.topics[at].count):
                write_i32(&w, self.parts[each].partition)
                write_i16(&w, code)
                write_no_tags(&w, flexible)
            write_no_tags(&w, flexible)
        write_no_tags(&w, flexible)
        return out[:w.at - <uint8_t *><char *>out]

"""A request is walked twice: once to check its bounds and count its partitions, once to note where they stand."""

from cpython.bytes cimport PyBytes_FromStringAndSize
from cpython.unicode cimport PyUnicode_DecodeUTF8
from libc.stdint cimport int16_t, int32_t, int64_t, uint8_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcmp
from kafkax._core.batch_writer cimport BatchWriter, batch_buffer_t, batch_record
from kafkax._core.committed cimport committed_offset
from kafkax._core.cursor cimport (
    kx_put16, read_i32, read_i64, reader, reader_t, remaining, take, write_bytes, write_i16, write_i32, write_i64, write_i8,
    write_uvarint, writer, writer_t,
)
from kafkax._core.fields cimport (
    read_count, read_data, read_header, request_header_t, skip_tags, write_count, write_no_tags, write_text,
)
from kafkax._core.varint cimport uvarint_size

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
    ANSWER_OVERHEAD = 24
    KEY_OF_COMMIT = 1
    VALUE_VERSION = 4
    KEY_OVERHEAD = 10
    # Kind, two lengths and the partition.
    VALUE_OVERHEAD = 45
    # Version, offset, epoch, metadata's length, timestamp and the topic's id at their longest.
    RECORD_OVERHEAD = 32


cdef uint8_t NO_ID[16]
# The id of a topic that has none: zeros.


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


cdef bint text(reader_t *r, bint flexible, const uint8_t **data, int32_t *size) noexcept nogil:
    """A string of the request; False when it is longer than a record's key takes."""
    size[0] = read_data(r, flexible, False, data)
    return not r.bad and size[0] <= MOST_TEXT


cdef bint room_for(commit_asked_t *asked) noexcept nogil:
    """Places for the topics and their partitions, as many as were counted."""
    cdef size_t topics = <size_t>asked.topic_count * sizeof(commit_topic_t)
    asked.topics = &asked.one_topic
    asked.parts = &asked.one_part
    if asked.topic_count > 1 or asked.part_count > 1:
        asked.topics = <commit_topic_t *>malloc(topics + <size_t>asked.part_count * sizeof(commit_part_t))
        asked.parts = <commit_part_t *>(<uint8_t *>asked.topics + topics)
    return asked.topics != NULL


cdef bint commit_parse(const uint8_t *frame, size_t size, int32_t metadata_max, commit_asked_t *out) noexcept nogil:
    cdef reader_t r = reader(frame, size)
    cdef reader_t again
    cdef reader_t count
    cdef request_header_t header = read_header(&r, FLEXIBLE_SINCE)
    cdef bint flexible = header.flexible
    cdef int32_t at
    out.topics = &out.one_topic
    if r.bad or header.api_key != API_KEY or not FIRST_VERSION <= header.version <= LAST_VERSION:
        return False
    out.version = header.version
    out.correlation_id = header.correlation_id
    if not text(&r, flexible, &out.group, &out.group_size) or out.group_size <= 0:
        return False
    out.generation = read_i32(&r)
    if not text(&r, flexible, &out.member, &out.member_size) or out.member_size < 0:
        return False
    out.instance_size = -1
    if header.version >= INSTANCES_SINCE and not text(&r, flexible, &out.instance, &out.instance_size):
        return False
    out.who_size = <int32_t>(r.at - frame)
    again = count = r
    out.topic_count = read_count(&count, flexible)
    out.part_count = read_topics(&r, header.version, NULL, NULL)
    if flexible:
        skip_tags(&r)
    if r.bad or remaining(&r) or out.part_count <= 0 or not room_for(out):
        return False
    read_topics(&again, header.version, out.topics, out.parts)
    for at in range(out.part_count):
        if out.parts[at].metadata_size > metadata_max:
            commit_release(out)
            return False
    return True


cdef void commit_release(commit_asked_t *asked) noexcept nogil:
    if asked.topics != &asked.one_topic:
        free(asked.topics)
    asked.topics = &asked.one_topic


cdef int64_t commit_size(const commit_asked_t *asked) noexcept nogil:
    cdef const commit_topic_t *topic
    cdef int64_t size = 0
    cdef int32_t at, each
    for at in range(asked.topic_count):
        topic = &asked.topics[at]
        for each in range(topic.first, topic.first + topic.count):
            size += KEY_OVERHEAD + asked.group_size + topic.found_size + VALUE_OVERHEAD
            size += asked.parts[each].metadata_size + RECORD_OVERHEAD
    return size


cdef bint write_part(const commit_asked_t *asked, const commit_topic_t *topic, const commit_part_t *part,
                     batch_buffer_t *batch, int64_t timestamp_ms) noexcept nogil:
    cdef bint known = memcmp(topic.id, NO_ID, ID_SIZE) != 0
    cdef int64_t key_size = KEY_OVERHEAD + asked.group_size + topic.found_size
    cdef int64_t value_size = 22 + uvarint_size(<int64_t>part.metadata_size + 1) + part.metadata_size + (
        3 + ID_SIZE if known else 1)
    cdef uint8_t *value = NULL
    cdef uint8_t *key = batch_record(batch, key_size, value_size, &value)
    cdef writer_t w
    if key == NULL:
        return False
    w = writer(key, key_size)
    write_i16(&w, KEY_OF_COMMIT)
    write_i16(&w, <int16_t>asked.group_size)
    write_bytes(&w, asked.group, asked.group_size)
    write_i16(&w, <int16_t>topic.found_size)
    write_bytes(&w, topic.found, topic.found_size)
    write_i32(&w, part.partition)
    w = writer(value, value_size)
    write_i16(&w, VALUE_VERSION)
    write_i64(&w, part.offset)
    write_i32(&w, part.epoch)
    write_uvarint(&w, <unsigned int>part.metadata_size + 1)
    write_bytes(&w, part.metadata, part.metadata_size)
    write_i64(&w, timestamp_ms)
    write_i8(&w, known)
    if known:
        write_i8(&w, 0)
        write_i8(&w, ID_SIZE)
        write_bytes(&w, topic.id, ID_SIZE)
    return True


cdef bint commit_write(const commit_asked_t *asked, batch_buffer_t *batch, int64_t timestamp_ms) noexcept nogil:
    cdef const commit_topic_t *topic
    cdef size_t size = batch.size
    cdef int32_t count = batch.count
    cdef int32_t at, each
    for at in range(asked.topic_count):
        topic = &asked.topics[at]
        for each in range(topic.first, topic.first + topic.count):
            if not write_part(asked, topic, &asked.parts[each], batch, timestamp_ms):
                batch.size, batch.count = size, count
                return False
    return True


cdef size_t commit_answer_bound(const commit_asked_t *asked) noexcept nogil:
    cdef size_t most = ANSWER_OVERHEAD
    cdef int32_t at
    for at in range(asked.topic_count):
        most += 16 + <size_t>asked.topics[at].size + 8 * <size_t>asked.topics[at].count
    return most


cdef size_t commit_answer(const commit_asked_t *asked, int16_t code, uint8_t *data, size_t room) noexcept nogil:
    cdef bint flexible = asked.version >= FLEXIBLE_SINCE
    cdef writer_t w = writer(data, room)
    cdef const commit_topic_t *topic
    cdef int32_t at, each
    write_i32(&w, asked.correlation_id)
    write_no_tags(&w, flexible)
    write_i32(&w, 0)
    write_count(&w, asked.topic_count, flexible)
    for at in range(asked.topic_count):
        topic = &asked.topics[at]
        if asked.version >= IDS_SINCE:
            write_bytes(&w, topic.name, ID_SIZE)
        else:
            write_text(&w, topic.name, topic.size, flexible)
        write_count(&w, topic.count, flexible)
        for each in range(topic.first, topic.first + topic.count):
            write_i32(&w, asked.parts[each].partition)
            write_i16(&w, code)
            write_no_tags(&w, flexible)
        write_no_tags(&w, flexible)
    write_no_tags(&w, flexible)
    return <size_t>(w.at - data)


cdef void commit_refuse(uint8_t *answer, size_t size, int32_t version, int16_t code) noexcept nogil:
    cdef bint flexible = version >= FLEXIBLE_SINCE
    cdef reader_t r = reader(answer, size)
    cdef const uint8_t *place
    cdef int32_t topics, parts
    # correlation id, tags, throttle time
    take(&r, 9 if flexible else 8)
    topics = read_count(&r, flexible)
    while topics > 0 and not r.bad:
        if version >= IDS_SINCE:
            take(&r, ID_SIZE)
        else:
            read_data(&r, flexible, False, &place)
        parts = read_count(&r, flexible)
        while parts > 0 and not r.bad:
            read_i32(&r)
            place = take(&r, 2)
            if place != NULL:
                kx_put16(<void *>place, <unsigned short>code)
            take(&r, flexible)
            parts -= 1
        take(&r, flexible)
        topics -= 1


cdef str metadata_of(const commit_part_t *part):
    """Raises UnicodeDecodeError."""
    return PyUnicode_DecodeUTF8(<const char *>part.metadata, part.metadata_size, NULL) if part.metadata_size else ""


cdef class CommitRequest:
    def __cinit__(self):
        self.asked.topics = &self.asked.one_topic

    def __dealloc__(self):
        commit_release(&self.asked)

    @staticmethod
    def read(bytes frame not None, int32_t metadata_max):
        cdef CommitRequest request = CommitRequest.__new__(CommitRequest)
        request.frame = frame
        try:
            return request if request.parse(metadata_max) else None
        except ValueError:
            return None

    cdef bint parse(self, int32_t metadata_max) except -1:
        cdef commit_asked_t *asked = &self.asked
        cdef int32_t at
        if not commit_parse(<const uint8_t *><const char *>self.frame, len(self.frame), metadata_max, asked):
            return False
        self.version = asked.version
        self.generation_id_or_member_epoch = asked.generation
        self.group_id = PyUnicode_DecodeUTF8(<const char *>asked.group, asked.group_size, NULL)
        self.member_id = PyUnicode_DecodeUTF8(<const char *>asked.member, asked.member_size, NULL)
        if asked.instance_size >= 0:
            self.group_instance_id = PyUnicode_DecodeUTF8(<const char *>asked.instance, asked.instance_size, NULL)
        for at in range(asked.part_count):
            metadata_of(&asked.parts[at])
        return True

    @property
    def who(self):
        return self.frame[:self.asked.who_size]

    def find(self, topics, names, make_id):
        cdef int32_t at, each
        cdef commit_topic_t *topic
        cdef bytes name_bytes, id_bytes
        self.names, self.ids, self.kept = [], [], []
        for at in range(self.asked.topic_count):
            topic = &self.asked.topics[at]
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
                if self.asked.parts[each].partition not in partitions:
                    return False
            name_bytes, id_bytes = (<str>found.name).encode(), found.topic_id.int.to_bytes(ID_SIZE, "big")
            self.names.append(found.name)
            self.ids.append(found.topic_id)
            self.kept.append((name_bytes, id_bytes))
            topic.found, topic.found_size = <const uint8_t *><const char *>name_bytes, <int32_t>len(name_bytes)
            topic.id = <const uint8_t *><const char *>id_bytes
        self.size = commit_size(&self.asked)
        return True

    def apply(self, offsets, type make not None, object timestamp):
        cdef int32_t at, each
        cdef commit_topic_t *topic
        cdef commit_part_t *part
        if not issubclass(make, tuple):
            raise TypeError(f"committed offsets are tuples, not {make.__name__}")
        self.timestamp = timestamp
        for at in range(self.asked.topic_count):
            name, topic_id = self.names[at], self.ids[at]
            topic = &self.asked.topics[at]
            for each in range(topic.first, topic.first + topic.count):
                part = &self.asked.parts[each]
                offsets[name, part.partition] = committed_offset(
                    make, part.offset, part.epoch, metadata_of(part), timestamp, -1, topic_id)

    def write(self, BatchWriter batch not None):
        if self.kept is None:
            raise ValueError("the topics of a commit are to be found before it is written")
        if not commit_write(&self.asked, &batch.batch, self.timestamp):
            raise MemoryError(f"no {self.size} bytes for an offset commit")

    def promise(self, answer, code_of):
        self.answer_with = answer
        self.code_of = code_of

    def settle(self, error):
        self.answer_with(self.answer(0 if error is None else self.code_of(error)))

    def undone(self, error):
        self.settle(error)

    def answer(self, int16_t code=0):
        cdef size_t most = commit_answer_bound(&self.asked)
        cdef bytes out = PyBytes_FromStringAndSize(NULL, most)
        return out[:commit_answer(&self.asked, code, <uint8_t *><char *>out, most)]

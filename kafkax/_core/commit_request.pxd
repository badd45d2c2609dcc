"""An OffsetCommit request in its ordinary form: read in place, written to the log and answered without an object a record."""

from libc.stdint cimport int16_t, int32_t, int64_t, uint8_t
from kafkax._core.batch_writer cimport batch_buffer_t

cdef struct commit_topic_t:
    # As it is asked for: name, or 16 bytes of id; ``first`` and ``count`` of its partitions.
    const uint8_t *name
    int32_t size
    int32_t first
    int32_t count
    # What was found: its name and its 16 bytes of id, which the caller sets and keeps.
    int32_t found_size
    const uint8_t *found
    const uint8_t *id

cdef struct commit_part_t:
    const uint8_t *metadata
    int64_t offset
    int32_t metadata_size
    int32_t partition
    int32_t epoch

cdef struct commit_asked_t:
    # Everything points into the frame; ``instance_size`` is -1 for null.
    const uint8_t *group
    const uint8_t *member
    const uint8_t *instance
    int32_t group_size
    int32_t member_size
    int32_t instance_size
    int32_t version
    int32_t correlation_id
    int32_t generation
    # Bytes of the frame before its topics: who commits.
    int32_t who_size
    int32_t topic_count
    int32_t part_count
    commit_topic_t *topics
    commit_part_t *parts
    # Room for the one partition that most requests have.
    commit_topic_t one_topic
    commit_part_t one_part

cdef bint commit_parse(const uint8_t *frame, size_t size, int32_t metadata_max, commit_asked_t *out) noexcept nogil
"""Whether a frame without its length is such a request, which points into it then; ``out`` must stay where it is."""
cdef void commit_release(commit_asked_t *asked) noexcept nogil
cdef int64_t commit_size(const commit_asked_t *asked) noexcept nogil
"""Bytes that its records take in a batch at most."""
cdef bint commit_write(const commit_asked_t *asked, batch_buffer_t *batch, int64_t timestamp_ms) noexcept nogil
"""Add its records to a batch; False without memory, the batch being as before."""
cdef size_t commit_answer_bound(const commit_asked_t *asked) noexcept nogil
cdef size_t commit_answer(const commit_asked_t *asked, int16_t code, uint8_t *data, size_t room) noexcept nogil
"""Write the response with its header, every partition with one error code; its bytes."""
cdef void commit_refuse(uint8_t *answer, size_t size, int32_t version, int16_t code) noexcept nogil
"""Put another error code into each partition of a response with its header."""


cdef class CommitRequest:
    cdef bytes frame
    cdef commit_asked_t asked
    cdef object answer_with
    cdef object code_of
    # Of the topics, and their ids, which ``find`` sets; then both as bytes.
    cdef readonly list names
    cdef list ids
    cdef list kept
    cdef readonly Py_ssize_t size
    cdef readonly int32_t version
    cdef readonly int32_t generation_id_or_member_epoch
    cdef readonly str group_id
    cdef readonly str member_id
    cdef readonly str group_instance_id
    cdef int64_t timestamp

    cdef bint parse(self, int32_t metadata_max) except -1

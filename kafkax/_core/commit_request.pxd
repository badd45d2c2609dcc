"""An OffsetCommit request in its ordinary form: read in place, written to the log and answered without an object a record."""

from libc.stdint cimport int32_t, int64_t, uint8_t
from kafkax._core.batch_writer cimport BatchWriter

cdef struct commit_topic_t:
    # Name, or 16 bytes of id; ``first`` and ``count`` of its partitions.
    const uint8_t *name
    int32_t size
    int32_t first
    int32_t count

cdef struct commit_part_t:
    const uint8_t *metadata
    int64_t offset
    int32_t metadata_size
    int32_t partition
    int32_t epoch


cdef class CommitRequest:
    cdef bytes frame
    cdef commit_topic_t *topics
    cdef commit_part_t *parts
    cdef int32_t topic_count
    cdef int32_t part_count
    cdef object answer_with
    cdef object code_of
    cdef list names
    # Of the topics, and their ids, which ``find`` sets.
    cdef list ids
    cdef readonly Py_ssize_t size
    cdef readonly int32_t version
    cdef readonly int32_t generation_id_or_member_epoch
    cdef readonly str group_id
    cdef readonly str member_id
    cdef readonly str group_instance_id
    cdef int32_t correlation_id
    cdef int64_t timestamp
    cdef bytes group

    cdef bint parse(self, int32_t metadata_max) except -1
    cdef int measure(self) except -1
    cdef int write_part(self, BatchWriter batch, bytes name, bytes topic_id, const commit_part_t *part) except -1

"""What a producer has taken and not yet sent: a batch per partition, filled by the caller's threads."""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t

from kafkax._core.produced cimport Delivery, ProducedBatch

# Bytes of a key or a value; -1 is null.
cdef struct block_t:
    const uint8_t *data
    int64_t size


cdef class PartitionQueue:
    cdef readonly object topic
    cdef readonly int32_t partition
    # The batch that records go into, None when there is none.
    cdef readonly ProducedBatch current
    # Batches that are full, oldest first.
    cdef readonly object full
    cdef public bint active
    # Anything that the sender keeps for the partition.
    cdef public object state


cdef class TopicQueue:
    cdef readonly object topic
    # -1 while it is not known.
    cdef readonly int32_t count
    cdef list queues
    cdef PartitionQueue unassigned
    cdef int32_t sticky
    cdef size_t sticky_bytes


cdef class Accumulator:
    cdef dict _topics
    cdef TopicQueue _last
    cdef size_t _batch_size
    cdef int32_t _batch_count
    cdef size_t _message_max
    cdef int64_t _most_count
    cdef int64_t _most_bytes
    cdef int32_t _partitioner
    cdef uint64_t _random
    cdef object _wake
    # The sender knows that something is there, or is to be told as soon as the record is accounted for.
    cdef bint _signalled
    cdef bint _waking
    # Called when a batch is full, and whether one is.
    cdef object _on_full
    cdef bint _filled
    cdef readonly object refused
    # Records taken and not yet reported, and their bytes.
    cdef readonly int64_t outstanding
    cdef readonly int64_t outstanding_bytes
    cdef readonly list active
    # Batches that could not be given a partition.
    cdef readonly list failed
    # Batches that are done and wait for whoever serves their reports.
    cdef readonly object reports
    # Lookouts of callers who wait for some.
    cdef readonly list waiting
    cdef object _on_topic

    # The function for records that have none of their own.
    cdef public object on_delivery
    # Called when somebody waits for a delivery.
    cdef public object hurry
    # What ``send`` gives while the queue is full; None raises the BufferError.
    cdef public object when_full

    cpdef object finished(self, ProducedBatch batch)
    cpdef object take(self, PartitionQueue queue, bint force)
    cpdef object settle(self)
    cpdef object resume(self)
    cpdef object done(self, int64_t count, int64_t size)
    cdef object _tell(self)
    cdef uint32_t _draw(self) noexcept
    cpdef Delivery deliver(self, topic, value=?, key=?, partition=?, timestamp=?, headers=?)
    cdef int32_t _take(self, topic, value, key, partition, timestamp, headers, callback) except -1
    cdef int32_t _bind(self, Delivery delivery, ProducedBatch batch) except -1
    cdef int32_t _follow(self, ProducedBatch before, int32_t was, ProducedBatch batch, int32_t index) except -1
    cdef TopicQueue _topic(self, topic)
    cdef PartitionQueue _queue(self, TopicQueue topic, int32_t partition, block_t *key, size_t size)
    cdef int32_t _sticky(self, TopicQueue topic, size_t size)
    cdef int32_t _continue(
        self, PartitionQueue queue, int64_t when, block_t *key, block_t *value, object callback,
    ) except -1
    cdef int32_t _append(
        self, PartitionQueue queue, int64_t when, block_t *key, block_t *value, bytes headers, int32_t header_count,
        object callback, int32_t wanted,
    ) except -1
    cdef int32_t _put(
        self, PartitionQueue queue, int64_t when, block_t *key, block_t *value, bytes headers, int32_t header_count,
        object callback, int32_t wanted,
    ) except -1
    cdef object _assign(self, TopicQueue topic, ProducedBatch batch)
    cdef list _drain(self, PartitionQueue queue)

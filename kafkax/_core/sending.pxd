"""What a producer sends and is told in the ordinary case, on any thread; nothing of it runs Python between its steps."""

from libc.stdint cimport int16_t, int32_t, int64_t

from kafkax._core.accumulator cimport Accumulator, PartitionQueue
from kafkax._core.channel cimport Channel, Pending
from kafkax._core.latch cimport Latch
from kafkax._core.produced cimport ProducedBatch


cdef class ProduceRoute:
    cdef readonly Channel channel
    cdef readonly int64_t stamp
    cdef readonly int16_t version
    cdef readonly bytes topic_id


cdef class PartitionState:
    cdef readonly PartitionQueue queue
    cdef readonly object backoff
    # Batches that are to be sent again, in their order.
    cdef readonly object retry
    cdef readonly list in_flight
    cdef public int64_t next_sequence
    # Monotonic seconds before which nothing is sent again.
    cdef public double not_before
    cdef public bint poisoned
    # Whether the broker has taken a batch under the current producer id: before that it has no sequence to compare with, and
    # would take the second batch though the first one is still to come.
    cdef public bint confirmed
    cdef public ProduceRoute route


cdef class ProduceCall(Pending):
    cdef readonly Channel channel
    cdef readonly int16_t version
    cdef readonly list batches
    cdef Dispatcher _sender
    cdef list _topic_ids
    cdef size_t _size
    cdef bint _answered

    cdef object add(self, PartitionState state, ProducedBatch batch, bytes topic_id)
    cdef list body(self)
    cdef bint _post(self, list parts) except -1
    cdef list _results(self, object answer)


cdef class Dispatcher:
    cdef readonly Accumulator accumulator
    # Held by whoever sends, or takes an answer.
    cdef readonly Latch lock
    # Those that callers receive from; another list when they change.
    cdef public list channels
    # Partitions with batches to be sent again.
    cdef readonly set retrying
    # Producer id and epoch; None while there is none to send under.
    cdef public tuple producer
    # Nothing new is sent until everything in doubt is settled.
    cdef public bint bumping
    # Neither transactions nor anything else that asks for more than this does.
    cdef public bint ordinary
    # Version of the metadata that routes hold for.
    cdef public int64_t stamp
    # Who waits until everything is sent.
    cdef readonly int32_t flushing
    # The I/O thread is asked to run.
    cdef public bint asked
    # Monotonic seconds until which a caller is believed to come back, so that the I/O thread need not do its work.
    cdef public double attended_until
    # Whether callers receive, too.
    cdef readonly bint shared
    # What is counted.
    cdef public object metrics
    cdef object _loop
    cdef int64_t _owner
    cdef object _compress
    cdef int16_t _codec
    cdef int16_t _acks
    cdef int32_t _timeout_ms
    cdef double _timeout
    cdef double _linger
    cdef double _delivery_timeout
    cdef int32_t _most_in_flight
    cdef int32_t _most_alone
    cdef double _next_visit
    # The last dispatch found that nothing was ever sent to somewhere, and how often a caller has let the I/O thread go first.
    cdef bint _starting
    cdef int32_t _pauses
    # Of the last dispatch: queues that it left to Python, and when it is to look again.
    cdef list _others
    cdef double _later
    # What went wrong while a batch was on its way, which it is all the same.
    cdef object _raised
    # How many requests are being put on their way.
    cdef int32_t _posting

    cdef bint _inside(self) noexcept
    cdef object _call_soon(self, object function, tuple arguments)
    cdef bint _dispatch(self, double now)
    cdef bint _pass(self, double now) except -1
    cdef ProduceCall _consider(self, PartitionQueue queue, double now, list calls)
    cdef ProduceCall _open(self, PartitionState state, ProducedBatch oldest, list calls)
    cdef object _take(self, PartitionState state, ProducedBatch batch, ProduceCall call)
    cdef object _seal(self, PartitionState state, ProducedBatch batch)
    cdef object _send(self, list calls)
    cdef object _go_on(self, bint more)
    cdef bint _send_only(self) except -1
    cdef bint _attend(self, double now) except -1
    cdef object _receive(self)
    cdef bint _take_plain(self, ProduceCall call, object answer) except -1
    cpdef object count(self, ProducedBatch batch)
    cpdef object ask(self)
    cpdef object visit(self)
    cpdef object number(self, PartitionState state, ProducedBatch batch)
    cpdef object delivered(self, PartitionState state, ProducedBatch batch, int64_t base_offset, int64_t append_time)


cdef class Hurry:
    cdef Dispatcher _sender

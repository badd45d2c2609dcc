"""Compaction of segments: which records stay, and writing them, without the GIL.

The rules are Kafka's: a record stays when it is the last of its key in the part that was indexed; a tombstone stays until the
delete horizon that the first round to see it writes into its batch (attribute bit 6, the time in place of the base timestamp);
records of aborted transactions go; a transaction's marker goes after its records did and its own horizon passed.  The batch that
holds a producer's last sequence, and the last batch of the round, stay as empty headers, so that neither is forgotten.
"""

import os
from collections import namedtuple

from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.errno cimport EINTR, errno
from libc.stdint cimport int16_t, int32_t, int64_t, int8_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, realloc
from libc.string cimport memcpy, memmove
from posix.unistd cimport pread, write

from kafkax._core.batch cimport (ATTRIBUTE_CONTROL, ATTRIBUTE_DELETE_HORIZON, ATTRIBUTE_LOG_APPEND_TIME, ATTRIBUTE_TRANSACTIONAL,
                                 AT_ATTRIBUTES, AT_CRC, AT_LENGTH, AT_MAX_TIMESTAMP, BATCH_HEADER, BATCH_OVERHEAD, CODEC_MASK,
                                 batch_check, batch_compressed, batch_control, batch_transactional, record_next, record_t)
from kafkax._core.codes cimport CORE_HANDOFF, CORE_IO_ERROR, CORE_NO_MEMORY, ERR_CORRUPT_MESSAGE, OK
from kafkax._core.crc32c cimport crc32c_update
from kafkax._core.cursor cimport (kx_be16, kx_be32, kx_put16, kx_put32, kx_put64, read_i8, read_varint, read_varlong,
                                  reader, reader_t, remaining, write_bytes, write_i8, write_varint,
                                  write_varlong, writer, writer_t)
from kafkax._core.offset_map cimport OffsetMap, digest_t

cdef enum:
    AT_BASE_TIMESTAMP = 27
    AT_COUNT = 57
    MARKER_ABORT = 0
    MARKER_COMMIT = 1
    CHUNK = 1 << 20
    GROWTH = 10
    # Bytes by which a record may grow when its timestamp is rebased.
    ABORTED_ENTRY = 34
    # Keys that are looked up together.
    BLOCK = 32
    STOPPED = 1 << 20
    # The map is full: a code of this file only.

CleanedSegment = namedtuple("CleanedSegment", "size next_offset offset_index time_index transaction_index")


class CorruptSegment(Exception):
    """A batch that does not check out; ``position`` is its first byte in the file."""

    def __init__(self, position):
        super().__init__(f"the batch at byte {position} is corrupt")
        self.position = position


cdef int32_t reserve(bytes_t *buffer, size_t room) noexcept nogil:
    """Make place for ``room`` bytes in all; 0 or CORE_NO_MEMORY."""
    cdef void *data
    if room <= buffer.room:
        return OK
    room = max(room, buffer.room + buffer.room // 2)
    data = realloc(buffer.data, room)
    if data == NULL:
        return CORE_NO_MEMORY
    buffer.data = <uint8_t *>data
    buffer.room = room
    return OK


cdef int32_t append_bytes(bytes_t *buffer, const void *data, size_t size) noexcept nogil:
    """Add at the end; 0 or CORE_NO_MEMORY."""
    if reserve(buffer, buffer.size + size) != OK:
        return CORE_NO_MEMORY
    memcpy(buffer.data + buffer.size, data, size)
    buffer.size += size
    return OK


cdef bytes as_bytes(bytes_t *buffer):
    return PyBytes_FromStringAndSize(<const char *>buffer.data, buffer.size)


cdef void remove_bytes(bytes_t *buffer, size_t at, size_t size) noexcept nogil:
    memmove(buffer.data + at, buffer.data + at + size, buffer.size - at - size)
    buffer.size -= size


cdef int32_t next_record(const uint8_t **at, view_t *batch, record_t *out) noexcept nogil:
    """Read the next of the batch's records and move ``at`` behind it; 0 or ERR_CORRUPT_MESSAGE."""
    if record_next(at, batch.records + batch.records_size, out) != OK:
        return ERR_CORRUPT_MESSAGE
    if out.offset_delta < 0 or out.offset_delta > batch.head.last_offset_delta:
        return ERR_CORRUPT_MESSAGE
    return OK


cdef int64_t varlong_size(int64_t value) noexcept nogil:
    """Bytes of a zigzag varlong."""
    cdef uint64_t rest = (<uint64_t>value << 1) ^ <uint64_t>(value >> 63)
    cdef int64_t size = 1
    while rest >= 128:
        rest >>= 7
        size += 1
    return size


cdef class Compactor:
    """One round of cleaning one log; the interface is described in the stub."""

    def __cinit__(self, OffsetMap offset_map not None, int64_t now_ms, int64_t delete_retention_ms, int64_t first_dirty_offset,
                  int64_t upper_bound, aborted, last_records, inflate, deflate):
        cdef size_t i
        self.map = offset_map
        self.now_ms, self.delete_retention_ms = now_ms, delete_retention_ms
        self.first_dirty_offset, self.upper_bound = first_dirty_offset, upper_bound
        self._inflate, self._deflate = inflate, deflate
        self.fd = -1
        aborted = sorted(aborted, key=lambda entry: entry[1])
        self.aborted = <aborted_t *>calloc(len(aborted) + 1, sizeof(aborted_t))
        last_records = sorted(last_records)
        self.last_records = <last_record_t *>calloc(len(last_records) + 1, sizeof(last_record_t))
        if self.aborted == NULL or self.last_records == NULL or reserve(&self.source, CHUNK) != OK:
            raise MemoryError("no memory for a cleaning round")
        for i, (producer_id, first, last, stable) in enumerate(aborted):
            self.aborted[i] = aborted_t(producer_id, first, last, stable, 0)
        for i, (producer_id, last_data_offset, epoch) in enumerate(last_records):
            self.last_records[i] = last_record_t(producer_id, last_data_offset, epoch)
        self.aborted_count, self.last_record_count = len(aborted), len(last_records)

    def __dealloc__(self):
        free(self.aborted)
        free(self.last_records)
        free(self.open_aborted.data)
        free(self.open_committed.data)
        free(self.source.data)
        free(self.output.data)
        free(self.scratch.data)
        free(self.keep.data)
        free(self.offsets.data)
        free(self.times.data)
        free(self.transactions.data)

    def index(self, int32_t fd, int64_t position, int64_t end, int64_t budget):
        """Note the keys of the batches from byte ``position`` on; returns where to go on from."""
        cdef int32_t code
        with nogil:
            code = self.walk(fd, position, end, budget, False)
        self._check(code)
        return self.reached

    def rewind(self):
        """Forget which transactions the scan is inside of."""
        self.aborted_next = 0
        self.open_aborted.size = self.open_committed.size = 0

    def begin(self, int32_t fd, int64_t base_offset, int64_t index_interval):
        """Write to the log file ``fd`` of a new segment from here on."""
        self.fd, self.base_offset, self.index_interval = fd, base_offset, index_interval
        self.position = self.since_index = 0
        self.next_offset = base_offset
        self.max_timestamp = self.max_timestamp_offset = self.last_indexed_timestamp = -1
        self.output.size = self.offsets.size = self.times.size = self.transactions.size = 0

    def filter(self, int32_t fd, int64_t position, int64_t end, int64_t budget):
        """Copy what stays of the batches from byte ``position`` on; returns where to go on from."""
        cdef int32_t code
        if self.fd < 0:
            raise ValueError("begin() names the segment to write to first")
        with nogil:
            code = self.walk(fd, position, end, budget, True)
        self._check(code)
        return self.reached

    def finish(self):
        """Write out what is still buffered and describe the new segment."""
        cdef int32_t code
        with nogil:
            code = self.drain()
            if code == OK:
                code = self.add_time()
        self._check(code)
        self.fd = -1
        return CleanedSegment(self.position, self.next_offset, as_bytes(&self.offsets), as_bytes(&self.times),
                              as_bytes(&self.transactions))

    def _check(self, int32_t code):
        """Raise the exception that ``code`` stands for."""
        if code == OK:
            return
        if code == CORE_NO_MEMORY:
            raise MemoryError("no memory for a cleaning round")
        if code == CORE_IO_ERROR:
            raise OSError(self.system_error, os.strerror(self.system_error))
        if code == ERR_CORRUPT_MESSAGE:
            raise CorruptSegment(self.reached)
        failure, self._failure = self._failure, None
        raise failure

    cdef int32_t fill(self, int32_t fd, int64_t end) noexcept nogil:
        """Read what stands at ``reached`` into the source buffer: at least one whole batch; 0 or a code."""
        cdef int64_t left = end - self.reached
        cdef int64_t size
        cdef ssize_t got
        if left < BATCH_HEADER:
            return ERR_CORRUPT_MESSAGE
        self.source.size = 0
        while True:
            got = pread(fd, self.source.data + self.source.size, min(self.source.room, <size_t>left) - self.source.size,
                        self.reached + self.source.size)
            if got < 0 and errno == EINTR:
                continue
            if got < 0:
                self.system_error = errno
                return CORE_IO_ERROR
            self.source.size += got
            self.bytes_read += got
            if self.source.size >= BATCH_OVERHEAD:
                size = <int64_t><int32_t>kx_be32(self.source.data + AT_LENGTH) + BATCH_OVERHEAD
                if size < BATCH_HEADER or size > left:
                    return ERR_CORRUPT_MESSAGE
                if <size_t>size <= self.source.size:
                    return OK
                if reserve(&self.source, size) != OK:
                    return CORE_NO_MEMORY
            if got == 0:
                return ERR_CORRUPT_MESSAGE

    cdef int32_t walk(self, int32_t fd, int64_t position, int64_t end, int64_t budget, bint filtering) noexcept nogil:
        """Take the batches from ``position`` one by one; 0 or a code, and ``reached`` says how far it came."""
        cdef int64_t stop = min(end, position + max(budget, 1))
        cdef size_t at
        cdef int64_t size
        cdef view_t batch
        cdef int32_t code
        self.reached = position
        while self.reached < stop:
            code = self.fill(fd, end)
            if code != OK:
                return code
            at = 0
            while self.reached < stop and self.source.size - at >= BATCH_OVERHEAD:
                size = <int64_t><int32_t>kx_be32(self.source.data + at + AT_LENGTH) + BATCH_OVERHEAD
                if size < BATCH_HEADER:
                    return ERR_CORRUPT_MESSAGE
                if <size_t>size > self.source.size - at:
                    break
                batch.at = self.source.data + at
                code = batch_check(batch.at, size, &batch.head)
                batch.records = NULL if batch_compressed(&batch.head) else batch.at + BATCH_HEADER
                batch.records_size = size - BATCH_HEADER
                if code == OK:
                    code = self.filter_batch(&batch) if filtering else self.index_batch(&batch)
                if code == STOPPED:
                    self.full = True
                    return OK
                if code != OK:
                    return code
                self.batches_read += 1
                at += size
                self.reached += size
        return OK

    cdef int32_t index_batch(self, view_t *batch) noexcept nogil:
        """Note the batch's keys; 0, STOPPED when the map is full, or a code."""
        cdef bint discardable = False
        cdef int32_t code = self.follow(batch, &discardable)
        if code == OK and not discardable and not batch_control(&batch.head):
            code = self.expand(batch)
            if code == OK:
                code = self.index_records(batch)
            self.records_read += batch.head.count
        if code == OK and batch.head.last_offset >= self.first_dirty_offset:
            self.map.latest = max(self.map.latest, batch.head.last_offset)
        return code

    cdef int32_t index_records(self, view_t *batch) noexcept nogil:
        """The part of ``index_batch`` for the records, a block at a time; 0, STOPPED or ERR_CORRUPT_MESSAGE."""
        cdef digest_t digests[BLOCK]
        cdef int64_t offsets[BLOCK]
        cdef const uint8_t *at = batch.records
        cdef record_t record
        cdef int32_t left = batch.head.count
        cdef int32_t found, i, _record
        while left > 0:
            found = 0
            for _record in range(min(left, BLOCK)):
                if next_record(&at, batch, &record) != OK:
                    return ERR_CORRUPT_MESSAGE
                offsets[found] = batch.head.base_offset + record.offset_delta
                if record.key_size >= 0 and offsets[found] >= self.first_dirty_offset:
                    self.map.digest(record.key, record.key_size, &digests[found])
                    found += 1
            for i in range(found):
                if self.map.put(&digests[i], offsets[i]) != OK:
                    return STOPPED
            left -= BLOCK
        return OK

    cdef int32_t filter_batch(self, view_t *batch) noexcept nogil:
        """Decide about the batch and write what stays of it; 0 or a code."""
        cdef bint discardable = False
        cdef bint tombstones = False
        cdef bint control = batch_control(&batch.head)
        cdef bint has_horizon = batch.head.attributes & ATTRIBUTE_DELETE_HORIZON != 0
        cdef bint keep_header, set_horizon
        cdef int32_t kept = 0
        cdef int64_t horizon = batch.head.base_timestamp if has_horizon else -1
        cdef int32_t code = self.follow(batch, &discardable)
        cdef bint discard = discardable and (not control or (has_horizon and horizon <= self.now_ms))
        if code != OK:
            return code
        self.records_read += batch.head.count
        keep_header = self.is_last_of_producer(batch) or batch.head.last_offset + 1 == self.upper_bound
        if not discard and batch.head.count > 0:
            code = self.choose_records(batch, control, &kept, &tombstones)
            if code != OK:
                return code
        self.records_kept += kept
        if kept > 0:
            set_horizon = not has_horizon and (tombstones or (control and discardable))
            if kept == batch.head.count and not set_horizon:
                return self.emit(batch, batch.head.max_timestamp, batch.at, batch.head.size, NULL, 0)
            if set_horizon:
                horizon = self.now_ms + self.delete_retention_ms
            return self.rewrite(batch, kept, horizon)
        if keep_header:
            return self.write_batch(batch, -1, batch.head.max_timestamp, 0,
                                    batch.head.attributes
                                    & (ATTRIBUTE_LOG_APPEND_TIME | ATTRIBUTE_TRANSACTIONAL | ATTRIBUTE_CONTROL), NULL, 0)
        return OK

    cdef int32_t choose_records(self, view_t *batch, bint all_stay, int32_t *kept, bint *tombstones) noexcept nogil:
        """Mark in ``keep`` which records of the batch stay, count them, and say whether a tombstone is among them."""
        cdef const uint8_t *at
        cdef int32_t first = 0
        cdef int32_t code = self.expand(batch)
        if code == OK:
            code = reserve(&self.keep, batch.head.count)
        if code != OK:
            return code
        at = batch.records
        while first < batch.head.count and code == OK:
            code = self.choose_block(batch, &at, first, all_stay, kept, tombstones)
            first += BLOCK
        return code

    cdef int32_t choose_block(self, view_t *batch, const uint8_t **at, int32_t first, bint all_stay, int32_t *kept,
                              bint *tombstones) noexcept nogil:
        """The part of ``choose_records`` for up to BLOCK records from number ``first`` on, which stand at ``at``."""
        cdef digest_t digests[BLOCK]
        cdef record_t records[BLOCK]
        cdef record_t *record
        cdef int32_t count = min(batch.head.count - first, BLOCK)
        cdef int32_t i
        cdef int64_t offset
        cdef uint8_t stays
        cdef bint has_horizon = batch.head.attributes & ATTRIBUTE_DELETE_HORIZON != 0
        cdef bint dead_tombstones = has_horizon and batch.head.base_timestamp <= self.now_ms
        for i in range(count):
            if next_record(at, batch, &records[i]) != OK:
                return ERR_CORRUPT_MESSAGE
            if records[i].key_size >= 0:
                self.map.digest(records[i].key, records[i].key_size, &digests[i])
        for i in range(count):
            record = &records[i]
            offset = batch.head.base_offset + record.offset_delta
            if all_stay or offset > self.map.latest:
                stays = 1
            elif record.key_size < 0 or (record.value_size < 0 and dead_tombstones):
                stays = 0
            else:
                stays = offset >= self.map.get(&digests[i])
            self.keep.data[first + i] = stays
            kept[0] += stays
            if stays and record.value_size < 0:
                tombstones[0] = True
        return OK

    cdef int32_t rewrite(self, view_t *batch, int32_t kept, int64_t horizon) noexcept nogil:
        """Write the batch with the records that stay; ``horizon`` -1: none."""
        cdef int64_t base_timestamp = horizon
        cdef int64_t max_timestamp = batch.head.max_timestamp
        cdef int16_t attributes = batch.head.attributes & ~ATTRIBUTE_DELETE_HORIZON
        cdef const uint8_t *body
        cdef size_t size
        cdef int32_t code = self.encode_records(batch, kept, &base_timestamp, &max_timestamp)
        if horizon >= 0:
            attributes |= ATTRIBUTE_DELETE_HORIZON
        if code == OK:
            body = self.scratch.data
            size = self.scratch.size
            if attributes & CODEC_MASK:
                code = self.compress_scratch(batch, &body, &size)
        if code != OK:
            return code
        return self.write_batch(batch, base_timestamp, max_timestamp, kept, attributes, body, size)

    cdef int32_t encode_records(self, view_t *batch, int32_t kept, int64_t *base_timestamp,
                                int64_t *max_timestamp) noexcept nogil:
        """Put the records that stay into ``scratch``, their timestamps against ``base_timestamp`` (-1: the first one's)."""
        cdef const uint8_t *at = batch.records
        cdef const uint8_t *begin
        cdef reader_t old
        cdef writer_t out
        cdef record_t record
        cdef uint8_t attributes
        cdef int32_t i
        cdef int64_t timestamp, delta
        cdef size_t rest
        cdef bint append_time = batch.head.attributes & ATTRIBUTE_LOG_APPEND_TIME != 0
        if reserve(&self.scratch, batch.records_size + <size_t>kept * 2 * GROWTH) != OK:
            return CORE_NO_MEMORY
        out = writer(self.scratch.data, self.scratch.room)
        if not append_time:
            max_timestamp[0] = -1
        for i in range(batch.head.count):
            begin = at
            if next_record(&at, batch, &record) != OK:
                return ERR_CORRUPT_MESSAGE
            if not self.keep.data[i]:
                continue
            old = reader(begin, at - begin)
            read_varint(&old)
            attributes = <uint8_t>read_i8(&old)
            read_varlong(&old)
            timestamp = batch.head.max_timestamp if append_time else batch.head.base_timestamp + record.timestamp_delta
            if base_timestamp[0] < 0:
                base_timestamp[0] = timestamp
            max_timestamp[0] = max(max_timestamp[0], timestamp)
            delta = timestamp - base_timestamp[0]
            rest = remaining(&old)
            write_varint(&out, <int32_t>(1 + varlong_size(delta) + rest))
            write_i8(&out, <int8_t>attributes)
            write_varlong(&out, delta)
            write_bytes(&out, old.at, rest)
        self.scratch.size = out.at - self.scratch.data
        return ERR_CORRUPT_MESSAGE if out.bad else OK

    cdef int32_t write_batch(self, view_t *batch, int64_t base_timestamp, int64_t max_timestamp, int32_t kept,
                             int16_t attributes, const uint8_t *body, size_t body_size) noexcept nogil:
        """Write a batch in place of ``batch``: the same offsets, producer and epoch, another content."""
        cdef uint8_t header[BATCH_HEADER]
        cdef uint32_t crc
        memcpy(header, batch.at, BATCH_HEADER)
        kx_put32(header + AT_LENGTH, <uint32_t>(BATCH_HEADER - BATCH_OVERHEAD + body_size))
        kx_put16(header + AT_ATTRIBUTES, <uint16_t>attributes)
        kx_put64(header + AT_BASE_TIMESTAMP, <uint64_t>base_timestamp)
        kx_put64(header + AT_MAX_TIMESTAMP, <uint64_t>max_timestamp)
        kx_put32(header + AT_COUNT, <uint32_t>kept)
        crc = crc32c_update(0, header + AT_ATTRIBUTES, BATCH_HEADER - AT_ATTRIBUTES)
        kx_put32(header + AT_CRC, crc32c_update(crc, body, body_size))
        return self.emit(batch, max_timestamp, header, BATCH_HEADER, body, body_size)

    cdef int32_t emit(self, view_t *batch, int64_t max_timestamp, const uint8_t *head, size_t head_size,
                      const uint8_t *body, size_t body_size) noexcept nogil:
        """Add the bytes of a batch to the new segment, and index entries where they are due; 0 or a code."""
        cdef uint8_t entry[8]
        cdef int32_t code = OK
        if max_timestamp > self.max_timestamp:
            self.max_timestamp = max_timestamp
            self.max_timestamp_offset = batch.head.last_offset
        if self.since_index > self.index_interval:
            kx_put32(entry, <uint32_t>(batch.head.last_offset - self.base_offset))
            kx_put32(entry + 4, <uint32_t>self.position)
            code = append_bytes(&self.offsets, entry, 8)
            if code == OK:
                code = self.add_time()
            self.since_index = 0
        if code == OK:
            code = append_bytes(&self.output, head, head_size)
        if code == OK and body_size:
            code = append_bytes(&self.output, body, body_size)
        self.position += head_size + body_size
        self.since_index += head_size + body_size
        self.next_offset = batch.head.last_offset + 1
        if code == OK and self.output.size >= CHUNK:
            code = self.drain()
        return code

    cdef int32_t add_time(self) noexcept nogil:
        """Note the largest timestamp so far in the time index, unless it stands there."""
        cdef uint8_t entry[12]
        if self.max_timestamp <= self.last_indexed_timestamp:
            return OK
        kx_put64(entry, <uint64_t>self.max_timestamp)
        kx_put32(entry + 8, <uint32_t>(self.max_timestamp_offset - self.base_offset))
        self.last_indexed_timestamp = self.max_timestamp
        return append_bytes(&self.times, entry, 12)

    cdef int32_t drain(self) noexcept nogil:
        """Write the buffered output to the file; 0 or CORE_IO_ERROR."""
        cdef size_t done = 0
        cdef ssize_t wrote
        while done < self.output.size:
            wrote = write(self.fd, self.output.data + done, self.output.size - done)
            if wrote < 0 and errno == EINTR:
                continue
            if wrote < 0:
                self.system_error = errno
                return CORE_IO_ERROR
            done += wrote
        self.bytes_written += done
        self.output.size = 0
        return OK

    cdef int32_t expand(self, view_t *batch) noexcept nogil:
        """Inflate the records of a compressed batch, once; 0 or CORE_HANDOFF with the exception kept."""
        if batch.records != NULL:
            return OK
        with gil:
            try:
                packed = PyBytes_FromStringAndSize(<const char *>batch.at + BATCH_HEADER, batch.head.size - BATCH_HEADER)
                self._inflated = self._inflate(batch.head.attributes & CODEC_MASK, packed)
                batch.records = <const uint8_t *><const char *>self._inflated
                batch.records_size = len(self._inflated)
            except BaseException as failure:
                self._failure = failure
                return CORE_HANDOFF
        return OK

    cdef int32_t compress_scratch(self, view_t *batch, const uint8_t **data, size_t *size) noexcept nogil:
        """Compress ``scratch`` by the batch's codec; 0 or CORE_HANDOFF with the exception kept."""
        with gil:
            try:
                self._deflated = self._deflate(batch.head.attributes & CODEC_MASK,
                                               PyBytes_FromStringAndSize(<const char *>self.scratch.data, self.scratch.size))
                data[0] = <const uint8_t *><const char *>self._deflated
                size[0] = len(self._deflated)
            except BaseException as failure:
                self._failure = failure
                return CORE_HANDOFF
        return OK

    cdef int32_t follow(self, view_t *batch, bint *discardable) noexcept nogil:
        """Keep track of transactions; says whether the batch is no longer needed for any of them.

        A data batch is not when its transaction was aborted, a marker when nothing of its transaction was met.
        """
        cdef aborted_t *open
        cdef int32_t code = self.admit_aborted(batch.head.last_offset)
        cdef size_t at
        if code != OK:
            return code
        if batch_control(&batch.head):
            return self.follow_marker(batch, discardable)
        if batch_transactional(&batch.head):
            open = self.find_aborted(batch)
            if open != NULL:
                open.observed = 1
                discardable[0] = True
            elif not self.find_committed(batch.head.producer_id, &at):
                return append_bytes(&self.open_committed, &batch.head.producer_id, sizeof(int64_t))
        return OK

    cdef int32_t follow_marker(self, view_t *batch, bint *discardable) noexcept nogil:
        """The part of ``follow`` for control batches."""
        cdef uint8_t entry[ABORTED_ENTRY]
        cdef aborted_t *open
        cdef const uint8_t *at
        cdef record_t record
        cdef size_t noted
        cdef int32_t code
        cdef int16_t kind
        discardable[0] = True
        if batch.head.count == 0:
            return OK
        code = self.expand(batch)
        if code != OK:
            return code
        at = batch.records
        if next_record(&at, batch, &record) != OK or record.key_size < 4:
            return ERR_CORRUPT_MESSAGE
        kind = <int16_t>kx_be16(record.key + 2)
        if kind == MARKER_ABORT:
            open = self.find_aborted(batch)
            if open == NULL:
                return OK
            if open.observed:
                discardable[0] = False
                kx_put16(entry, 0)
                kx_put64(entry + 2, <uint64_t>open.producer_id)
                kx_put64(entry + 10, <uint64_t>open.first_offset)
                kx_put64(entry + 18, <uint64_t>open.last_offset)
                kx_put64(entry + 26, <uint64_t>open.last_stable_offset)
                code = append_bytes(&self.transactions, entry, ABORTED_ENTRY)
            remove_bytes(&self.open_aborted, <uint8_t *>open - self.open_aborted.data, sizeof(aborted_t))
        elif kind == MARKER_COMMIT and self.find_committed(batch.head.producer_id, &noted):
            discardable[0] = False
            remove_bytes(&self.open_committed, noted, sizeof(int64_t))
        elif kind != MARKER_COMMIT:
            discardable[0] = False
        return code

    cdef bint find_committed(self, int64_t producer_id, size_t *at) noexcept nogil:
        """Whether the scan met records of a transaction of the producer that has not ended yet, and where that is noted."""
        cdef int64_t *producers = <int64_t *>self.open_committed.data
        cdef size_t i
        for i in range(self.open_committed.size // sizeof(int64_t)):
            if producers[i] == producer_id:
                at[0] = i * sizeof(int64_t)
                return True
        return False

    cdef aborted_t *find_aborted(self, view_t *batch) noexcept nogil:
        """The aborted transaction that the batch belongs to, or NULL."""
        cdef aborted_t *open = <aborted_t *>self.open_aborted.data
        cdef size_t i
        for i in range(self.open_aborted.size // sizeof(aborted_t)):
            if open[i].producer_id == batch.head.producer_id and open[i].last_offset >= batch.head.base_offset:
                return &open[i]
        return NULL

    cdef int32_t admit_aborted(self, int64_t offset) noexcept nogil:
        """Open the aborted transactions that begin at or before ``offset``, in place of their producers' former ones."""
        cdef aborted_t *next
        cdef aborted_t *open
        cdef size_t i, count
        while self.aborted_next < self.aborted_count and self.aborted[self.aborted_next].first_offset <= offset:
            next = &self.aborted[self.aborted_next]
            self.aborted_next += 1
            open = <aborted_t *>self.open_aborted.data
            count = self.open_aborted.size // sizeof(aborted_t)
            for i in range(count):
                if open[i].producer_id == next.producer_id:
                    open[i] = next[0]
                    break
            else:
                if append_bytes(&self.open_aborted, next, sizeof(aborted_t)) != OK:
                    return CORE_NO_MEMORY
        return OK

    cdef bint is_last_of_producer(self, view_t *batch) noexcept nogil:
        """Whether the batch holds what an active producer is known by: its last sequence, or else its epoch."""
        cdef size_t low = 0
        cdef size_t high = self.last_record_count
        cdef size_t middle
        cdef last_record_t *last
        if batch.head.producer_id < 0:
            return False
        while low < high:
            middle = (low + high) // 2
            if self.last_records[middle].producer_id < batch.head.producer_id:
                low = middle + 1
            else:
                high = middle
        last = &self.last_records[low]
        if low == self.last_record_count or last.producer_id != batch.head.producer_id:
            return False
        if last.last_data_offset >= 0:
            return batch.head.last_offset == last.last_data_offset
        return batch_control(&batch.head) and batch.head.producer_epoch == last.producer_epoch

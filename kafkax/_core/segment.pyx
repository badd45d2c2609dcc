"""A segment: the ``.log`` file with its indexes, shared by reference count."""

from libc.errno cimport EAGAIN, ENOENT, EIO, ENOMEM, errno
from libc.stdint cimport int32_t, int64_t, uint8_t
from libc.stdio cimport snprintf
from libc.stdlib cimport calloc, free
from libc.string cimport memset, strcat, strcpy, strlen
from posix.fcntl cimport O_CREAT, O_RDWR, O_TRUNC
from posix.types cimport off_t
from posix.unistd cimport close, fdatasync
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from kafkax._core.atomics cimport kx_add32, kx_load32, kx_store32, kx_store64
from kafkax._core.batch cimport AT_MAGIC, BATCH_HEADER, batch_check, batch_read, batch_t
from kafkax._core.codes cimport CORE_COLD, CORE_END, CORE_INDEX_WRONG, CORE_IO_ERROR, ERR_CORRUPT_MESSAGE, OK
from kafkax._core.files cimport (
    SYNC_FILE_RANGE_WAIT_AFTER, SYNC_FILE_RANGE_WAIT_BEFORE, SYNC_FILE_RANGE_WRITE, directory_release, directory_retain,
    disk_fail, disk_t, iovec, offset_name, open_in, read_present, read_up_to, rename_in, sync_file_range, unlink_in, write_parts,
)
from kafkax._core.index cimport (
    OFFSET_ENTRY, TIME_ENTRY, index_close, index_free, index_init, index_open, index_reset, index_seal, offset_index_add,
    offset_index_floor, offset_index_truncate, time_index_add, time_index_truncate,
)
from kafkax._core.lines cimport zeroed_lines
from kafkax._core.pthreads cimport pthread_mutex_destroy, pthread_mutex_init, pthread_mutex_lock, pthread_mutex_unlock
from kafkax._core.room cimport room_ahead, room_copies, room_cut, room_sync_begins, room_synced, room_t, room_zeros
from kafkax._core.window cimport window_close

from kafkax.errors import ErrorCode, KafkaError

cdef extern from "<fcntl.h>" nogil:
    enum:
        POSIX_FADV_RANDOM
    int posix_fallocate(int fd, off_t at, off_t size) noexcept
    int posix_fadvise(int fd, off_t at, off_t size, int advice) noexcept

cdef enum:
    # One read usually holds every header between two index entries and the one looked for.
    WINDOW = 4608
    SMALLEST_BATCH = 61
    MAX_RELATIVE = 0x7FFFFFFF
    # All three, since less leaves out pages that the kernel is busy with.
    WRITE_AND_WAIT = SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER


cdef segment_t *segment_new(directory_t *directory, int64_t base_offset, int64_t size, int64_t created_ms) noexcept nogil:
    cdef segment_t *segment = <segment_t *>zeroed_lines(sizeof(segment_t))
    if segment == NULL:
        return NULL
    segment.refs = 1
    segment.fd = -1
    segment.base_offset = base_offset
    segment.size = size
    segment.created_ms = created_ms
    segment.first_timestamp = -1
    segment.max_timestamp = -1
    segment.max_timestamp_offset = -1
    segment.aborted_count = -1
    segment.directory_synced = 1
    segment.flushed_size = size
    directory_retain(directory)
    segment.directory = directory
    index_init(&segment.offsets, base_offset, OFFSET_ENTRY)
    index_init(&segment.times, base_offset, TIME_ENTRY)
    pthread_mutex_init(&segment.lock, NULL)
    return segment


cdef void segment_retain(segment_t *segment) noexcept nogil:
    kx_add32(&segment.refs, 1)


cdef void segment_release(segment_t *segment) noexcept nogil:
    if segment == NULL or kx_add32(&segment.refs, -1) > 0:
        return
    if segment.fd >= 0:
        close(segment.fd)
    window_close(&segment.room.window)
    index_free(&segment.offsets)
    index_free(&segment.times)
    pthread_mutex_destroy(&segment.lock)
    directory_release(segment.directory)
    free(segment)


cdef void segment_name(segment_t *segment, const char *kind, char *out) noexcept nogil:
    offset_name(segment.base_offset, kind, out)
    # Kinds and suffixes are short.
    strcat(out, <const char *>segment.suffix)


cdef int32_t segment_fd(segment_t *segment) noexcept nogil:
    cdef char name[64]
    cdef int32_t fd = kx_load32(&segment.fd)
    if fd >= 0:
        return fd
    pthread_mutex_lock(&segment.lock)
    fd = segment.fd
    if fd < 0:
        segment_name(segment, ".log", name)
        fd = open_in(segment.directory, name, O_RDWR)
        if fd >= 0:
            # Fetches say themselves what they need: read-ahead beyond it would fill the disk's queue before others' flushes.
            posix_fadvise(fd, 0, 0, POSIX_FADV_RANDOM)
            kx_store32(&segment.fd, fd)
    pthread_mutex_unlock(&segment.lock)
    return fd


cdef int32_t segment_create(segment_t *segment, int64_t index_bytes, int64_t preallocate) noexcept nogil:
    cdef char name[64]
    cdef int32_t error
    segment_name(segment, ".txnindex", name)
    error = unlink_in(segment.directory, name)
    if error:
        return error
    segment_name(segment, ".log", name)
    segment.fd = open_in(segment.directory, name, O_RDWR | O_CREAT | O_TRUNC)
    if segment.fd < 0:
        return -segment.fd
    posix_fadvise(segment.fd, 0, 0, POSIX_FADV_RANDOM)
    if preallocate > 0:
        error = posix_fallocate(segment.fd, 0, preallocate)
        segment.preallocated = preallocate
    segment_name(segment, ".index", name)
    if not error:
        error = index_reset(&segment.offsets, segment.directory, name, index_bytes)
    segment_name(segment, ".timeindex", name)
    if not error:
        error = index_reset(&segment.times, segment.directory, name, index_bytes)
    segment.directory_synced = 0
    segment.aborted_count = 0
    segment.loaded = 1
    segment.prepared = error == 0
    return error


cdef int32_t map_index(segment_t *segment, index_t *index, const char *kind, int64_t index_bytes, bint required) noexcept nogil:
    cdef char name[64]
    cdef int32_t error
    segment_name(segment, kind, name)
    error = index_open(index, segment.directory, name, index_bytes, segment.size)
    if error == CORE_END and not required:
        error = index_reset(index, segment.directory, name, index_bytes)
    return error


cdef int32_t segment_map(segment_t *segment) noexcept nogil:
    cdef int32_t error = 0
    if kx_load32(&segment.prepared):
        return 0
    pthread_mutex_lock(&segment.lock)
    if not segment.prepared and segment.size:
        error = map_index(segment, &segment.offsets, ".index", 0, True)
        if not error:
            error = map_index(segment, &segment.times, ".timeindex", 0, True)
        # A log of more than a few batches has entries: without any, look-ups would be right but slow.
        if not error:
            kx_store32(&segment.prepared, 1)
    pthread_mutex_unlock(&segment.lock)
    return error


cdef int32_t load_locked(segment_t *segment) noexcept nogil:
    cdef found_t first
    cdef int32_t code
    if segment.size == 0:
        segment.loaded = 1
        return 0
    code = segment_batch_at(segment, 0, segment.size, &first)
    if code != OK:
        return EIO if code == CORE_IO_ERROR else CORE_END
    if segment.times.entries == 0:
        return CORE_END
    segment.first_timestamp = first.max_timestamp
    segment.max_timestamp = segment.times.last_key
    segment.max_timestamp_offset = segment.base_offset + segment.times.last_offset
    if segment.max_timestamp < first.max_timestamp:
        return CORE_END
    kx_store32(&segment.loaded, 1)
    return 0


cdef int32_t segment_load(segment_t *segment) noexcept nogil:
    cdef int32_t error
    if kx_load32(&segment.loaded):
        return 0
    error = segment_map(segment)
    if not error and segment_fd(segment) < 0:
        error = EIO
    if not error:
        pthread_mutex_lock(&segment.lock)
        error = load_locked(segment)
        pthread_mutex_unlock(&segment.lock)
    return error


cdef int32_t segment_prepare(segment_t *segment, int64_t index_bytes) noexcept nogil:
    cdef int32_t error
    cdef int32_t fd = segment_fd(segment)
    if fd < 0:
        return -fd
    if segment.prepared and segment.offsets.writable and segment.times.writable:
        return 0
    pthread_mutex_lock(&segment.lock)
    segment.prepared = 0
    error = map_index(segment, &segment.offsets, ".index", index_bytes, segment.size > 0)
    if not error:
        error = map_index(segment, &segment.times, ".timeindex", index_bytes, segment.size > 0)
    if not error and not segment.loaded:
        error = load_locked(segment)
    if not error:
        kx_store32(&segment.prepared, 1)
    pthread_mutex_unlock(&segment.lock)
    return error


cdef int32_t add_time(segment_t *segment) noexcept nogil:
    cdef char name[64]
    if segment.max_timestamp < 0:
        return 0
    segment_name(segment, ".timeindex", name)
    return time_index_add(&segment.times, segment.directory, name, segment.max_timestamp, segment.max_timestamp_offset)


cdef int32_t segment_note(segment_t *segment, const batch_t *batch, int64_t position, int64_t index_interval) noexcept nogil:
    cdef char name[64]
    cdef int32_t error = 0
    if batch.max_timestamp > segment.max_timestamp:
        segment.max_timestamp = batch.max_timestamp
        segment.max_timestamp_offset = batch.last_offset
    if position == 0:
        segment.first_timestamp = batch.max_timestamp
    if segment.bytes_since_index > index_interval:
        segment_name(segment, ".index", name)
        error = offset_index_add(&segment.offsets, segment.directory, name, batch.last_offset, position)
        if not error:
            error = add_time(segment)
        segment.bytes_since_index = 0
    segment.bytes_since_index += batch.size
    return error


cdef void segment_take_back(segment_t *segment) noexcept nogil:
    """Cut what was written and does not count; when that fails, too, the disk is offline anyway."""
    room_cut(&segment.room, segment.fd, segment.size)


cdef int32_t segment_write(segment_t *segment, iovec *parts, int32_t count, int64_t most, disk_t *disk) noexcept nogil:
    cdef room_t *room = &segment.room
    cdef int32_t error = 0
    if segment.preallocated:
        error = write_parts(segment.fd, parts, count, segment.size)
    elif not room_copies(room, disk, segment.fd, parts, count, segment.size, most, &error):
        count += room_zeros(room, segment.fd, parts, count, segment.size, most)
        error = write_parts(segment.fd, parts, count, segment.size)
    if error:
        segment_take_back(segment)
    return error


cdef int32_t segment_append(segment_t *segment, iovec *parts, int32_t part_count, batch_t **batches, int32_t count,
                            int64_t most, int64_t index_interval, disk_t *disk) noexcept nogil:
    cdef int64_t position = segment.size
    cdef int32_t error = segment_write(segment, parts, part_count, most, disk)
    cdef int32_t at = 0
    if error:
        return error
    while at < count and not error:
        error = segment_note(segment, batches[at], position, index_interval)
        position += batches[at].size
        at += 1
    if error:
        segment_take_back(segment)
        return error
    kx_store64(&segment.size, position)
    return 0


cdef int32_t segment_seal(segment_t *segment) noexcept nogil:
    cdef char name[64]
    cdef int32_t error = 0
    if not segment.prepared or not segment.offsets.writable:
        return 0
    error = add_time(segment)
    segment_name(segment, ".index", name)
    if not error:
        error = index_seal(&segment.offsets, segment.directory, name)
    segment_name(segment, ".timeindex", name)
    if not error:
        error = index_seal(&segment.times, segment.directory, name)
    if not error and (segment.preallocated or room_ahead(&segment.room, segment.size)):
        error = room_cut(&segment.room, segment.fd, segment.size)
    window_close(&segment.room.window)
    segment.preallocated = 0
    return error


cdef int32_t segment_close(segment_t *segment) noexcept nogil:
    cdef int32_t error = segment_seal(segment)
    cdef char name[64]
    pthread_mutex_lock(&segment.lock)
    kx_store32(&segment.prepared, 0)
    segment_name(segment, ".index", name)
    index_close(&segment.offsets, segment.directory, name)
    segment_name(segment, ".timeindex", name)
    index_close(&segment.times, segment.directory, name)
    pthread_mutex_unlock(&segment.lock)
    return error


cdef int32_t segment_truncate(segment_t *segment, int64_t position, int64_t offset) noexcept nogil:
    offset_index_truncate(&segment.offsets, offset)
    time_index_truncate(&segment.times, offset)
    kx_store64(&segment.size, position)
    if segment.flushed_size > position:
        segment.flushed_size = position
    return room_cut(&segment.room, segment.fd, position)


cdef int32_t segment_rename(segment_t *segment, const char *suffix) noexcept nogil:
    cdef const char *kinds[4]
    cdef char old[64]
    cdef char new[64]
    cdef int32_t error = 0
    cdef int32_t result = 0
    cdef int i
    kinds[0] = ".index"
    kinds[1] = ".timeindex"
    kinds[2] = ".txnindex"
    kinds[3] = ".log"
    if strlen(suffix) >= sizeof(segment.suffix):
        return ENOMEM
    pthread_mutex_lock(&segment.lock)
    for i in range(4):
        segment_name(segment, kinds[i], old)
        snprintf(new, 64, "%020lld%s%s", <long long>segment.base_offset, kinds[i], suffix)
        error = rename_in(segment.directory, old, new)
        if error and error != ENOENT and not result:
            result = error
    strcpy(segment.suffix, suffix)
    pthread_mutex_unlock(&segment.lock)
    return result


cdef int32_t segment_sync(segment_t *segment, int64_t size, int32_t barrier) noexcept nogil:
    cdef int32_t fd = segment_fd(segment)
    cdef int64_t dirty = segment.flushed_size
    cdef int64_t zeros_end
    cdef int32_t cuts
    if fd < 0:
        return -fd
    if barrier >= 0:
        if sync_file_range(fd, dirty, size - dirty, WRITE_AND_WAIT) != 0 or fdatasync(barrier) != 0:
            return errno
        return 0
    zeros_end = room_sync_begins(&segment.room, size, &cuts)
    if fdatasync(fd) != 0:
        return errno
    room_synced(&segment.room, zeros_end, cuts)
    return 0


cdef void segment_failed(segment_t *segment, int32_t error) noexcept nogil:
    if segment.directory.disk != NULL and not kx_load32(&segment.deleted):
        disk_fail(segment.directory.disk, error)


cdef int32_t take_header(const uint8_t *data, int64_t position, int64_t limit, found_t *out) noexcept nogil:
    cdef batch_t batch
    if data[AT_MAGIC] != 2:
        return ERR_CORRUPT_MESSAGE
    batch_read(data, &batch)
    if batch.size < SMALLEST_BATCH or batch.last_offset_delta < 0 or batch.base_offset < 0 or position + batch.size > limit:
        return ERR_CORRUPT_MESSAGE
    out.position = position
    out.size = batch.size
    out.base_offset = batch.base_offset
    out.last_offset = batch.last_offset
    out.max_timestamp = batch.max_timestamp
    out.leader_epoch = batch.leader_epoch
    return OK


cdef inline bint misplaced(segment_t *segment, const found_t *found) noexcept nogil:
    """Whether a batch has offsets that none in the segment can have; the base lies outside the checksum."""
    return found.base_offset < segment.base_offset or found.last_offset - segment.base_offset > MAX_RELATIVE


cdef int64_t read_window(int32_t fd, uint8_t *out, int64_t size, int64_t at, bint wait) noexcept nogil:
    """Bytes read, at least a batch's header unless the file ends; CORE_COLD or CORE_IO_ERROR."""
    cdef int64_t got
    if wait:
        got = read_up_to(fd, out, size, at)
        return got if got >= 0 else CORE_IO_ERROR
    got = read_present(fd, out, size, at)
    if got == -EAGAIN or 0 <= got < BATCH_HEADER:
        return CORE_COLD
    return got if got >= 0 else CORE_IO_ERROR


cdef int32_t batch_at(segment_t *segment, int64_t position, int64_t limit, bint wait, found_t *out) noexcept nogil:
    cdef uint8_t header[BATCH_HEADER]
    cdef int32_t fd = segment_fd(segment)
    cdef int64_t got
    if fd < 0:
        return CORE_IO_ERROR
    if position >= limit:
        return CORE_END
    got = read_window(fd, header, BATCH_HEADER, position, wait)
    if got < 0:
        return <int32_t>got
    if got < BATCH_HEADER or take_header(header, position, limit, out) != OK or misplaced(segment, out):
        return ERR_CORRUPT_MESSAGE
    return OK


cdef int32_t segment_batch_at(segment_t *segment, int64_t position, int64_t limit, found_t *out) noexcept nogil:
    return batch_at(segment, position, limit, True, out)


cdef int32_t scan(segment_t *segment, int64_t offset, int64_t position, int64_t limit, bint wait, found_t *out) noexcept nogil:
    """From the batch at ``position`` on, the first that ends at or above ``offset``."""
    cdef uint8_t window[WINDOW]
    cdef int64_t begin = position
    cdef int64_t got = 0
    cdef int64_t previous = segment.base_offset - 1
    cdef int32_t fd = segment_fd(segment)
    cdef int32_t code
    if fd < 0:
        return CORE_IO_ERROR
    while position < limit:
        if position + BATCH_HEADER > begin + got:
            begin = position
            got = read_window(fd, window, WINDOW, begin, wait)
            if got < 0:
                return <int32_t>got
            if got < BATCH_HEADER:
                return ERR_CORRUPT_MESSAGE
        code = take_header(window + (position - begin), position, limit, out)
        if code != OK or out.base_offset <= previous or misplaced(segment, out):
            return ERR_CORRUPT_MESSAGE
        if out.last_offset >= offset:
            return OK
        previous = out.last_offset
        position += out.size
    return CORE_END


cdef int32_t check_entry(segment_t *segment, int64_t entry_offset, int64_t position, int64_t limit, int64_t offset,
                         bint wait) noexcept nogil:
    """Whether an index entry points at a batch: its last offset is the entry's, or (entries of older brokers, which name the
    last offset of a whole append) the checksum says so. OK, CORE_INDEX_WRONG or CORE_COLD."""
    cdef found_t found
    cdef batch_t batch
    cdef uint8_t *data
    cdef bint right
    cdef int32_t code = batch_at(segment, position, limit, wait, &found)
    if code == CORE_COLD:
        return code
    if code != OK or found.base_offset > offset or found.last_offset > entry_offset:
        return CORE_INDEX_WRONG
    if found.last_offset == entry_offset:
        return OK
    if not wait:
        return CORE_COLD
    data = <uint8_t *>calloc(1, found.size)
    if data == NULL:
        return CORE_INDEX_WRONG
    right = read_up_to(segment.fd, data, found.size, position) == found.size and batch_check(data, found.size, &batch) == OK
    free(data)
    return OK if right else CORE_INDEX_WRONG


cdef int32_t segment_find(segment_t *segment, int64_t offset, int64_t limit, bint wait, found_t *out) noexcept nogil:
    cdef int64_t entry_offset
    cdef int64_t position
    cdef int32_t error
    cdef int32_t code = OK
    memset(out, 0, sizeof(found_t))
    if not wait and (not kx_load32(&segment.prepared) or kx_load32(&segment.fd) < 0):
        # Its files have yet to be opened.
        return CORE_COLD
    error = segment_map(segment)
    if error:
        return CORE_INDEX_WRONG if error == CORE_END else CORE_IO_ERROR
    position = offset_index_floor(&segment.offsets, offset, wait, &entry_offset)
    if position == CORE_COLD:
        return CORE_COLD
    if position < 0:
        return CORE_INDEX_WRONG
    if position >= limit:
        # Entries above the limit: appended since, or wrong; from the start the limit bounds the scan.
        position = 0
    if position:
        code = check_entry(segment, entry_offset, position, limit, offset, wait)
    if code != OK:
        return code
    code = scan(segment, offset, position, limit, wait, out)
    if code == ERR_CORRUPT_MESSAGE and position:
        return CORE_INDEX_WRONG
    return code


cdef class FileSlice:
    def __dealloc__(self):
        slice_release(&self.piece)

    @staticmethod
    cdef FileSlice adopt(slice_t piece):
        cdef FileSlice self = FileSlice.__new__(FileSlice)
        self.piece = piece
        return self

    @property
    def position(self):
        return self.piece.position

    @property
    def length(self):
        return self.piece.length

    @property
    def base_offset(self):
        return self.piece.segment.base_offset if self.piece.segment != NULL else -1

    def __len__(self):
        return self.piece.length

    def fileno(self):
        cdef int32_t fd
        if self.piece.segment == NULL:
            raise KafkaError(ErrorCode.KAFKA_STORAGE_ERROR, "the slice is empty: there is no file behind it")
        fd = segment_fd(self.piece.segment)
        if fd < 0:
            raise KafkaError(ErrorCode.KAFKA_STORAGE_ERROR, f"segment {self.base_offset} cannot be opened: errno {-fd}")
        return fd

    def read(self):
        cdef int32_t fd
        cdef int64_t got
        cdef int64_t length = self.piece.length
        cdef int64_t position = self.piece.position
        cdef char *at
        if length == 0:
            return b""
        fd = self.fileno()
        out = PyBytes_FromStringAndSize(NULL, length)
        at = PyBytes_AS_STRING(out)
        with nogil:
            got = read_up_to(fd, at, length, position)
            if got < 0:
                segment_failed(self.piece.segment, <int32_t>-got)
        if got < 0:
            raise KafkaError(ErrorCode.KAFKA_STORAGE_ERROR, f"segment {self.base_offset} cannot be read: errno {-got}")
        return out if got == length else out[:got]

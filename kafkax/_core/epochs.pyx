"""Leader-epoch cache of a log."""

from libc.errno cimport ENOENT, ENOMEM
from libc.stdint cimport int32_t, int64_t
from libc.stdio cimport snprintf
from libc.stdlib cimport free, malloc, realloc, strtoll
from libc.string cimport memmove, memset
from posix.fcntl cimport O_RDONLY
from posix.unistd cimport close
from kafkax._core.codes cimport CORE_NO_MEMORY, ERR_CORRUPT_MESSAGE
from kafkax._core.files cimport open_in, read_up_to, replace_file

cdef enum:
    # Two numbers of at most 20 characters, a blank and a line end.
    LINE_BYTES = 44
    FILE_LIMIT = 16777216

cdef const char *FILE_NAME = "leader-epoch-checkpoint"


cdef void epochs_init(epochs_t *epochs) noexcept nogil:
    memset(epochs, 0, sizeof(epochs_t))
    epochs.latest = -1


cdef void epochs_free(epochs_t *epochs) noexcept nogil:
    free(epochs.entries)


cdef void set_count(epochs_t *epochs, int32_t count) noexcept nogil:
    epochs.count = count
    epochs.latest = epochs.entries[count - 1].epoch if count else -1


cdef int32_t push(epochs_t *epochs, int32_t epoch, int64_t start_offset) noexcept nogil:
    cdef epoch_t *grown
    cdef int32_t room
    if epochs.count == epochs.room:
        room = epochs.room * 2 if epochs.room else 2
        grown = <epoch_t *>realloc(epochs.entries, room * sizeof(epoch_t))
        if grown == NULL:
            return CORE_NO_MEMORY
        epochs.entries = grown
        epochs.room = room
    epochs.entries[epochs.count].epoch = epoch
    epochs.entries[epochs.count].start_offset = start_offset
    set_count(epochs, epochs.count + 1)
    return 0


cdef int32_t parse(epochs_t *epochs, char *text) noexcept nogil:
    """``version, count, then epoch and offset a line``; 0, ERR_CORRUPT_MESSAGE or CORE_NO_MEMORY."""
    cdef char *next = text
    cdef int64_t count
    cdef int64_t epoch
    cdef int64_t offset
    if strtoll(text, &next, 10) != 0 or next == text:
        return ERR_CORRUPT_MESSAGE
    text = next
    count = strtoll(text, &next, 10)
    if next == text or count < 0:
        return ERR_CORRUPT_MESSAGE
    while count:
        text = next
        epoch = strtoll(text, &next, 10)
        if next == text or epoch < 0 or epoch > 0x7FFFFFFF:
            return ERR_CORRUPT_MESSAGE
        text = next
        offset = strtoll(text, &next, 10)
        if next == text or offset < 0:
            return ERR_CORRUPT_MESSAGE
        if epochs.count and (epoch <= epochs.latest or offset < epochs.entries[epochs.count - 1].start_offset):
            return ERR_CORRUPT_MESSAGE
        if push(epochs, <int32_t>epoch, offset) != 0:
            return CORE_NO_MEMORY
        count -= 1
    return 0


cdef int32_t epochs_load(epochs_t *epochs, directory_t *directory) noexcept nogil:
    cdef char small[512]
    cdef char *text = small
    cdef int64_t room = sizeof(small)
    cdef int64_t got
    cdef int32_t code
    cdef int32_t fd = open_in(directory, FILE_NAME, O_RDONLY)
    set_count(epochs, 0)
    if fd < 0:
        return 0 if fd == -ENOENT else -fd
    got = read_up_to(fd, text, room - 1, 0)
    while got == room - 1 and room < FILE_LIMIT:
        room *= 4
        if text != small:
            free(text)
        text = <char *>malloc(room)
        if text == NULL:
            close(fd)
            return ENOMEM
        got = read_up_to(fd, text, room - 1, 0)
    close(fd)
    if got < 0:
        code = <int32_t>-got
    else:
        text[got] = 0
        code = parse(epochs, text)
        if code != 0:
            set_count(epochs, 0)
    if text != small:
        free(text)
    return code


cdef int32_t epochs_store(epochs_t *epochs, directory_t *directory) noexcept nogil:
    cdef int64_t room = LINE_BYTES * (<int64_t>epochs.count + 2)
    cdef char *text
    cdef int64_t size
    cdef int32_t i
    cdef int32_t error
    if not epochs.changed:
        return 0
    text = <char *>malloc(room)
    if text == NULL:
        return ENOMEM
    size = snprintf(text, room, "0\n%d\n", epochs.count)
    for i in range(epochs.count):
        size += snprintf(text + size, room - size, "%d %lld\n", epochs.entries[i].epoch,
                         <long long>epochs.entries[i].start_offset)
    error = replace_file(directory, FILE_NAME, text, size)
    free(text)
    epochs.changed = error != 0
    return error


cdef int32_t epochs_assign(epochs_t *epochs, int32_t epoch, int64_t start_offset) noexcept nogil:
    if epoch <= epochs.latest:
        return 0
    # An epoch in which nothing was written gives way to the one that begins at the same offset.
    epochs_truncate_end(epochs, start_offset)
    if push(epochs, epoch, start_offset) != 0:
        return CORE_NO_MEMORY
    epochs.changed = 1
    return 1


cdef void epochs_end(epochs_t *epochs, int32_t epoch, int64_t log_end, int32_t *found, int64_t *end_offset) noexcept nogil:
    cdef int32_t i = epochs.count - 1
    found[0] = -1
    end_offset[0] = -1
    if epoch < 0 or i < 0 or epoch > epochs.entries[i].epoch:
        return
    if epoch == epochs.entries[i].epoch:
        found[0] = epoch
        end_offset[0] = log_end
        return
    while i >= 0 and epochs.entries[i].epoch > epoch:
        i -= 1
    # Older than everything known: it ended where the first known one begins.
    found[0] = epochs.entries[i].epoch if i >= 0 else epoch
    end_offset[0] = epochs.entries[i + 1].start_offset


cdef bint epochs_truncate_end(epochs_t *epochs, int64_t offset) noexcept nogil:
    cdef int32_t before = epochs.count
    while epochs.count and epochs.entries[epochs.count - 1].start_offset >= offset:
        set_count(epochs, epochs.count - 1)
        epochs.changed = 1
    return epochs.count != before


cdef bint epochs_truncate_start(epochs_t *epochs, int64_t offset) noexcept nogil:
    cdef int32_t drop = 0
    if epochs.count == 0 or epochs.entries[0].start_offset >= offset:
        return False
    while drop + 1 < epochs.count and epochs.entries[drop + 1].start_offset <= offset:
        drop += 1
    memmove(epochs.entries, epochs.entries + drop, (epochs.count - drop) * sizeof(epoch_t))
    set_count(epochs, epochs.count - drop)
    epochs.entries[0].start_offset = offset
    epochs.changed = 1
    return True


cdef int32_t epochs_at(epochs_t *epochs, int64_t offset) noexcept nogil:
    cdef int32_t i = epochs.count - 1
    while i >= 0 and epochs.entries[i].start_offset > offset:
        i -= 1
    return epochs.entries[i].epoch if i >= 0 else -1

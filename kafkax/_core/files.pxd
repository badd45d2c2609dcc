"""File system calls that a log needs, each finished or failed as a whole, and the two shared facts about places:
a ``directory_t`` (a log's folder, which may be renamed while slices still point into it) and a ``disk_t`` (a log
directory of ``log.dirs``, which fails as a whole)."""

from libc.stdint cimport int32_t, int64_t
from posix.types cimport off_t
from kafkax._core.pthreads cimport pthread_mutex_t

cdef extern from "<fcntl.h>" nogil:
    enum:
        SYNC_FILE_RANGE_WAIT_BEFORE
        SYNC_FILE_RANGE_WRITE
        SYNC_FILE_RANGE_WAIT_AFTER
    int sync_file_range(int fd, off_t at, off_t size, unsigned int flags) noexcept

cdef extern from "<sys/uio.h>" nogil:
    struct iovec:
        void *iov_base
        size_t iov_len

cdef struct disk_t:
    int32_t refs
    # errno of the failure that took the log directory offline; 0 while it works.
    int32_t failed
    # Windows (``_core/window``) of its segments, and how many it may have.
    int32_t windows
    int32_t windows_most
    # Guards the two below: who fails the disk may outlive who wants to hear of it.
    pthread_mutex_t lock
    void (*on_failure)(void *context, int32_t error) noexcept nogil
    void *context

cdef struct directory_t:
    int32_t refs
    # The log directory that it lies on, which a failed read takes offline; NULL while none is known.
    disk_t *disk
    char *path
    pthread_mutex_t lock

cdef disk_t *disk_new() noexcept nogil
cdef void disk_retain(disk_t *disk) noexcept nogil
cdef void disk_release(disk_t *disk) noexcept nogil
# Take the log directory offline, once: nothing on it is served or acknowledged from here on.
cdef void disk_fail(disk_t *disk, int32_t error) noexcept nogil
# Tell nobody from here on.
cdef void disk_forget(disk_t *disk) noexcept nogil

cdef directory_t *directory_new(const char *path) noexcept nogil
cdef void directory_retain(directory_t *directory) noexcept nogil
cdef void directory_release(directory_t *directory) noexcept nogil
# Move the folder; 0 or errno.
cdef int32_t directory_rename(directory_t *directory, const char *path) noexcept nogil
# Number of the file system that the folder is on; -1 when that cannot be found out.
cdef int64_t directory_device(directory_t *directory) noexcept nogil
# Path of ``name`` in the folder (of the folder for NULL); 0 or ENAMETOOLONG.
cdef int32_t directory_path(directory_t *directory, const char *name, char *out, size_t size) noexcept nogil

# File descriptor, or -errno.
cdef int32_t open_in(directory_t *directory, const char *name, int32_t flags) noexcept nogil
# Both ranges one after the other at a position, by one call in the ordinary case; 0 or errno.
cdef int32_t write_all(int32_t fd, const void *head, size_t head_size, const void *body, size_t body_size,
                       int64_t at) noexcept nogil
# Ranges one after the other at a position, by one call in the ordinary case; ``parts`` is used up. 0 or errno.
cdef int32_t write_parts(int32_t fd, iovec *parts, int32_t count, int64_t at) noexcept nogil
# Bytes read, fewer than ``size`` only at the end of the file; -errno.
cdef int64_t read_up_to(int32_t fd, void *out, size_t size, int64_t at) noexcept nogil
# What of it is in memory, from ``at`` on; -EAGAIN when that is nothing. Where the file system can't tell, it is read.
cdef int64_t read_present(int32_t fd, void *out, size_t size, int64_t at) noexcept nogil
# Write under a temporary name, sync, rename, sync the directory; 0 or errno.
cdef int32_t replace_file(directory_t *directory, const char *name, const void *data, size_t size) noexcept nogil
# 0 (also when there is no such file) or errno.
cdef int32_t unlink_in(directory_t *directory, const char *name) noexcept nogil
cdef int32_t rename_in(directory_t *directory, const char *name, const char *to) noexcept nogil
cdef int32_t sync_directory(directory_t *directory) noexcept nogil
# Bytes, or -errno.
cdef int64_t file_size(directory_t *directory, const char *name) noexcept nogil
# Bytes that a file of the file system may take ahead of what is written to it: a small part of what is left.
cdef int64_t free_share(int32_t fd) noexcept nogil
# Kafka's file name: 20 digits and the suffix, into ``out`` (at least 64 bytes).
cdef void offset_name(int64_t offset, const char *suffix, char *out) noexcept nogil
cdef int64_t wall_ms() noexcept nogil
cdef int64_t monotonic_ms() noexcept nogil

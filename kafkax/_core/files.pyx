"""File system calls that a log needs, and the shared state of folders and disks."""

from libc.errno cimport EINTR, EIO, ENAMETOOLONG, ENOENT, ENOMEM, EOPNOTSUPP, errno
from libc.stdint cimport int32_t, int64_t
from libc.stdio cimport snprintf
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy, strcpy, strlen
from posix.fcntl cimport O_CLOEXEC, O_CREAT, O_DIRECTORY, O_RDONLY, O_TRUNC, O_WRONLY, open
from posix.stat cimport stat, struct_stat
from posix.time cimport CLOCK_MONOTONIC, CLOCK_REALTIME, clock_gettime, timespec
from posix.types cimport off_t
from posix.unistd cimport close, fsync, unlink
from kafkax._core.atomics cimport kx_add32
from kafkax._core.pthreads cimport pthread_mutex_destroy, pthread_mutex_init, pthread_mutex_lock, pthread_mutex_unlock

cdef extern from "<sys/uio.h>" nogil:
    ssize_t pwritev(int fd, const iovec *parts, int count, off_t at) noexcept
    ssize_t preadv2(int fd, const iovec *parts, int count, off_t at, int flags) noexcept
    int RWF_NOWAIT

cdef extern from "<unistd.h>" nogil:
    ssize_t pread(int fd, void *out, size_t size, off_t at) noexcept
    ssize_t pwrite(int fd, const void *data, size_t size, off_t at) noexcept

cdef extern from "<sys/vfs.h>" nogil:
    ctypedef struct statfs_t "struct statfs":
        unsigned long f_bsize
        unsigned long f_bavail
    int fstatfs(int fd, statfs_t *out) noexcept

cdef extern from "<stdio.h>" nogil:
    int c_rename "rename"(const char *old, const char *new) noexcept

cdef extern from *:
    """
    static inline int kx_claim32(int32_t *at, int32_t value) {
        int32_t none = 0;
        return __atomic_compare_exchange_n(at, &none, value, 0, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE);
    }
    """
    bint kx_claim32(int32_t *at, int32_t value) noexcept nogil

cdef enum:
    PATH_SIZE = 4096
    # Digits of an offset in a file's name.
    DIGITS = 20
    # A file takes no more ahead than this part of what is left of the disk.
    SHARE_OF_FREE = 64


cdef disk_t *disk_new() noexcept nogil:
    cdef disk_t *disk = <disk_t *>calloc(1, sizeof(disk_t))
    if disk != NULL:
        disk.refs = 1
        pthread_mutex_init(&disk.lock, NULL)
    return disk


cdef void disk_retain(disk_t *disk) noexcept nogil:
    kx_add32(&disk.refs, 1)


cdef void disk_release(disk_t *disk) noexcept nogil:
    if disk != NULL and kx_add32(&disk.refs, -1) == 0:
        pthread_mutex_destroy(&disk.lock)
        free(disk)


cdef void disk_fail(disk_t *disk, int32_t error) noexcept nogil:
    if not kx_claim32(&disk.failed, error if error else EIO):
        return
    pthread_mutex_lock(&disk.lock)
    if disk.on_failure != NULL:
        disk.on_failure(disk.context, error)
    pthread_mutex_unlock(&disk.lock)


cdef void disk_forget(disk_t *disk) noexcept nogil:
    pthread_mutex_lock(&disk.lock)
    disk.on_failure = NULL
    pthread_mutex_unlock(&disk.lock)


cdef char *copy_text(const char *text) noexcept nogil:
    cdef size_t size = strlen(text) + 1
    cdef char *out = <char *>calloc(1, size)
    if out != NULL:
        memcpy(out, text, size)
    return out


cdef directory_t *directory_new(const char *path) noexcept nogil:
    cdef directory_t *directory = <directory_t *>calloc(1, sizeof(directory_t))
    if directory == NULL:
        return NULL
    directory.refs = 1
    directory.path = copy_text(path)
    if directory.path == NULL:
        free(directory)
        return NULL
    pthread_mutex_init(&directory.lock, NULL)
    return directory


cdef void directory_retain(directory_t *directory) noexcept nogil:
    kx_add32(&directory.refs, 1)


cdef void directory_release(directory_t *directory) noexcept nogil:
    if directory == NULL or kx_add32(&directory.refs, -1) > 0:
        return
    pthread_mutex_destroy(&directory.lock)
    disk_release(directory.disk)
    free(directory.path)
    free(directory)


cdef int32_t directory_rename(directory_t *directory, const char *path) noexcept nogil:
    cdef char *copy = copy_text(path)
    cdef int32_t error = 0
    if copy == NULL:
        return ENOMEM
    pthread_mutex_lock(&directory.lock)
    if c_rename(directory.path, path) != 0:
        error = errno
        free(copy)
    else:
        free(directory.path)
        directory.path = copy
    pthread_mutex_unlock(&directory.lock)
    return error


cdef int32_t directory_path(directory_t *directory, const char *name, char *out, size_t size) noexcept nogil:
    cdef int length
    pthread_mutex_lock(&directory.lock)
    if name == NULL:
        length = snprintf(out, size, "%s", directory.path)
    else:
        length = snprintf(out, size, "%s/%s", directory.path, name)
    pthread_mutex_unlock(&directory.lock)
    return ENAMETOOLONG if length < 0 or <size_t>length >= size else 0


cdef int64_t directory_device(directory_t *directory) noexcept nogil:
    cdef char path[PATH_SIZE]
    cdef struct_stat info
    if directory_path(directory, NULL, path, PATH_SIZE) or stat(path, &info) != 0:
        return -1
    return <int64_t>info.st_dev


cdef int32_t open_in(directory_t *directory, const char *name, int32_t flags) noexcept nogil:
    cdef char path[PATH_SIZE]
    cdef int32_t error = directory_path(directory, name, path, PATH_SIZE)
    cdef int fd
    if error:
        return -error
    fd = open(path, flags | O_CLOEXEC, <int>0o644)
    return fd if fd >= 0 else -errno


cdef int32_t write_parts(int32_t fd, iovec *parts, int32_t count, int64_t at) noexcept nogil:
    cdef ssize_t done
    while count:
        if parts[0].iov_len == 0:
            parts += 1
            count -= 1
            continue
        # One range costs the kernel less by itself than as a list of one.
        done = pwritev(fd, parts, count, at) if count > 1 else pwrite(fd, parts[0].iov_base, parts[0].iov_len, at)
        if done < 0:
            if errno == EINTR:
                continue
            return errno
        if done == 0:
            return EIO
        at += done
        while done and <size_t>done >= parts[0].iov_len:
            done -= parts[0].iov_len
            parts += 1
            count -= 1
        if done:
            parts[0].iov_base = <char *>parts[0].iov_base + done
            parts[0].iov_len -= done
    return 0


cdef int32_t write_all(int32_t fd, const void *head, size_t head_size, const void *body, size_t body_size,
                       int64_t at) noexcept nogil:
    cdef iovec parts[2]
    parts[0].iov_base = <void *>head
    parts[0].iov_len = head_size
    parts[1].iov_base = <void *>body
    parts[1].iov_len = body_size
    return write_parts(fd, parts, 2 if body_size else 1, at)


cdef int64_t read_up_to(int32_t fd, void *out, size_t size, int64_t at) noexcept nogil:
    cdef size_t have = 0
    cdef ssize_t done
    while have < size:
        done = pread(fd, <char *>out + have, size - have, at + have)
        if done < 0:
            if errno == EINTR:
                continue
            return -errno
        if done == 0:
            break
        have += done
    return <int64_t>have


cdef int64_t read_present(int32_t fd, void *out, size_t size, int64_t at) noexcept nogil:
    cdef iovec place
    cdef ssize_t got
    place.iov_base = out
    place.iov_len = size
    got = preadv2(fd, &place, 1, at, RWF_NOWAIT)
    while got < 0 and errno == EINTR:
        got = preadv2(fd, &place, 1, at, RWF_NOWAIT)
    if got < 0 and errno == EOPNOTSUPP:
        return read_up_to(fd, out, size, at)
    return got if got >= 0 else -errno


cdef int32_t replace_file(directory_t *directory, const char *name, const void *data, size_t size) noexcept nogil:
    cdef char temporary[300]
    cdef int32_t fd
    cdef int32_t error
    snprintf(temporary, sizeof(temporary), "%s.tmp", name)
    fd = open_in(directory, temporary, O_WRONLY | O_CREAT | O_TRUNC)
    if fd < 0:
        return -fd
    error = write_all(fd, data, size, NULL, 0, 0)
    if not error and fsync(fd) != 0:
        error = errno
    close(fd)
    if not error:
        error = rename_in(directory, temporary, name)
    if not error:
        error = sync_directory(directory)
    return error


cdef int32_t unlink_in(directory_t *directory, const char *name) noexcept nogil:
    cdef char path[PATH_SIZE]
    cdef int32_t error = directory_path(directory, name, path, PATH_SIZE)
    if not error and unlink(path) != 0 and errno != ENOENT:
        error = errno
    return error


cdef int32_t rename_in(directory_t *directory, const char *name, const char *to) noexcept nogil:
    cdef char old[PATH_SIZE]
    cdef char new[PATH_SIZE]
    cdef int32_t error = directory_path(directory, name, old, PATH_SIZE)
    if not error:
        error = directory_path(directory, to, new, PATH_SIZE)
    if not error and c_rename(old, new) != 0:
        error = errno
    return error


cdef int32_t sync_directory(directory_t *directory) noexcept nogil:
    cdef int32_t fd = open_in(directory, NULL, O_RDONLY | O_DIRECTORY)
    cdef int32_t error = 0
    if fd < 0:
        return -fd
    if fsync(fd) != 0:
        error = errno
    close(fd)
    return error


cdef int64_t file_size(directory_t *directory, const char *name) noexcept nogil:
    cdef char path[PATH_SIZE]
    cdef struct_stat info
    cdef int32_t error = directory_path(directory, name, path, PATH_SIZE)
    if error:
        return -error
    return info.st_size if stat(path, &info) == 0 else -errno


cdef int64_t free_share(int32_t fd) noexcept nogil:
    cdef statfs_t info
    if fstatfs(fd, &info) != 0:
        return 0
    return <int64_t>(info.f_bavail // SHARE_OF_FREE) * <int64_t>info.f_bsize


cdef void offset_name(int64_t offset, const char *suffix, char *out) noexcept nogil:
    cdef int32_t at
    # Without printf, since every entry of an index names its file.
    for at in range(DIGITS - 1, -1, -1):
        out[at] = <char>(48 + offset % 10)
        offset //= 10
    strcpy(out + DIGITS, suffix)


cdef int64_t wall_ms() noexcept nogil:
    cdef timespec now
    clock_gettime(CLOCK_REALTIME, &now)
    return <int64_t>now.tv_sec * 1000 + now.tv_nsec // 1000000


cdef int64_t monotonic_ms() noexcept nogil:
    cdef timespec now
    clock_gettime(CLOCK_MONOTONIC, &now)
    return <int64_t>now.tv_sec * 1000 + now.tv_nsec // 1000000

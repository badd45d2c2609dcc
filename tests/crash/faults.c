/* Preloaded into a broker: lets calls on the files of one folder fail with EIO, as a broken disk does.
 *
 * KAFKAX_FAULT_FOLDER: the folder. KAFKAX_FAULT_KIND: a file that holds read, write, sync or sendfile while such calls fail. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

static int fails(int fd, const char *kind) {
    const char *control = getenv("KAFKAX_FAULT_KIND"), *folder = getenv("KAFKAX_FAULT_FOLDER");
    char text[16] = {0}, link[64], path[4096];
    int saved = errno, at = control && folder ? open(control, O_RDONLY | O_CLOEXEC) : -1;
    ssize_t size;
    if (at < 0) {
        errno = saved;
        return 0;
    }
    size = read(at, text, sizeof(text) - 1);
    close(at);
    snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    if (size > 0 && strcmp(text, kind) == 0 && (size = readlink(link, path, sizeof(path) - 1)) > 0) {
        path[size] = 0;
        if (strncmp(path, folder, strlen(folder)) == 0 && path[strlen(folder)] == '/') {
            errno = EIO;
            return 1;
        }
    }
    errno = saved;
    return 0;
}

#define REAL(name) \
    static __typeof__(name) *real; \
    if (!real) real = (__typeof__(name) *)dlsym(RTLD_NEXT, #name)

ssize_t pread(int fd, void *out, size_t size, off_t at) {
    REAL(pread);
    return fails(fd, "read") ? -1 : real(fd, out, size, at);
}
ssize_t pread64(int fd, void *out, size_t size, off_t at) {
    REAL(pread64);
    return fails(fd, "read") ? -1 : real(fd, out, size, at);
}
ssize_t preadv2(int fd, const struct iovec *parts, int count, off_t at, int flags) {
    REAL(preadv2);
    return fails(fd, "read") ? -1 : real(fd, parts, count, at, flags);
}
ssize_t preadv64v2(int fd, const struct iovec *parts, int count, off_t at, int flags) {
    REAL(preadv64v2);
    return fails(fd, "read") ? -1 : real(fd, parts, count, at, flags);
}
ssize_t pwritev(int fd, const struct iovec *parts, int count, off_t at) {
    REAL(pwritev);
    return fails(fd, "write") ? -1 : real(fd, parts, count, at);
}
ssize_t pwritev64(int fd, const struct iovec *parts, int count, off_t at) {
    REAL(pwritev64);
    return fails(fd, "write") ? -1 : real(fd, parts, count, at);
}
ssize_t pwrite(int fd, const void *data, size_t size, off_t at) {
    REAL(pwrite);
    return fails(fd, "write") ? -1 : real(fd, data, size, at);
}
ssize_t pwrite64(int fd, const void *data, size_t size, off_t at) {
    REAL(pwrite64);
    return fails(fd, "write") ? -1 : real(fd, data, size, at);
}
int fdatasync(int fd) { REAL(fdatasync); return fails(fd, "sync") ? -1 : real(fd); }
int fsync(int fd) { REAL(fsync); return fails(fd, "sync") ? -1 : real(fd); }
ssize_t sendfile(int out, int in, off_t *at, size_t size) {
    static ssize_t (*real)(int, int, off_t *, size_t);
    if (!real) real = (ssize_t(*)(int, int, off_t *, size_t))dlsym(RTLD_NEXT, "sendfile");
    return fails(in, "sendfile") ? -1 : real(out, in, at, size);
}
ssize_t sendfile64(int out, int in, off_t *at, size_t size) { return sendfile(out, in, at, size); }

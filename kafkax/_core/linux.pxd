"""Linux calls of the network threads that Cython does not declare itself."""

from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t, uint8_t
from kafkax._core.pthreads cimport pthread_t
from posix.types cimport off_t


cdef extern from "<pthread.h>" nogil:
    pthread_t pthread_self()
    int pthread_equal(pthread_t, pthread_t)

cdef extern from "<sys/epoll.h>" nogil:
    ctypedef union epoll_data_t:
        void* ptr
        uint64_t u64
    cdef struct epoll_event:
        uint32_t events
        epoll_data_t data
    int EPOLLIN, EPOLLOUT, EPOLLRDHUP, EPOLLHUP, EPOLLERR, EPOLLET
    int EPOLL_CTL_ADD, EPOLL_CTL_DEL, EPOLL_CTL_MOD, EPOLL_CLOEXEC
    int epoll_create1(int)
    int epoll_ctl(int, int, int, epoll_event*)
    int epoll_wait(int, epoll_event*, int, int)

cdef extern from "<sys/eventfd.h>" nogil:
    int EFD_NONBLOCK, EFD_CLOEXEC
    int eventfd(unsigned int, int)

cdef extern from "<sys/uio.h>" nogil:
    cdef struct iovec:
        void* iov_base
        size_t iov_len
    ssize_t readv(int, const iovec*, int)
    ssize_t preadv2(int, const iovec*, int, off_t, int)
    int RWF_NOWAIT

cdef extern from "<sys/socket.h>" nogil:
    ctypedef unsigned int socklen_t
    ctypedef unsigned short sa_family_t
    cdef struct sockaddr:
        sa_family_t sa_family
    cdef struct msghdr:
        void* msg_name
        iovec* msg_iov
        size_t msg_iovlen
    int AF_INET, AF_INET6, SOL_SOCKET, SO_SNDBUF, SO_RCVBUF, SOCK_NONBLOCK, SOCK_CLOEXEC, SHUT_WR, SHUT_RDWR
    int MSG_MORE, MSG_NOSIGNAL, MSG_DONTWAIT
    int accept4(int, sockaddr*, socklen_t*, int)
    ssize_t recv(int, void*, size_t, int)
    ssize_t sendmsg(int, const msghdr*, int)
    int setsockopt(int, int, int, const void*, socklen_t)
    int shutdown(int, int)

cdef extern from "<netinet/in.h>" nogil:
    cdef struct in_addr:
        uint32_t s_addr
    cdef struct in6_addr:
        uint8_t s6_addr[16]
    cdef struct sockaddr_in:
        sa_family_t sin_family
        unsigned short sin_port
        in_addr sin_addr
    cdef struct sockaddr_in6:
        sa_family_t sin6_family
        unsigned short sin6_port
        in6_addr sin6_addr
    int IPPROTO_TCP

cdef extern from "<netinet/tcp.h>" nogil:
    int TCP_NODELAY, TCP_CONGESTION

cdef extern from "<sys/sendfile.h>" nogil:
    ssize_t sendfile(int, int, off_t*, size_t)

cdef extern from "<fcntl.h>" nogil:
    ssize_t readahead(int, off_t, size_t)

cdef extern from "<time.h>" nogil:
    ctypedef long time_t
    cdef struct timespec:
        time_t tv_sec
        long tv_nsec
    int CLOCK_MONOTONIC
    int clock_gettime(int, timespec*)

cdef extern from "<unistd.h>" nogil:
    long syscall(long, ...)


cdef inline int64_t monotonic_ms() noexcept nogil:
    """Milliseconds of a clock that never steps back; only differences mean anything."""
    cdef timespec now
    clock_gettime(CLOCK_MONOTONIC, &now)
    return <int64_t>now.tv_sec * 1000 + now.tv_nsec // 1000000


cdef inline int64_t monotonic_ns() noexcept nogil:
    """The same clock in nanoseconds."""
    cdef timespec now
    clock_gettime(CLOCK_MONOTONIC, &now)
    return <int64_t>now.tv_sec * 1000000000 + now.tv_nsec


cdef inline double monotonic() noexcept nogil:
    """The same clock in seconds."""
    cdef timespec now
    clock_gettime(CLOCK_MONOTONIC, &now)
    return now.tv_sec + now.tv_nsec * 1e-9

"""Who moves a log's marks finds out under its lock whom that lets go on, and may do more for them once it holds none."""

from libc.stdint cimport int32_t

cdef extern from *:
    """
    enum { KX_KEPT = 16 };
    typedef struct {
        int keeping;
        int count;
        struct {
            void (*call)(void *argument, int at_leisure);
            void *argument;
        } kept[KX_KEPT];
    } kx_deferred_t;
    static __thread kx_deferred_t kx_deferred;
    """
    enum:
        KX_KEPT
    cdef struct kept_t:
        deferred_t call
        void *argument
    ctypedef struct kx_deferred_t:
        int keeping
        int count
        kept_t *kept
    kx_deferred_t kx_deferred


cdef void keep_deferred() noexcept nogil:
    kx_deferred.keeping = 1


cdef bint defer(deferred_t call, void *argument) noexcept nogil:
    if not kx_deferred.keeping or kx_deferred.count == KX_KEPT:
        return False
    kx_deferred.kept[kx_deferred.count].call = call
    kx_deferred.kept[kx_deferred.count].argument = argument
    kx_deferred.count += 1
    return True


cdef void run_deferred(bint at_leisure) noexcept nogil:
    cdef int32_t at = 0
    while at < kx_deferred.count:
        at += 1
        kx_deferred.kept[at - 1].call(kx_deferred.kept[at - 1].argument, at_leisure)
    kx_deferred.count = 0

"""The part of POSIX threads that the core uses."""

from posix.time cimport timespec

cdef extern from "<pthread.h>" nogil:
    ctypedef struct pthread_mutex_t:
        pass
    ctypedef struct pthread_mutexattr_t:
        pass
    ctypedef struct pthread_rwlock_t:
        pass
    enum:
        PTHREAD_MUTEX_RECURSIVE
        # Looks for a moment before it sleeps. An extension of glibc.
        PTHREAD_MUTEX_ADAPTIVE_NP
    ctypedef struct pthread_cond_t:
        pass
    ctypedef struct pthread_condattr_t:
        pass
    ctypedef unsigned long pthread_t
    int pthread_mutex_init(pthread_mutex_t *mutex, const void *attributes) noexcept
    int pthread_mutexattr_init(pthread_mutexattr_t *attributes) noexcept
    int pthread_mutexattr_settype(pthread_mutexattr_t *attributes, int kind) noexcept
    int pthread_mutexattr_destroy(pthread_mutexattr_t *attributes) noexcept
    int pthread_mutex_destroy(pthread_mutex_t *mutex) noexcept
    int pthread_mutex_lock(pthread_mutex_t *mutex) noexcept
    int pthread_mutex_trylock(pthread_mutex_t *mutex) noexcept
    int pthread_mutex_unlock(pthread_mutex_t *mutex) noexcept
    int pthread_rwlock_init(pthread_rwlock_t *lock, const void *attributes) noexcept
    int pthread_rwlock_destroy(pthread_rwlock_t *lock) noexcept
    int pthread_rwlock_rdlock(pthread_rwlock_t *lock) noexcept
    int pthread_rwlock_wrlock(pthread_rwlock_t *lock) noexcept
    int pthread_rwlock_unlock(pthread_rwlock_t *lock) noexcept
    int pthread_condattr_init(pthread_condattr_t *attributes) noexcept
    int pthread_condattr_destroy(pthread_condattr_t *attributes) noexcept
    int pthread_condattr_setclock(pthread_condattr_t *attributes, int clock) noexcept
    int pthread_cond_init(pthread_cond_t *cond, const pthread_condattr_t *attributes) noexcept
    int pthread_cond_destroy(pthread_cond_t *cond) noexcept
    int pthread_cond_wait(pthread_cond_t *cond, pthread_mutex_t *mutex) noexcept
    int pthread_cond_timedwait(pthread_cond_t *cond, pthread_mutex_t *mutex, const timespec *until) noexcept
    int pthread_cond_signal(pthread_cond_t *cond) noexcept
    int pthread_cond_broadcast(pthread_cond_t *cond) noexcept
    int pthread_create(pthread_t *thread, const void *attributes, void *(*run)(void *) noexcept nogil, void *argument) noexcept
    # Shown by tools such as top; at most 15 characters.
    int pthread_setname_np(pthread_t thread, const char *name) noexcept
    int pthread_join(pthread_t thread, void **result) noexcept

cdef extern from "<semaphore.h>" nogil:
    ctypedef struct sem_t:
        pass
    int sem_init(sem_t *semaphore, int shared, unsigned int value) noexcept
    int sem_destroy(sem_t *semaphore) noexcept
    int sem_post(sem_t *semaphore) noexcept
    int sem_wait(sem_t *semaphore) noexcept

"""Which signals the core's threads take."""

# In a thread of the core, first: signals are for Python's threads, but for the one that an access of its own raises.
cdef void block_signals() noexcept nogil

"""Which signals the core's threads take."""

# In a thread of the core, first: signals are for Python's threads. The one that an access of its own raises is let through by
# ``_core/guard``.
cdef void block_signals() noexcept nogil

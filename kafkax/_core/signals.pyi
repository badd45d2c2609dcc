"""Which signals the core's threads take; nothing of it is for Python."""

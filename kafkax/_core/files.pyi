"""File system calls of the core; nothing of it is for Python."""

"""A network thread. Nothing for Python callers."""

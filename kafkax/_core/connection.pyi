"""Life of a connection. Nothing for Python callers."""

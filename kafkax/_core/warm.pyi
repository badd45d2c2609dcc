"""Helper threads for cold reads. Nothing for Python callers."""

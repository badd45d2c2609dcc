"""Incremental fetch sessions. Nothing for Python callers."""

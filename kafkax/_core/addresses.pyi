"""Connections per peer address. Nothing for Python callers."""

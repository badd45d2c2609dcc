"""Receiving. Nothing for Python callers."""

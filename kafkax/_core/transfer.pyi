"""Sending. Nothing for Python callers."""

"""Requests that wait. Nothing for Python callers."""

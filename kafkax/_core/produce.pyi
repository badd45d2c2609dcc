"""Produce in the core. Nothing for Python callers."""

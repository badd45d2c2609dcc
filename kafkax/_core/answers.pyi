"""Answers in request order. Nothing for Python callers."""

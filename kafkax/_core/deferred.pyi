"""Calls that a thread puts off until it holds no lock. Nothing for Python callers."""

"""Answers sent for a network thread that sleeps. Nothing for Python callers."""

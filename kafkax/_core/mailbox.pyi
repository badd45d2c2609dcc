"""What other threads leave for a network thread. Nothing for Python callers."""

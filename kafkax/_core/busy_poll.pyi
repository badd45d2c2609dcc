"""How a network thread waits for events. Nothing for Python callers."""

"""Writing a Fetch response. Nothing for Python callers."""

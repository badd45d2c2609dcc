"""Reading a Fetch request. Nothing for Python callers."""

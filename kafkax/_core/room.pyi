"""Room in an active segment's file ahead of what is appended; nothing of it is for Python."""

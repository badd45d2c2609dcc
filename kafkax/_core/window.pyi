"""A mapped window of an active segment's file behind its end; nothing of it is for Python."""

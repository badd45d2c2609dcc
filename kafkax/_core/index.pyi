"""Offset and time index of a segment; reached through ``Log``, nothing of it is for Python."""

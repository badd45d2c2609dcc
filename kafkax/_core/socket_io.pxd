"""Bytes out of and into a non-blocking socket."""

"""Frames for the control plane. Nothing for Python callers."""

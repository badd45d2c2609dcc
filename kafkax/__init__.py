"""A Kafka broker, cluster and client in Python with a Cython core."""

from __future__ import annotations

__version__ = "0.1.0"

"""The controller: the one broker that decides who leads which partition and tells the others."""

from __future__ import annotations

from kafkax.cluster.controller.controller import Controller as Controller

__all__ = ["Controller"]

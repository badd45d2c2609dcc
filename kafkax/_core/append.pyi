"""Appending to a log; reached through ``Log.append`` and ``Partition.append``."""

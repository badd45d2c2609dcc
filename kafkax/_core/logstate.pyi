"""State of a log; reached through ``Log`` and ``Partition``."""

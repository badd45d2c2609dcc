"""Finding things in a log; reached through ``Log`` and ``Partition``."""

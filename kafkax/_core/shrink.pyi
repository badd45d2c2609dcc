"""Taking things out of a log; reached through ``Log``."""

"""Leader-epoch cache of a log; reached through ``Log.epochs``."""

"""Producer state of a log; reached through ``Log.producers``."""

"""Opening a log; reached through ``Log.open``."""

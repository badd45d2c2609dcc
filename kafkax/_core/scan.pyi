"""Reading a segment from front to back; reached through ``Log.open``."""

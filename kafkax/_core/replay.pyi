"""Producer state from disk; reached through ``Log.open``."""

"""Records of a batch laid out in columns, as Arrow keeps them; only other core modules use it."""

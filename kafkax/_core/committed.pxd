"""Committed offsets as they stand in ``__consumer_offsets``, read by the million while a coordinator loads."""

"""What a Produce answer says of records for which a batch was refused (KIP-467)."""

REFUSED: str
"""The answer's error message."""

REASONS: dict[str, str]
"""What is said of a record, by ``RecordErrors``' word for what is wrong with it."""

MOST: int
"""Records that are named for one batch at most."""

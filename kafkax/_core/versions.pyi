"""ApiVersions in the core; for other core modules only."""

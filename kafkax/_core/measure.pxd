"""Loops over the data plane's own entry points, for benchmarks."""

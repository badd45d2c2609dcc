"""Benchmarks for asv, one file for each hot module: ``asv run``, ``asv publish``; ``ci/bench`` runs the quick set."""

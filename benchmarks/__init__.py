"""Benchmarks: each prints its figures as a table, or with --json as one JSON object."""

"""Benchmarks: ``python -m benchmarks PART``."""

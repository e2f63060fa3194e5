"""Benchmarks against other frameworks. Not installed; run from a checkout: `python benchmarks/cpu.py`."""

"""Measurements against peers. Not installed; run from a checkout: `python benchmarks/cpu.py`."""

"""Comparisons: variants of a net over learning rates and seeds, pairs that should compute the same, one report."""

from dragon.compare.session import compare

__all__ = ["compare"]

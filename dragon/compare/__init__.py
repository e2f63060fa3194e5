"""Comparisons: variants of a net over learning rates and seeds, pairs that should be equal, one report."""

from dragon.compare.session import compare

__all__ = ["compare"]

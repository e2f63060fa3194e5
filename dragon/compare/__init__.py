"""Experiments: variants of a net over factors and seeds, from a file to runs, metrics, contrasts and a report."""

from dragon.compare.session import compare

__all__ = ["compare"]

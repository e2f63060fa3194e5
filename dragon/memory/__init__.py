"""Blobs and the memory behind them: one value, with copies in the places where engines compute."""

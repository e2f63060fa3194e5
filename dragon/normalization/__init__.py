"""Batch normalisation in one place: what a layer's settings mean, the rules of the running average, the formulas."""

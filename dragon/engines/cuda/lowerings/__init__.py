"""Lowerings: how layers are computed by kernels, one file for each family."""

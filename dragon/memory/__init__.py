"""Blobs and their storage: one value in host memory, with copies wherever engines compute."""

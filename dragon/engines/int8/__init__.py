"""int8 for inference: how numbers are rounded, the ranges that a calibration found, and its file."""

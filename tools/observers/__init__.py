"""Observers of a solver: a log in Caffe's form, a progress bar, metrics.jsonl and curves.png."""

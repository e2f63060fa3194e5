"""Runs of `dragon train`: their folders, what stands in them, and how a run goes on."""

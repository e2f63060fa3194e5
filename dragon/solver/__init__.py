"""Training: the solver's loop, update rules, learning rates and snapshots."""

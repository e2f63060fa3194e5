"""A net compiled for its present shapes: which layers run together, on which memory, in which order."""

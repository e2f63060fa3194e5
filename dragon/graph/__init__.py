"""The graph: a definition becomes layers wired by blobs, and a net that an engine runs."""

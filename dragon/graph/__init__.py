"""From a definition to a net: layers that are wired by blobs, and run by an engine."""

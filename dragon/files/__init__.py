"""Reading and writing files: atomic writes, search paths, recognition of content, weights, logs."""

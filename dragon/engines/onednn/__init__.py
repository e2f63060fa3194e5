"""The fast CPU engine: oneDNN primitives prepared once and run through the library's C interface."""

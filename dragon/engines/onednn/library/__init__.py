"""oneDNN's C interface: signatures, constants, memory, primitives, threads."""

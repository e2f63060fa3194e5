"""oneDNN's C interface: signatures, constants, devices, descriptors, memory, primitives, threads."""

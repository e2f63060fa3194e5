"""When the buffers of a forward pass are in use, where they lie in one arena, and how lost values are recomputed."""

"""A GPU: its stream and memory, and the libraries that run on it (cuBLAS, cuDNN, CUDA graphs)."""

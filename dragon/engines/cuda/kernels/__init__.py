"""CUDA kernels: .cu files and the headers they share."""

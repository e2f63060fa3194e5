// Operands for a product that is tried, and how far its result is from another one.
#include "common.cuh"

// x = numbers from -0.5 to 0.5 that do not repeat: a hash of the seed and the position.
KERNEL fill_hashed(stored* x, Index count, Index seed) {
    GRID_LOOP(i, count) {
        Index h = (i + 1) * 0x9e3779b1u ^ seed * 0x85ebca6bu;
        h = (h ^ h >> 16) * 0x7feb352du;
        h = (h ^ h >> 15) * 0x846ca68bu;
        h ^= h >> 16;
        x[i] = (real)((int)(h >> 8) - (1 << 23)) / (real)(1 << 24);
    }
}

// parts (blocks, 2) = the sums of (x - y)^2 and of y^2 over the elements of each block.
KERNEL squared_difference(const stored* x, const stored* y, double* parts, Index count) {
    __shared__ double partials[THREADS / WARP];
    double off = 0, size = 0;
    GRID_LOOP(i, count) {
        double a = (real)x[i], b = (real)y[i];
        off += (a - b) * (a - b);
        size += b * b;
    }
    off = block_sum(off, partials);
    size = block_sum(size, partials);
    if (threadIdx.x == 0) {
        parts[2 * blockIdx.x] = off;
        parts[2 * blockIdx.x + 1] = size;
    }
}

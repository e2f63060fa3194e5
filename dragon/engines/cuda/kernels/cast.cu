// Conversions between float and 16-bit activations. The result is multiplied by `factor` (1; null: 1), the loss scale or its
// inverse.
#include "common.cuh"

KERNEL to_16_bit(const real* x, stored* y, Index count, int vectors, const real* factor) {
    real by = factor ? *factor : 1;
    if (vectors) {
        GRID_LOOP(i, count / LANES) {
            Reals in = load_reals(x + (size_t)i * LANES);
            Vector out;
#pragma unroll
            for (int k = 0; k < LANES; ++k) out.v[k] = in.v[k] * by;
            store(y + (size_t)i * LANES, out);
        }
    } else {
        GRID_LOOP(i, count) y[i] = x[i] * by;
    }
}

KERNEL to_float32(const stored* x, real* y, Index count, int vectors, const real* factor) {
    real by = factor ? *factor : 1;
    if (vectors) {
        GRID_LOOP(i, count / LANES) {
            Vector in = load(x + (size_t)i * LANES);
            Reals out;
#pragma unroll
            for (int k = 0; k < LANES; ++k) out.v[k] = in.v[k] * by;
            store_reals(y + (size_t)i * LANES, out);
        }
    } else {
        GRID_LOOP(i, count) y[i] = x[i] * by;
    }
}

// y = x, or with `add` y + x.
KERNEL accumulate(const stored* x, real* y, Index count, const real* factor, int add) {
    real by = factor ? *factor : 1;
    GRID_LOOP(i, count) y[i] = add ? y[i] + x[i] * by : x[i] * by;
}

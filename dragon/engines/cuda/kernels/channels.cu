// Sums over each channel of (N, C, S): gradients of biases, scales, slopes and statistics.
#include "common.cuh"
#include "fused_relu.cuh"

// Partial sums (slices, C, 2) of dy and of dy * (x - mean), in one pass. x null: of dy alone; mean null: 0. y: the output of
// a fused ReLU, whose gradient replaces dy, or null.
KERNEL channel_sums(const stored* dy, const stored* x, const real* mean, const stored* y, real* sums, Index n, Index c,
                    Index s, int width, Index slices, int vectors, real slope) {
    __shared__ real first[THREADS];
    __shared__ real second[THREADS];
    Channel at(n, c, s, width, slices);
    real a = 0, b = 0;
    if (at.valid) {
        real centre = mean ? mean[at.channel] : 0;
        if (vectors) {
            for (Index j = at.start + at.worker * LANES; j < at.stop; j += at.workers * LANES) {
                size_t i = at.at(j);
                Vector g = load(dy + i), value = {}, out = {};
                if (x) value = load(x + i);
                if (y) out = load(y + i);
#pragma unroll
                for (int k = 0; k < LANES; ++k) {
                    real d = y && !(out.v[k] > 0) ? g.v[k] * slope : (real)g.v[k];
                    a += d;
                    b += d * (value.v[k] - centre);
                }
            }
        } else {
            for (Index j = at.start + at.worker; j < at.stop; j += at.workers) {
                size_t i = at.at(j);
                real d = through_relu(dy[i], y, i, slope);
                a += d;
                if (x) b += d * (x[i] - centre);
            }
        }
    }
    first[threadIdx.x] = a;
    second[threadIdx.x] = b;
    __syncthreads();
    for (Index half = at.workers / 2; half > 0; half /= 2) {
        if (at.worker < half) {
            first[threadIdx.x] += first[threadIdx.x + half * width];
            second[threadIdx.x] += second[threadIdx.x + half * width];
        }
        __syncthreads();
    }
    if (at.worker == 0 && at.valid) {
        real* out = sums + ((size_t)blockIdx.y * c + at.channel) * 2;
        out[0] = first[threadIdx.x];
        out[1] = second[threadIdx.x];
    }
}

// The totals of the partial sums, in order: out_a (C) of the first ones, out_b (C) of the second ones times `inv` (C; null: 1).
// Each output may be null. add: the outputs are added to.
KERNEL channel_totals(const real* sums, const real* inv, const real* unscale, real* out_a, real* out_b, Index c,
                      Index slices, int add) {
    GRID_LOOP(i, c) {
        real a = 0, b = 0;
        for (Index k = 0; k < slices; ++k) {
            a += sums[((size_t)k * c + i) * 2];
            b += sums[((size_t)k * c + i) * 2 + 1];
        }
        if (inv) b *= inv[i];
        if (unscale) {
            a *= *unscale;
            b *= *unscale;
        }
        if (out_a) out_a[i] = add ? out_a[i] + a : a;
        if (out_b) out_b[i] = add ? out_b[i] + b : b;
    }
}

// Sums of up to four arrays without coefficients: Eltwise, the gradient of Split, and a ReLU in front or behind.
#include "common.cuh"
#include "fused_relu.cuh"

struct Terms {
    const stored* x[4];  // null from the second on: no such term

    __device__ __forceinline__ real one(size_t i) const {
        real sum = x[0][i];
#pragma unroll
        for (int t = 1; t < 4; ++t)
            if (x[t]) sum += x[t][i];
        return sum;
    }

    __device__ __forceinline__ void lanes(size_t i, real* sums) const {
        Vector terms[4];
#pragma unroll
        for (int t = 0; t < 4; ++t)
            if (x[t]) terms[t] = load(x[t] + i);
#pragma unroll
        for (int k = 0; k < LANES; ++k) sums[k] = terms[0].v[k];
#pragma unroll
        for (int t = 1; t < 4; ++t)
            if (x[t])
#pragma unroll
                for (int k = 0; k < LANES; ++k) sums[k] += terms[t].v[k];
    }
};

// y = the sum of the terms, behind a ReLU with `rectify`. y may be a term.
KERNEL sum_forward(const stored* x0, const stored* x1, const stored* x2, const stored* x3, stored* y, Index count,
                   int vectors, int rectify, real slope) {
    Terms terms = {{x0, x1, x2, x3}};
    if (vectors) {
        GRID_LOOP(i, count / LANES) {
            size_t at = (size_t)i * LANES;
            real sums[LANES];
            terms.lanes(at, sums);
            Vector out;
#pragma unroll
            for (int k = 0; k < LANES; ++k) out.v[k] = rectify ? leaky(sums[k], slope) : sums[k];
            store(y + at, out);
        }
    } else {
        GRID_LOOP(i, count) {
            real sum = terms.one(i);
            y[i] = rectify ? leaky(sum, slope) : sum;
        }
    }
}

// The sum of the terms, times the slope where the ReLU's output y (null: no ReLU) is not above 0, is written into up to
// three arrays (null: no such array). Each may be a term.
KERNEL sum_backward(const stored* x0, const stored* x1, const stored* x2, const stored* x3, const stored* y, stored* out0,
                    stored* out1, stored* out2, Index count, int vectors, real slope) {
    Terms terms = {{x0, x1, x2, x3}};
    if (vectors) {
        GRID_LOOP(i, count / LANES) {
            size_t at = (size_t)i * LANES;
            real sums[LANES];
            Vector made, out;
            if (y) made = load(y + at);
            terms.lanes(at, sums);
#pragma unroll
            for (int k = 0; k < LANES; ++k) out.v[k] = y && !(made.v[k] > 0) ? sums[k] * slope : sums[k];
            store(out0 + at, out);
            if (out1) store(out1 + at, out);
            if (out2) store(out2 + at, out);
        }
    } else {
        GRID_LOOP(i, count) {
            real sum = through_relu(terms.one(i), y, i, slope);
            out0[i] = sum;
            if (out1) out1[i] = sum;
            if (out2) out2[i] = sum;
        }
    }
}

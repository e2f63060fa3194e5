// Dropout with the random words of dragon.rng: Philox-4x64-10 (Salmon et al. 2011). Draw n, block b has the counter
// (b + 1, n, 0, 0); its four 64-bit words hold eight 32-bit ones, low halves first.
#include "common.cuh"

typedef unsigned long long word;

static __device__ __forceinline__ void philox(word counter0, word counter1, word key0, word key1, word* out) {
    word c0 = counter0, c1 = counter1, c2 = 0, c3 = 0;
#pragma unroll
    for (int round = 0; round < 10; ++round) {
        word low0 = c0 * 0xD2E7470EE14C6C93ull, high0 = __umul64hi(c0, 0xD2E7470EE14C6C93ull);
        word low1 = c2 * 0xCA5A826395121157ull, high1 = __umul64hi(c2, 0xCA5A826395121157ull);
        c0 = high1 ^ c1 ^ key0;
        c2 = high0 ^ c3 ^ key1;
        c1 = low1;
        c3 = low0;
        key0 += 0x9E3779B97F4A7C15ull;
        key1 += 0xBB67AE8584CAA73Bull;
    }
    out[0] = c0;
    out[1] = c1;
    out[2] = c2;
    out[3] = c3;
}

// One thread makes eight elements. stream: key (2 words), draw. keep: 1 byte for each element, for backward.
KERNEL dropout_forward(const real* x, real* y, unsigned char* keep, const word* stream, Index count, word threshold,
                       real scale) {
    word key0 = stream[0], key1 = stream[1], draw = stream[2];
    Index blocks = (count + 7) / 8;
    GRID_LOOP(b, blocks) {
        word words[4];
        philox((word)b + 1, draw, key0, key1, words);
#pragma unroll
        for (int k = 0; k < 8; ++k) {
            Index i = b * 8 + k;
            if (i < count) {
                word bits = (words[k / 2] >> (k % 2 * 32)) & 0xffffffffull;
                unsigned char kept = bits >= threshold;
                keep[i] = kept;
                y[i] = kept ? x[i] * scale : 0;
            }
        }
    }
}

KERNEL dropout_backward(const real* dy, const unsigned char* keep, real* dx, Index count, real scale) {
    GRID_LOOP(i, count) dx[i] = keep[i] ? dy[i] * scale : 0;
}

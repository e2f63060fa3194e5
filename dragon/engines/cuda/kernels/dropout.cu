// Dropout with the random words of dragon.rng.
#include "common.cuh"
#include "random.cuh"

// One thread makes eight elements. keep: 1 byte for each element, for backward.
KERNEL dropout_forward(const stored* x, stored* y, unsigned char* keep, const word* stream, Index count, word threshold,
                       real scale) {
    Index blocks = (count + DRAWS - 1) / DRAWS;
    GRID_LOOP(b, blocks) {
        word words[4];
        draw_block(stream, b, words);
#pragma unroll
        for (int k = 0; k < DRAWS; ++k) {
            Index i = b * DRAWS + k;
            if (i < count) {
                unsigned char kept = draw_of(words, k) >= threshold;
                keep[i] = kept;
                y[i] = kept ? x[i] * scale : (real)0;
            }
        }
    }
}

KERNEL dropout_backward(const stored* dy, const unsigned char* keep, stored* dx, Index count, real scale) {
    GRID_LOOP(i, count) dx[i] = keep[i] ? dy[i] * scale : (real)0;
}

// Dropout with the random words of dragon.rng.
#include "common.cuh"
#include "random.cuh"

// A thread computes RANDOM_WORDS elements. mask: a byte for each element, 1 where it passes, for backward.
KERNEL dropout_forward(const stored* x, stored* y, unsigned char* mask, const word* stream, Index count, word threshold,
                       real scale) {
    Index blocks = (count + RANDOM_WORDS - 1) / RANDOM_WORDS;
    GRID_LOOP(b, blocks) {
        word words[4];
        random_block(stream, b, words);
#pragma unroll
        for (int k = 0; k < RANDOM_WORDS; ++k) {
            Index i = b * RANDOM_WORDS + k;
            if (i < count) {
                unsigned char passes = random_word(words, k) >= threshold;
                mask[i] = passes;
                y[i] = passes ? x[i] * scale : (real)0;
            }
        }
    }
}

KERNEL dropout_backward(const stored* dy, const unsigned char* mask, stored* dx, Index count, real scale) {
    GRID_LOOP(i, count) dx[i] = mask[i] ? dy[i] * scale : (real)0;
}

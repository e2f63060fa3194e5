// Dropout with the random words of dragon.rng.
#include "common.cuh"
#include "division.cuh"
#include "random.cuh"

// A thread computes RANDOM_WORDS elements, which are numbered as (N, C, S); with channels_last they lie as (N, S, C). mask: a
// byte for each element, where it lies, 1 where it passes, for backward.
KERNEL dropout_forward(const stored* x, stored* y, unsigned char* mask, const word* stream, Index count, word threshold,
                       real scale, Divisor channels, Divisor spatial, int channels_last) {
    Index blocks = (count + RANDOM_WORDS - 1) / RANDOM_WORDS;
    GRID_LOOP(b, blocks) {
        word words[4];
        random_block(stream, b, words);
#pragma unroll
        for (int k = 0; k < RANDOM_WORDS; ++k) {
            Index i = b * RANDOM_WORDS + k;
            if (i < count) {
                unsigned char passes = random_word(words, k) >= threshold;
                Index at = i;
                if (channels_last) {
                    Index s, c, n = divide(divide(i, spatial, s), channels, c);
                    at = (n * spatial.value + s) * channels.value + c;
                }
                mask[at] = passes;
                y[at] = passes ? x[at] * scale : (real)0;
            }
        }
    }
}

KERNEL dropout_backward(const stored* dy, const unsigned char* mask, stored* dx, Index count, real scale) {
    GRID_LOOP(i, count) dx[i] = mask[i] ? dy[i] * scale : (real)0;
}

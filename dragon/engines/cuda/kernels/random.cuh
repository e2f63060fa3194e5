// The random words of dragon.rng: Philox-4x64-10 (Salmon et al. 2011). Draw n, block b has the counter (b + 1, n, 0, 0);
// its four 64-bit words hold eight 32-bit ones, low halves first. A stream is its key (2 words) and the draw's number.
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

#define RANDOM_WORDS 8  // 32-bit words of a block

// The 64-bit words of block `block`, whose 32-bit words belong to elements block * RANDOM_WORDS and up.
static __device__ __forceinline__ void random_block(const word* stream, Index block, word* words) {
    philox((word)block + 1, stream[2], stream[0], stream[1], words);
}

// The 32-bit word k of a block.
static __device__ __forceinline__ word random_word(const word* words, int k) {
    return (words[k / 2] >> (k % 2 * 32)) & 0xffffffffull;
}

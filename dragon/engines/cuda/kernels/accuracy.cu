// Accuracy over (outer, classes, inner): `rows` is for inner = 1, a warp for each row; `columns` takes a thread for each position.
#include "common.cuh"
#include "division.cuh"
#include "labels.cuh"
#include "teams.cuh"
#include "terms.cuh"

// out: the share of positions where at most top_k classes score at least as much as the label's, itself included. terms
// (positions, 2), or null: whether that is so, and whether the position counts.
#define ACCURACY                                                                                                    \
    const stored *score, const real *label, real *terms, Index positions, Index classes, Index top_k, int has_ignore, \
        int ignore, TOTAL

// Adds the term of a position, by one thread. ahead: how many classes score at least as much as that of the label, k.
static __device__ __forceinline__ void add_hit(Terms& all, Index i, int k, Index ahead, Index top_k, real* terms,
                                               int* out_of_range) {
    real hit = k >= 0 && ahead <= top_k;
    all.add(hit, k, i, out_of_range);
    if (terms) {
        terms[2 * (size_t)i] = hit;
        terms[2 * (size_t)i + 1] = k >= 0;
    }
}

KERNEL accuracy_rows(ACCURACY) {
    __shared__ EndMemory memory;
    Terms all;
    ByWarp team;
    for (Index row = team.first(); row < positions; row += team.all()) {
        int k = class_of(label[row], classes, has_ignore, ignore), ahead = 0;
        const stored* s = score + (size_t)row * classes;
        if (k >= 0) {
            real own = s[k];
#pragma unroll 4
            for (Index c = team.own(); c < classes; c += WARP) ahead += !(s[c] < own);
        }
        ahead = warp_sum(ahead);
        if (team.own() == 0) add_hit(all, row, k, ahead, top_k, terms, out_of_range);
    }
    all.end(memory, TOTAL_VALUES);
}

KERNEL accuracy_columns(ACCURACY, Divisor inner) {
    __shared__ EndMemory memory;
    Terms all;
    GRID_LOOP(i, positions) {
        int k = class_of(label[i], classes, has_ignore, ignore);
        Index ahead = 0;
        if (k >= 0) {
            const stored* s = score + start_of(i, classes, inner);
            real own = s[(size_t)k * inner.value];
            for (Index c = 0; c < classes; ++c) ahead += !(s[(size_t)c * inner.value] < own);
        }
        add_hit(all, i, k, ahead, top_k, terms, out_of_range);
    }
    all.end(memory, TOTAL_VALUES);
}

// The accuracy of each class, a block each: the share of hits among its labels that count. terms: by accuracy_rows.
KERNEL class_accuracy(const real* terms, const real* label, real* out, Index positions) {
    __shared__ real partials[THREADS / WARP];
    real hits = 0, all = 0;
    for (Index i = threadIdx.x; i < positions; i += THREADS)
        if (terms[2 * (size_t)i + 1] > 0 && (Index)label[i] == blockIdx.x) {
            hits += terms[2 * (size_t)i];
            all += 1;
        }
    hits = block_sum(hits, partials);
    all = block_sum(all, partials);
    if (threadIdx.x == 0) out[blockIdx.x] = hits / larger(all, 1);
}

// Softmax, its loss, and accuracy over (outer, classes, inner). Kernels named `rows` are for inner = 1: a warp for each row.
// The others take a thread for each position, so that neighbouring threads read neighbouring elements.
#include "common.cuh"
#include "division.cuh"
#include "labels.cuh"

// The first element of position i of an array (outer, classes, inner).
static __device__ __forceinline__ size_t start_of(Index i, Index classes, const Divisor& inner) {
    Index at, outer = divide(i, inner, at);
    return (size_t)outer * classes * inner.value + at;
}

KERNEL softmax_rows(const stored* x, real* y, Index rows, Index classes) {
    Index lane = threadIdx.x % WARP;
    for (Index row = global_thread() / WARP; row < rows; row += all_threads() / WARP) {
        const stored* in = x + (size_t)row * classes;
        real* out = y + (size_t)row * classes;
        real largest = in[0];
        for (Index c = lane; c < classes; c += WARP) largest = larger(in[c], largest);
        largest = warp_max(largest);
        real sum = 0;
        for (Index c = lane; c < classes; c += WARP) {
            real value = exp(in[c] - largest);
            out[c] = value;
            sum += value;
        }
        sum = warp_sum(sum);
        for (Index c = lane; c < classes; c += WARP) out[c] /= sum;
    }
}

static __device__ __forceinline__ real block_max(real value, real* partials) {
    value = warp_max(value);
    __syncthreads();  // an earlier result may still be read
    if (threadIdx.x % WARP == 0) partials[threadIdx.x / WARP] = value;
    __syncthreads();
    real largest = partials[0];
    for (int w = 1; w < THREADS / WARP; ++w) largest = larger(partials[w], largest);
    return largest;
}

// The same with a block for each row, for rows of many classes.
KERNEL softmax_long_rows(const stored* x, real* y, Index rows, Index classes) {
    __shared__ real partials[THREADS / WARP];
    for (Index row = blockIdx.x; row < rows; row += gridDim.x) {
        const stored* in = x + (size_t)row * classes;
        real* out = y + (size_t)row * classes;
        real largest = in[0], sum = 0;
#pragma unroll 4
        for (Index c = threadIdx.x; c < classes; c += THREADS) largest = larger(in[c], largest);
        largest = block_max(largest, partials);
#pragma unroll 4
        for (Index c = threadIdx.x; c < classes; c += THREADS) {
            real value = exp(in[c] - largest);
            out[c] = value;
            sum += value;
        }
        sum = block_sum(sum, partials);
        for (Index c = threadIdx.x; c < classes; c += THREADS) out[c] /= sum;
    }
}

KERNEL softmax_columns(const stored* x, real* y, Index positions, Index classes, Divisor inner) {
    GRID_LOOP(i, positions) {
        size_t start = start_of(i, classes, inner);
        real largest = x[start], sum = 0;
        for (Index c = 1; c < classes; ++c) largest = larger(x[start + (size_t)c * inner.value], largest);
        for (Index c = 0; c < classes; ++c) {
            real value = exp(x[start + (size_t)c * inner.value] - largest);
            y[start + (size_t)c * inner.value] = value;
            sum += value;
        }
        for (Index c = 0; c < classes; ++c) y[start + (size_t)c * inner.value] /= sum;
    }
}

// dx = y (dy - sum(dy y)) times the loss scale (null: 1); dx may be dy.
KERNEL softmax_backward_rows(const real* y, const real* dy, const real* scale, stored* dx, Index rows,
                             Index classes) {
    real by = scale ? *scale : 1;
    Index lane = threadIdx.x % WARP;
    for (Index row = global_thread() / WARP; row < rows; row += all_threads() / WARP) {
        size_t start = (size_t)row * classes;
        real sum = 0;
        for (Index c = lane; c < classes; c += WARP) sum += y[start + c] * dy[start + c];
        sum = warp_sum(sum);
        for (Index c = lane; c < classes; c += WARP) dx[start + c] = y[start + c] * (dy[start + c] - sum) * by;
    }
}

KERNEL softmax_backward_long_rows(const real* y, const real* dy, const real* scale, stored* dx, Index rows,
                                  Index classes) {
    __shared__ real partials[THREADS / WARP];
    real by = scale ? *scale : 1;
    for (Index row = blockIdx.x; row < rows; row += gridDim.x) {
        size_t start = (size_t)row * classes;
        real sum = 0;
#pragma unroll 4
        for (Index c = threadIdx.x; c < classes; c += THREADS) sum += y[start + c] * dy[start + c];
        sum = block_sum(sum, partials);
        for (Index c = threadIdx.x; c < classes; c += THREADS) dx[start + c] = y[start + c] * (dy[start + c] - sum) * by;
    }
}

KERNEL softmax_backward_columns(const real* y, const real* dy, const real* scale, stored* dx, Index positions,
                                Index classes, Divisor inner) {
    real by = scale ? *scale : 1;
    GRID_LOOP(i, positions) {
        size_t start = start_of(i, classes, inner);
        real sum = 0;
        for (Index c = 0; c < classes; ++c) sum += y[start + (size_t)c * inner.value] * dy[start + (size_t)c * inner.value];
        for (Index c = 0; c < classes; ++c) {
            size_t at = start + (size_t)c * inner.value;
            dx[at] = y[at] * (dy[at] - sum) * by;
        }
    }
}

// terms (positions, 2): each position's loss, and whether it counts (counts_as). weights (classes, or null): factors of the
// terms, by label.
KERNEL cross_entropy(const real* prob, const real* label, const real* weights, real* terms, Index positions,
                     Index classes, Divisor inner, int has_ignore, int ignore, real least) {
    GRID_LOOP(i, positions) {
        int k = class_of(label[i], classes, has_ignore, ignore);
        real loss = 0;
        if (k >= 0) {
            real p = prob[start_of(i, classes, inner) + (size_t)k * inner.value];
            loss = -log(p < least ? least : p);  // false for NaN, so NaN stays NaN and training stops
            if (weights) loss *= weights[k];
        }
        terms[2 * (size_t)i] = loss;
        terms[2 * (size_t)i + 1] = counts_as(k);
    }
}

// terms (positions, 2): 1 where at most top_k classes score at least as much as the label's, itself included, and whether
// the position counts (counts_as).
KERNEL accuracy_terms(const stored* score, const real* label, real* terms, Index positions, Index classes,
                      Divisor inner, Index top_k, int has_ignore, int ignore) {
    GRID_LOOP(i, positions) {
        int k = class_of(label[i], classes, has_ignore, ignore);
        Index ahead = 0;
        if (k >= 0) {
            const stored* s = score + start_of(i, classes, inner);
            real own = s[(size_t)k * inner.value];
            for (Index c = 0; c < classes; ++c) ahead += !(s[(size_t)c * inner.value] < own);
        }
        terms[2 * (size_t)i] = k >= 0 && ahead <= top_k;
        terms[2 * (size_t)i + 1] = counts_as(k);
    }
}

// The accuracy of each class, a block each: the share of hits among its labels that count. terms: by accuracy_terms.
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

// out (1) = sum of the terms / kept_divisor (1), in one block. kept_divisor becomes `divisor` if that is above 0, else the
// number of terms that count, and at least 1. out_of_range (1) becomes 1 + the first position whose label is out of range.
KERNEL sum_terms(const real* terms, real* out, real* kept_divisor, int* out_of_range, Index positions, real divisor) {
    __shared__ real partials[THREADS / WARP];
    __shared__ Index firsts[THREADS];
    real sum = 0, valid = 0;
    Index first = positions;
    for (Index i = threadIdx.x; i < positions; i += THREADS) {
        real counts = terms[2 * (size_t)i + 1];
        sum += terms[2 * (size_t)i];
        if (counts < 0) {
            if (i < first) first = i;
        } else {
            valid += counts;
        }
    }
    firsts[threadIdx.x] = first;
    sum = block_sum(sum, partials);
    valid = block_sum(valid, partials);
    if (threadIdx.x == 0) {
        for (int t = 0; t < THREADS; ++t)
            if (firsts[t] < first) first = firsts[t];
        if (first < positions) *out_of_range = (int)first + 1;
        real by = divisor > 0 ? divisor : larger(valid, 1);
        out[0] = sum / by;
        kept_divisor[0] = by;
    }
}

// dx = (prob - onehot(label)) * top_diff / divisor times the loss scale (null: 1), 0 where the label is ignored.
KERNEL softmax_loss_backward(const real* prob, const real* label, const real* weights, const real* top_diff,
                             const real* divisor, const real* scale, stored* dx, Index count, Divisor classes,
                             Divisor inner, int has_ignore, int ignore) {
    real factor = *top_diff / *divisor * (scale ? *scale : 1);
    GRID_LOOP(i, count) {
        Index c, at, outer = divide(divide(i, inner, at), classes, c);
        int k = class_of(label[outer * inner.value + at], classes.value, has_ignore, ignore);
        dx[i] = k < 0 ? 0 : (prob[i] - (k == (int)c)) * (weights ? weights[k] * factor : factor);
    }
}

// Softmax and its loss over (outer, classes, inner). Kernels named `rows` are for inner = 1: a warp for each row,
// or a block if they are `long`. The others take a thread for each position, so that neighbouring threads read neighbouring
// elements.
#include "common.cuh"
#include "division.cuh"
#include "labels.cuh"
#include "terms.cuh"
#include "teams.cuh"

// use(c, p) with the probability p of each class c of the thread, in its row `in`. Where use writes p, it may overwrite the row.
template <typename Team, typename Use>
static __device__ __forceinline__ void softmax_row(const Team& team, const stored* in, Index classes, Use use) {
    real largest = in[0], sum = 0;
#pragma unroll 4
    for (Index c = team.own(); c < classes; c += Team::SIZE) largest = larger(in[c], largest);
    largest = team.max(largest);
#pragma unroll 4
    for (Index c = team.own(); c < classes; c += Team::SIZE) sum += exp(in[c] - largest);
    sum = team.sum(sum);
    for (Index c = team.own(); c < classes; c += Team::SIZE) use(c, exp(in[c] - largest) / sum);
}

template <typename Team>
static __device__ __forceinline__ void softmax_of_rows(const Team& team, const stored* x, real* y, Index rows, Index classes) {
    for (Index row = team.first(); row < rows; row += team.all()) {
        real* out = y + (size_t)row * classes;
        softmax_row(team, x + (size_t)row * classes, classes, [&](Index c, real p) { out[c] = p; });
    }
}

KERNEL softmax_rows(const stored* x, real* y, Index rows, Index classes) {
    softmax_of_rows(ByWarp(), x, y, rows, classes);
}

// The same with a block for each row, for rows of many classes.
KERNEL softmax_long_rows(const stored* x, real* y, Index rows, Index classes) {
    __shared__ real partials[THREADS / WARP];
    softmax_of_rows(ByBlock{partials}, x, y, rows, classes);
}

// The same for the classes of a position, which are `inner` elements apart, by one thread.
template <typename Use>
static __device__ __forceinline__ void softmax_column(const stored* in, Index classes, Index inner, Use use) {
    real largest = in[0], sum = 0;
    for (Index c = 1; c < classes; ++c) largest = larger(in[(size_t)c * inner], largest);
    for (Index c = 0; c < classes; ++c) sum += exp(in[(size_t)c * inner] - largest);
    for (Index c = 0; c < classes; ++c) use(c, exp(in[(size_t)c * inner] - largest) / sum);
}

KERNEL softmax_columns(const stored* x, real* y, Index positions, Index classes, Divisor inner) {
    GRID_LOOP(i, positions) {
        size_t start = start_of(i, classes, inner);
        softmax_column(x + start, classes, inner.value, [&](Index c, real p) { y[start + (size_t)c * inner.value] = p; });
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

// -- softmax and its loss, in one launch ---------------------------------------------------------------------------
// prob becomes the probabilities, and the loss of a position is -log of its label's, times the weight of that class (weights
// (classes), null: 1).
#define LOSS                                                                                                           \
    const stored *x, const real *label, const real *weights, real *prob, Index positions, Index classes,               \
        int has_ignore, int ignore, real least, TOTAL

// The loss of class k with probability p. p < least is false for NaN, so NaN stays NaN and training stops.
static __device__ __forceinline__ real loss_of(real p, int k, const real* weights, real least) {
    real loss = -log(p < least ? least : p);
    return weights ? loss * weights[k] : loss;
}

template <typename Team>
static __device__ __forceinline__ void loss_of_rows(const Team& team, EndMemory& memory, LOSS) {
    Terms terms;
    for (Index row = team.first(); row < positions; row += team.all()) {
        int k = class_of(label[row], classes, has_ignore, ignore);
        size_t start = (size_t)row * classes;
        if (k < 0 && team.own() == 0) terms.add(0, k, row, out_of_range);
        softmax_row(team, x + start, classes, [&](Index c, real p) {
            prob[start + c] = p;
            if ((int)c == k) terms.add(loss_of(p, k, weights, least), k, row, out_of_range);
        });
    }
    terms.end(memory, TOTAL_VALUES);
}

#define LOSS_VALUES x, label, weights, prob, positions, classes, has_ignore, ignore, least, TOTAL_VALUES

KERNEL softmax_loss_rows(LOSS) {
    __shared__ EndMemory memory;
    loss_of_rows(ByWarp(), memory, LOSS_VALUES);
}

KERNEL softmax_loss_long_rows(LOSS) {
    __shared__ EndMemory memory;
    loss_of_rows(ByBlock{memory.partials}, memory, LOSS_VALUES);
}

KERNEL softmax_loss_columns(LOSS, Divisor inner) {
    __shared__ EndMemory memory;
    Terms terms;
    GRID_LOOP(i, positions) {
        int k = class_of(label[i], classes, has_ignore, ignore);
        size_t start = start_of(i, classes, inner);
        if (k < 0) terms.add(0, k, i, out_of_range);
        softmax_column(x + start, classes, inner.value, [&](Index c, real p) {
            prob[start + (size_t)c * inner.value] = p;
            if ((int)c == k) terms.add(loss_of(p, k, weights, least), k, i, out_of_range);
        });
    }
    terms.end(memory, TOTAL_VALUES);
}

// dx = (prob - onehot(label)) * weight * top_diff / divisor times the loss scale (null: 1), 0 where the label is ignored.
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

// Losses other than the softmax's.
#include "common.cuh"
#include "division.cuh"
#include "labels.cuh"
#include "terms.cuh"

// -- of each element by itself -------------------------------------------------------------------------------------
// LOSS(name, term, gradient): the term of elements a and b, and its gradient with respect to a; that of b is the opposite.
// `inside` and `outside` are weights of the difference and of the term.
#define LOSS(name, TERM, GRADIENT)                                                                                  \
    KERNEL name##_terms(const real* first, const real* second, const real* insides, const real* outsides,        \
                        Index count, int has_ignore, int ignore, real setting, TOTAL) {                          \
        __shared__ EndMemory memory;                                                                             \
        Terms terms;                                                                                             \
        GRID_LOOP(i, count) {                                                                                    \
            real a = first[i], b = second[i], inside = insides ? insides[i] : 1, outside = outsides ? outsides[i] : 1; \
            terms.add(TERM, has_ignore && b == (real)ignore ? IGNORED : 0, i, out_of_range);                     \
        }                                                                                                        \
        terms.end(memory, TOTAL_VALUES);                                                                         \
    }                                                                                                            \
    KERNEL name##_backward(const real* first, const real* second, const real* insides, const real* outsides,     \
                           const real* top_diff, const real* divisor, real* dx, Index count, int has_ignore,     \
                           int ignore, real setting, real sign) {                                                \
        real factor = sign * *top_diff / *divisor;                                                               \
        GRID_LOOP(i, count) {                                                                                    \
            real a = first[i], b = second[i], inside = insides ? insides[i] : 1, outside = outsides ? outsides[i] : 1; \
            dx[i] = has_ignore && b == (real)ignore ? 0 : (GRADIENT)*factor;                                        \
        }                                                                                                        \
    }

static __device__ __forceinline__ real magnitude(real x) { return x < 0 ? -x : x; }
static __device__ __forceinline__ real squared(real x) { return x * x; }

static __device__ __forceinline__ real smooth(real d, real sharpness) {
    real size = magnitude(d);
    return size < 1 / sharpness ? (real)0.5 * sharpness * size * size : size - (real)0.5 / sharpness;
}

static __device__ __forceinline__ real clamped(real x) { return x < -1 ? -1 : (x > 1 ? 1 : x); }

static __device__ __forceinline__ real sign_of(real x) { return x > 0 ? 1 : (x < 0 ? -1 : x); }

// setting: 1/2 for euclidean, sigma^2 for smooth_l1 (Girshick 2015), 1 for sigmoid_cross_entropy and l1. Weights that a layer does
// not have are 1, and multiplied by nevertheless.
LOSS(euclidean, outside * setting * squared(inside * (a - b)), outside * 2 * setting * inside * (a - b))
LOSS(smooth_l1, outside * smooth(inside * (a - b), setting), outside * inside * clamped(inside * (a - b) * setting))
LOSS(l1, outside * setting * magnitude(inside * (a - b)), outside * setting * inside * sign_of(inside * (a - b)))
LOSS(sigmoid_cross_entropy, outside * (log1p(exp(-magnitude(a))) - inside * a * (b - (a >= 0))) * setting,
     outside * inside * setting * ((real)0.5 * tanh((real)0.5 * a) + (real)0.5 - b))

// -- of rows (N, classes) with a label each ------------------------------------------------------------------------

// A warp for each row: sum of max(0, 1 - t x)^p with t = 1 for the label's class and -1 for the others.
KERNEL hinge_terms(const real* x, const real* label, Index rows, Index classes, int square, TOTAL) {
    __shared__ EndMemory memory;
    Terms terms;
    Index lane = threadIdx.x % WARP;
    for (Index row = global_thread() / WARP; row < rows; row += all_threads() / WARP) {
        int k = class_of(label[row], classes, 0, 0);
        real sum = 0;
        for (Index c = lane; c < classes; c += WARP) {
            real value = x[(size_t)row * classes + c], excess = 1 + ((int)c == k ? -value : value);
            if (!(excess < 0)) sum += square ? excess * excess : excess;
        }
        sum = warp_sum(sum);
        if (lane == 0) terms.add(sum, k, row, out_of_range);
    }
    terms.end(memory, TOTAL_VALUES);
}

KERNEL hinge_backward(const real* x, const real* label, const real* top_diff, const real* divisor, real* dx,
                      Index count, Divisor classes, int square) {
    real factor = *top_diff / *divisor;
    GRID_LOOP(i, count) {
        Index c, row = divide(i, classes, c);
        real sign = class_of(label[row], classes.value, 0, 0) == (int)c ? -1 : 1;
        real excess = 1 + sign * x[i];
        real slope = square ? (excess < 0 ? 0 : 2 * excess) : (real)(excess > 0);
        dx[i] = sign * factor * slope;
    }
}

static __device__ __forceinline__ real at_least(real x, real least) { return x < least ? least : x; }

KERNEL multinomial_terms(const real* x, const real* label, Index rows, Index classes, real least, TOTAL) {
    __shared__ EndMemory memory;
    Terms terms;
    GRID_LOOP(row, rows) {
        int k = class_of(label[row], classes, 0, 0);
        terms.add(k < 0 ? 0 : -log(at_least(x[(size_t)row * classes + k], least)), k, row, out_of_range);
    }
    terms.end(memory, TOTAL_VALUES);
}

KERNEL multinomial_backward(const real* x, const real* label, const real* top_diff, const real* divisor, real* dx,
                            Index count, Divisor classes, real least) {
    real factor = *top_diff / *divisor;
    GRID_LOOP(i, count) {
        Index c, row = divide(i, classes, c);
        bool own = class_of(label[row], classes.value, 0, 0) == (int)c;
        dx[i] = own ? -factor / at_least(x[i], least) : 0;
    }
}

// -- of (outer, classes, inner) with a matrix of gains -------------------------------------------------------------

// The terms -sum_k gains (label, k) log p_k. totals (positions) becomes the sum of the label's row of gains, for backward.
KERNEL infogain_terms(const real* prob, const real* label, const real* gains, real* totals, Index positions, Index classes,
                      Divisor inner, int has_ignore, int ignore, real least, TOTAL) {
    __shared__ EndMemory memory;
    Terms terms;
    GRID_LOOP(i, positions) {
        int own = class_of(label[i], classes, has_ignore, ignore);
        real loss = 0, total = 0;
        if (own >= 0) {
            Index at, outer = divide(i, inner, at);
            const real* p = prob + (size_t)outer * classes * inner.value + at;
            for (Index c = 0; c < classes; ++c) {
                real gain = gains[(size_t)own * classes + c];
                total += gain;
                loss -= gain * log(at_least(p[(size_t)c * inner.value], least));
            }
        }
        terms.add(loss, own, i, out_of_range);
        totals[i] = total;
    }
    terms.end(memory, TOTAL_VALUES);
}

KERNEL infogain_backward(const real* prob, const real* label, const real* gains, const real* totals,
                         const real* top_diff, const real* divisor, real* dx, Index count, Divisor classes,
                         Divisor inner, int has_ignore, int ignore) {
    real factor = *top_diff / *divisor;
    GRID_LOOP(i, count) {
        Index c, at, outer = divide(divide(i, inner, at), classes, c), position = outer * inner.value + at;
        int own = class_of(label[position], classes.value, has_ignore, ignore);
        dx[i] = own < 0 ? 0 : (prob[i] * totals[position] - gains[(size_t)own * classes.value + c]) * factor;
    }
}

// -- of pairs of rows (N, length) ----------------------------------------------------------------------------------

// A warp for each pair. squares (N) becomes the squared distances, for backward. A similar pair's term is its squared
// distance; that of another pair is by how much it falls short of the margin, squared (legacy: of squared distances).
KERNEL contrastive_terms(const real* a, const real* b, const real* similar, real* squares, Index rows, Index length,
                         int legacy, real margin, TOTAL) {
    __shared__ EndMemory memory;
    Terms terms;
    Index lane = threadIdx.x % WARP;
    for (Index row = global_thread() / WARP; row < rows; row += all_threads() / WARP) {
        real sum = 0;
        for (Index k = lane; k < length; k += WARP) sum += squared(a[(size_t)row * length + k] - b[(size_t)row * length + k]);
        sum = warp_sum(sum);
        if (lane == 0) {
            squares[row] = sum;
            real missing = margin - (legacy ? sum : sqrt(sum));
            real apart = missing < 0 ? 0 : (legacy ? missing : missing * missing);
            terms.add((long long)similar[row] != 0 ? sum : apart, 0, row, out_of_range);
        }
    }
    terms.end(memory, TOTAL_VALUES);
}

// divisor: that of the loss, twice the number of pairs.
KERNEL contrastive_backward(const real* a, const real* b, const real* similar, const real* squares,
                            const real* top_diff, const real* divisor, real* dx, Index count, Divisor length, int legacy,
                            real margin, real least, real sign) {
    real factor = sign * 2 * *top_diff / *divisor;
    GRID_LOOP(i, count) {
        Index row = length.of(i);
        real push = 1;
        if ((long long)similar[row] == 0) {
            real distance = sqrt(squares[row]);
            if (legacy)
                push = margin - squares[row] > 0 ? -1 : 0;
            else
                push = margin - distance > 0 ? -(margin - distance) / (distance + least) : 0;
        }
        dx[i] = (a[i] - b[i]) * push * factor;
    }
}

// Element-wise layers. FAMILY(name, y, dx) declares a family: y as a function of x, and dx as a function of x, y and dy; a, b
// and c are the layer's settings. Outputs may be inputs.
#include "common.cuh"
#include "division.cuh"
#include "fused_relu.cuh"

#define FAMILY(name, Y, DX)                                                                                     \
    static __device__ __forceinline__ real name##_y(real x, real a, real b, real c) { return Y; }               \
    static __device__ __forceinline__ real name##_dx(real x, real y, real dy, real a, real b, real c) { return DX; } \
    KERNEL name##_forward(const stored* x, stored* out, Index count, int vectors, real a, real b, real c) {         \
        if (vectors) {                                                                                          \
            GRID_LOOP(i, count / LANES) {                                                                       \
                Vector value = load(x + (size_t)i * LANES);                                                     \
                for (int k = 0; k < LANES; ++k) value.v[k] = name##_y(value.v[k], a, b, c);                     \
                store(out + (size_t)i * LANES, value);                                                          \
            }                                                                                                   \
        } else {                                                                                                \
            GRID_LOOP(i, count) out[i] = name##_y(x[i], a, b, c);                                               \
        }                                                                                                       \
    }                                                                                                           \
    KERNEL name##_backward(const stored* x, const stored* y, const stored* dy, stored* out, Index count, int vectors,   \
                           real a, real b, real c) {                                                            \
        if (vectors) {                                                                                          \
            GRID_LOOP(i, count / LANES) {                                                                       \
                size_t at = (size_t)i * LANES;                                                                  \
                Vector in = load(x + at), made = load(y + at), value = load(dy + at);                           \
                for (int k = 0; k < LANES; ++k)                                                                 \
                    value.v[k] = name##_dx(in.v[k], made.v[k], value.v[k], a, b, c);                            \
                store(out + at, value);                                                                         \
            }                                                                                                   \
        } else {                                                                                                \
            GRID_LOOP(i, count) out[i] = name##_dx(x[i], y[i], dy[i], a, b, c);                                 \
        }                                                                                                       \
    }

static __device__ __forceinline__ real logistic(real x) { return (real)0.5 * tanh((real)0.5 * x) + (real)0.5; }
static __device__ __forceinline__ real swish_dx_of(real x, real gate, real beta) { return gate + beta * x * gate * (1 - gate); }
// tanh(log(1 + e^x)), as in the layer Mish: by e = exp(-|x|), so that nothing overflows
static __device__ __forceinline__ real mish_gate(real x) {
    real e = exp(x > 0 ? -x : x);
    return x > 0 ? (1 + 2 * e) / (1 + 2 * e + 2 * e * e) : e * (e + 2) / (e * (e + 2) + 2);
}
static __device__ __forceinline__ real mish_dx_of(real x, real gate) { return gate + x * logistic(x) * (1 - gate * gate); }
static __device__ __forceinline__ real at_most(real x, real most) { return x > most ? most : x; }
static __device__ __forceinline__ real hard_logistic(real x) { return x <= -3 ? 0 : (x >= 3 ? 1 : x / 6 + (real)0.5); }
static __device__ __forceinline__ real power_of(real x, real power) { return power == 1 ? x : pow(x, power); }

FAMILY(relu, leaky(x, a), x > 0 ? dy : a * dy)
FAMILY(relu6, at_most(leaky(x, a), b), x >= b ? 0 : (x > 0 ? dy : a * dy))
FAMILY(hard_sigmoid, hard_logistic(x), y > 0 && y < 1 ? dy / 6 : 0)
FAMILY(hard_swish, x * hard_logistic(x), dy * (hard_logistic(x) + (x > -3 && x < 3 ? x / 6 : 0)))
FAMILY(sigmoid, logistic(x), dy * y * (1 - y))
FAMILY(tanh, tanh(x), dy * (1 - y * y))
FAMILY(absval, x < 0 ? -x : x, x > 0 ? dy : (x < 0 ? -dy : dy * x))
FAMILY(bnll, (x > 0 ? x : 0) + log1p(exp(x > 0 ? -x : x)), dy / (1 + exp(-x)))
FAMILY(clip, x < a ? a : (x > b ? b : x), x >= a && x <= b ? dy : 0)
FAMILY(elu, x > 0 ? x : a * expm1(x), x > 0 ? dy : dy * (x == y ? y + a : a * exp(x)))
FAMILY(selu, b * (x > 0 ? x : a * expm1(x)), b * (x > 0 ? dy : dy * (x == y ? y / b + a : a * exp(x))))
FAMILY(mish, x * mish_gate(x), dy * mish_dx_of(x, mish_gate(x)))
FAMILY(exponential, exp(a * x + b), dy * y * a)
FAMILY(logarithm, c * log(a * x + b), dy * c * a / (a * x + b))
FAMILY(power, power_of(a * x + b, c), c * a == 0 ? 0 : dy * c * a * (c == 1 ? 1 : power_of(a * x + b, c - 1)))
FAMILY(swish, x * logistic(a * x), dy * swish_dx_of(x, logistic(a * x), a))
FAMILY(threshold, x > a ? 1 : 0, 0)
FAMILY(scaled, a * x, a * dy)

// out = a x + b y (Eltwise SUM with coefficients); out may be x or y.
KERNEL weighted_sum(const stored* x, const stored* y, stored* out, Index count, int vectors, real a, real b) {
    if (vectors) {
        GRID_LOOP(i, count / LANES) {
            Vector first = load(x + (size_t)i * LANES), second = load(y + (size_t)i * LANES);
#pragma unroll
            for (int k = 0; k < LANES; ++k) first.v[k] = a * first.v[k] + b * second.v[k];
            store(out + (size_t)i * LANES, first);
        }
    } else {
        GRID_LOOP(i, count) out[i] = a * x[i] + b * y[i];
    }
}

static __device__ __forceinline__ Index channel_of(Index i, const Divisor& channels, const Divisor& spatial) {
    Index c;
    divide(spatial.of(i), channels, c);
    return c;
}

// PReLU over (N, C, S): y = x above 0, slope x below. slopes: C, or 1 where channels share one. copy (or null) becomes x.
KERNEL prelu_forward(const stored* x, const real* slope, stored* y, stored* copy, Index count,
                     Divisor slopes, Divisor spatial) {
    GRID_LOOP(i, count) {
        real value = x[i];
        if (copy) copy[i] = value;
        y[i] = value > 0 ? value : value * slope[channel_of(i, slopes, spatial)];
    }
}

// dx = dy above 0, slope dy below. below = dy x where x <= 0, whose sums are the slopes' gradients. dx may be dy, or null.
KERNEL prelu_backward(const stored* x, const stored* dy, const real* slope, stored* dx, real* below, Index count,
                      Divisor slopes, Divisor spatial) {
    GRID_LOOP(i, count) {
        real value = x[i], diff = dy[i];
        below[i] = value > 0 ? 0 : diff * value;
        if (dx) dx[i] = value > 0 ? diff : diff * slope[channel_of(i, slopes, spatial)];
    }
}

// Pooling of (planes, H, W) by the usual small windows, whose size K, stride S and padding P the compiler knows, and averages
// of whole planes. Any other window: pooling.cu.
//
// Backward gathers: a thread computes LANES neighbours of a row, and reads the few windows that hold one of them once. ReLUs in
// front or behind: see window.cuh.
#include "common.cuh"
#include "division.cuh"
#include "fused_relu.cuh"
#include "window.cuh"

#define NONE (-1)  // no column of a window

// positions: which element of its window each output is, kernel_w times its row plus its column, the window's part outside
// of the image included; see marked_byte. top_mask (or null): its index in its plane. rectify: y is behind a ReLU of this slope.
template <int K, int S, int P>
static __device__ __forceinline__ void max_of_windows(const stored* x, stored* y, unsigned char* positions, real* top_mask,
                                                      Index count, int height, int width, const Divisor& out_h,
                                                      const Divisor& out_w, int mark, int rectify, real slope) {
    GRID_LOOP(i, count) {
        Index column, row, plane = divide(divide(i, out_w, column), out_h, row);
        int top = (int)row * S - P, left = (int)column * S - P;
        const stored* image = x + (size_t)plane * height * width;
        real values[K * K];
#pragma unroll
        for (int k = 0; k < K * K; ++k) {
            int h = top + k / K, w = left + k % K;
            bool inside = h >= 0 && h < height && w >= 0 && w < width;
            values[k] = inside ? (real)image[h * width + w] : (real)0;
        }
        int best = -1;
        real value = 0;
#pragma unroll
        for (int k = 0; k < K * K; ++k) {
            int h = top + k / K, w = left + k % K;
            bool inside = h >= 0 && h < height && w >= 0 && w < width;
            if (inside && (best < 0 || gives_way(value, values[k]))) {
                best = k;
                value = values[k];
            }
        }
        y[i] = rectify ? leaky(value, slope) : value;
        positions[i] = marked_byte(best, mark, value);
        if (top_mask) top_mask[i] = (real)((top + best / K) * width + left + best % K);
    }
}

// The gradient of the elements of a row from w0, a multiple of LANES, on. read(oh, ow, kh) reads a window, in
// whose row kh they lie: what it gives, and to which of its columns. Windows come in the order of their outputs.
template <int K, int S, int P, typename Read>
static __device__ __forceinline__ void gather(real* sums, int h, int w0, int out_h, int out_w, const Read& read) {
    typedef decltype(read(0, 0, 0)) Window;
    const int FIRST = -((K - 1 - P) / S), LAST = (LANES - 1 + P) / S;  // windows that hold one, counted from w0 / S
#pragma unroll
    for (int k = 0; k < LANES; ++k) sums[k] = 0;
#pragma unroll
    for (int back = (K - 1) / S; back >= 0; --back) {
        int oh = (h + P) / S - back, kh = h + P - oh * S;
        if (oh < 0 || oh >= out_h || kh >= K) continue;
        Window windows[LAST - FIRST + 1];  // all are loaded before the first is used
#pragma unroll
        for (int j = FIRST; j <= LAST; ++j) {
            int ow = w0 / S + j;
            windows[j - FIRST] = ow < 0 || ow >= out_w ? Window{0, NONE} : read(oh, ow, kh);
        }
#pragma unroll
        for (int j = FIRST; j <= LAST; ++j)
#pragma unroll
            for (int k = 0; k < LANES; ++k) {
                const int kw = k + P - j * S;
                if (kw >= 0 && kw < K && windows[j - FIRST].gives_to(kw)) sums[k] += windows[j - FIRST].value;
            }
    }
}

static __device__ __forceinline__ void store_row(stored* dx, const real* sums, int left, int whole) {
    if (whole) {
        Vector out;
#pragma unroll
        for (int k = 0; k < LANES; ++k) out.v[k] = sums[k];
        store(dx, out);
    } else {
#pragma unroll
        for (int k = 0; k < LANES; ++k)
            if (k < left) dx[k] = sums[k];
    }
}

struct Chosen {
    real value;
    int column;

    __device__ __forceinline__ bool gives_to(int kw) const { return kw == column; }
};

struct Shared {
    real value;
    int column;

    __device__ __forceinline__ bool gives_to(int) const { return column != NONE; }
};

// count: groups of LANES elements; strips: those of a row. whole: whether rows are whole aligned vectors. slope, masked: see
// through_mark; masked is dy.
template <int K, int S, int P>
static __device__ __forceinline__ void max_to_elements(const stored* dy, const unsigned char* positions, stored* dx,
                                                       stored* masked, Index count, int whole, const Divisor& strips,
                                                       const Divisor& height, int width, int out_h, int out_w,
                                                       real slope) {
    GRID_LOOP(i, count) {
        Index strip, h, plane = divide(divide(i, strips, strip), height, h);
        size_t outputs = (size_t)plane * out_h * out_w;
        int w0 = (int)strip * LANES;
        real sums[LANES];
        gather<K, S, P>(sums, h, w0, out_h, out_w, [&](int oh, int ow, int kh) {
            size_t o = outputs + oh * out_w + ow;
            unsigned char position = positions[o];
            int column = without_mark(position) - kh * K, k = ow * S - P + column - w0;  // k: of the thread's elements
            bool own = column >= 0 && column < K && k >= 0 && k < LANES;
            return Chosen{through_mark(dy[o], position, slope, own ? masked : nullptr, o), column};
        });
        store_row(dx + ((size_t)plane * height.value + h) * width + w0, sums, width - w0, whole);
    }
}

template <int K, int S, int P>
static __device__ __forceinline__ void average_of_windows(const stored* x, stored* y, Index count, int height, int width,
                                                          const Divisor& out_h, const Divisor& out_w, int first_h,
                                                          int first_w, int end_h, int end_w) {
    GRID_LOOP(i, count) {
        Index column, row, plane = divide(divide(i, out_w, column), out_h, row);
        int top = (int)row * S - P, left = (int)column * S - P;
        const stored* image = x + (size_t)plane * height * width;
        real sum = 0;
#pragma unroll
        for (int k = 0; k < K * K; ++k) {
            int h = top + k / K, w = left + k % K;
            bool inside = h >= 0 && h < height && w >= 0 && w < width;
            sum += inside ? (real)image[h * width + w] : (real)0;
        }
        y[i] = sum / (extent(row, K, S, P, first_h, end_h) * extent(column, K, S, P, first_w, end_w));
    }
}

template <int K, int S, int P>
static __device__ __forceinline__ void average_to_elements(const stored* dy, const stored* x, stored* dx, Index count,
                                                           int whole, const Divisor& strips, const Divisor& height,
                                                           int width, int out_h, int out_w, real slope, int first_h,
                                                           int first_w, int end_h, int end_w) {
    GRID_LOOP(i, count) {
        Index strip, h, plane = divide(divide(i, strips, strip), height, h);
        size_t outputs = (size_t)plane * out_h * out_w;
        int w0 = (int)strip * LANES;
        real sums[LANES];
        gather<K, S, P>(sums, h, w0, out_h, out_w, [&](int oh, int ow, int) {
            int counted = extent(oh, K, S, P, first_h, end_h) * extent(ow, K, S, P, first_w, end_w);
            return Shared{dy[outputs + oh * out_w + ow] / counted, 0};
        });
        size_t start = ((size_t)plane * height.value + h) * width + w0;
#pragma unroll
        for (int k = 0; k < LANES; ++k)
            if (x && w0 + k < width) sums[k] = through_relu(sums[k], x, start + k, slope);
        store_row(dx + start, sums, width - w0, whole);
    }
}

#define WINDOW(K, S, P)                                                                                                 \
    KERNEL max_forward_##K##S##P(const stored* x, stored* y, unsigned char* positions, real* top_mask, Index count,     \
                                 int height, int width, Divisor out_h, Divisor out_w, int mark, int rectify,            \
                                 real slope) {                                                                          \
        max_of_windows<K, S, P>(x, y, positions, top_mask, count, height, width, out_h, out_w, mark, rectify, slope);   \
    }                                                                                                                   \
    KERNEL max_backward_##K##S##P(const stored* dy, const unsigned char* positions, stored* dx, stored* masked,         \
                                  Index count, int whole, Divisor strips, Divisor height, int width, int out_h,         \
                                  int out_w, real slope) {                                                              \
        max_to_elements<K, S, P>(dy, positions, dx, masked, count, whole, strips, height, width, out_h, out_w, slope);  \
    }                                                                                                                   \
    KERNEL average_forward_##K##S##P(const stored* x, stored* y, Index count, int height, int width, Divisor out_h,     \
                                     Divisor out_w, int first_h, int first_w, int end_h, int end_w) {                   \
        average_of_windows<K, S, P>(x, y, count, height, width, out_h, out_w, first_h, first_w, end_h, end_w);          \
    }                                                                                                                   \
    KERNEL average_backward_##K##S##P(const stored* dy, const stored* x, stored* dx, Index count, int whole,            \
                                      Divisor strips, Divisor height, int width, int out_h, int out_w, real slope,      \
                                      int first_h, int first_w, int end_h, int end_w) {                                 \
        average_to_elements<K, S, P>(dy, x, dx, count, whole, strips, height, width, out_h, out_w, slope, first_h,      \
                                     first_w, end_h, end_w);                                                            \
    }

WINDOW(2, 2, 0)
WINDOW(3, 2, 0)
WINDOW(3, 2, 1)
WINDOW(3, 1, 1)

// The average of each plane of `size` elements, by a warp.
KERNEL plane_average(const stored* x, stored* y, Index planes, Index size) {
    Index lane = threadIdx.x % WARP;
    for (Index plane = global_thread() / WARP; plane < planes; plane += all_threads() / WARP) {
        const stored* elements = x + (size_t)plane * size;
        real sum = 0;
#pragma unroll 4
        for (Index i = lane; i < size; i += WARP) sum += elements[i];
        sum = warp_sum(sum);
        if (lane == 0) y[plane] = sum / (real)size;
    }
}

// x (or null): the bottom behind a ReLU of this slope, in front of which dx is the gradient.
KERNEL plane_average_backward(const stored* dy, const stored* x, stored* dx, Index count, int vectors, Divisor size, real slope) {
    if (vectors) {
        GRID_LOOP(i, count / LANES) {
            Index at, plane = divide(i * LANES, size, at);
            real share = dy[plane] / (real)size.value;
            Vector out, behind;
            if (x) behind = load(x + (size_t)i * LANES);
#pragma unroll
            for (int k = 0; k < LANES; ++k) {
                if (at == size.value) {
                    at = 0;
                    share = dy[++plane] / (real)size.value;
                }
                out.v[k] = x ? through_relu(share, behind.v, k, slope) : share;
                ++at;
            }
            store(dx + (size_t)i * LANES, out);
        }
    } else {
        GRID_LOOP(i, count) dx[i] = through_relu(dy[size.of(i)] / (real)size.value, x, i, slope);
    }
}

// Channels last, (N, H, W, C): pooling over two axes, and unfolding for a convolution whose products cuBLAS computes.
// A thread of the pooling kernels computes LANES channels at a time where `vectors` is set, which needs C to be a multiple of
// LANES and aligned arrays; else one.
#include "common.cuh"
#include "division.cuh"
#include "fused_relu.cuh"
#include "window.cuh"

#define POOL                                                                                                      \
    Index count, Divisor channels, Divisor height, Divisor width, Divisor out_h, Divisor out_w, Divisor kernel_h, \
        Divisor kernel_w, Divisor stride_h, Divisor stride_w, int pad_h, int pad_w

#define POOL_VALUES \
    count, channels, height, width, out_h, out_w, kernel_h, kernel_w, stride_h, stride_w, pad_h, pad_w

// `N` values of an array from p on, by one 16-byte access where N is LANES.
template <int N>
struct Values {
    stored v[N];

    __device__ __forceinline__ explicit Values(const stored* p) {
        if (N == LANES) {
            Vector all = load(p);
#pragma unroll
            for (int k = 0; k < N; ++k) v[k] = all.v[k];
        } else {
            v[0] = p[0];
        }
    }
};

template <int N>
static __device__ __forceinline__ void put(stored* p, const real* values) {
    if (N == LANES) {
        Vector all;
#pragma unroll
        for (int k = 0; k < N; ++k) all.v[k] = values[k];
        store(p, all);
    } else {
        p[0] = values[0];
    }
}

// The positions in a window of N channels' maxima, a byte each.
template <int N>
struct alignas(N) Places {
    unsigned char v[N];
};

// Where thread `i` works: N channels from `channel` on, at (row, column) of an image of `height` rows, `width` columns.
struct Site {
    int channel, row, column;
    size_t image;

    // parts: channels / lanes.
    __device__ __forceinline__ Site(Index i, int lanes, const Divisor& parts, const Divisor& height, const Divisor& width) {
        channel = i % parts * lanes;
        i = i / parts;
        column = i % width;
        i = i / width;
        row = i % height;
        image = i / height;
    }
};

template <int N>
static __device__ __forceinline__ void max_forward_all(const stored* x, stored* y, unsigned char* mask, Divisor parts, POOL,
                                                       int mark, int rectify, real slope) {
    GRID_LOOP(i, count / N) {
        Site at(i, N, parts, out_h, out_w);
        const stored* image = x + at.image * height * width * channels + at.channel;
        int top = at.row * stride_h - pad_h, left = at.column * stride_w - pad_w;
        int bottom = min(top + kernel_h, height), right = min(left + kernel_w, width);
        int first_h = max(top, 0), first_w = max(left, 0);
        real best[N];
        Places<N> place;
        for (int h = first_h; h < bottom; ++h)
            for (int w = first_w; w < right; ++w) {
                Values<N> value(image + ((size_t)h * width + w) * channels);
                bool first = h == first_h && w == first_w;
                unsigned char here = (h - top) * kernel_w + w - left;
#pragma unroll
                for (int k = 0; k < N; ++k)
                    if (first || gives_way(best[k], value.v[k])) {
                        best[k] = value.v[k];
                        place.v[k] = here;
                    }
            }
#pragma unroll
        for (int k = 0; k < N; ++k) {
            place.v[k] = marked_byte(place.v[k], mark, best[k]);
            if (rectify) best[k] = leaky(best[k], slope);
        }
        put<N>(y + (size_t)i * N, best);
        *reinterpret_cast<Places<N>*>(mask + (size_t)i * N) = place;
    }
}

// mask: the position in its window, row by row, of each window's first maximum, see marked_byte. A window has at most 256
// elements, 128 with `mark`. rectify: y is behind a ReLU of this slope.
KERNEL max_forward_last(const stored* x, stored* y, unsigned char* mask, int vectors, Divisor parts, POOL, int mark,
                        int rectify, real slope) {
    if (vectors)
        max_forward_all<LANES>(x, y, mask, parts, POOL_VALUES, mark, rectify, slope);
    else
        max_forward_all<1>(x, y, mask, parts, POOL_VALUES, mark, rectify, slope);
}

template <int N>
static __device__ __forceinline__ void max_backward_all(const stored* dy, const unsigned char* mask, stored* dx,
                                                        stored* masked, Divisor parts, POOL, int mark, real slope) {
    GRID_LOOP(i, count / N) {
        Site at(i, N, parts, height, width);
        size_t image = at.image * out_h * out_w;
        int h_end = end_window(at.row, stride_h, pad_h, out_h), w_end = end_window(at.column, stride_w, pad_w, out_w);
        int w_first = first_window(at.column, kernel_w, stride_w, pad_w);
        real sum[N] = {};
        for (int oh = first_window(at.row, kernel_h, stride_h, pad_h); oh < h_end; ++oh)
            for (int ow = w_first; ow < w_end; ++ow) {
                size_t o = (image + oh * out_w + ow) * channels + at.channel;
                int here = (at.row - oh * stride_h + pad_h) * kernel_w + at.column - ow * stride_w + pad_w;
                Places<N> place = *reinterpret_cast<const Places<N>*>(mask + o);
                Values<N> g(dy + o);
#pragma unroll
                for (int k = 0; k < N; ++k) {
                    if (mark && without_mark(place.v[k]) == here)
                        sum[k] += through_mark(g.v[k], place.v[k], slope, masked, o + k);
                    else
                        sum[k] += !mark && place.v[k] == here ? (real)g.v[k] : (real)0;
                }
            }
        put<N>(dx + (size_t)i * N, sum);
    }
}

// Gathers, as pooling.cu does: each input element sums over the windows that hold it. mark: whether forward had it. slope,
// masked: see through_mark; masked is dy.
KERNEL max_backward_last(const stored* dy, const unsigned char* mask, stored* dx, stored* masked, int vectors, Divisor parts,
                         POOL, int mark, real slope) {
    if (vectors)
        max_backward_all<LANES>(dy, mask, dx, masked, parts, POOL_VALUES, mark, slope);
    else
        max_backward_all<1>(dy, mask, dx, masked, parts, POOL_VALUES, mark, slope);
}

#define COUNTED int first_h, int first_w, int end_h, int end_w
#define COUNTED_VALUES first_h, first_w, end_h, end_w

template <int N>
static __device__ __forceinline__ void average_forward_all(const stored* x, stored* y, Divisor parts, POOL, COUNTED) {
    GRID_LOOP(i, count / N) {
        Site at(i, N, parts, out_h, out_w);
        const stored* image = x + at.image * height * width * channels + at.channel;
        int top = at.row * stride_h - pad_h, left = at.column * stride_w - pad_w;
        int bottom = min(top + kernel_h, height), right = min(left + kernel_w, width);
        real sum[N] = {};
        for (int h = max(top, 0); h < bottom; ++h)
            for (int w = max(left, 0); w < right; ++w) {
                Values<N> value(image + ((size_t)h * width + w) * channels);
#pragma unroll
                for (int k = 0; k < N; ++k) sum[k] += value.v[k];
            }
        int elements = extent(at.row, kernel_h, stride_h, pad_h, first_h, end_h) *
                       extent(at.column, kernel_w, stride_w, pad_w, first_w, end_w);
#pragma unroll
        for (int k = 0; k < N; ++k) sum[k] /= elements;
        put<N>(y + (size_t)i * N, sum);
    }
}

KERNEL average_forward_last(const stored* x, stored* y, int vectors, Divisor parts, POOL, COUNTED) {
    if (vectors)
        average_forward_all<LANES>(x, y, parts, POOL_VALUES, COUNTED_VALUES);
    else
        average_forward_all<1>(x, y, parts, POOL_VALUES, COUNTED_VALUES);
}

template <int N>
static __device__ __forceinline__ void average_backward_all(const stored* dy, const stored* x, stored* dx, Divisor parts,
                                                            POOL, real slope, COUNTED) {
    GRID_LOOP(i, count / N) {
        Site at(i, N, parts, height, width);
        size_t image = at.image * out_h * out_w;
        int h_end = end_window(at.row, stride_h, pad_h, out_h), w_end = end_window(at.column, stride_w, pad_w, out_w);
        int w_first = first_window(at.column, kernel_w, stride_w, pad_w);
        real sum[N] = {};
        for (int oh = first_window(at.row, kernel_h, stride_h, pad_h); oh < h_end; ++oh)
            for (int ow = w_first; ow < w_end; ++ow) {
                Values<N> g(dy + (image + oh * out_w + ow) * channels + at.channel);
                int elements = extent(oh, kernel_h, stride_h, pad_h, first_h, end_h) *
                               extent(ow, kernel_w, stride_w, pad_w, first_w, end_w);
#pragma unroll
                for (int k = 0; k < N; ++k) sum[k] += g.v[k] / elements;
            }
        if (x) {
            Values<N> behind(x + (size_t)i * N);
#pragma unroll
            for (int k = 0; k < N; ++k) sum[k] = through_relu(sum[k], behind.v, k, slope);
        }
        put<N>(dx + (size_t)i * N, sum);
    }
}

// x (or null): the bottom behind a ReLU of this slope, in front of which dx is the gradient.
KERNEL average_backward_last(const stored* dy, const stored* x, stored* dx, int vectors, Divisor parts, POOL, real slope,
                             COUNTED) {
    if (vectors)
        average_backward_all<LANES>(dy, x, dx, parts, POOL_VALUES, slope, COUNTED_VALUES);
    else
        average_backward_all<1>(dy, x, dx, parts, POOL_VALUES, slope, COUNTED_VALUES);
}

// -- convolutions without cuDNN -----------------------------------------------------------------------------------
// columns (N, OH, OW, C, KH, KW): the rows of a matrix whose product with the weights (K, C, KH, KW) is (N, OH, OW, K).
KERNEL im2col_last(const stored* x, stored* columns, POOL, int dilation_h, int dilation_w) {
    GRID_LOOP(i, count) {
        int kw = i % kernel_w, kh = i / kernel_w % kernel_h;
        Index rest = i / kernel_w / kernel_h;
        int c = rest % channels;
        rest = rest / channels;
        int ow = rest % out_w, oh = rest / out_w % out_h;
        size_t image = rest / out_w / out_h;
        int h = oh * stride_h - pad_h + kh * dilation_h, w = ow * stride_w - pad_w + kw * dilation_w;
        bool inside = h >= 0 && h < height && w >= 0 && w < width;
        columns[i] = inside ? x[((image * height + h) * width + w) * channels + c] : (stored)(real)0;
    }
}

// The transpose: each element of x is the sum of its elements of columns, plus bias (C; null: 0).
KERNEL col2im_last(const stored* columns, const real* bias, stored* x, POOL, int dilation_h, int dilation_w) {
    GRID_LOOP(i, count) {
        Site at(i, 1, channels, height, width);
        real sum = bias ? bias[at.channel] : 0;
        for (int kh = 0; kh < kernel_h; ++kh) {
            int oh = reader(at.row, kh, stride_h, pad_h, dilation_h, out_h);
            if (oh < 0) continue;
            for (int kw = 0; kw < kernel_w; ++kw) {
                int ow = reader(at.column, kw, stride_w, pad_w, dilation_w, out_w);
                if (ow < 0) continue;
                size_t row = ((at.image * out_h + oh) * out_w + ow) * channels + at.channel;
                sum += columns[(row * kernel_h + kh) * kernel_w + kw];
            }
        }
        x[i] = sum;
    }
}

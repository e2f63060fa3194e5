// Local response normalisation of (N, C, H, W): y = x / (k + alpha / n * sum of x^2 nearby) ^ beta.
// "Nearby" are `reach` channels to both sides, or `reach` pixels to all sides within the channel.
#include "common.cuh"

// The sum of the elements near element i, or of their squares. across: over channels, else within the channel.
template <bool SQUARED, typename T>
static __device__ __forceinline__ real near_sum(const T* x, Index i, int across, int channels, int height, int width,
                                                int reach) {
    real sum = 0;
    if (across) {
        Index spatial = (Index)height * width;
        int c = i / spatial % channels, first = max(c - reach, 0), last = min(c + reach, channels - 1);
        const T* column = x + (size_t)(i / spatial / channels) * channels * spatial + i % spatial;
        for (int k = first; k <= last; ++k) {
            real value = column[(size_t)k * spatial];
            sum += SQUARED ? value * value : value;
        }
        return sum;
    }
    int w = i % width, h = i / width % height;
    const T* plane = x + (i - h * width - w);
    for (int a = max(h - reach, 0); a <= min(h + reach, height - 1); ++a)
        for (int b = max(w - reach, 0); b <= min(w + reach, width - 1); ++b) {
            real value = plane[a * width + b];
            sum += SQUARED ? value * value : value;
        }
    return sum;
}

// base becomes k + scale * (sum of squares nearby), for backward.
KERNEL lrn_forward(const stored* x, stored* y, real* base, Index count, int across, int channels, int height, int width,
                   int reach, real k, real scale, real beta) {
    GRID_LOOP(i, count) {
        real b = k + scale * near_sum<true>(x, i, across, channels, height, width, reach);
        base[i] = b;
        y[i] = x[i] * pow(b, -beta);
    }
}

// ratio = dy x base^(-beta - 1), whose near sums lrn_backward takes.
KERNEL lrn_ratio(const stored* x, const stored* dy, const real* base, real* ratio, Index count, real beta) {
    GRID_LOOP(i, count) ratio[i] = dy[i] * x[i] * pow(base[i], -beta) / base[i];
}

KERNEL lrn_backward(const stored* x, const stored* dy, const real* base, const real* ratio, stored* dx, Index count,
                    int across, int channels, int height, int width, int reach, real scale, real beta) {
    GRID_LOOP(i, count) {
        real sum = near_sum<false>(ratio, i, across, channels, height, width, reach);
        dx[i] = dy[i] * pow(base[i], -beta) - 2 * beta * scale * x[i] * sum;
    }
}

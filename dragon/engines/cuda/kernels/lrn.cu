// Local response normalisation of (N, C, H, W): y = x / (k + alpha / n * sum of x^2 nearby) ^ beta.
// "Nearby" are `reach` channels to both sides, or `reach` pixels to all sides within the channel.
#include "common.cuh"
#include "division.cuh"

// The sum of the elements near element i, or of their squares. across: over channels, else within the channel.
template <bool SQUARED, typename T>
static __device__ __forceinline__ real near_sum(const T* x, Index i, int across, const Divisor& channels,
                                                const Divisor& height, const Divisor& width, int reach) {
    real sum = 0;
    Index w, h, plane = divide(divide(i, width, w), height, h);
    if (across) {
        Index c, spatial = height.value * width.value;
        divide(plane, channels, c);
        int first = max((int)c - reach, 0), last = min((int)(c + reach), (int)channels.value - 1);
        const T* column = x + (i - c * spatial);
        for (int k = first; k <= last; ++k) {
            real value = column[(size_t)k * spatial];
            sum += SQUARED ? value * value : value;
        }
        return sum;
    }
    const T* image = x + (i - h * width.value - w);
    for (int a = max((int)h - reach, 0); a <= min((int)(h + reach), (int)height.value - 1); ++a)
        for (int b = max((int)w - reach, 0); b <= min((int)(w + reach), (int)width.value - 1); ++b) {
            real value = image[a * width.value + b];
            sum += SQUARED ? value * value : value;
        }
    return sum;
}

// base becomes k + scale * (sum of squares nearby), for backward.
KERNEL lrn_forward(const stored* x, stored* y, real* base, Index count, int across, Divisor channels,
                   Divisor height, Divisor width, int reach, real k, real scale, real beta) {
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
                    int across, Divisor channels, Divisor height, Divisor width, int reach, real scale, real beta) {
    GRID_LOOP(i, count) {
        real sum = near_sum<false>(ratio, i, across, channels, height, width, reach);
        dx[i] = dy[i] * pow(base[i], -beta) - 2 * beta * scale * x[i] * sum;
    }
}

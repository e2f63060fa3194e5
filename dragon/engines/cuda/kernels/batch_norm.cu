// Batch normalisation of (N, C, S). Forward: the statistics in one pass over x, y in a second one. Backward: both sums in one
// pass over x and dy (channels.cu), dx in a second one. The split layers (BatchNorm, Scale) use the same kernels.
#include "common.cuh"
#include "fused_relu.cuh"

// The mean of `count` values, and the sum of their squared distances from it (Welford 1962).
struct Moments {
    real count, mean, m2;
};

// The moments of the union of two sets (Chan, Golub & LeVeque 1979).
static __device__ __forceinline__ Moments merged(const Moments& a, const Moments& b) {
    if (b.count == 0) return a;
    if (a.count == 0) return b;
    Moments r;
    r.count = a.count + b.count;
    real delta = b.mean - a.mean, share = b.count / r.count;
    r.mean = a.mean + delta * share;
    r.m2 = a.m2 + b.m2 + delta * delta * a.count * share;
    return r;
}

// Sums of x - shift and its square, where the shift is a thread's first value: no digits are lost if the mean is large.
struct Shifted {
    real shift, sum, squares, count;

    __device__ Shifted() : shift(0), sum(0), squares(0), count(0) {}

    __device__ __forceinline__ void add(real x) {
        if (count == 0) shift = x;
        real d = x - shift;
        sum += d;
        squares += d * d;
        count += 1;
    }

    __device__ __forceinline__ Moments moments() const {
        Moments r = {count, 0, 0};
        if (count > 0) {
            real mean = sum / count;
            r.mean = shift + mean;
            real m2 = squares - sum * mean;
            r.m2 = m2 > 0 ? m2 : 0;
        }
        return r;
    }
};

// The running average is updated by a rule of dragon/normalization/rules.py: `momentum` and `batch_weight` are the weights of
// the old sum and of the batch; unbiased: the batch's variance is; divided: the blobs hold the sum divided by its weight;
// full: statistics of weight 0 count as a full average; deviation: sqrt(variance + eps) is averaged, not the variance.

// moments (slices, C, 3): count, mean and m2 of each part of a channel. weight (1), that of the running average, is updated
// here, since every block of bn_normalize reads its old value, `before` (1). Null where there is no running average.
KERNEL bn_statistics(const stored* x, real* moments, real* weight, real* before, const real* running_mean,
                     const real* running_var, Index n, Index c, Index s, int width, Index slices, int vectors,
                     real momentum, real batch_weight, int full) {
    __shared__ Moments partials[THREADS];
    Channel at(n, c, s, width, slices);
    Shifted sums;
    if (at.valid) {
        if (vectors) {
            for (Index j = at.start + at.worker * LANES; j < at.stop; j += at.workers * LANES) {
                Vector value = load(x + at.at(j));
#pragma unroll
                for (int k = 0; k < LANES; ++k) sums.add(value.v[k]);
            }
        } else {
            for (Index j = at.start + at.worker; j < at.stop; j += at.workers) sums.add(x[at.at(j)]);
        }
    }
    partials[threadIdx.x] = sums.moments();
    __syncthreads();
    for (Index half = at.workers / 2; half > 0; half /= 2) {
        if (at.worker < half) partials[threadIdx.x] = merged(partials[threadIdx.x], partials[threadIdx.x + half * width]);
        __syncthreads();
    }
    if (at.worker == 0 && at.valid) {
        Moments m = partials[threadIdx.x];
        real* out = moments + ((size_t)blockIdx.y * c + at.channel) * 3;
        out[0] = m.count;
        out[1] = m.mean;
        out[2] = m.m2;
    }
    if (weight && blockIdx.x == 0 && blockIdx.y == 0 && threadIdx.x == 0) {
        real w = weight[0];
        *before = w;
        if (w == 0 && full) {
            for (Index i = 0; i < c && w == 0; ++i)
                if (running_mean[i] != 0 || running_var[i] != 0) w = 1;
        }
        weight[0] = w * momentum + batch_weight;
    }
}

// y = (x - mean) scale + shift over a block's part of a channel, then a ReLU if `rectify`. copy (or null) becomes x.
static __device__ __forceinline__ void scale_channel(const Channel& at, const stored* x, stored* y, stored* copy,
                                                     real mean, real scale, real shift, int vectors, int rectify,
                                                     real slope) {
    if (vectors) {
        for (Index j = at.start + at.worker * LANES; j < at.stop; j += at.workers * LANES) {
            size_t i = at.at(j);
            Vector value = load(x + i);
            if (copy) store(copy + i, value);
#pragma unroll
            for (int k = 0; k < LANES; ++k) {
                real r = (value.v[k] - mean) * scale + shift;
                value.v[k] = rectify && r < 0 ? (slope == 0 ? 0 : r * slope) : r;
            }
            store(y + i, value);
        }
    } else {
        for (Index j = at.start + at.worker; j < at.stop; j += at.workers) {
            size_t i = at.at(j);
            real value = x[i];
            if (copy) copy[i] = value;
            real r = (value - mean) * scale + shift;
            y[i] = rectify && r < 0 ? (slope == 0 ? 0 : r * slope) : r;
        }
    }
}

// y = gamma (x - mean) / sqrt(var + eps) + beta, then a ReLU if `rectify`. For backward: mean_inv (2, C) becomes the batch's
// mean and 1 / sqrt(var + eps), copy (or null) becomes x. Blocks with blockIdx.y == 0 update the running average.
KERNEL bn_normalize(const stored* x, const real* moments, const real* gamma, const real* beta, stored* y, stored* copy,
                    real* mean_inv, real* running_mean, real* running_var, const real* before, Index n, Index c,
                    Index s, int width, Index moment_slices, Index slices, int vectors, real momentum, real batch_weight,
                    int unbiased, int divided, int deviation, real eps, int rectify, real slope) {
    __shared__ real scales[THREADS];
    __shared__ real shifts[THREADS];
    Channel at(n, c, s, width, slices);
    if (at.worker == 0) {
        Moments m = {0, 0, 0};
        if (at.valid) {
            for (Index k = 0; k < moment_slices; ++k) {
                const real* p = moments + ((size_t)k * c + at.channel) * 3;
                Moments part = {p[0], p[1], p[2]};
                m = merged(m, part);
            }
            real var = m.m2 / m.count, inv = 1 / sqrt(var + eps);
            real scale = gamma ? inv * gamma[at.channel] : inv;
            scales[threadIdx.x] = scale;
            shifts[threadIdx.x] = m.mean;
            if (blockIdx.y == 0) {
                mean_inv[at.channel] = m.mean;
                mean_inv[c + at.channel] = inv;
                if (running_mean) {
                    real mean_before = running_mean[at.channel], var_before = running_var[at.channel];
                    if (unbiased && m.count > 1) var = m.m2 / (m.count - 1);
                    if (deviation) var = sqrt(var + eps);
                    if (divided) {
                        real step = batch_weight / (*before * momentum + batch_weight);
                        running_mean[at.channel] = mean_before + (m.mean - mean_before) * step;
                        running_var[at.channel] = var_before + (var - var_before) * step;
                    } else {
                        running_mean[at.channel] = mean_before * momentum + m.mean * batch_weight;
                        running_var[at.channel] = var_before * momentum + var * batch_weight;
                    }
                }
            }
        }
    }
    __syncthreads();
    if (!at.valid) return;
    real scale = scales[threadIdx.x % width], mean = shifts[threadIdx.x % width];
    real shift = beta ? beta[at.channel] : 0;
    scale_channel(at, x, y, copy, mean, scale, shift, vectors, rectify, slope);
}

// mean_inv (2, C) of the running statistics, for bn_affine and backward. The statistics are divided by their weight (null:
// taken as they are); where it is 0 they are multiplied by `zero`.
KERNEL bn_running(const real* running_mean, const real* running_var, const real* weight, real* mean_inv, Index c,
                  real eps, real zero, int deviation) {
    real factor = 1;
    if (weight) factor = *weight == 0 ? zero : 1 / *weight;
    GRID_LOOP(i, c) {
        mean_inv[i] = running_mean[i] * factor;
        real var = running_var[i] * factor;
        if (deviation) var = var * var > eps ? var * var - eps : 0;
        mean_inv[c + i] = 1 / sqrt(var + eps);
    }
}

// y = (x - mean) * inv * gamma + beta; each of mean_inv, gamma and beta may be null.
KERNEL bn_affine(const stored* x, const real* mean_inv, const real* gamma, const real* beta, stored* y, stored* copy,
                 Index n, Index c, Index s, int width, Index slices, int vectors, int rectify, real slope) {
    Channel at(n, c, s, width, slices);
    if (!at.valid) return;
    real scale = gamma ? gamma[at.channel] : 1, shift = beta ? beta[at.channel] : 0, mean = 0;
    if (mean_inv) {
        mean = mean_inv[at.channel];
        scale *= mean_inv[c + at.channel];
    }
    scale_channel(at, x, y, copy, mean, scale, shift, vectors, rectify, slope);
}

// dx = gamma inv (dy - dbeta / m - (x - mean) inv dgamma / m) with m = N S (Ioffe & Szegedy 2015), from channel_sums' partial
// `sums` of `sum_slices` parts. Adds to dgamma and dbeta (C), each of which may be null. dx may be dy, or null. batch 0: the
// statistics are constants, dx = gamma inv dy.
KERNEL bn_backward(const stored* dy, const stored* x, const real* mean_inv, const real* gamma, const real* sums,
                   const real* unscale, const stored* y, stored* dx, real* dgamma, real* dbeta, Index n, Index c, Index s,
                   int width, Index sum_slices, Index slices, int vectors, int batch, real slope) {
    __shared__ real factors_x[THREADS];
    __shared__ real offsets[THREADS];
    Channel at(n, c, s, width, slices);
    real inv = at.valid ? mean_inv[c + at.channel] : 1;
    if (at.worker == 0 && at.valid) {
        real a = 0, b = 0;
        if (sums) {
            for (Index k = 0; k < sum_slices; ++k) {
                a += sums[((size_t)k * c + at.channel) * 2];
                b += sums[((size_t)k * c + at.channel) * 2 + 1];
            }
        }
        b *= inv;
        if (blockIdx.y == 0) {
            real by = unscale ? *unscale : 1;
            if (dgamma) dgamma[at.channel] += b * by;
            if (dbeta) dbeta[at.channel] += a * by;
        }
        real m = (real)n * s;
        offsets[threadIdx.x] = batch ? -a / m : 0;
        factors_x[threadIdx.x] = batch ? -inv * b / m : 0;
    }
    __syncthreads();
    if (!at.valid || !dx) return;
    real offset = offsets[threadIdx.x % width], factor_x = factors_x[threadIdx.x % width], mean = mean_inv[at.channel];
    real factor = gamma ? inv * gamma[at.channel] : inv;
    if (vectors) {
        for (Index j = at.start + at.worker * LANES; j < at.stop; j += at.workers * LANES) {
            size_t i = at.at(j);
            Vector g = load(dy + i), value = {}, out = {};
            if (batch) value = load(x + i);
            if (y) out = load(y + i);
#pragma unroll
            for (int k = 0; k < LANES; ++k) {
                real d = y && !(out.v[k] > 0) ? g.v[k] * slope : (real)g.v[k];
                g.v[k] = ((value.v[k] - mean) * factor_x + d + offset) * factor;
            }
            store(dx + i, g);
        }
    } else {
        for (Index j = at.start + at.worker; j < at.stop; j += at.workers) {
            size_t i = at.at(j);
            real d = through_relu(dy[i], y, i, slope), value = batch ? x[i] - mean : (real)0;
            dx[i] = (value * factor_x + d + offset) * factor;
        }
    }
}

// Batch normalisation of (N, C, S): statistics in one pass over x, normalisation in a second; both sums of the
// gradient in one pass over x and dy, dx in a second. The split layers (BatchNorm, Scale) use the same kernels.
#include "common.cuh"

// Mean and sum of squared distances from it, over `count` values: what Welford's method carries along.
struct Moments {
    real count, mean, m2;
};

// Chan, Golub & LeVeque 1979: the moments of two sets together.
static __device__ __forceinline__ Moments together(const Moments& a, const Moments& b) {
    if (b.count == 0) return a;
    if (a.count == 0) return b;
    Moments r;
    r.count = a.count + b.count;
    real delta = b.mean - a.mean, share = b.count / r.count;
    r.mean = a.mean + delta * share;
    r.m2 = a.m2 + b.m2 + delta * delta * a.count * share;
    return r;
}

// Sums of x - shift, where the shift is the first value a thread meets: nothing is lost when the mean is large.
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

// The running average is moved by the numbers of a line of the table in dragon/normalization/rules.py: the weights of the
// old sum (momentum) and of the batch (fresh), whether the variance enters unbiased, whether the blobs hold the sum
// divided by its weight, whether statistics of weight 0 are a full average.

// moments: (slices, C, 3). weight (1) of the running average moves on here, since every block of the next kernel
// reads it: `before` (1) is its old value. No weight, no running average in this call: pass null.
KERNEL bn_statistics(const stored* x, real* moments, real* weight, real* before, const real* running_mean,
                     const real* running_var, Index n, Index c, Index s, int width, Index slices, int vectors,
                     real momentum, real fresh, int full) {
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
        if (at.worker < half) partials[threadIdx.x] = together(partials[threadIdx.x], partials[threadIdx.x + half * width]);
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
        weight[0] = w * momentum + fresh;
    }
}

// y = (x - mean) scale + shift over a block's part of a channel, then perhaps a ReLU; copy, unless null, gets x.
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

// y = gamma (x - mean) / sqrt(var + eps) + beta, then perhaps a ReLU. mean_inv (2, C) keeps the batch's mean and
// 1 / sqrt(var + eps) for backward; copy, unless null, keeps x. Blocks with blockIdx.y == 0 move the running average.
KERNEL bn_normalize(const stored* x, const real* moments, const real* gamma, const real* beta, stored* y, stored* copy,
                    real* mean_inv, real* running_mean, real* running_var, const real* before, Index n, Index c,
                    Index s, int width, Index moment_slices, Index slices, int vectors, real momentum, real fresh,
                    int unbiased, int divided, real eps, int rectify, real slope) {
    __shared__ real scales[THREADS];
    __shared__ real shifts[THREADS];
    Channel at(n, c, s, width, slices);
    if (at.worker == 0) {
        Moments m = {0, 0, 0};
        if (at.valid) {
            for (Index k = 0; k < moment_slices; ++k) {
                const real* p = moments + ((size_t)k * c + at.channel) * 3;
                Moments part = {p[0], p[1], p[2]};
                m = together(m, part);
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
                    if (divided) {
                        real step = fresh / (*before * momentum + fresh);
                        running_mean[at.channel] = mean_before + (m.mean - mean_before) * step;
                        running_var[at.channel] = var_before + (var - var_before) * step;
                    } else {
                        running_mean[at.channel] = mean_before * momentum + m.mean * fresh;
                        running_var[at.channel] = var_before * momentum + var * fresh;
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

// By running statistics: fills mean_inv (2, C), which bn_affine and the backward kernels read. The statistics are divided
// by their weight (null: as they are); `zero` is the factor where it is 0.
KERNEL bn_running(const real* running_mean, const real* running_var, const real* weight, real* mean_inv, Index c,
                  real eps, real zero) {
    real factor = 1;
    if (weight) factor = *weight == 0 ? zero : 1 / *weight;
    GRID_LOOP(i, c) {
        mean_inv[i] = running_mean[i] * factor;
        mean_inv[c + i] = 1 / sqrt(running_var[i] * factor + eps);
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

static __device__ __forceinline__ real through_relu(real dy, const stored* y, size_t i, real slope) {
    return y && !(y[i] > 0) ? dy * slope : dy;
}

// Both sums in one pass: sums (slices, C, 2) of dy and of dy * (x - mean). x null: of dy alone; mean null: 0.
// y, unless null, is the output of a fused ReLU: dy first passes through that.
KERNEL channel_sums(const stored* dy, const stored* x, const real* mean, const stored* y, real* sums, Index n, Index c,
                    Index s, int width, Index slices, int vectors, real slope) {
    __shared__ real first[THREADS];
    __shared__ real second[THREADS];
    Channel at(n, c, s, width, slices);
    real a = 0, b = 0;
    if (at.valid) {
        real centre = mean ? mean[at.channel] : 0;
        if (vectors) {
            for (Index j = at.start + at.worker * LANES; j < at.stop; j += at.workers * LANES) {
                size_t i = at.at(j);
                Vector g = load(dy + i), value = {}, out = {};
                if (x) value = load(x + i);
                if (y) out = load(y + i);
#pragma unroll
                for (int k = 0; k < LANES; ++k) {
                    real d = y && !(out.v[k] > 0) ? g.v[k] * slope : (real)g.v[k];
                    a += d;
                    b += d * (value.v[k] - centre);
                }
            }
        } else {
            for (Index j = at.start + at.worker; j < at.stop; j += at.workers) {
                size_t i = at.at(j);
                real d = through_relu(dy[i], y, i, slope);
                a += d;
                if (x) b += d * (x[i] - centre);
            }
        }
    }
    first[threadIdx.x] = a;
    second[threadIdx.x] = b;
    __syncthreads();
    for (Index half = at.workers / 2; half > 0; half /= 2) {
        if (at.worker < half) {
            first[threadIdx.x] += first[threadIdx.x + half * width];
            second[threadIdx.x] += second[threadIdx.x + half * width];
        }
        __syncthreads();
    }
    if (at.worker == 0 && at.valid) {
        real* out = sums + ((size_t)blockIdx.y * c + at.channel) * 2;
        out[0] = first[threadIdx.x];
        out[1] = second[threadIdx.x];
    }
}

// The partial sums in order: out_a (C) gets those of dy, out_b (C) the others times `inv` (C; null: 1). Each output
// may be null; add: they are added to.
KERNEL channel_totals(const real* sums, const real* inv, const real* unscale, real* out_a, real* out_b, Index c,
                      Index slices, int add) {
    GRID_LOOP(i, c) {
        real a = 0, b = 0;
        for (Index k = 0; k < slices; ++k) {
            a += sums[((size_t)k * c + i) * 2];
            b += sums[((size_t)k * c + i) * 2 + 1];
        }
        if (inv) b *= inv[i];
        if (unscale) {
            a *= *unscale;
            b *= *unscale;
        }
        if (out_a) out_a[i] = add ? out_a[i] + a : a;
        if (out_b) out_b[i] = add ? out_b[i] + b : b;
    }
}

// dx = gamma inv (dy - dbeta / m - (x - mean) inv dgamma / m), after the sums of channel_sums over `sum_slices`.
// dgamma and dbeta (C) are added to; each may be null. dx may be dy or null. batch 0: fixed statistics, dx = gamma inv dy.
KERNEL bn_backward(const stored* dy, const stored* x, const real* mean_inv, const real* gamma, const real* sums,
                   const real* unscale, const stored* y, stored* dx, real* dgamma, real* dbeta, Index n, Index c, Index s, int width,
                   Index sum_slices, Index slices, int vectors, int batch, real slope) {
    __shared__ real alongs[THREADS];
    __shared__ real levels[THREADS];
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
            real true_size = unscale ? *unscale : 1;
            if (dgamma) dgamma[at.channel] += b * true_size;
            if (dbeta) dbeta[at.channel] += a * true_size;
        }
        real m = (real)n * s;
        levels[threadIdx.x] = batch ? -a / m : 0;
        alongs[threadIdx.x] = batch ? -inv * b / m : 0;
    }
    __syncthreads();
    if (!at.valid || !dx) return;
    real level = levels[threadIdx.x % width], along = alongs[threadIdx.x % width], mean = mean_inv[at.channel];
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
                g.v[k] = ((value.v[k] - mean) * along + d + level) * factor;
            }
            store(dx + i, g);
        }
    } else {
        for (Index j = at.start + at.worker; j < at.stop; j += at.workers) {
            size_t i = at.at(j);
            real d = through_relu(dy[i], y, i, slope), value = batch ? x[i] - mean : (real)0;
            dx[i] = (value * along + d + level) * factor;
        }
    }
}

// Batch normalisation of (N, C, S). Forward: the statistics in one pass over x, y in a second one. Backward: both sums in one
// pass over x and dy (channels.cu), dx in a second one. The split layers (BatchNorm, Scale) use the same kernels. The second
// pass goes backwards, since the cache still has what the first one read last.
#include "common.cuh"
#include "fused_relu.cuh"
#include "parts.cuh"
#include "incoming.cuh"
#include "batch_norm.cuh"

// How many of the `all` values of a channel part k has, where each part but the last one has `each`.
static __device__ __forceinline__ Index values_of(Index k, Index each, Index all) {
    Index first = k * each;
    return all - first < each ? all - first : each;
}

// moments (parts, C, 2): mean of each part of a channel, and the sum of squared distances from it. weight (1), that of the
// running average, is updated here, since every block of bn_normalize reads its old value, `before` (1). Null where there is
// no running average.
KERNEL_OF_FOUR bn_statistics(const stored* x, real* moments, real* weight, real* before, const real* running_mean,
                             const real* running_var, Index n, Index c, Index s, int group, Index part, int vectors,
                             real momentum, real batch_weight, int full) {
    __shared__ real means[THREADS * LANES];
    __shared__ real m2s[THREADS * LANES];
    Part at(n, c, s, group, part, vectors);
    by_form(group, vectors, [&](auto form) {
        constexpr int W = form.width, P = form.channels;
        Walk walk = at.walk<W>(false);
        Shifted sums[P] = {};
        if (walk.left) {
            Lanes<W> value = lanes<W>(x + walk.at);
#pragma unroll
            for (int k = 0; k < P; ++k) sums[k].shift = value[k];
        }
        each<P == 1 ? 8 : 4>(
            walk, [&](Index i) { return lanes<W>(x + i); }, [] {},
            [&](Index, const Lanes<W>& value) {
#pragma unroll
                for (int k = 0; k < W; ++k) sums[k % P].add(value[k]);
            });
        real count = (real)(walk.left * (W / P)), share = walk.left ? 1 / count : 0;
#pragma unroll
        for (int k = 0; k < P; ++k) {
            real d = sums[k].sum * share, m2 = sums[k].squares - sums[k].sum * d;
            means[threadIdx.x * P + k] = sums[k].shift + d;
            m2s[threadIdx.x * P + k] = m2 < 0 ? 0 : m2;
        }
    });
    __syncthreads();
    Index sharers = at.columns ? at.workers : THREADS, least = at.length / sharers, more = at.length - least * sharers;
    Index lane = vectors ? LANES : 1, unit = at.columns ? 1 : lane;
    at.collect(
        at.columns ? lane : 1,
        [&](Index sharer, Index cell, Index first, real& a, real& b) {
            unite((real)((least + (sharer < more)) * unit), means[cell], m2s[cell], means[first], a, b);
        },
        [&](Index g, real a, real b) {
            real* out = moments + ((size_t)blockIdx.y * c + at.channel + g) * 2;
            real count = (real)(at.length * (at.columns ? s : lane));
            united(count, means[g * at.span], a, b, out[0], out[1]);
        });
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

// folded (parts / each, C, 2): the moments of each `each` parts in a row. A part has `values` values of the channel's `all`.
KERNEL fold_moments(const real* moments, real* folded, Index c, Index parts, Index each, Index values, Index all) {
    __shared__ real all_a[THREADS];
    __shared__ real all_b[THREADS];
    Fold at(c, parts, each);
    real shift = at.channel < c ? moments[((size_t)at.first * c + at.channel) * 2] : 0;
    at.sums(moments, all_a, all_b, [&](Index k, const real* p, real& a, real& b) {
        unite((real)values_of(k, values, all), p[0], p[1], shift, a, b);
    });
    __syncthreads();
    at.total(all_a, all_b, [&](real a, real b) {
        real* out = folded + ((size_t)blockIdx.y * c + at.channel) * 2;
        united((real)values_of(blockIdx.y, values * each, all), shift, a, b, out[0], out[1]);
    });
}

// made.write for all values with gamma (x - mean) / sqrt(var + eps) + beta. mean_inv (2, C) becomes the batch's mean and
// 1 / sqrt(var + eps). `moments` has moment_parts parts of moment_values values. Blocks with blockIdx.y == 0 update the running
// average.
template <typename Made>
static __device__ __forceinline__ void normalize(const Made& made, const Part& at, real (*shared)[GROUP], int group, int vectors,
                                                 const real* moments, const real* gamma, const real* beta, real* mean_inv,
                                                 real* running_mean, real* running_var, const real* before,
                                                 Index moment_parts, Index moment_values, const Averaging& rule, real eps) {
    real *means = shared[0], *scales = shared[1], *shifts = shared[2];
    Index c = at.c, all = at.n * at.s;
    auto prepare = [&] {
        at.combine(
            moment_parts,
            [&](Index k, Index channel, real& a, real& b) {
                const real* p = moments + ((size_t)k * c + channel) * 2;
                unite((real)values_of(k, moment_values, all), p[0], p[1], moments[(size_t)channel * 2], a, b);
            },
            [&](Index g, real a, real b) {
                Index channel = at.channel + g;
                real mean, m2, count = (real)all;
                united(count, moments[(size_t)channel * 2], a, b, mean, m2);
                real var = m2 / count, inv = 1 / sqrt(var + eps);
                means[g] = mean;
                scales[g] = gamma ? inv * gamma[channel] : inv;
                shifts[g] = beta ? beta[channel] : 0;
                if (blockIdx.y) return;
                mean_inv[channel] = mean;
                mean_inv[c + channel] = inv;
                if (!running_mean) return;
                rule.average(running_mean[channel], running_var[channel], rule.divided ? *before : 0, mean, m2, count,
                             eps);
            });
    };
    by_form(group, vectors, [&](auto form) {
        constexpr int W = form.width, P = form.channels;
        Affine<W, P> to;
        each<P == 1 ? Made::ahead_maps : Made::ahead_columns>(
            at.walk<W>(true), [&](Index i) { return made.template read<W>(i); },
            [&] {
                prepare();
                __syncthreads();
                at.each_lane<P>([&](int k, Index g) {
                    to.mean[k] = means[g];
                    to.scale[k] = scales[g];
                    to.shift[k] = shifts[g];
                });
            },
            [&](Index i, const auto& value) { made.write(i, value, to); });
    });
}

// y = gamma (x - mean) / sqrt(var + eps) + beta, then a ReLU if `rectify`. copy (or null) becomes x, for backward.
KERNEL_OF_FOUR bn_normalize(const stored* x, const real* moments, const real* gamma, const real* beta, stored* y,
                            stored* copy, real* mean_inv, real* running_mean, real* running_var, const real* before,
                            Index n, Index c, Index s, int group, Index part, int vectors, Index moment_parts,
                            Index moment_values, real momentum, real batch_weight, int unbiased, int divided,
                            int deviation, real eps, int rectify, real slope) {
    __shared__ real shared[3][GROUP];
    normalize(Normalized{x, y, copy, rectify, slope}, Part(n, c, s, group, part, vectors), shared, group, vectors, moments, gamma,
              beta, mean_inv, running_mean, running_var, before, moment_parts, moment_values,
              Averaging{momentum, batch_weight, unbiased, divided, deviation}, eps);
}

// bn_normalize without a ReLU on y, and sum = y + other, then a ReLU if `rectify`.
KERNEL_OF_FOUR bn_normalize_sum(const stored* x, const stored* other, const real* moments, const real* gamma,
                                const real* beta, stored* y, stored* copy, stored* sum, real* mean_inv,
                                real* running_mean, real* running_var, const real* before, Index n, Index c, Index s,
                                int group, Index part, int vectors, Index moment_parts, Index moment_values,
                                real momentum, real batch_weight, int unbiased, int divided, int deviation, real eps,
                                int rectify, real slope) {
    __shared__ real shared[3][GROUP];
    normalize(NormalizedSum{x, other, y, copy, sum, rectify, slope}, Part(n, c, s, group, part, vectors), shared, group, vectors,
              moments, gamma, beta, mean_inv, running_mean, running_var, before, moment_parts, moment_values,
              Averaging{momentum, batch_weight, unbiased, divided, deviation}, eps);
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
KERNEL_OF_FOUR bn_affine(const stored* x, const real* mean_inv, const real* gamma, const real* beta, stored* y,
                         stored* copy, Index n, Index c, Index s, int group, Index part, int vectors, int rectify,
                         real slope) {
    Part at(n, c, s, group, part, vectors);
    by_form(group, vectors, [&](auto form) {
        constexpr int W = form.width, P = form.channels;
        Affine<W, P> to;
        each<P == 1 ? 4 : 3>(
            at.walk<W>(false), [&](Index i) { return lanes<W>(x + i); },
            [&] {
                at.each_lane<P>([&](int k, Index g) {
                    Index channel = at.channel + g;
                    to.scale[k] = gamma ? gamma[channel] : 1;
                    to.shift[k] = beta ? beta[channel] : 0;
                    to.mean[k] = 0;
                    if (mean_inv) {
                        to.mean[k] = mean_inv[channel];
                        to.scale[k] *= mean_inv[c + channel];
                    }
                });
            },
            [&](Index i, const Lanes<W>& value) { to.apply(i, value, y, copy, rectify, slope); });
    });
}

// dx = gamma inv (dy - dbeta / m - (x - mean) inv dgamma / m) with m = N S (Ioffe & Szegedy 2015), from channel_sums' partial
// `sums` of sum_parts parts. dgamma and dbeta (C), each of which may be null: see `learn`. dx may be dy, or null. batch 0: the
// statistics are constants, dx = gamma inv dy.
KERNEL_OF_FOUR bn_backward(const stored* dy, const stored* x, const real* mean_inv, const real* gamma, const real* sums,
                           const real* unscale, const stored* y, stored* dx, real* dgamma, real* dbeta, int add,
                           Index n, Index c, Index s, int group, Index part, int vectors, Index sum_parts, int batch,
                           real slope) {
    __shared__ real means[GROUP];
    __shared__ real offsets[GROUP];
    __shared__ real factors_x[GROUP];
    __shared__ real factors[GROUP];
    Part at(n, c, s, group, part, vectors);
    auto prepare = [&] {
        at.combine(
            sums ? sum_parts : 0,
            [&](Index k, Index channel, real& a, real& b) {
                const real* p = sums + ((size_t)k * c + channel) * 2;
                a += p[0];
                b += p[1];
            },
            [&](Index g, real a, real b) {
                Index channel = at.channel + g;
                real inv = mean_inv[c + channel], count = (real)n * s;
                b *= inv;
                if (blockIdx.y == 0) {
                    real by = unscale ? *unscale : 1;
                    if (dgamma) learn(dgamma[channel], b * by, add & TO_GAMMA);
                    if (dbeta) learn(dbeta[channel], a * by, add & TO_BETA);
                }
                means[g] = mean_inv[channel];
                offsets[g] = batch ? -a / count : 0;
                factors_x[g] = batch ? -inv * b / count : 0;
                factors[g] = gamma ? inv * gamma[channel] : inv;
            });
    };
    if (!dx) return prepare();
    by_form(group, vectors, [&](auto form) {
        constexpr int W = form.width, P = form.channels;
        real mean[P], offset[P], factor_x[P], factor[P];
        each<P < 8 ? 2 : 1>(
            at.walk<W>(true), [&](Index i) { return Incoming<W>(dy, batch ? x : nullptr, y, i); },
            [&] {
                prepare();
                __syncthreads();
                at.each_lane<P>([&](int k, Index g) {
                    mean[k] = means[g];
                    offset[k] = offsets[g];
                    factor_x[k] = factors_x[g];
                    factor[k] = factors[g];
                });
            },
            [&](Index i, const Incoming<W>& value) {
                real d[W];
                Lanes<W> out;
                value.before_relu(y, slope, d);
#pragma unroll
                for (int k = 0; k < W; ++k)
                    d[k] = ((value.x[k] - mean[k % P]) * factor_x[k % P] + d[k] + offset[k % P]) * factor[k % P];
                out.set(d);
                put(dx + i, out);
            });
    });
}

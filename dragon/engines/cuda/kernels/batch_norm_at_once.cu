// Batch normalisation of (N, C, S) in one launch each way. Block x has the channels from x * group on, in all images, reads
// them once, and keeps them in shared memory until their statistics are known. Its threads stand as in the columns of
// parts.cuh, and each reads back only what it wrote itself.
#define THREADS 512
#include "common.cuh"
#include "fused_relu.cuh"
#include "parts.cuh"
#include "incoming.cuh"
#include "batch_norm.cuh"
#define KERNEL_OF_ONE KERNEL __launch_bounds__(THREADS, 1)
#define GIVEN 0x10000  // what a block whose running statistics are not all 0 adds to the counter of blocks

// run(Form) for vectors of LANES numbers or of one.
template <typename Run>
static __device__ __forceinline__ void by_width(int vectors, Run run) {
    if (vectors)
        run(Form<LANES, LANES>());
    else
        run(Form<1, 1>());
}

// The block's columns, and how dynamic shared memory is divided: `slices` arrays of the columns in `stored`, `masks` bytes
// for a vector, a number for each lane of each thread, then `values` numbers for each channel.
template <int W>
struct Columns : Part {
    Index own, stride, rows;  // the thread's first vector in a slice, the distance of its vectors, and how many it has
    Lanes<W>* slice;
    unsigned char* mask;
    real *lane, *value;
    int group;

    __device__ Columns(Vector* memory, Index n, Index c, Index s, int group, int slices, int masks)
        : Part(n, c, s, group, n, W > 1), group(group) {
        Index all = n * width;
        own = threadIdx.x;
        stride = workers * width;
        rows = walk<W>(false).left;
        slice = reinterpret_cast<Lanes<W>*>(memory);
        mask = reinterpret_cast<unsigned char*>(memory + whole(slices * all * (Index)sizeof(Lanes<W>)));
        lane = reinterpret_cast<real*>(memory + whole(slices * all * (Index)sizeof(Lanes<W>)) + whole(masks * all));
        value = lane + THREADS * W;
    }

    // 16-byte pieces that hold so many bytes.
    static __device__ __forceinline__ Index whole(Index bytes) { return (bytes + 15) / 16; }

    // Number `which` of the block's channel g.
    __device__ __forceinline__ real& of(int which, Index g) const { return value[which * group + g]; }

    // Vectors that a worker has of a column.
    __device__ __forceinline__ real count(Index worker) const {
        Index least = length / workers;
        return (real)(least + (worker < length - least * workers));
    }

    // use(g, total) by one thread for each channel g, with the sum over its lanes of term(worker, number of the lane, number
    // of the channel's first lane), after all threads have written theirs.
    template <typename Term, typename Use>
    __device__ __forceinline__ void total(Term term, Use use) const {
        __syncthreads();
        collect(
            W, [&](Index worker, Index cell, Index first, real& a, real&) { a += term(worker, lane[cell], lane[first]); },
            [&](Index g, real a, real) { use(g, a); });
        __syncthreads();
    }
};

// y = gamma (x - mean) / sqrt(var + eps) + beta, then a ReLU if `rectify`. For backward: mean_inv (2, C) becomes the batch's
// mean and 1 / sqrt(var + eps), copy (or null) becomes x. The running average is null, or updated with its `weight` (1, or
// null); arrived (1) is 0 before and after, and counts the blocks that have read the weight.
KERNEL_OF_ONE bn_forward_at_once(const stored* x, const real* gamma, const real* beta, stored* y, stored* copy,
                                 real* mean_inv, real* running_mean, real* running_var, real* weight, int* arrived,
                                 Index n, Index c, Index s, int group, int vectors, real momentum, real batch_weight,
                                 int full, int unbiased, int divided, int deviation, real eps, int rectify,
                                 real slope) {
    DYNAMIC_SHARED(memory);
    enum { MEAN, SCALE, SHIFT };
    by_width(vectors, [&](auto form) {
        constexpr int W = form.width;
        Columns<W> at(memory, n, c, s, group, 1, 0);
        Averaging rule = {momentum, batch_weight, unbiased, divided, deviation};
        real before = weight ? *weight : 0;
        int given = 0;
        if (weight && full && before == 0 && threadIdx.x == 0) {
            for (Index i = at.channel; i < at.channel + at.channels; ++i)
                if (running_mean[i] != 0 || running_var[i] != 0) given = 1;
        }
        Walk walk = at.template walk<W>(false);
        Shifted sums[W] = {};
        if (walk.left) {
            Lanes<W> value = lanes<W>(x + walk.at);
#pragma unroll
            for (int k = 0; k < W; ++k) sums[k].shift = value[k];
        }
        Lanes<W>* cell = at.slice + at.own;
        each<8>(
            walk, [&](Index i) { return lanes<W>(x + i); }, [] {},
            [&](Index, const Lanes<W>& value) {
                *cell = value;
                cell += at.stride;
#pragma unroll
                for (int k = 0; k < W; ++k) sums[k].add(value[k]);
            });
        // each lane's mean, then its squared distances from the channel's mean
        real rows = (real)at.rows, share = at.rows ? 1 / rows : 0, mean[W], m2[W];
#pragma unroll
        for (int k = 0; k < W; ++k) {
            real d = sums[k].sum * share;
            m2[k] = sums[k].squares - sums[k].sum * d;
            mean[k] = sums[k].shift + d;
            at.lane[threadIdx.x * W + k] = mean[k];
        }
        real all = (real)(n * s);
        at.total([&](Index worker, real own, real first) { return at.count(worker) * (own - first); },
                 [&](Index g, real a) { at.of(MEAN, g) = at.lane[g * at.span] + a / all; });
        at.template each_lane<W>([&](int k, Index g) {
            real d = mean[k] - (at.rows ? at.of(MEAN, g) : mean[k]);
            at.lane[threadIdx.x * W + k] = (m2[k] < 0 ? 0 : m2[k]) + rows * d * d;
        });
        at.total([&](Index, real own, real) { return own; },
                 [&](Index g, real sum) {
                     Index channel = at.channel + g;
                     real average = at.of(MEAN, g), inv = 1 / sqrt(sum / all + eps);
                     at.of(SCALE, g) = gamma ? inv * gamma[channel] : inv;
                     at.of(SHIFT, g) = beta ? beta[channel] : 0;
                     mean_inv[channel] = average;
                     mean_inv[c + channel] = inv;
                     if (running_mean)
                         rule.average(running_mean[channel], running_var[channel], before, average, sum, all, eps);
                 });
        if (weight && threadIdx.x == 0) {
            __threadfence();
            unsigned int mine = given ? 1 + GIVEN : 1, sum = (unsigned int)atomicAdd(arrived, (int)mine) + mine;
            if (sum % GIVEN == gridDim.x) {
                *weight = (before == 0 && sum > GIVEN ? 1 : before) * momentum + batch_weight;
                *arrived = 0;
            }
        }
        Affine<W, W> to;
        at.template each_lane<W>([&](int k, Index g) {
            to.mean[k] = at.of(MEAN, g);
            to.scale[k] = at.of(SCALE, g);
            to.shift[k] = at.of(SHIFT, g);
        });
        cell = at.slice + at.own;
#pragma unroll 4
        for (Index r = 0; r < at.rows; ++r) {
            to.apply(walk.at, *cell, y, copy, rectify, slope);
            walk.next();
            cell += at.stride;
        }
    });
}

// dx = gamma inv (dy - dbeta / m - (x - mean) inv dgamma / m) with m = N S (Ioffe & Szegedy 2015). dgamma and dbeta (C), each of which
// may be null: see `learn`. y: the output of a fused ReLU, or null. dx may be dy. batch 0: the statistics are
// constants, dx = gamma inv dy.
KERNEL_OF_ONE bn_backward_at_once(const stored* dy, const stored* x, const real* mean_inv, const real* gamma,
                                  const real* unscale, const stored* y, stored* dx, real* dgamma, real* dbeta, int add,
                                  Index n, Index c, Index s, int group, int vectors, int batch, real slope) {
    DYNAMIC_SHARED(memory);
    enum { SUM, OFFSET, FACTOR_X, FACTOR };
    by_width(vectors, [&](auto form) {
        constexpr int W = form.width;
        Columns<W> at(memory, n, c, s, group, 2, y != nullptr);
        Lanes<W>* xs = at.slice + n * at.width;
        real mean[W], a[W] = {}, b[W] = {};
        at.template each_lane<W>([&](int k, Index g) { mean[k] = mean_inv[at.channel + g]; });
        Walk walk = at.template walk<W>(false);
        Index cell = at.own;
        each<4>(
            walk, [&](Index i) { return Incoming<W>(dy, x, y, i); }, [] {},
            [&](Index, const Incoming<W>& value) {
                real d[W];
                value.before_relu(y, slope, d);
                at.slice[cell] = value.dy;
                xs[cell] = value.x;
                if (y) {
                    int positive = 0;
#pragma unroll
                    for (int k = 0; k < W; ++k) positive |= (value.y[k] > 0) << k;
                    at.mask[cell] = positive;
                }
                cell += at.stride;
#pragma unroll
                for (int k = 0; k < W; ++k) {
                    a[k] += d[k];
                    b[k] += d[k] * (value.x[k] - mean[k]);
                }
            });
        auto own = [](Index, real value, real) { return value; };
#pragma unroll
        for (int k = 0; k < W; ++k) at.lane[threadIdx.x * W + k] = a[k];
        at.total(own, [&](Index g, real sum) { at.of(SUM, g) = sum; });
#pragma unroll
        for (int k = 0; k < W; ++k) at.lane[threadIdx.x * W + k] = b[k];
        at.total(own, [&](Index g, real sum) {
            Index channel = at.channel + g;
            real inv = mean_inv[c + channel], count = (real)n * s, by = unscale ? *unscale : 1;
            sum *= inv;
            if (dgamma) learn(dgamma[channel], sum * by, add & TO_GAMMA);
            if (dbeta) learn(dbeta[channel], at.of(SUM, g) * by, add & TO_BETA);
            at.of(OFFSET, g) = batch ? -at.of(SUM, g) / count : 0;
            at.of(FACTOR_X, g) = batch ? -inv * sum / count : 0;
            at.of(FACTOR, g) = gamma ? inv * gamma[channel] : inv;
        });
        real offset[W], factor_x[W], factor[W];
        at.template each_lane<W>([&](int k, Index g) {
            offset[k] = at.of(OFFSET, g);
            factor_x[k] = at.of(FACTOR_X, g);
            factor[k] = at.of(FACTOR, g);
        });
        cell = at.own;
#pragma unroll 2
        for (Index r = 0; r < at.rows; ++r) {
            Lanes<W> dys = at.slice[cell], value = xs[cell], out;
            int positive = y ? at.mask[cell] : -1;
            real d[W];
#pragma unroll
            for (int k = 0; k < W; ++k) {
                d[k] = dys[k];
                if (!(positive >> k & 1)) d[k] *= slope;
                real through = batch ? (value[k] - mean[k]) * factor_x[k] : 0;  // dx depends on x by the statistics only
                d[k] = (through + d[k] + offset[k]) * factor[k];
            }
            out.set(d);
            put(dx + walk.at, out);
            walk.next();
            cell += at.stride;
        }
    });
}

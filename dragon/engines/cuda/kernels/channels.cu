// Sums over each channel of (N, C, S): gradients of biases, scales, slopes and statistics.
#include "common.cuh"
#include "parts.cuh"
#include "incoming.cuh"

// channel_sums reads a gradient. ahead: reads of a thread under way at a time, of maps and of columns.
struct Given {
    static constexpr int ahead_maps = 4, ahead_columns = 2;
    static constexpr bool few_registers = false;
    const stored *dy, *x, *y;
    real slope;

    template <int W>
    __device__ __forceinline__ Incoming<W> read(Index i) const {
        return Incoming<W>(dy, x, y, i);
    }

    template <int W>
    __device__ __forceinline__ void take(Index, const Incoming<W>& value, real (&d)[W]) const {
        value.before_relu(y, slope, d);
    }
};

// channel_sums_of_sum makes it, and writes it.
struct Spread {
    static constexpr int ahead_maps = 2, ahead_columns = 1;
    static constexpr bool few_registers = true;
    const stored *dy, *more, *x, *y;
    stored* outs[3];  // null: no such array
    real slope;

    template <int W>
    __device__ __forceinline__ Arriving<W> read(Index i) const {
        return Arriving<W>(dy, more, x, y, i);
    }

    template <int W>
    __device__ __forceinline__ void take(Index i, const Arriving<W>& value, real (&d)[W]) const {
        Lanes<W> sum = value.sum(more, y, slope);
#pragma unroll
        for (int k = 0; k < W; ++k) d[k] = sum[k];
#pragma unroll
        for (int j = 0; j < 3; ++j)
            if (outs[j]) put(outs[j] + i, sum);
    }
};

// Numbers that a thread subtracts from the values of its P channels: in registers, or in its part of shared memory.
template <int P, bool SHARED>
struct Centres {
    real value[P];

    __device__ explicit Centres(real*) {}
    __device__ __forceinline__ void set(int k, real centre) { value[k] = centre; }
    __device__ __forceinline__ real at(int k) const { return value[k]; }
};

template <int P>
struct Centres<P, true> {
    volatile real* own;

    __device__ explicit Centres(real* shared) : own(shared + threadIdx.x * P) {}
    __device__ __forceinline__ void set(int k, real centre) { own[k] = centre; }
    __device__ __forceinline__ real at(int k) const { return own[k]; }
};

template <typename From>
static __device__ __forceinline__ void sums_by_channel(const From& from, const Part& at, real (*shared)[THREADS * LANES],
                                                       int group, int vectors, const real* mean, real* sums) {
    real *first = shared[0], *second = shared[1];
    by_form(group, vectors, [&](auto form) {
        constexpr int W = form.width, P = form.channels;
        real a[P] = {}, b[P] = {};
        Centres<P, From::few_registers> centre(first);
        at.each_lane<P>([&](int k, Index g) { centre.set(k, mean ? mean[at.channel + g] : 0); });
        each<P == 1 ? From::ahead_maps : From::ahead_columns>(
            at.walk<W>(false), [&](Index i) { return from.template read<W>(i); }, [] {},
            [&](Index i, const auto& value) {
                real d[W];
                from.template take<W>(i, value, d);
#pragma unroll
                for (int k = 0; k < W; ++k) {
                    a[k % P] += d[k];
                    b[k % P] += d[k] * (value.x[k] - centre.at(k % P));
                }
            });
#pragma unroll
        for (int k = 0; k < P; ++k) {
            first[threadIdx.x * P + k] = a[k];
            second[threadIdx.x * P + k] = b[k];
        }
    });
    __syncthreads();
    at.collect(
        vectors && group ? LANES : 1,
        [&](Index, Index cell, Index, real& a, real& b) {
            a += first[cell];
            b += second[cell];
        },
        [&](Index g, real a, real b) {
            real* out = sums + ((size_t)blockIdx.y * at.c + at.channel + g) * 2;
            out[0] = a;
            out[1] = b;
        });
}

// Partial sums (parts, C, 2) of dy and of dy * (x - mean), in one pass. x null: of dy alone; mean null: 0. y: the output of
// a fused ReLU, whose gradient replaces dy, or null.
KERNEL_OF_FOUR channel_sums(const stored* dy, const stored* x, const real* mean, const stored* y, real* sums, Index n,
                            Index c, Index s, int group, Index part, int vectors, real slope) {
    __shared__ real shared[2][THREADS * LANES];
    sums_by_channel(Given{dy, x, y, slope}, Part(n, c, s, group, part, vectors), shared, group, vectors, mean, sums);
}

// channel_sums of dy + more (more null: of dy), times the slope where the ReLU's output y (null: no ReLU) is not above 0, which
// is written into up to three arrays (null: no such array). Each may be dy or more.
KERNEL_OF_FOUR channel_sums_of_sum(const stored* dy, const stored* more, const stored* x, const real* mean,
                                   const stored* y, stored* out0, stored* out1, stored* out2, real* sums, Index n,
                                   Index c, Index s, int group, Index part, int vectors, real slope) {
    __shared__ real shared[2][THREADS * LANES];
    sums_by_channel(Spread{dy, more, x, y, {out0, out1, out2}, slope}, Part(n, c, s, group, part, vectors), shared, group, vectors,
                    mean, sums);
}

// out (C) = the sums of dy times unscale, or with `add` plus these, by blocks that have all values of their channels.
KERNEL_OF_FOUR channel_gradient(const stored* dy, const real* unscale, real* out, Index n, Index c, Index s, int group,
                                Index part, int vectors, int add) {
    __shared__ real lane[THREADS * LANES];
    Part at(n, c, s, group, part, vectors);
    by_form(group, vectors, [&](auto form) {
        constexpr int W = form.width, P = form.channels;
        real sum[P] = {};
        each<4>(
            at.walk<W>(false), [&](Index i) { return lanes<W>(dy + i); }, [] {},
            [&](Index, const Lanes<W>& value) {
#pragma unroll
                for (int k = 0; k < W; ++k) sum[k % P] += value[k];
            });
#pragma unroll
        for (int k = 0; k < P; ++k) lane[threadIdx.x * P + k] = sum[k];
    });
    __syncthreads();
    at.collect(
        vectors && group ? LANES : 1, [&](Index, Index cell, Index, real& a, real&) { a += lane[cell]; },
        [&](Index g, real a, real) {
            real by = unscale ? *unscale : 1, *to = out + at.channel + g;
            *to = add ? *to + a * by : a * by;
        });
}

// Adds a pair of partial sums.
struct AddPair {
    __device__ __forceinline__ void operator()(Index, const real* p, real& a, real& b) const {
        a += p[0];
        b += p[1];
    }
};

// folded (parts / each, C, 2): the sums of each `each` parts in a row.
KERNEL fold_sums(const real* sums, real* folded, Index c, Index parts, Index each) {
    __shared__ real all_a[THREADS];
    __shared__ real all_b[THREADS];
    Fold at(c, parts, each);
    at.sums(sums, all_a, all_b, AddPair());
    __syncthreads();
    at.total(all_a, all_b, [&](real a, real b) {
        real* out = folded + ((size_t)blockIdx.y * c + at.channel) * 2;
        out[0] = a;
        out[1] = b;
    });
}

// The totals of the partial sums, in order: out_a (C) of the first ones, out_b (C) of the second ones times `inv` (C; null: 1).
// Each output may be null. add: the outputs are added to.
KERNEL channel_totals(const real* sums, const real* inv, const real* unscale, real* out_a, real* out_b, Index c,
                      Index parts, int add) {
    __shared__ real all_a[THREADS];
    __shared__ real all_b[THREADS];
    Fold at(c, parts, parts);
    at.sums(sums, all_a, all_b, AddPair());
    __syncthreads();
    at.total(all_a, all_b, [&](real a, real b) {
        Index i = at.channel;
        if (inv) b *= inv[i];
        if (unscale) {
            a *= *unscale;
            b *= *unscale;
        }
        if (out_a) out_a[i] = add ? out_a[i] + a : a;
        if (out_b) out_b[i] = add ? out_b[i] + b : b;
    });
}

// What the kernels of batch normalisation share.

// Sums of x - shift and its square, where the shift is the first value: no digits are lost if the mean is large.
struct Shifted {
    real shift, sum, squares;

    __device__ __forceinline__ void add(real x) {
        real d = x - shift;
        sum += d;
        squares += d * d;
    }
};

// Adds a set of `count` values to the sums over a union of sets, a = sum of x - shift and b = sum of (x - shift)^2, from the
// set's mean and the sum m2 of squared distances from it (Chan, Golub & LeVeque 1979). The shift is the mean of one of them.
static __device__ __forceinline__ void unite(real count, real mean, real m2, real shift, real& a, real& b) {
    real d = mean - shift, weighted = count * d;
    a += weighted;
    b += m2 + weighted * d;
}

// mean and m2 of a union from its sums.
static __device__ __forceinline__ void united(real count, real shift, real a, real b, real& mean, real& m2) {
    real d = a / count;
    mean = shift + d;
    m2 = b - a * d;
    if (m2 < 0) m2 = 0;
}

// The running average is updated by a rule of dragon/normalization/rules.py: `momentum` and `batch_weight` are the weights of
// the old sum and of the batch; unbiased: the batch's variance is; divided: the blobs hold the sum divided by its weight;
// deviation: sqrt(variance + eps) is averaged, not the variance. Another argument of kernels, full: statistics of weight 0
// count as a full average.
struct Averaging {
    real momentum, batch_weight;
    int unbiased, divided, deviation;

    // Adds a batch of `count` values to the averages of a channel, whose weight was `before`.
    __device__ __forceinline__ void average(real& running_mean, real& running_var, real before, real mean, real m2, real count,
                                            real eps) const {
        real var = m2 / (unbiased && count > 1 ? count - 1 : count);
        if (deviation) var = sqrt(var + eps);
        if (divided) {
            real step = batch_weight / (before * momentum + batch_weight);
            running_mean += (mean - running_mean) * step;
            running_var += (var - running_var) * step;
        } else {
            running_mean = running_mean * momentum + mean * batch_weight;
            running_var = running_var * momentum + var * batch_weight;
        }
    }
};

// y = (x - mean) scale + shift for the P channels of a thread, then a ReLU if `rectify`. copy (or null) becomes x.
template <int W, int P>
struct Affine {
    real mean[P], scale[P], shift[P];

    __device__ __forceinline__ void apply(Index i, const Lanes<W>& x, stored* y, stored* copy, int rectify,
                                          real slope) const {
        real r[W];
        Lanes<W> out;
        if (copy) put(copy + i, x);
        compute(x, r);
        if (rectify) {
#pragma unroll
            for (int k = 0; k < W; ++k) r[k] = leaky(r[k], slope);
        }
        out.set(r);
        put(y + i, out);
    }

    __device__ __forceinline__ void compute(const Lanes<W>& x, real (&r)[W]) const {
#pragma unroll
        for (int k = 0; k < W; ++k) r[k] = (x[k] - mean[k % P]) * scale[k % P] + shift[k % P];
    }
};

// What is made of normalised values: y, behind a ReLU if `rectify`. ahead: reads of a thread under way at a time, of maps and
// of columns.
struct Normalized {
    static constexpr int ahead_maps = 4, ahead_columns = 3;
    const stored* x;
    stored *y, *copy;
    int rectify;
    real slope;

    template <int W>
    __device__ __forceinline__ Lanes<W> read(Index i) const {
        return lanes<W>(x + i);
    }

    template <int W, int P>
    __device__ __forceinline__ void write(Index i, const Lanes<W>& value, const Affine<W, P>& to) const {
        to.apply(i, value, y, copy, rectify, slope);
    }
};

// The same, and sum = y + other behind the ReLU, which y has not.
struct NormalizedSum {
    static constexpr int ahead_maps = 2, ahead_columns = 1;
    const stored *x, *other;
    stored *y, *copy, *sum;
    int rectify;
    real slope;

    template <int W>
    struct Both {
        Lanes<W> x, other;
    };

    template <int W>
    __device__ __forceinline__ Both<W> read(Index i) const {
        return {lanes<W>(x + i), lanes<W>(other + i)};
    }

    template <int W, int P>
    __device__ __forceinline__ void write(Index i, const Both<W>& value, const Affine<W, P>& to) const {
        real r[W];
        Lanes<W> normal, out;
        if (copy) put(copy + i, value.x);
        to.compute(value.x, r);
        normal.set(r);
        put(y + i, normal);
#pragma unroll
        for (int k = 0; k < W; ++k) {
            r[k] = normal[k] + value.other[k];
            if (rectify) r[k] = leaky(r[k], slope);
        }
        out.set(r);
        put(sum + i, out);
    }
};

// Whether what a launch gives is added to the gradients of gamma and beta, or written where they hold nothing yet.
#define TO_GAMMA 1
#define TO_BETA 2

static __device__ __forceinline__ void learn(real& gradient, real value, int add) {
    gradient = add ? gradient + value : value;
}

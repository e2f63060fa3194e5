// Normalisation of rows by their own statistics, a block for each row: LayerNorm, GroupNorm, InstanceNorm, MVN, Normalize.
// Also Normalize over the channels of each position, sums of rows, and Axpy.
#include "common.cuh"
#include "division.cuh"

#define BY_DEVIATION 0  // (x - mean) / sqrt(var + eps)
#define BY_SUM 1        // (x - mean) / (sqrt(var) + eps)
#define BY_MEAN 2       // x - mean
#define BY_LENGTH 3     // x / sqrt(sum x^2 + eps)

// Of a row, for backward: dx = (d - of_sum sum(d) - of_dot sum(d normal) normal) inv with d = dy gamma.
struct Row {
    real inv, of_sum, of_dot;
};

// normal = the normalised rows, y = normal gamma + beta. Element i of x has element i / inner % channels of gamma and beta,
// each of which may be null. kept (rows, 3): a Row each. y may be x; normal may be null where it is the same as y.
KERNEL rows_forward(const stored* x, const real* gamma, const real* beta, stored* y, stored* normal, real* kept,
                    Index rows, Index length, Divisor inner, Divisor channels, int mode, real eps) {
    __shared__ real partials[THREADS / WARP];
    for (Index row = blockIdx.x; row < rows; row += gridDim.x) {
        size_t start = (size_t)row * length;
        real sum = 0, squares = 0, mean = 0;
        if (mode != BY_LENGTH) {
            for (Index k = threadIdx.x; k < length; k += THREADS) sum += x[start + k];
            mean = block_sum(sum, partials) / length;
        }
        for (Index k = threadIdx.x; k < length; k += THREADS) {
            real d = x[start + k] - mean;
            squares += d * d;
        }
        squares = block_sum(squares, partials);
        Row r = {1, (real)1 / length, (real)1 / length};
        if (mode == BY_DEVIATION) r.inv = 1 / sqrt(squares / length + eps);
        if (mode == BY_SUM) {
            real deviation = sqrt(squares / length), divisor = deviation + eps;
            r.inv = 1 / divisor;
            r.of_dot *= divisor / (deviation > 0 ? deviation : 1);
        }
        if (mode == BY_MEAN) r.of_dot = 0;
        if (mode == BY_LENGTH) {
            r.inv = 1 / sqrt(squares + eps);
            r.of_sum = 0;
            r.of_dot = 1;
        }
        if (threadIdx.x == 0) {
            kept[3 * (size_t)row] = r.inv;
            kept[3 * (size_t)row + 1] = r.of_sum;
            kept[3 * (size_t)row + 2] = r.of_dot;
        }
        for (Index k = threadIdx.x; k < length; k += THREADS) {
            size_t i = start + k;
            Index c = (Index)i / inner % channels;
            real value = (x[i] - mean) * r.inv;
            if (normal) normal[i] = value;
            y[i] = (gamma ? value * gamma[c] : value) + (beta ? beta[c] : 0);
        }
    }
}

// dx may be dy.
KERNEL rows_backward(const stored* dy, const stored* normal, const real* gamma, const real* kept, stored* dx, Index rows,
                     Index length, Divisor inner, Divisor channels) {
    __shared__ real partials[THREADS / WARP];
    for (Index row = blockIdx.x; row < rows; row += gridDim.x) {
        size_t start = (size_t)row * length;
        const real* r = kept + 3 * (size_t)row;
        real sum = 0, dots = 0;
        for (Index k = threadIdx.x; k < length; k += THREADS) {
            size_t i = start + k;
            real d = gamma ? dy[i] * gamma[(Index)i / inner % channels] : (real)dy[i];
            sum += d;
            dots += d * normal[i];
        }
        sum = block_sum(sum, partials) * r[1];
        dots = block_sum(dots, partials) * r[2];
        for (Index k = threadIdx.x; k < length; k += THREADS) {
            size_t i = start + k;
            real d = gamma ? dy[i] * gamma[(Index)i / inner % channels] : (real)dy[i];
            dx[i] = (d - sum - (r[2] == 0 ? 0 : dots * normal[i])) * r[0];  // 0 * NaN is NaN
        }
    }
}

// y = gamma x / |x|, where |x| is the length along the channels at each position of x (N, channels, inner). gamma has an
// element for each channel, or one if `shared`. inv (positions): 1 / |x|.
KERNEL columns_forward(const stored* x, const real* gamma, stored* y, stored* normal, real* inv, Index positions,
                       Index channels, Divisor inner, int shared, real eps) {
    GRID_LOOP(i, positions) {
        size_t start = (size_t)(i / inner) * channels * inner + i % inner;
        real squares = 0;
        for (Index c = 0; c < channels; ++c) {
            real value = x[start + (size_t)c * inner];
            squares += value * value;
        }
        real by = 1 / sqrt(squares + eps);
        inv[i] = by;
        for (Index c = 0; c < channels; ++c) {
            size_t at = start + (size_t)c * inner;
            real value = x[at] * by;
            normal[at] = value;
            y[at] = value * gamma[shared ? 0 : c];
        }
    }
}

// dx may be dy.
KERNEL columns_backward(const stored* dy, const stored* normal, const real* gamma, const real* inv, stored* dx,
                        Index positions, Index channels, Divisor inner, int shared) {
    GRID_LOOP(i, positions) {
        size_t start = (size_t)(i / inner) * channels * inner + i % inner;
        real dots = 0;
        for (Index c = 0; c < channels; ++c) {
            size_t at = start + (size_t)c * inner;
            dots += dy[at] * gamma[shared ? 0 : c] * normal[at];
        }
        for (Index c = 0; c < channels; ++c) {
            size_t at = start + (size_t)c * inner;
            dx[at] = (dy[at] * gamma[shared ? 0 : c] - normal[at] * dots) * inv[i];
        }
    }
}

// -- sums of rows --------------------------------------------------------------------------------------------------
#define SUM 0
#define ASUM 1
#define SUMSQ 2

// y (rows) = coeff times the sum of each row's values, absolute values or squares.
KERNEL reduce_rows(const stored* x, stored* y, Index rows, Index length, int operation, real coeff) {
    __shared__ real partials[THREADS / WARP];
    for (Index row = blockIdx.x; row < rows; row += gridDim.x) {
        real sum = 0;
        for (Index k = threadIdx.x; k < length; k += THREADS) {
            real value = x[(size_t)row * length + k];
            sum += operation == SUMSQ ? value * value : (operation == ASUM && value < 0 ? -value : value);
        }
        sum = block_sum(sum, partials);
        if (threadIdx.x == 0) y[row] = sum * coeff;
    }
}

KERNEL reduce_backward(const stored* x, const stored* dy, stored* dx, Index count, Divisor length, int operation,
                       real coeff) {
    GRID_LOOP(i, count) {
        real value = operation == SUM ? 0 : (real)x[i], factor = 1;
        if (operation == ASUM) factor = value > 0 ? 1 : (value < 0 ? -1 : value);  // 0, or NaN
        if (operation == SUMSQ) factor = 2 * value;
        dx[i] = dy[i / length] * coeff * factor;
    }
}

// -- a x + b with one a for each row (Axpy) ------------------------------------------------------------------------
KERNEL axpy_rows(const real* a, const stored* x, const stored* b, stored* y, Index count, Divisor length) {
    GRID_LOOP(i, count) y[i] = a[i / length] * x[i] + b[i];
}

// Rows picked by indices: whole numbers in a blob of the net's type.
#include "common.cuh"
#include "division.cuh"
#include "labels.cuh"

static __device__ __forceinline__ bool is_index(real value, Index size) { return value >= 0 && value < (real)size; }

// out_of_range (1): see out_of_range_at, for values that are out of range 0 .. size - 1. The values are `each` elements apart.
KERNEL check_indices(const real* values, int* out_of_range, Index count, Index each, Index size) {
    GRID_LOOP(i, count) {
        if (!is_index(values[(size_t)i * each], size)) out_of_range_at(i, out_of_range);
    }
}

// The same for labels, the numbers of classes: those that class_of finds out of range.
KERNEL check_labels(const real* labels, int* out_of_range, Index count, Index classes, int has_ignore, int ignore) {
    GRID_LOOP(i, count) {
        if (class_of(labels[i], classes, has_ignore, ignore) == OUT_OF_RANGE) out_of_range_at(i, out_of_range);
    }
}

// y (picks, row) = rows of x (size, row), plus bias (row) unless that is null. count: elements of y.
KERNEL pick_rows(const real* x, const real* picks, const real* bias, real* y, Index count, Divisor row, Index size) {
    GRID_LOOP(i, count) {
        Index c = i % row;
        real pick = picks[i / row], value = is_index(pick, size) ? x[(size_t)(Index)pick * row + c] : 0;
        y[i] = bias ? value + bias[c] : value;
    }
}

// The transpose: each row of dx is the sum, in order, of the rows of dy that were picked from it. add: dx is added to.
// count: elements of dx.
KERNEL sum_picked(const real* dy, const real* picks, real* dx, Index count, Divisor row, Index n_picks, int add) {
    GRID_LOOP(i, count) {
        real own = (real)(i / row), sum = add ? dx[i] : 0;
        for (Index k = 0; k < n_picks; ++k)
            if ((real)(Index)picks[k] == own) sum += dy[(size_t)k * row + i % row];
        dx[i] = sum;
    }
}

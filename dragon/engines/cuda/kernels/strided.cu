// Copies between arrays of different strides: concatenation, slices, transposed axes, repetition.
#include "common.cuh"
#include "division.cuh"

KERNEL fill(stored* y, Index count, real value) {
    GRID_LOOP(i, count) y[i] = value;
}

// Rows of `row` elements, which start x_row elements apart in x and y_row in y. count: elements.
KERNEL copy_rows(const stored* x, stored* y, Index count, int vectors, Divisor row, Index x_row, Index y_row,
                 Index x_start, Index y_start) {
    if (vectors) {
        GRID_LOOP(v, count / LANES) {
            Index c, r = divide(v * LANES, row, c);
            store(y + y_start + (size_t)r * y_row + c, load(x + x_start + (size_t)r * x_row + c));
        }
    } else {
        GRID_LOOP(i, count) {
            Index c, r = divide(i, row, c);
            y[y_start + (size_t)r * y_row + c] = x[x_start + (size_t)r * x_row + c];
        }
    }
}

// Six axes of n0 (outermost) to n5 elements. Strides of x (x0 .. x5) may be 0 or negative. count: elements of y.
KERNEL copy_strided(const stored* x, stored* y, Index count, Divisor n1, Divisor n2, Divisor n3, Divisor n4, Divisor n5,
                    int x0, int x1, int x2, int x3, int x4, int x5, int y0, int y1, int y2, int y3, int y4, int y5,
                    int x_start, int y_start) {
    GRID_LOOP(i, count) {
        Index rest = i, at;
        int from = x_start, to = y_start;
#define STEP(n, xs, ys)                \
    {                                  \
        rest = divide(rest, n, at);    \
        from += (int)at * (xs);        \
        to += (int)at * (ys);          \
    }
        STEP(n5, x5, y5)
        if (rest) STEP(n4, x4, y4)
        if (rest) STEP(n3, x3, y3)
        if (rest) STEP(n2, x2, y2)
        if (rest) STEP(n1, x1, y1)
#undef STEP
        y[to + (int)rest * y0] = x[from + (int)rest * x0];
    }
}

// dx (outer, inner) = the sums of dy (outer, tiles, inner). count: elements of dx.
KERNEL sum_tiles(const stored* dy, stored* dx, Index count, Index tiles, Divisor inner) {
    GRID_LOOP(i, count) {
        Index c, outer = divide(i, inner, c);
        const stored* first = dy + (size_t)outer * tiles * inner.value + c;
        real sum = 0;
        for (Index t = 0; t < tiles; ++t) sum += first[(size_t)t * inner.value];
        dx[i] = sum;
    }
}

// Copies between arrays of different strides: concatenation, slices, transposed axes, repetition.
#include "common.cuh"

KERNEL fill(stored* y, Index count, real value) {
    GRID_LOOP(i, count) y[i] = value;
}

// Rows of `row` elements, which start x_row elements apart in x and y_row in y. count: elements.
KERNEL copy_rows(const stored* x, stored* y, Index count, int vectors, Index row, Index x_row, Index y_row, Index x_start,
                 Index y_start) {
    if (vectors) {
        GRID_LOOP(v, count / LANES) {
            Index i = v * LANES, r = i / row, c = i - r * row;
            store(y + y_start + (size_t)r * y_row + c, load(x + x_start + (size_t)r * x_row + c));
        }
    } else {
        GRID_LOOP(i, count) {
            Index r = i / row, c = i - r * row;
            y[y_start + (size_t)r * y_row + c] = x[x_start + (size_t)r * x_row + c];
        }
    }
}

// Six axes of n0 (outermost) to n5 elements. Strides of x (x0 .. x5) may be 0 or negative. count: elements of y.
KERNEL copy_strided(const stored* x, stored* y, Index count, int n1, int n2, int n3, int n4, int n5, int x0, int x1, int x2,
                    int x3, int x4, int x5, int y0, int y1, int y2, int y3, int y4, int y5, int x_start, int y_start) {
    GRID_LOOP(i, count) {
        int rest = (int)i, from = x_start, to = y_start;
#define STEP(n, xs, ys)                \
    {                                  \
        int at = rest % (n);           \
        rest /= (n);                   \
        from += at * (xs);             \
        to += at * (ys);               \
    }
        STEP(n5, x5, y5)
        if (rest) STEP(n4, x4, y4)
        if (rest) STEP(n3, x3, y3)
        if (rest) STEP(n2, x2, y2)
        if (rest) STEP(n1, x1, y1)
#undef STEP
        y[to + rest * y0] = x[from + rest * x0];
    }
}

// dx (outer, inner) = the sums of dy (outer, tiles, inner). count: elements of dx.
KERNEL sum_tiles(const stored* dy, stored* dx, Index count, Index tiles, Index inner) {
    GRID_LOOP(i, count) {
        const stored* first = dy + (size_t)(i / inner) * tiles * inner + i % inner;
        real sum = 0;
        for (Index t = 0; t < tiles; ++t) sum += first[(size_t)t * inner];
        dx[i] = sum;
    }
}

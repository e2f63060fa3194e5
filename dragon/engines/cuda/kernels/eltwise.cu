// Eltwise: products and maxima of bottoms, two at a time. Sums are weighted_sum of elementwise.cu.
#include "common.cuh"

// y = a b; y may be a.
KERNEL product(const stored* a, const stored* b, stored* y, Index count, int vectors) {
    if (vectors) {
        GRID_LOOP(i, count / LANES) {
            size_t at = (size_t)i * LANES;
            Vector first = load(a + at), second = load(b + at);
#pragma unroll
            for (int k = 0; k < LANES; ++k) first.v[k] = first.v[k] * second.v[k];
            store(y + at, first);
        }
    } else {
        GRID_LOOP(i, count) y[i] = a[i] * b[i];
    }
}

// dx = y / x dy, the product of the other factors and dy; NaN where x is 0.
KERNEL product_backward(const stored* x, const stored* y, const stored* dy, stored* dx, Index count) {
    GRID_LOOP(i, count) dx[i] = y[i] / x[i] * dy[i];
}

// y = max(a, b). winner becomes the number of the bottom that has the maximum: 0 where a > b, else 1, as in Caffe.
KERNEL first_maximum(const stored* a, const stored* b, stored* y, int* winner, Index count) {
    GRID_LOOP(i, count) {
        real first = a[i], second = b[i];
        bool above = first > second;
        winner[i] = above ? 0 : 1;
        y[i] = above || first != first ? first : second;
    }
}

// y = max(y, x) for bottom `number`, x. Of equal maxima the earlier bottom's wins.
KERNEL next_maximum(const stored* x, stored* y, int* winner, Index count, int number) {
    GRID_LOOP(i, count) {
        real value = x[i];
        if (value > y[i]) winner[i] = number;
        if (value > y[i] || value != value) y[i] = value;
    }
}

KERNEL maximum_backward(const stored* dy, const int* winner, stored* dx, Index count, int number) {
    GRID_LOOP(i, count) dx[i] = winner[i] == number ? (real)dy[i] : 0;
}

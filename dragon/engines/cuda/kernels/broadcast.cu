// Sums and products of arrays, of which the second is repeated along some axes.
#include "common.cuh"
#include "division.cuh"

// y = a + b or a b over the axes n0 .. n5 of a, along some of which b has stride 0. y may be a.
KERNEL combine(const stored* a, const stored* b, stored* y, Index count, int product, Divisor n1, Divisor n2,
               Divisor n3, Divisor n4, Divisor n5, int b0, int b1, int b2, int b3, int b4, int b5) {
    GRID_LOOP(i, count) {
        Index i0, i1, i2, i3, i4, i5;
        i0 = divide(divide(divide(divide(divide(i, n5, i5), n4, i4), n3, i3), n2, i2), n1, i1);
        int at = (int)i0 * b0 + (int)i1 * b1 + (int)i2 * b2 + (int)i3 * b3 + (int)i4 * b4 + (int)i5 * b5;
        real value = b[at];
        y[i] = product ? a[i] * value : a[i] + value;
    }
}

// db = the sums of dy over the repeated axes, a block for each element. count: elements of db. repeats: elements of each sum,
// which lie along three axes r0 .. r2 with strides t0 .. t2. db's own axes are k0 .. k3, with strides s0 .. s3 in dy.
KERNEL sum_repeats(const stored* dy, stored* db, Index count, Index repeats, Divisor k1, Divisor k2, Divisor k3,
                   int s0, int s1, int s2, int s3, Divisor r1, Divisor r2, int t0, int t1, int t2) {
    __shared__ real partials[THREADS / WARP];
    for (Index i = blockIdx.x; i < count; i += gridDim.x) {
        Index i1, i2, i3, i0 = divide(divide(divide(i, k3, i3), k2, i2), k1, i1);
        int start = (int)i0 * s0 + (int)i1 * s1 + (int)i2 * s2 + (int)i3 * s3;
        real sum = 0;
        for (Index j = threadIdx.x; j < repeats; j += THREADS) {
            Index j1, j2, j0 = divide(divide(j, r2, j2), r1, j1);
            sum += dy[start + (int)j0 * t0 + (int)j1 * t1 + (int)j2 * t2];
        }
        sum = block_sum(sum, partials);
        if (threadIdx.x == 0) db[i] = sum;
    }
}

// Sums and products of arrays, of which the second is repeated along some axes.
#include "common.cuh"

// y = a + b or a b over the axes n0 .. n5 of a, along some of which b has stride 0. y may be a.
KERNEL combine(const stored* a, const stored* b, stored* y, Index count, int product, int n1, int n2, int n3, int n4,
               int n5, int b0, int b1, int b2, int b3, int b4, int b5) {
    GRID_LOOP(i, count) {
        int rest = (int)i, at = 0;
        at += rest % n5 * b5;
        rest /= n5;
        at += rest % n4 * b4;
        rest /= n4;
        at += rest % n3 * b3;
        rest /= n3;
        at += rest % n2 * b2;
        rest /= n2;
        at += rest % n1 * b1 + rest / n1 * b0;
        real value = b[at];
        y[i] = product ? a[i] * value : a[i] + value;
    }
}

// db = the sums of dy over the repeated axes, a block for each element. count: elements of db. repeats: elements of each sum,
// which lie along three axes r0 .. r2 with strides t0 .. t2. db's own axes are k0 .. k3, with strides s0 .. s3 in dy.
KERNEL sum_repeats(const stored* dy, stored* db, Index count, Index repeats, int k1, int k2, int k3, int s0, int s1,
                   int s2, int s3, int r1, int r2, int t0, int t1, int t2) {
    __shared__ real partials[THREADS / WARP];
    for (Index i = blockIdx.x; i < count; i += gridDim.x) {
        int rest = (int)i, start = rest % k3 * s3;
        rest /= k3;
        start += rest % k2 * s2;
        rest /= k2;
        start += rest % k1 * s1 + rest / k1 * s0;
        real sum = 0;
        for (Index j = threadIdx.x; j < repeats; j += THREADS) {
            int left = (int)j, at = start + left % r2 * t2;
            left /= r2;
            at += left % r1 * t1 + left / r1 * t0;
            sum += dy[at];
        }
        sum = block_sum(sum, partials);
        if (threadIdx.x == 0) db[i] = sum;
    }
}

// Images resized: interpolated, padded, with values repeated, or put back where a maximum pooling found them.
#include "common.cuh"
#include "division.cuh"

// -- bilinear, the corners stay where they are ---------------------------------------------------------------------

// The two of `size` input positions between which output position i lies, and its distance from the first one.
struct Between {
    int first, second;
    real share;

    __device__ Between(int i, double step, int size) {
        double at = i * step;
        first = min((int)at, size - 1);
        second = min(first + 1, size - 1);
        share = (real)(at - first);
    }

    // The weight of input position `at`.
    __device__ __forceinline__ real weight(int at) const {
        return (first == at ? 1 - share : (real)0) + (second == at ? share : (real)0);
    }
};

// x (planes, height, width), of which the window of used_h x used_w from (top, left) on is interpolated.
#define INTERP                                                                                                 \
    Divisor height, Divisor width, int used_h, int used_w, int top, int left, Divisor out_h, Divisor out_w, \
        double step_h, double step_w

KERNEL interp_forward(const stored* x, stored* y, Index count, INTERP) {
    GRID_LOOP(i, count) {
        Between across(i % out_w, step_w, used_w), down(i / out_w % out_h, step_h, used_h);
        const stored* plane = x + ((size_t)(i / out_w / out_h) * height + top) * width + left;
        const stored *upper = plane + (size_t)down.first * width, *lower = plane + (size_t)down.second * width;
        real above = (1 - across.share) * upper[across.first] + across.share * upper[across.second];
        real below = (1 - across.share) * lower[across.first] + across.share * lower[across.second];
        y[i] = (1 - down.share) * above + down.share * below;
    }
}

// The first and the last output position that can depend on input position `at`. step 0: all of them.
static __device__ __forceinline__ int first_reader(int at, double step) {
    return step > 0 ? max(0, (int)((at - 1) / step) - 1) : 0;
}

static __device__ __forceinline__ int last_reader(int at, double step, int out) {
    return step > 0 ? min(out - 1, (int)((at + 1) / step) + 1) : out - 1;
}

KERNEL interp_backward(const stored* dy, stored* dx, Index count, INTERP) {
    GRID_LOOP(i, count) {
        int w = (int)(i % width) - left, h = (int)(i / width % height) - top;
        const stored* plane = dy + (size_t)(i / width / height) * out_h * out_w;
        real sum = 0;
        if (w >= 0 && w < used_w && h >= 0 && h < used_h) {
            for (int oh = first_reader(h, step_h); oh <= last_reader(h, step_h, out_h); ++oh) {
                real down = Between(oh, step_h, used_h).weight(h);
                if (down == 0) continue;
                for (int ow = first_reader(w, step_w); ow <= last_reader(w, step_w, out_w); ++ow)
                    sum += down * Between(ow, step_w, used_w).weight(w) * plane[(size_t)oh * out_w + ow];
            }
        }
        dx[i] = sum;
    }
}

// -- borders -------------------------------------------------------------------------------------------------------
#define CONSTANT 0
#define REFLECT 1
#define EDGE 2

// The input position whose value output position i has, or -1 for the constant. before: width of the first border.
static __device__ __forceinline__ int source_of(int i, int before, int size, int mode) {
    int at = i - before;
    if (at >= 0 && at < size) return at;
    if (mode == CONSTANT) return -1;
    if (mode == EDGE) return at < 0 ? 0 : size - 1;
    return at < 0 ? -at : 2 * size - 2 - at;
}

#define PAD Divisor height, Divisor width, Divisor out_h, Divisor out_w, int top, int left, int mode

KERNEL pad_forward(const stored* x, stored* y, Index count, PAD, real value) {
    GRID_LOOP(i, count) {
        int h = source_of(i / out_w % out_h, top, height, mode), w = source_of(i % out_w, left, width, mode);
        const stored* plane = x + (size_t)(i / out_w / out_h) * height * width;
        y[i] = h < 0 || w < 0 ? value : (real)plane[(size_t)h * width + w];
    }
}

// The next output position after i that can have the value of input position `at`: `at` itself, or one in a border.
static __device__ __forceinline__ int next_place(int i, int at, int before, int size) {
    int next = i + 1;
    if (next < before || next >= before + size) return next;
    return next <= before + at ? before + at : before + size;
}

// dx: the sum of dy over the output positions that have the element's value.
KERNEL pad_backward(const stored* dy, stored* dx, Index count, PAD) {
    GRID_LOOP(i, count) {
        int w = i % width, h = i / width % height;
        const stored* plane = dy + (size_t)(i / width / height) * out_h * out_w;
        real sum = 0;
        for (int oh = next_place(-1, h, top, height); oh < out_h; oh = next_place(oh, h, top, height)) {
            if (source_of(oh, top, height, mode) != h) continue;
            for (int ow = next_place(-1, w, left, width); ow < out_w; ow = next_place(ow, w, left, width))
                if (source_of(ow, left, width, mode) == w) sum += plane[(size_t)oh * out_w + ow];
        }
        dx[i] = sum;
    }
}

// -- repeated values -----------------------------------------------------------------------------------------------

// dx (rows, width) = the sums of blocks of dy (rows * scale_h, width * scale_w). count: elements of dx.
KERNEL sum_blocks(const stored* dy, stored* dx, Index count, Divisor width, Index scale_h, Index scale_w) {
    GRID_LOOP(i, count) {
        const stored* first = dy + ((size_t)(i / width) * scale_h * width + i % width) * scale_w;
        real sum = 0;
        for (Index h = 0; h < scale_h; ++h)
            for (Index w = 0; w < scale_w; ++w) sum += first[(size_t)h * width * scale_w + w];
        dx[i] = sum;
    }
}

// -- unpooling: mask (planes, size) has positions in planes of out_size elements -----------------------------------

KERNEL unpool_clear(int* last, Index count) {
    GRID_LOOP(i, count) last[i] = 0;
}

// last (planes, out_size): 1 + the last element of x whose position this is, 0 where there is none. Being a maximum, it does
// not depend on the order of threads.
KERNEL unpool_last(const real* mask, int* last, Index count, Divisor size, Index out_size) {
    GRID_LOOP(i, count) {
        real at = mask[i];
        if (at >= 0 && at < (real)out_size) atomicMax(last + (size_t)(i / size) * out_size + (Index)at, (int)i + 1);
    }
}

KERNEL unpool_forward(const stored* x, const int* last, stored* y, Index count) {
    GRID_LOOP(i, count) y[i] = last[i] ? (real)x[last[i] - 1] : 0;
}

KERNEL unpool_backward(const stored* dy, const real* mask, stored* dx, Index count, Divisor size, Index out_size) {
    GRID_LOOP(i, count) {
        real at = mask[i];
        bool inside = at >= 0 && at < (real)out_size;
        dx[i] = inside ? (real)dy[(size_t)(i / size) * out_size + (Index)at] : 0;
    }
}

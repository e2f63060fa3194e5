// Images in another size: interpolated, with borders, with values repeated or put back where a pooling found them.
#include "common.cuh"

// -- bilinear, the corners stay where they are ---------------------------------------------------------------------

// Between which two of `size` places output position i lies, and how far from the first one.
struct Between {
    int first, second;
    real share;

    __device__ Between(int i, double step, int size) {
        double at = i * step;
        first = min((int)at, size - 1);
        second = min(first + 1, size - 1);
        share = (real)(at - first);
    }

    // How much of place `at` makes the output.
    __device__ __forceinline__ real weight(int at) const {
        return (first == at ? 1 - share : (real)0) + (second == at ? share : (real)0);
    }
};

// x (planes, height, width), of which a window of used_h x used_w from (top, left) on is seen.
#define INTERP                                                                                                      \
    int height, int width, int used_h, int used_w, int top, int left, int out_h, int out_w, double step_h, double step_w

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

// First output position that can look at input position `at`, and the last one. step 0: all of them.
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

// The input position that output position i shows, `before` being the border's width; -1 for a constant.
static __device__ __forceinline__ int shown(int i, int before, int size, int mode) {
    int at = i - before;
    if (at >= 0 && at < size) return at;
    if (mode == CONSTANT) return -1;
    if (mode == EDGE) return at < 0 ? 0 : size - 1;
    return at < 0 ? -at : 2 * size - 2 - at;
}

#define PAD int height, int width, int out_h, int out_w, int top, int left, int mode

KERNEL pad_forward(const stored* x, stored* y, Index count, PAD, real value) {
    GRID_LOOP(i, count) {
        int h = shown(i / out_w % out_h, top, height, mode), w = shown(i % out_w, left, width, mode);
        const stored* plane = x + (size_t)(i / out_w / out_h) * height * width;
        y[i] = h < 0 || w < 0 ? value : (real)plane[(size_t)h * width + w];
    }
}

// The next output position behind i that can show input position `at`: itself or one of the borders.
static __device__ __forceinline__ int next_place(int i, int at, int before, int size) {
    int next = i + 1;
    if (next < before || next >= before + size) return next;
    return next <= before + at ? before + at : before + size;
}

// Each input element adds up what shows it.
KERNEL pad_backward(const stored* dy, stored* dx, Index count, PAD) {
    GRID_LOOP(i, count) {
        int w = i % width, h = i / width % height;
        const stored* plane = dy + (size_t)(i / width / height) * out_h * out_w;
        real sum = 0;
        for (int oh = next_place(-1, h, top, height); oh < out_h; oh = next_place(oh, h, top, height)) {
            if (shown(oh, top, height, mode) != h) continue;
            for (int ow = next_place(-1, w, left, width); ow < out_w; ow = next_place(ow, w, left, width))
                if (shown(ow, left, width, mode) == w) sum += plane[(size_t)oh * out_w + ow];
        }
        dx[i] = sum;
    }
}

// -- repeated values -----------------------------------------------------------------------------------------------

// dx (rows, width) = the sums of blocks of dy (rows * scale_h, width * scale_w). count: elements of dx.
KERNEL sum_blocks(const stored* dy, stored* dx, Index count, Index width, Index scale_h, Index scale_w) {
    GRID_LOOP(i, count) {
        const stored* first = dy + ((size_t)(i / width) * scale_h * width + i % width) * scale_w;
        real sum = 0;
        for (Index h = 0; h < scale_h; ++h)
            for (Index w = 0; w < scale_w; ++w) sum += first[(size_t)h * width * scale_w + w];
        dx[i] = sum;
    }
}

// -- back to where a pooling found them: mask (planes, size) has places in planes of out_size elements -------------

KERNEL unpool_clear(int* last, Index count) {
    GRID_LOOP(i, count) last[i] = 0;
}

// last (planes, out_size): 1 + the last element that belongs there, 0 where none does. The maximum is the same in every
// run, in whatever order threads come.
KERNEL unpool_mark(const real* mask, int* last, Index count, Index size, Index out_size) {
    GRID_LOOP(i, count) {
        real at = mask[i];
        if (at >= 0 && at < (real)out_size) atomicMax(last + (size_t)(i / size) * out_size + (Index)at, (int)i + 1);
    }
}

KERNEL unpool_forward(const stored* x, const int* last, stored* y, Index count) {
    GRID_LOOP(i, count) y[i] = last[i] ? (real)x[last[i] - 1] : 0;
}

KERNEL unpool_backward(const stored* dy, const real* mask, stored* dx, Index count, Index size, Index out_size) {
    GRID_LOOP(i, count) {
        real at = mask[i];
        bool inside = at >= 0 && at < (real)out_size;
        dx[i] = inside ? (real)dy[(size_t)(i / size) * out_size + (Index)at] : 0;
    }
}

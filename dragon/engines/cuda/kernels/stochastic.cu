// Stochastic pooling (Zeiler & Fergus 2013) of (planes, H, W) into (planes, OH, OW): an element of each window, drawn
// with a probability proportional to its value (TRAIN), or their mean under these probabilities (TEST).
#include "common.cuh"
#include "division.cuh"
#include "random.cuh"
#include "window.cuh"

#define WINDOW                                                                                                     \
    Divisor height, Divisor width, Divisor out_h, Divisor out_w, int kernel_h, Divisor kernel_w, Divisor stride_h, \
        Divisor stride_w, int pad_h, int pad_w

// Where the window of output i begins, and its plane.
struct Corner {
    const stored* plane;
    int top, left, height, width;

    __device__ Corner(const stored* x, Index i, WINDOW) : height(height), width(width) {
        top = (int)(i / out_w % out_h) * stride_h - pad_h;
        left = (int)(i % out_w) * stride_w - pad_w;
        plane = x + (size_t)(i / out_w / out_h) * height * width;
    }

    // Index in the plane of an element of the window, -1 in the padding.
    __device__ __forceinline__ int index(int kh, int kw) const {
        int h = top + kh, w = left + kw;
        return h < 0 || h >= height || w < 0 || w >= width ? -1 : h * width + w;
    }

    __device__ __forceinline__ real value(int at) const { return at < 0 ? (real)0 : plane[at]; }
};

#define CORNER(x, i)                                                                                             \
    Corner corner(x, i, height, width, out_h, out_w, kernel_h, kernel_w, stride_h, stride_w, pad_h, pad_w)

// chosen: the index of the drawn element in its plane, as max_forward's mask; -1 in the padding. The sums are doubles
// on every engine, so that all of them choose alike.
KERNEL stochastic_forward(const stored* x, stored* y, int* chosen, const word* stream, Index count, WINDOW) {
    Index blocks = (count + RANDOM_WORDS - 1) / RANDOM_WORDS;
    GRID_LOOP(b, blocks) {
        word words[4];
        random_block(stream, b, words);
        for (int k = 0; k < RANDOM_WORDS; ++k) {
            Index i = b * RANDOM_WORDS + k;
            if (i >= count) break;
            CORNER(x, i);
            double total = 0;
            for (int kh = 0; kh < kernel_h; ++kh)
                for (int kw = 0; kw < kernel_w; ++kw) total += corner.value(corner.index(kh, kw));
            double limit = (double)random_word(words, k) / 4294967296.0 * total, running = 0;
            int before = 0;  // elements whose running sum does not exceed the limit
            for (int kh = 0; kh < kernel_h; ++kh)
                for (int kw = 0; kw < kernel_w; ++kw) {
                    running += corner.value(corner.index(kh, kw));
                    before += running <= limit;
                }
            before = min(before, kernel_h * kernel_w - 1);
            int at = corner.index(before / kernel_w, before % kernel_w);
            chosen[i] = at;
            y[i] = corner.value(at);
        }
    }
}

// sums (2, count), for backward: each window's sum (1 where it is not above 0), and its mean under the probabilities.
KERNEL stochastic_mean(const stored* x, stored* y, real* sums, Index count, WINDOW) {
    GRID_LOOP(i, count) {
        CORNER(x, i);
        real total = 0, squares = 0;
        for (int kh = 0; kh < kernel_h; ++kh)
            for (int kw = 0; kw < kernel_w; ++kw) {
                real value = corner.value(corner.index(kh, kw));
                total += value;
                squares += value * value;
            }
        total = total > 0 ? total : 1;
        sums[i] = total;
        sums[(size_t)count + i] = squares / total;
        y[i] = squares / total;
    }
}

// outputs: elements of dy.
KERNEL stochastic_mean_backward(const stored* x, const stored* dy, const real* sums, stored* dx, Index count, Index outputs,
                                WINDOW) {
    GRID_LOOP(i, count) {
        int w = i % width, h = i / width % height;
        size_t plane = (size_t)(i / width / height) * out_h * out_w;
        real sum = 0;
        for (int kh = 0; kh < kernel_h; ++kh) {
            int oh = reader(h, kh, stride_h, pad_h, 1, out_h);
            if (oh < 0) continue;
            for (int kw = 0; kw < kernel_w; ++kw) {
                int ow = reader(w, kw, stride_w, pad_w, 1, out_w);
                if (ow < 0) continue;
                size_t o = plane + oh * out_w + ow;
                sum += (2 * x[i] - sums[outputs + o]) / sums[o] * dy[o];
            }
        }
        dx[i] = sum;
    }
}

// Pooling of (planes, H, W) into (planes, OH, OW). Backward gathers: each input element sums over the windows that hold it.
#include "common.cuh"
#include "division.cuh"
#include "fused_relu.cuh"
#include "window.cuh"

// mask: the index in its plane of each window's first maximum, see marked_int; top_mask (or null): the same in the net's type.
// rectify: y is behind a ReLU of this slope.
KERNEL max_forward(const stored* x, stored* y, int* mask, real* top_mask, Index count, int height, int width,
                   Divisor out_h, Divisor out_w, int kernel_h, int kernel_w, int stride_h, int stride_w, int pad_h, int pad_w,
                   int mark, int rectify, real slope) {
    GRID_LOOP(i, count) {
        Index column, row, image = divide(divide(i, out_w, column), out_h, row);
        const stored* plane = x + (size_t)image * height * width;
        int top = (int)row * stride_h - pad_h, left = (int)column * stride_w - pad_w;
        int bottom = min(top + kernel_h, height), right = min(left + kernel_w, width);
        top = max(top, 0);
        left = max(left, 0);
        int best = top * width + left;
        real value = plane[best];
        for (int h = top; h < bottom; ++h)
            for (int w = left; w < right; ++w)
                if (gives_way(value, plane[h * width + w])) {
                    best = h * width + w;
                    value = plane[best];
                }
        y[i] = rectify ? leaky(value, slope) : value;
        mask[i] = marked_int(best, mark, value);
        if (top_mask) top_mask[i] = (real)best;
    }
}

// slope, masked: see through_mark; masked is dy.
KERNEL max_backward(const stored* dy, const int* mask, stored* dx, stored* masked, Index count, Divisor height, Divisor width,
                    int out_h, int out_w, int kernel_h, int kernel_w, int stride_h, int stride_w, int pad_h, int pad_w,
                    real slope) {
    GRID_LOOP(i, count) {
        Index w, h, image = divide(divide(i, width, w), height, h);
        int self = (int)(h * width.value + w);
        size_t plane = (size_t)image * out_h * out_w;
        int h_end = end_window(h, stride_h, pad_h, out_h), w_end = end_window(w, stride_w, pad_w, out_w);
        real sum = 0;
        for (int oh = first_window(h, kernel_h, stride_h, pad_h); oh < h_end; ++oh)
            for (int ow = first_window(w, kernel_w, stride_w, pad_w); ow < w_end; ++ow) {
                size_t o = plane + oh * out_w + ow;
                if (without_mark(mask[o]) == self) sum += through_mark(dy[o], mask[o], slope, masked, o);
            }
        dx[i] = sum;
    }
}

KERNEL average_forward(const stored* x, stored* y, Index count, int height, int width, Divisor out_h,
                       Divisor out_w, int kernel_h, int kernel_w, int stride_h, int stride_w, int pad_h, int pad_w, int first_h, int first_w,
                       int end_h, int end_w) {
    GRID_LOOP(i, count) {
        Index column, row, image = divide(divide(i, out_w, column), out_h, row);
        const stored* plane = x + (size_t)image * height * width;
        int top = (int)row * stride_h - pad_h, left = (int)column * stride_w - pad_w;
        int bottom = min(top + kernel_h, height), right = min(left + kernel_w, width);
        real sum = 0;
        for (int h = max(top, 0); h < bottom; ++h)
            for (int w = max(left, 0); w < right; ++w) sum += plane[h * width + w];
        y[i] = sum / (extent(row, kernel_h, stride_h, pad_h, first_h, end_h) *
                      extent(column, kernel_w, stride_w, pad_w, first_w, end_w));
    }
}

// x (or null): the bottom behind a ReLU of this slope, in front of which dx is the gradient.
KERNEL average_backward(const stored* dy, const stored* x, stored* dx, Index count, Divisor height, Divisor width, int out_h,
                        int out_w, int kernel_h, int kernel_w, int stride_h, int stride_w, int pad_h, int pad_w,
                        real slope, int first_h, int first_w, int end_h, int end_w) {
    GRID_LOOP(i, count) {
        Index w, h, image = divide(divide(i, width, w), height, h);
        size_t plane = (size_t)image * out_h * out_w;
        int h_end = end_window(h, stride_h, pad_h, out_h), w_end = end_window(w, stride_w, pad_w, out_w);
        real sum = 0;
        for (int oh = first_window(h, kernel_h, stride_h, pad_h); oh < h_end; ++oh)
            for (int ow = first_window(w, kernel_w, stride_w, pad_w); ow < w_end; ++ow)
                sum += dy[plane + oh * out_w + ow] / (extent(oh, kernel_h, stride_h, pad_h, first_h, end_h) *
                                                      extent(ow, kernel_w, stride_w, pad_w, first_w, end_w));
        dx[i] = through_relu(sum, x, i, slope);
    }
}

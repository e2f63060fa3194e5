// Pooling of (planes, D, H, W) into (planes, OD, OH, OW), as in pooling.cu.
#include "common.cuh"
#include "division.cuh"
#include "fused_relu.cuh"
#include "window.cuh"

#define WINDOW                                                                                                   \
    Divisor depth, Divisor height, Divisor width, Divisor out_d, Divisor out_h, Divisor out_w, Divisor kernel_d, \
        Divisor kernel_h, Divisor kernel_w, Divisor stride_d, Divisor stride_h, Divisor stride_w, int pad_d,     \
        int pad_h, int pad_w

#define COUNTED int first_d, int first_h, int first_w, int end_d, int end_h, int end_w

// mask: the index in its volume of each window's first maximum, see marked_int; top_mask (or null): the same in the net's type.
// rectify: y is behind a ReLU of this slope.
KERNEL max_forward_3d(const stored* x, stored* y, int* mask, real* top_mask, Index count, WINDOW, int mark, int rectify,
                      real slope) {
    GRID_LOOP(i, count) {
        int ow = i % out_w, oh = i / out_w % out_h, od = i / out_w / out_h % out_d;
        const stored* volume = x + (size_t)(i / out_w / out_h / out_d) * depth * height * width;
        int front = od * stride_d - pad_d, top = oh * stride_h - pad_h, left = ow * stride_w - pad_w;
        int back = min(front + kernel_d, depth), bottom = min(top + kernel_h, height);
        int right = min(left + kernel_w, width);
        front = max(front, 0);
        top = max(top, 0);
        left = max(left, 0);
        int best = (front * height + top) * width + left;
        real value = volume[best];
        for (int d = front; d < back; ++d)
            for (int h = top; h < bottom; ++h)
                for (int w = left; w < right; ++w) {
                    int at = (d * height + h) * width + w;
                    if (gives_way(value, volume[at])) {
                        best = at;
                        value = volume[at];
                    }
                }
        y[i] = rectify ? leaky(value, slope) : value;
        mask[i] = marked_int(best, mark, value);
        if (top_mask) top_mask[i] = (real)best;
    }
}

// slope, masked: see through_mark; masked is dy.
KERNEL max_backward_3d(const stored* dy, const int* mask, stored* dx, stored* masked, Index count, WINDOW, real slope) {
    GRID_LOOP(i, count) {
        int w = i % width, h = i / width % height, d = i / width / height % depth, self = (d * height + h) * width + w;
        size_t volume = (size_t)(i / width / height / depth) * out_d * out_h * out_w;
        int d_end = end_window(d, stride_d, pad_d, out_d), h_end = end_window(h, stride_h, pad_h, out_h);
        int w_end = end_window(w, stride_w, pad_w, out_w);
        real sum = 0;
        for (int od = first_window(d, kernel_d, stride_d, pad_d); od < d_end; ++od)
            for (int oh = first_window(h, kernel_h, stride_h, pad_h); oh < h_end; ++oh)
                for (int ow = first_window(w, kernel_w, stride_w, pad_w); ow < w_end; ++ow) {
                    size_t o = volume + (od * out_h + oh) * out_w + ow;
                    if (without_mark(mask[o]) == self) sum += through_mark(dy[o], mask[o], slope, masked, o);
                }
        dx[i] = sum;
    }
}

KERNEL average_forward_3d(const stored* x, stored* y, Index count, WINDOW, COUNTED) {
    GRID_LOOP(i, count) {
        int ow = i % out_w, oh = i / out_w % out_h, od = i / out_w / out_h % out_d;
        const stored* volume = x + (size_t)(i / out_w / out_h / out_d) * depth * height * width;
        int front = od * stride_d - pad_d, top = oh * stride_h - pad_h, left = ow * stride_w - pad_w;
        int back = min(front + kernel_d, depth), bottom = min(top + kernel_h, height);
        int right = min(left + kernel_w, width);
        real sum = 0;
        for (int d = max(front, 0); d < back; ++d)
            for (int h = max(top, 0); h < bottom; ++h)
                for (int w = max(left, 0); w < right; ++w) sum += volume[(d * height + h) * width + w];
        y[i] = sum / (extent(od, kernel_d, stride_d, pad_d, first_d, end_d) *
                      extent(oh, kernel_h, stride_h, pad_h, first_h, end_h) *
                      extent(ow, kernel_w, stride_w, pad_w, first_w, end_w));
    }
}

// x (or null): the bottom behind a ReLU of this slope, in front of which dx is the gradient.
KERNEL average_backward_3d(const stored* dy, const stored* x, stored* dx, Index count, WINDOW, real slope, COUNTED) {
    GRID_LOOP(i, count) {
        int w = i % width, h = i / width % height, d = i / width / height % depth;
        size_t volume = (size_t)(i / width / height / depth) * out_d * out_h * out_w;
        int d_end = end_window(d, stride_d, pad_d, out_d), h_end = end_window(h, stride_h, pad_h, out_h);
        int w_end = end_window(w, stride_w, pad_w, out_w);
        real sum = 0;
        for (int od = first_window(d, kernel_d, stride_d, pad_d); od < d_end; ++od)
            for (int oh = first_window(h, kernel_h, stride_h, pad_h); oh < h_end; ++oh)
                for (int ow = first_window(w, kernel_w, stride_w, pad_w); ow < w_end; ++ow)
                    sum += dy[volume + (od * out_h + oh) * out_w + ow] /
                           (extent(od, kernel_d, stride_d, pad_d, first_d, end_d) *
                            extent(oh, kernel_h, stride_h, pad_h, first_h, end_h) *
                            extent(ow, kernel_w, stride_w, pad_w, first_w, end_w));
        dx[i] = through_relu(sum, x, i, slope);
    }
}

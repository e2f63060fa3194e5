// Windows over three spatial axes: unfolding and folding as in convolution.cu.
#include "common.cuh"
#include "division.cuh"
#include "window.cuh"

#define WINDOW                                                                                                   \
    Divisor depth, Divisor height, Divisor width, Divisor out_d, Divisor out_h, Divisor out_w, Divisor kernel_d, \
        Divisor kernel_h, Divisor kernel_w, Divisor stride_d, Divisor stride_h, Divisor stride_w, int pad_d,     \
        int pad_h, int pad_w, int dilation_d, int dilation_h, int dilation_w

// columns is (C * KD * KH * KW, N, OD * OH * OW). count: elements of columns.
KERNEL im2col_3d(const stored* x, stored* columns, Index count, Divisor channels, Divisor images, WINDOW) {
    GRID_LOOP(i, count) {
        int ow = i % out_w, oh = i / out_w % out_h, od = i / out_w / out_h % out_d;
        Index rest = i / out_w / out_h / out_d, n = rest % images, row = rest / images;
        int kw = row % kernel_w, kh = row / kernel_w % kernel_h, kd = row / kernel_w / kernel_h % kernel_d;
        int c = row / kernel_w / kernel_h / kernel_d;
        int d = od * stride_d - pad_d + kd * dilation_d, h = oh * stride_h - pad_h + kh * dilation_h;
        int w = ow * stride_w - pad_w + kw * dilation_w;
        bool inside = d >= 0 && d < depth && h >= 0 && h < height && w >= 0 && w < width;
        columns[i] = inside ? x[((((size_t)n * channels + c) * depth + d) * height + h) * width + w] : (stored)(real)0;
    }
}

// The transpose. count: elements of x. bias: (channels), or null.
KERNEL col2im_3d(const stored* columns, const real* bias, stored* x, Index count, Divisor channels, Divisor images, WINDOW) {
    GRID_LOOP(i, count) {
        int w = i % width, h = i / width % height, d = i / width / height % depth;
        int c = i / width / height / depth % channels;
        Index n = i / width / height / depth / channels;
        real sum = bias ? bias[c] : 0;
        for (int kd = 0; kd < kernel_d; ++kd) {
            int od = reader(d, kd, stride_d, pad_d, dilation_d, out_d);
            if (od < 0) continue;
            for (int kh = 0; kh < kernel_h; ++kh) {
                int oh = reader(h, kh, stride_h, pad_h, dilation_h, out_h);
                if (oh < 0) continue;
                for (int kw = 0; kw < kernel_w; ++kw) {
                    int ow = reader(w, kw, stride_w, pad_w, dilation_w, out_w);
                    if (ow < 0) continue;
                    size_t row = (((size_t)c * kernel_d + kd) * kernel_h + kh) * kernel_w + kw;
                    sum += columns[(((row * images + n) * out_d + od) * out_h + oh) * out_w + ow];
                }
            }
        }
        x[i] = sum;
    }
}
